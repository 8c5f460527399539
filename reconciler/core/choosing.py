"""Which servers are wanted now: those that the active profile selects, unless that looks like an accident."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from reconciler.core.beside import Beside
from reconciler.core.kinds import ProfileDocument
from reconciler.core.model import Document
from reconciler.core.profiles import listed, members
from reconciler.core.pruning import LONGEST_DELAY, PRUNE_DELAY
from reconciler.core.selection import NOBODY, Leaving, Selection


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is wanted, and what the next look has to know of those that were."""

    selection: Selection
    leaving: Leaving = NOBODY
    wake_at: float | None = None
    stays: bool = False
    """The selection is the one before, whatever the active profile selects."""


@dataclass(frozen=True, slots=True)
class Chooser:
    """What was wanted last, and at what monotonic time that is asked again."""

    beside: Beside
    leaving: Leaving
    now: float
    is_first: bool
    """No server is in force yet."""

    def choose(self, profile: ProfileDocument | None, documents: Mapping[str, Document]) -> Choice:
        """Who is wanted of these. What a person asked for may select nothing, and all else stays as it was then.

        Servers whose labels do not fit any more are not left out before looks agree on which: files are often edited
        one after the other.
        """
        if profile is None:
            return Choice(Selection())
        names, last = members(profile, documents.values()), self.beside.selection
        chosen = Selection(profile.name, names, profile.spec.switch)
        if self.beside.nothing_runs or self.beside.asked == profile.name:
            return Choice(chosen)
        before = frozenset(documents if last.names is None else last.names & documents.keys())
        if before and not names:
            return Choice(replace(last, held=self._why_held(profile)), stays=True)
        leaving = self._leaving(profile, before - names) if last.profile == profile.name else NOBODY
        due = min(leaving.stirred + PRUNE_DELAY, leaving.since + LONGEST_DELAY)
        if leaving.names and self.now < due:
            return Choice(replace(last, held=""), leaving, due, stays=True)
        return Choice(chosen)

    def choose_beside(
        self, profile: ProfileDocument | None, in_force: Mapping[str, Document], waiting: Mapping[str, Document]
    ) -> Choice:
        """Who is wanted of these and of those that `waiting` keeps from being in force.

        What is not in force cannot take the place of all that runs.
        """
        choice = self.choose(profile, {**in_force, **waiting})
        if not (waiting and in_force) or choice.stays:
            return choice
        without = self.choose(profile, in_force)
        return without if without.selection.held else choice

    def _leaving(self, profile: ProfileDocument, names: frozenset[str]) -> Leaving:
        """Whom its selector lost; those whose names were taken out of it are meant."""
        accepted = self.beside.others.get(profile.key)
        if isinstance(accepted, ProfileDocument):
            names = names.difference(set(accepted.spec.servers) - set(profile.spec.servers))
        if names == self.leaving.names:
            return self.leaving
        return Leaving(names, self.leaving.since if self.leaving.names else self.now, self.now)

    def _why_held(self, profile: ProfileDocument) -> str:
        last = self.beside.selection
        if self.is_first:
            stays = "what runs goes on, and nothing is started"
        elif last.names is None:
            stays = "all servers are wanted as before"
        else:
            stays = f"{listed(sorted(last.names))} stay wanted"
        why = f"the profile '{profile.name}' ({profile.file}:{profile.line}) selects no server: {stays}"
        return f"{why}; if this is meant, confirm it with: reconciler profile use {profile.name}"
