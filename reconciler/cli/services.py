"""Where a service of the system or of a user has its files, and how systemd is asked."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click

from reconciler.cli.failure import Failure
from reconciler.cli.terminal import clean, clean_lines
from reconciler.cli.units import NAME
from reconciler.installation import SYSTEM_CONFIG, user_config

ENOUGH = 360.0
"""Seconds for a call of systemctl: a start that takes its time has five minutes."""


class Step(NamedTuple):
    """One thing that is done, and how it is told before."""

    told: str
    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Place:
    """The files of a service."""

    scope: str
    """`system` or `user`."""
    root: str
    """The folder below which they are written; empty: where they are."""
    unit: Path
    config: Path
    manifests: Path
    state: Path
    models: Path

    def within(self, path: Path) -> Path:
        """Where a file is written."""
        return Path(f"{self.root}{path}") if self.root else path

    def systemctl(self, *arguments: str) -> list[str]:
        """A call of systemctl for it."""
        scope = ["--user"] if self.scope == "user" else []
        root = ["--root", self.root] if self.root else []
        return ["systemctl", *scope, *root, *arguments]


def place_of(scope: str | None, root: str | None) -> Place:
    """The usual place; without a scope root's is the system. Raises Failure."""
    context = click.get_current_context()
    scope = scope or ("system" if os.geteuid() == 0 or root else "user")
    below = os.path.abspath(root) if root else ""
    if scope == "user":
        if root:
            raise click.UsageError("--root goes with --system: an image has no user's service")
        return _of_a_user()
    if os.geteuid() != 0 and not root:
        as_root = shlex.join(["sudo", *program()])
        raise Failure(
            "a service of the system can only be changed by root",
            f"{as_root} {context.info_name} --system, or without root: {context.command_path} --user",
        )
    config, var = SYSTEM_CONFIG, Path("/var/lib/reconciler")
    unit = Path("/etc/systemd/system", NAME)
    return Place(scope, below, unit, config, config.parent / "manifests", var / "state", var / "models")


def _of_a_user() -> Place:
    home, config = Path.home(), user_config(os.environ)
    state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state", "reconciler", "state")
    models = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share", "reconciler", "models")
    unit = config.parents[1] / "systemd" / "user" / NAME
    return Place("user", "", unit, config, config.parent / "manifests", state, models)


def program() -> tuple[str, ...]:
    """How a service calls this very program."""
    beside = Path(sys.executable).parent / "reconciler"
    # -P: nothing is imported from the folder in which it runs.
    return (str(beside),) if beside.exists() else (sys.executable, "-P", "-m", "reconciler")


def require_systemd(place: Place, config: Path) -> None:
    """Raise Failure where no systemd answers, with what else can be done."""
    by_hand = shlex.join([*program(), "run", "--config", str(config)])
    hint = f"have it started by what starts services here, as: {by_hand}"
    if shutil.which("systemctl") is None:
        raise Failure("there is no systemctl: this machine has no systemd", hint)
    if place.root:
        return
    asked = place.systemctl("show", "--property=Version")
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    if answer.returncode != 0:
        why = clean((answer.stderr or answer.stdout).strip() or f"exit code {answer.returncode}")
        if place.scope == "user":
            hint = f"log in as that user (not by su or sudo), or {hint}"
        raise Failure(f"systemd does not answer: {why}", hint)


def call(command: Sequence[str], hint: str = "") -> Step:
    """A program that is called; what it says is shown."""

    def do() -> None:
        try:
            done = subprocess.run(list(command), check=False, timeout=ENOUGH, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Failure(f"{shlex.join(command)}: {error}", hint) from None
        if done.returncode != 0:
            raise Failure(f"{shlex.join(command)} ended with {done.returncode}", hint)

    return Step(shlex.join(command), do)


def write(path: Path, text: str) -> Step:
    """A file that is written whole."""

    def do() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(path)

    told = "".join(f"    {line}\n" for line in text.splitlines())
    return Step(f"write {path}\n{told}".rstrip("\n"), do)


def carry_out(steps: Sequence[Step], *, dry_run: bool) -> None:
    """Do them one after the other, each told before; with `dry_run` only that."""
    for step in steps:
        click.echo(clean_lines(step.told if dry_run else step.told.partition("\n")[0]))
        if not dry_run:
            step.do()
    if dry_run:
        click.echo("dry run: nothing was changed")
