"""What other tools call a verb, and what it is here."""

import shlex
from collections.abc import Mapping, Sequence

ELSEWHERE = {
    "status": "reconciler describe NAME",
    "list": "reconciler get servers",
    "ls": "reconciler get servers",
    "ps": "reconciler get servers",
    "rm": "reconciler delete NAME",
}
"""For verbs; groups have their own."""


def elsewhere(habits: Mapping[str, str], args: Sequence[str]) -> str:
    """`; here it is: COMMAND`, with the name that was given, for a word that other tools know; empty for any other."""
    if args[0] not in habits:
        return ""
    names = [arg.rpartition("/")[2] for arg in args[1:] if not arg.startswith("-")]
    name = names[-1] if names else ""
    return f"; here it is: {habits[args[0]].replace('NAME', shlex.quote(name) if name else 'NAME')}"
