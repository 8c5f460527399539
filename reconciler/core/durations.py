"""Durations as people write them: `500ms`, `10s`, `5m`, `1h`, `1h30m`. The value is in seconds."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
LONGEST = 10 * 365 * 24 * 3600.0
"""Ten years in seconds: longer is a slip of the keyboard."""


def parse_duration(text: object) -> float:
    """Seconds of a written duration.

    Raises ValueError for anything that is not a run of number-and-unit pairs, and above ten years.
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and text == 0:
        return 0.0
    if not isinstance(text, str) or not re.fullmatch(rf"(?:{_PART.pattern})+", text):
        raise ValueError("expected a duration such as 500ms, 10s, 5m or 1h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST:
        raise ValueError("longer than ten years")
    return round(seconds, 6)


def format_duration(seconds: float) -> str:
    """The shortest exact writing of a duration: the inverse of `parse_duration`."""
    microseconds = round(seconds * 1_000_000)
    parts = []
    for unit, size in (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)):
        count, microseconds = divmod(microseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    if microseconds:
        parts.append(f"{microseconds / 1000:g}ms")
    return "".join(parts) or "0s"


def describe_duration(seconds: float) -> str:
    """A duration for people, in its one or two largest units: `340ms`, `12s`, `3m20s`, `4d2h`."""
    if seconds < 0.9995:
        return f"{max(0, round(seconds * 1000))}ms"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    for unit, size, lesser, lesser_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // lesser_size
            return f"{whole // size}{unit}" + (f"{rest}{lesser}" if rest else "")
    return f"{whole}s"
