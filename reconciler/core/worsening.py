"""What an edit of manifests makes wrong, beside what was wrong before it."""

import re
from collections import Counter
from collections.abc import Container, Iterable

from reconciler.core.model import Problem

_PLACE = re.compile(r":\d+(:\d+)?|\b(line|column) \d+")


def worsened(before: Iterable[Problem], after: Iterable[Problem], edited: Container[tuple[str, str]]) -> list[Problem]:
    """The problems that were not there before, and all of the `edited` documents (kind and name)."""
    known = Counter(_signature(problem) for problem in before)
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for problem in after:
        seen[_signature(problem)] += 1
        is_old = seen[_signature(problem)] <= known[_signature(problem)]
        if (problem.kind, problem.server) in edited or not is_old:
            found.append(problem)
    return found


def _signature(problem: Problem) -> tuple[str, ...]:
    """A problem without any line that it tells: an edit above moves them."""
    return problem.kind, problem.server, problem.file, problem.field, _PLACE.sub("", problem.message)
