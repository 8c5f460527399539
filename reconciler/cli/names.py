"""Names of servers on the command line, with or without their kind before them."""

from collections.abc import Sequence
from typing import Any

import click

from reconciler.cli.targets import SERVER, kind_of


class ServerName(click.ParamType[str]):
    """A server's name; `server/NAME` is understood too, as `get servers -o name` prints it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Drop the prefix, in whichever of its forms."""
        del param, ctx
        prefix, slash, name = str(value).partition("/")
        return name if slash and kind_of(prefix) == SERVER else str(value)


def without_kind(context: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[str, ...]:
    """For arguments that are names of servers: `server coder chat` names two, as in the verbs that edit."""
    del context, parameter
    return tuple(value[1:] if len(value) > 1 and kind_of(value[0]) == SERVER else value)


SERVER_NAME = ServerName()
