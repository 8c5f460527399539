"""`apply`: put documents into the manifests, have everything brought to what they say, and wait for it."""

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.names import SERVER_NAME, without_kind
from reconciler.cli.waiting import waits


@click.command(
    cls=Verb,
    short_help="Bring the servers to what the manifests say, and wait until they are.",
    examples=[
        ("reconciler apply", "all that is in the manifests folder"),
        ("reconciler apply -f coder.yaml", "put this manifest into the folder, and in force"),
        ("reconciler apply --dry-run", "only show what would change"),
        ("reconciler apply coder --dry-run", "the same of one server"),
        ("reconciler apply coder --prune", "let the server go whose manifest is gone"),
    ],
    exit_codes={
        0: "the named servers (else those of -f, else all) are as declared",
        1: "some are not, or not yet",
        2: "the input has errors; with --dry-run too, and for flags that the llama-server does not take",
    },
)
@click.argument("names", metavar="[NAME]…", nargs=-1, type=SERVER_NAME, callback=without_kind)
@click.option("-f", "--filename", "paths", multiple=True, metavar="FILE|DIR|-", help="Put these manifests in force.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option(
    "--prune", is_flag=True, help="Confirm the removal of the named servers (else all) whose manifests are gone."
)
@waits
@pass_invocation
def apply(
    invocation: Invocation,
    names: tuple[str, ...],
    paths: tuple[str, ...],
    dry_run: bool,
    prune: bool,
    timeout: float | None,
) -> int:
    """Bring the servers to what the manifests say, and wait until they are.

    Each document of -f takes the place of the one of its name, wherever that is declared; a new one becomes NAME.yaml.
    Without a running controller this command does a controller's work, and leaves the servers running.
    """
    from reconciler.cli import applying  # noqa: PLC0415 - it takes longer than the help may

    settings = invocation.existing_or_new()
    if dry_run:
        return applying.foretell(settings, names, paths)
    return applying.apply(settings, names, paths, timeout, prune=prune)
