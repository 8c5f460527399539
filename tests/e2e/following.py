"""An installation that follows a bare repository."""

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.installation import Installation, document
from tests.gitops.remotes import BareRemote

INTERVAL = 1.0
"""Seconds between two looks at the remote."""


class Following:
    """An installation that follows a bare repository."""

    def __init__(self, installation: Installation, remote: BareRemote) -> None:
        self.of = installation
        self.remote = remote

    def push(self, servers: Mapping[str, Mapping[str, Any]], **texts: str) -> str:
        """Commit exactly these manifests in the followed folder; the commit."""
        files = {f"home/{name}.yaml": document(name, **spec) for name, spec in servers.items()}
        files |= {f"home/{name}.yaml": text for name, text in texts.items()}
        head = self.remote.head()
        gone = set(self.remote.listing(head)) - files.keys() if head else ()
        return self.remote.commit({**files, **dict.fromkeys(gone)})

    def sync(self, code: int = 0) -> str:
        return self.of.cli("sync", code=code)

    def source(self) -> dict[str, Any]:
        listed = json.loads(self.of.cli("get", "sources", "-o", "json"))
        status: dict[str, Any] = listed["items"][0]["status"]
        return status

    def in_force(self) -> str:
        row = self.of.query("select row from sources")
        applied = json.loads(row[0][0])["applied"] if row else None
        return str(applied["commit"]) if applied else ""

    def events(self, reason: str) -> list[str]:
        return [message for found, message in self.of.events("source/git") if found == reason]


def settings(installation: Installation, url: str, more: str = "", interval: float = INTERVAL) -> None:
    ports = (installation.root / "reconciler.toml").read_text().partition("[source")[0]
    source = f'[source.git]\nurl = "{url}"\npath = "home"\ninterval = "{interval:g}s"\n{more}'
    (installation.root / "reconciler.toml").write_text(f"{ports}{source}")
