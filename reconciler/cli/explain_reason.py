"""`explain` of a reason: the words that `get`, `describe` and `events` show for why something is as it is."""

from collections.abc import Iterator
from typing import Any

from reconciler.cli.folding import fold_behind
from reconciler.cli.sections import LABEL, field_lines
from reconciler.cli.terminal import width
from reconciler.core.reasons import KNOWN, MENDED, filled, meanings


def reason_named(text: str, *, exactly: bool) -> str:
    """The reason that a text is, `exactly` or in any case of letters; empty for none."""
    if exactly:
        return text if text in KNOWN else ""
    return next((word for word in sorted(KNOWN) if word.lower() == text.lower()), "")


def near_reason(text: str) -> str:
    """The reason that is most like a word; empty when none is."""
    import difflib  # noqa: PLC0415 - only errors need it

    return next(iter(difflib.get_close_matches(text, sorted(KNOWN), n=1, cutoff=0.7)), "")


def reason_data(word: str) -> dict[str, Any]:
    """A reason for programs: all that it means, each with where it is shown."""
    told = [
        {
            "shownAs": place,
            "meaning": filled(reason.means),
            "mends": str(reason.mends),
            "retry": MENDED[reason.mends],
            "canDo": [filled(way) for way in reason.do],
        }
        for place, reason in meanings(word)
    ]
    return {"reason": word, "meanings": told}


def reason_lines(word: str) -> Iterator[str]:
    """A reason for people."""
    yield from field_lines([("Reason", word)])
    for place, reason in meanings(word):
        yield ""
        told = [("Shown as", place), ("Meaning", filled(reason.means)), ("Retry", MENDED[reason.mends])]
        yield from field_lines(told)
        head = f"{'What to do:':<{LABEL}} "
        for way in reason.do:
            yield from fold_behind(head, filled(way), width())
            head = " " * len(head)
