"""What docs/diagnosis.md shows: how the corpus is called, and what became of the provoked failures."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chaos.failures import FAILURES, Failure
from chaos.provoked import Result, share
from tests.engines.corpus import SAMPLES, Sample, called

RESULTS = Path(__file__).parents[1] / "docs" / "provoked.json"
"""Of the last whole game that was taken over into the documents."""


def read_results(path: Path = RESULTS) -> list[Result]:
    """As `chaos.provoked` writes them. Raises ValueError when they are not of the list as it is now."""
    results = [
        Result(**{**row, "failure": Failure(**row["failure"]), "ends": tuple(row["ends"])})
        for row in json.loads(path.read_text())
    ]
    if [one.failure for one in results] != list(FAILURES):
        raise ValueError(f"{path}: of another list; play it again: python -m chaos --only provoked")
    return results


# ---------------------------------------------------------------- the corpus


def corpus() -> str:
    """What each cause of the corpus is called, with the wrong names."""
    causes = dict.fromkeys(sample.cause for sample in SAMPLES)
    found = {cause: [sample for sample in SAMPLES if sample.cause == cause] for cause in causes}
    heads = ("what it was", "provoked", "from texts", "called so", "called something else")
    return f"{_corpus_shares()}\n\n{markdown([heads, *_rows(found)])}"


def _rows(found: Mapping[str, Sequence[Sample]]) -> Iterator[Sequence[str]]:
    for cause, samples in found.items():
        real = sum(sample.source == "provoked" for sample in samples)
        wrong = [f"`{called(sample)}` ({sample.log})" for sample in samples if called(sample) != cause]
        right = len(samples) - len(wrong)
        yield f"`{cause}`", str(real), str(len(samples) - real), str(right), ", ".join(wrong)


AT_FIRST_SIGHT = 24
"""Samples of those marked as later that were called right before any pattern was touched again: measured once."""


def _corpus_shares() -> str:
    """Precision and recall in a sentence each."""
    given = [sample for sample in SAMPLES if called(sample) != "Unknown"]
    right = sum(called(sample) == sample.cause for sample in given)
    named = [sample for sample in SAMPLES if sample.cause != "Unknown"]
    found = sum(called(sample) == sample.cause for sample in named)
    later = [sample for sample in SAMPLES if sample.is_later]
    first = sum(called(sample) == sample.cause for sample in later)
    return (
        f"Of {len(given)} names given, {right} are right; of {len(named)} ends that have a name, {found} are given it. "
        f"{len(SAMPLES) - len(named)} have none in the list, or nothing tells it, and are to be called `Unknown`. "
        "The patterns were written with most of these at hand, so that is no fair test of them; of "
        f"{len(later)} that were added once they stood, {AT_FIRST_SIGHT} were called right at first sight, and {first} "
        "are today."
    )


# ---------------------------------------------------------------- the provoked failures


def provoked_shares() -> str:
    """The two shares, all in all and without what a stand-in played."""
    results = read_results()
    real = [one for one in results if one.failure.by == "real"]
    rows = [(what, goal, _of(results, back), _of(real, back)) for what, goal, back in _GOALS]
    return markdown([("share", "goal", "all", "by the real llama-server alone"), *rows])


_GOALS = (
    ("back to Ready with nothing typed, of those where a safer setting or a retry can help", "≥ 90 %", True),
    ("true cause named, of all", "≥ 95 %", False),
)


def _of(results: Sequence[Result], back: bool) -> str:
    count, of = share(results, back=back)
    return f"{count} of {of} ({count / of:.0%})"


def provoked() -> str:
    """Every failure of the list with what became of it."""
    heads = ("failure", "how", "what it is", "what it was called", "what can help", "what became of it")
    return markdown([heads, *(_line(one) for one in read_results())])


def _line(one: Result) -> Sequence[str]:
    helps = {"setting": "a safer setting", "retry": "a retry", "": "somebody"}[one.failure.helps]
    name = f"{one.failure.name} (stand-in)" if one.failure.by == "stand-in" else one.failure.name
    if one.skipped:
        return name, one.failure.how, f"`{one.failure.cause}`", "", helps, f"not played: {one.skipped}"
    said = f"`{one.said}`" if one.said else "nothing"
    back = f"{one.phase} in {one.seconds:.1f} s" if one.failure.helps else one.phase
    step = f" on: {one.step}" if one.step and one.back else ""
    miss = "" if one.named and (one.back or not one.failure.helps) else "**miss:** "
    return name, one.failure.how, f"`{one.failure.cause}`", said, helps, f"{miss}{back}{step}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    told = ("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return "\n".join(re.sub(r" +\|", " |", line) for line in told)
