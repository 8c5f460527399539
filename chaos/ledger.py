"""What really happened, whatever a controller remembers.

It is written by servers when they begin, by controllers when they send a signal, and by slow servers when they get one.
"""

import sys
from collections import Counter
from pathlib import Path

from chaos import slow_server

SERVER = """#!/bin/sh
# Notes each start, and whether another process of the same server still lives: descriptor 9 stays with the server.
name="${{RECONCILER_SERVER:-$BY_HAND}}"
if [ -n "$name" ]; then
  exec 9>>"{lives}/$name"
  flock -n 9 || echo "double $name $$" >>"{ledger}"
fi
if [ -n "$RECONCILER_UID" ]; then
  echo "spawn $RECONCILER_UID $name $$" >>"{ledger}"
elif [ -n "$name" ]; then
  echo "hand $name $$ $(cut -d ' ' -f 22 "/proc/$$/stat")" >>"{ledger}"
fi
case "$name" in slow*)
  export LEDGER="{ledger}"
  exec "{python}" "{slow}" "$@"
esac
exec "{llama_server}" "$@"
"""
"""Runs a slow server in place of llama-server where the name begins so."""


class Ledger:
    """A file of lines that nobody takes back.

    - `spawn UID NAME PID`: a server with our mark begins.
    - `hand NAME PID START-TICKS`: one that somebody runs by hand begins.
    - `double NAME PID`: it begins while another of its name lives.
    - `signal NAME PID START-TICKS`: a controller has sent it one.
    - `term PID`: a slow server has got SIGTERM.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write_server(self, folder: Path, llama_server: str) -> Path:
        """A program that notes its start here, and goes on as the real one."""
        slow, program, lives = folder / "llama-server-slow", folder / "llama-server", folder / "lives"
        lives.mkdir()
        slow.symlink_to(slow_server.__file__)
        names = {"lives": lives, "ledger": self.path, "python": sys.executable, "slow": slow}
        program.write_text(SERVER.format(llama_server=llama_server, **names))
        program.chmod(0o755)
        return program

    def lines(self, kind: str) -> list[list[str]]:
        """The words of all lines of a kind, oldest first, without the kind."""
        return [line.split()[1:] for line in self.path.read_text().splitlines() if line.startswith(f"{kind} ")]

    def faults(self) -> list[str]:
        """Broken promises that need nothing else to be seen."""
        found = [f"no double: {name} was started as {pid} beside a live one" for name, pid in self.lines("double")]
        twice = Counter(uid for uid, *_ in self.lines("spawn"))
        found += [f"one process an instance: {uid} was spawned {n} times" for uid, n in twice.items() if n > 1]
        sent = Counter((pid, ticks) for name, pid, ticks in self.lines("signal") if name == "SIGTERM")
        found += [f"no second TERM: pid {pid} was sent {n}" for (pid, _), n in sent.items() if n > 1]
        return found + [f"no second TERM: {who} got {n}" for who, n in self.terms().items() if n > 1]

    def terms(self) -> Counter[str]:
        """How many SIGTERMs slow servers got by their own account, by name, pid, and how many had worn the pid then."""
        wearers: dict[str, str] = {}
        worn: Counter[str] = Counter()
        got: Counter[str] = Counter()
        for kind, *words in map(str.split, self.path.read_text().splitlines()):
            if kind == "term":
                got[wearers[words[0]]] += 1
            elif kind in ("spawn", "hand"):
                name, pid = words[1:] if kind == "spawn" else words[:2]
                worn[pid] += 1
                wearers[pid] = f"{name}, pid {pid} ({worn[pid]})"
        return got
