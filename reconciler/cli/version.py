"""`version`: what is installed."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from reconciler.cli.invocation import Verb


@click.command(
    cls=Verb,
    short_help="Print the version.",
    examples=[("reconciler version", "of reconciler, and of the Python it runs on")],
    exit_codes={0: "done"},
)
def version() -> None:
    """Print the version of reconciler, and of the Python it runs on; `reconciler --version` does the same."""
    click.echo(version_line())


def version_line() -> str:
    """What is installed, on one line."""
    try:
        number = installed("reconciler")
    except PackageNotFoundError:
        number = "(not installed)"
    return f"reconciler {number}, Python {platform.python_version()}"
