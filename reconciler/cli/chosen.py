"""Servers that a verb is given by name, by label, or all of them."""

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from reconciler.cli.failure import refuse_unknown
from reconciler.cli.output import say
from reconciler.cli.selecting import labels_of
from reconciler.core.label_selector import LabelSelector
from reconciler.store import read

all_option = click.option("--all", "everything", is_flag=True, help="All servers.")


@dataclass(frozen=True)
class Chosen:
    """What was asked for; nothing at all means every server."""

    names: Sequence[str] = ()
    labels: LabelSelector | None = None

    def refuse_unknown(self, db: sqlite3.Connection) -> None:
        """Raise Failure for a name that nobody ever heard of."""
        refuse_unknown(self.names, {*read.names(db), *read.names_in_history(db)} if self.names else ())

    def of(self, db: sqlite3.Connection) -> list[str]:
        """The names of those that there are now; those that were named themselves are not looked for."""
        if self.labels is None:
            return list(dict.fromkeys(self.names)) or read.names(db)
        items = read.servers(db, self.names or None, now=time.time(), controller=True)
        return [str(item["metadata"]["name"]) for item in items if self.labels.fits(labels_of(item))]

    def tell_of_none(self, names: Sequence[str]) -> None:
        """Say on stderr, where no server is meant, that this is why nothing is shown."""
        if not names:
            what = "no server has these labels" if self.labels is not None else "no servers are declared"
            say(f"{what}; see which there are with: reconciler get servers -o json", err=True)
