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
    exit_codes={0: "done", 2: "the command line has errors"},
)
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print it as data.")
def version(output: str | None) -> None:
    """Print the version of reconciler, and of the Python it runs on; `reconciler --version` does the same."""
    if output is None:
        click.echo(version_line())
        return
    from reconciler.cli.output import print_json, print_yaml  # noqa: PLC0415 - seldom asked for

    told = {"reconciler": version_number(), "python": platform.python_version()}
    (print_json if output == "json" else print_yaml)(told)


def version_line() -> str:
    """What is installed, on one line."""
    return f"reconciler {version_number()}, Python {platform.python_version()}"


def version_number() -> str:
    """As it is installed."""
    try:
        return installed("reconciler")
    except PackageNotFoundError:
        return "(not installed)"
