"""`validate`: check manifests without a controller or a state."""

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation


@click.command(
    cls=Verb,
    short_help="Check manifests without touching anything.",
    examples=[
        ("reconciler validate", "the manifests folder"),
        ("reconciler validate coder.yaml", "one file"),
        ("reconciler validate manifests --strict --against origin/main -o github", "a pull request"),
    ],
    exit_codes={0: "all is well", 2: "there are errors"},
)
@click.argument("paths", metavar="[FILE|DIR|-]…", nargs=-1)
@click.option("--strict", is_flag=True, help="Hold the policy for Git sources against them too.")
@click.option("--against", metavar="REV", help="Tell what would change for servers of this revision of the folder.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "github", "json"]),
    default="text",
    help="Output format.  [default: text]",
)
@pass_invocation
def validate(invocation: Invocation, paths: tuple[str, ...], strict: bool, against: str | None, output: str) -> int:
    """Check files, folders of them, or stdin (-); without any, the manifests folder.

    All of them are checked together: names must be unique, and ports not be wanted twice. What would be wrong with
    another profile than the active one is a warning.

    For a pull request: --strict refuses what a machine would by the [policy.git] of reconciler.toml (by the defaults
    where there is none), --against origin/main tells which servers would start, restart or stop, and with -o github
    GitHub shows all of it beside the lines.
    """
    from reconciler.cli import validating  # noqa: PLC0415 - it takes longer than the help may

    return validating.validate(invocation, paths, output, strict=strict, against=against)
