"""`[[notify]]`: who is told of events, and of which."""

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from reconciler.core.actions import Event

NOTIFY_FAILED, NOTIFIED_AGAIN = "NotifyFailed", "NotifiedAgain"
"""Reasons of events: one cannot be told, and could be after that."""


class Notify(BaseModel):
    """One of `[[notify]]`: whom to tell what happens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    """How logs and events call it; empty: by its number."""
    webhook: str = ""
    """Where each event is posted to as JSON: `https://…`, or `http://` for this machine alone."""
    webhook_file: str = ""
    """File that holds the address instead, where that is a secret."""
    token_file: str = ""
    """File that holds a token; it is sent as `Authorization: Bearer`."""
    command: tuple[str, ...] = ()
    """Program and arguments instead; it is given each event as JSON on stdin."""
    reasons: tuple[str, ...] = ()
    """Reasons of which it is told; patterns with `*`; empty: all."""
    severity: Literal["warning", "normal"] = "warning"
    """The least that is told."""

    @field_validator("reasons")
    @classmethod
    def _are_known(cls, reasons: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in reasons:
            if trouble := _fits_none(pattern):
                raise ValueError(trouble)
        return reasons

    @model_validator(mode="after")
    def _one_way(self) -> "Notify":
        ways = {"webhook": self.webhook, "webhook_file": self.webhook_file, "command": self.command}
        given = [name for name, value in ways.items() if value]
        if len(given) != 1:
            what = f"not {' and '.join(given)} together" if given else "and there is none"
            raise ValueError(f"give exactly one of webhook, webhook_file and command, {what}")
        if self.token_file and self.command:
            raise ValueError("token_file goes with a webhook; have the command read the file itself")
        if self.webhook:
            checked_webhook(self.webhook)
        elif self.command and not self.command[0]:
            raise ValueError('command begins with a program, such as ["/usr/local/bin/tell-me"]')
        return self

    def wants(self, event: Event) -> bool:
        """Whether it is told of an event."""
        if self.severity == "warning" and not event.warning:
            return False
        return not self.reasons or any(_fits(event.reason, pattern) for pattern in self.reasons)

    def called(self, number: int) -> str:
        """How logs and events call it; `number` counts from 1."""
        return self.name or which_table(number)


def which_table(number: int) -> str:
    """One of `[[notify]]` by its place, which counts from 1."""
    return f"number {number} of [[notify]]"


def _fits_none(pattern: str) -> str:
    """Where no reason is like it: what to say of that."""
    import difflib  # noqa: PLC0415 - only who filters needs these

    from reconciler.core.reasons import KNOWN  # noqa: PLC0415

    if any(_fits(word, pattern) for word in KNOWN):
        return ""
    words = {word.lower(): word for word in sorted(KNOWN)}
    near = difflib.get_close_matches(pattern.lower().replace("*", ""), words, n=1)
    meant = f"did you mean '{words[near[0]]}'?" if near else "docs/troubleshooting.md has them all"
    return f"no event has the reason '{pattern}'; {meant}"


def _fits(reason: str, pattern: str) -> bool:
    """`*` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), reason) is not None


def checked_webhook(url: str) -> str:
    """The address as it is. Raises ValueError, whose text has nothing of it: it may be a secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", None
    if parts is None or not host or parts.scheme not in ("http", "https") or not _is_plain(url):
        raise ValueError("expected an address such as https://hooks.example.org/reconciler")
    if parts.username is not None:
        raise ValueError("an address with a user or password is not taken: write a token into a file, see token_file")
    if parts.scheme == "http" and not is_this_machine(host):
        raise ValueError("http:// is for this machine alone: write https://")
    return url


def is_this_machine(host: str) -> bool:
    """Whether a host of an address is loopback by its name alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url
