"""`diff`: what apply would change, without changing anything."""

import click

from reconciler.cli.failure import BAD_INPUT
from reconciler.cli.invocation import Invocation, Verb, pass_invocation

CHANGES = 1
"""The exit code when something would change."""


@click.command(
    cls=Verb,
    short_help="Show what apply would change.",
    examples=[
        ("reconciler diff", "what the manifests folder asks for"),
        ("reconciler diff -f coder.yaml", "what this manifest would change"),
        ("reconciler diff --against origin/main", "what that branch of the Git source would change"),
    ],
    exit_codes={
        0: "nothing would change",
        CHANGES: "something would",
        2: "the manifests, or those of REV, have errors",
    },
)
@click.option(
    "-f", "--filename", "paths", multiple=True, metavar="FILE|DIR|-", help="Compare with these manifests too."
)
@click.option("--against", metavar="REV", help="As if the Git source were at this branch, tag or commit.")
@click.option("-o", "--output", type=click.Choice(["json"]), help="Output format.  [default: text]")
@pass_invocation
def diff(invocation: Invocation, paths: tuple[str, ...], against: str | None, output: str | None) -> int:
    """Show, for each server, what apply would do and why, field by field."""
    from reconciler.cli.foreseeing import show_diff  # noqa: PLC0415 - it takes longer than the help may

    changes = show_diff(invocation.existing_or_new(), paths, against, output)
    if changes is None:
        return BAD_INPUT
    return CHANGES if changes else 0
