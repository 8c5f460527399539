"""A bare remote, and a cache that follows it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.gitops.cache import Cache
from reconciler.gitops.git import Remote
from tests.gitops.remotes import BareRemote

Following = Callable[..., Cache]


@pytest.fixture
def remote(tmp_path: Path) -> BareRemote:
    return BareRemote(tmp_path / "remote.git")


@pytest.fixture
def following(tmp_path: Path, remote: BareRemote) -> Following:
    """Makes caches of the remote, in one folder; what differs from the usual is named."""

    def make(**fields: object) -> Cache:
        usual = Remote(remote.url, "refs/heads/main", timeout=30)
        return Cache(tmp_path / "state/git/cache.git", replace(usual, **fields), os.environ)  # type: ignore[arg-type]

    return make


@pytest.fixture
def cache(following: Following) -> Cache:
    return following()
