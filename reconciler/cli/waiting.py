"""The options of verbs that wait until what they asked for is done."""

import functools
from collections.abc import Callable
from typing import Any

import click

from reconciler.core.durations import parse_duration

BEGIN_TIMEOUT = 60.0
"""Seconds that `--no-wait` waits for what only this command can do, when no controller runs."""
UNATTENDED = "no controller is running: nobody restarts servers until: reconciler run"


class Duration(click.ParamType[float]):
    """A duration such as `500ms`, `10s`, `5m`; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Raises a usage error for anything else."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


_timeout = click.option(
    "--timeout", type=Duration(), default="5m", show_default=True, metavar="DURATION", help="Longest wait."
)
_wait = click.option("--wait/--no-wait", default=True, help="Wait until it is done, or only ask for it.")
_may_wait = click.option("--wait", is_flag=True, help="Wait until the servers are as it says.")


def waits(function: Callable[..., int]) -> Callable[..., int]:
    """Give a verb `--no-wait` and `--timeout`; the function gets `timeout` in seconds, or None for not waiting."""

    @functools.wraps(function)
    def with_timeout(*arguments: Any, wait: bool, timeout: float, **named: Any) -> int:
        return function(*arguments, timeout=timeout if wait else None, **named)

    return _timeout(_wait(with_timeout))


def may_wait(function: Callable[..., int]) -> Callable[..., int]:
    """The same for a verb that waits only when told to, with `--wait`."""

    @functools.wraps(function)
    def with_timeout(*arguments: Any, wait: bool, timeout: float, **named: Any) -> int:
        return function(*arguments, timeout=timeout if wait else None, **named)

    return _timeout(_may_wait(with_timeout))
