"""What is known of a source of manifests: the revision in force, the one that waits, and how the last look went."""

from dataclasses import dataclass

GIT = "git"
"""Name of the one source there can be, and `Document.origin` of what comes from it."""
LOCAL = "local"
"""`Document.origin` of what the manifests folder declares."""
PREFIX = f"{GIT}:"
"""What the name of a file in the repository begins with where people are shown it."""
SHORT = 8
"""Hexadecimal digits of a commit that people are shown."""


def event_object(name: str) -> str:
    """What events about a source stand under; no server's name has a slash."""
    return f"source/{name}"


@dataclass(frozen=True, slots=True)
class Revision:
    """One commit."""

    commit: str
    """All its hexadecimal digits."""
    subject: str = ""
    """The first line of its message, without control characters."""
    committed_at: float = 0.0
    """Unix time."""

    @property
    def short(self) -> str:
        """The commit as people are shown it."""
        return self.commit[:SHORT]

    def __str__(self) -> str:
        return f"{self.short} ({self.subject})" if self.subject else self.short


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What is remembered of a source, and shown."""

    name: str
    url: str
    ref: str
    """`branch main` or `tag v1`."""
    path: str = ""
    interval: float = 60.0
    applied: Revision | None = None
    """The revision in force."""
    applied_at: float | None = None
    """Unix time at which it was put in force."""
    applied_from: tuple[str, str] = ("", "")
    """The address and the folder that it was read from: the settings may have come to name others."""
    pending: Revision | None = None
    """What the remote has, where that is not in force: it is refused, or the source is suspended."""
    problems: tuple[str, ...] = ()
    """Why the pending revision is refused, each with its place."""
    told: tuple[str, ...] = ()
    """The commits that people were told the errors of, the newest last."""
    checked_at: float | None = None
    """Unix time of the last look at the remote that went well."""
    reason: str = ""
    """Why the last look did not, in one word; empty when it did."""
    error: str = ""
    """The same in one line, with what to do."""
    error_since: float | None = None
    """Unix time."""
    suspended: bool = False

    def is_applied(self, commit: str) -> bool:
        """Whether that commit, from the repository and folder that are followed now, is in force."""
        return self.applied is not None and self.applied.commit == commit and self.applied_from == (self.url, self.path)
