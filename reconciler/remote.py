"""From the settings to what follows a Git repository. It stands outside the rooms, as settings do."""

import os
from pathlib import Path

from reconciler.core.git_settings import GitSource
from reconciler.gitops.cache import Cache
from reconciler.gitops.checkout import Checkout
from reconciler.gitops.git import GitError, Remote
from reconciler.gitops.reading import Reader
from reconciler.gitops.source import CACHE, Repository
from reconciler.manifests.folder import Look
from reconciler.manifests.parse import Check
from reconciler.settings import Settings

__all__ = ["FOLDER", "GitError", "look_in_force", "repository"]

FOLDER = "git"
"""Folder in the state folder that holds the cache and the revisions."""
MIB = 1024 * 1024


def repository(settings: GitSource) -> Repository:
    """What is to be followed."""
    auth = settings.auth
    remote = Remote(
        url=settings.url,
        ref=settings.ref,
        token_file=auth.token_file,
        username=auth.username,
        ssh_key_file=auth.ssh_key_file,
        known_hosts_file=auth.known_hosts_file,
        timeout=settings.timeout,
        most_bytes=settings.max_mib * MIB,
    )
    return Repository(remote, settings.path, settings.interval)


def look_in_force(settings: Settings, check: Check) -> Look:
    """What the revision of the Git source declares that is in force, without a controller. Raises GitError."""
    if settings.source.git is None:
        return Look()
    followed, folder = repository(settings.source.git), Path(settings.state, FOLDER)
    commit = Checkout(folder).current()
    if not commit:
        return Look()
    declared = Reader(Cache(folder / CACHE, followed.remote, os.environ), followed.path, check).read(commit)
    return Look(documents=declared.documents, problems=declared.problems)
