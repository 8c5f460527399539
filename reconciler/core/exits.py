"""How an instance ended, in a word."""

import signal
from collections.abc import Mapping
from typing import Any


def how_ended(start: Mapping[str, Any]) -> str:
    """`SIGKILL`, `exit 1`, `running`, of a start as `get restarts -o json` has it."""
    if start["endedAt"] is None:
        return "running"
    if start["signal"] is not None:
        return signal_name(start["signal"])
    return "unknown" if start["exitCode"] is None else f"exit {start['exitCode']}"


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; numbers without a name as `signal 99`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def telling(evidence: str) -> str:
    """The line of some evidence that tells most: the first."""
    return " ".join(evidence.partition("; ")[0].split())
