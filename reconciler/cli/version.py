"""`version`: what is installed."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from reconciler.cli.invocation import Verb


@click.command(cls=Verb, short_help="Print the version.")
def version() -> None:
    """Print the version of reconciler, and of the Python it runs on."""
    try:
        number = installed("reconciler")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"reconciler {number}, Python {platform.python_version()}")
