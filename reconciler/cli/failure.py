"""How a verb says that it cannot go on."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from reconciler.core.clean import clean_lines

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130


class Failure(click.ClickException):
    """An error for people: one line of what happened, and a hint with a command that works pasted."""

    def __init__(self, message: str, hint: str = "", *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        # Click declares it for the class, and reads it from the instance.
        self.exit_code = exit_code  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Write `error: …` and the hint."""
        say_error(self.message, self.hint, file)


class ControllerEndedError(Failure):
    """The controller is there no more; one within another command may have done what that was for."""


@contextmanager
def database_trouble(state: Path) -> Iterator[None]:
    """Word what a state folder's database says as a Failure."""
    from reconciler.store import read  # noqa: PLC0415 - not all verbs need it

    try:
        yield
    except read.ReadError as error:
        raise Failure(str(error)) from None
    except sqlite3.Error as error:
        raise Failure(read.explain(error, state / read.DATABASE)) from None


def say_error(message: str, hint: str = "", file: IO[Any] | None = None) -> None:
    """One error, as all of them look."""
    click.echo(clean_lines(f"error: {message}"), file=file, err=file is None)
    if hint:
        click.echo(clean_lines(f"hint: {hint}"), file=file, err=file is None)


def refuse_unknown(wanted: Iterable[str], known: Iterable[str], *, exit_code: int = FAILED) -> None:
    """Raise Failure when a server is not among the known ones."""
    present = list(known)
    unknown = [name for name in wanted if name not in present]
    if not unknown:
        return
    from reconciler.cli.undeclared import is_written  # noqa: PLC0415 - for errors alone

    # Where manifests were read, as `apply` does, they have told already that it is not in one.
    if exit_code == FAILED and (written := [name for name in unknown if is_written(name)]):
        message = "; ".join(f"no server '{name}' yet: its manifest was not taken up" for name in written)
        raise Failure(message, f"put it in force with: reconciler apply {' '.join(written)}", exit_code=exit_code)
    message = "; ".join(f"no server '{name}'{did_you_mean(name, present)}" for name in unknown)
    raise Failure(message, "see which there are with: reconciler get servers", exit_code=exit_code)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` when something is near."""
    import difflib  # noqa: PLC0415 - only errors need it

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean '{near[0]}'?" if near else ""
