"""`profile use`: choose which servers run. What it does is in another module, which takes a while to import."""

import click

from reconciler.cli.invocation import Invocation, Verb, VerbGroup, pass_invocation
from reconciler.cli.waiting import waits

_EXAMPLES = (
    ("reconciler profile use night", "only the servers of the profile 'night' run from now on"),
    ("reconciler profile use --none", "no profile: all servers run"),
    ("reconciler profile use night --dry-run", "only tell what would start and stop"),
)
_EXIT_CODES = {
    0: "its servers run as declared, and the others have ended",
    1: "some do not, or not yet; or there is no such profile",
    2: "the command line or the manifests have errors; nothing was changed",
}


@click.group(cls=VerbGroup, short_help="Choose which servers run.")
def profile() -> None:
    """Choose which servers run. The list of profiles: reconciler get profiles."""


@profile.command("use", cls=Verb, examples=_EXAMPLES, exit_codes=_EXIT_CODES)
@click.argument("name", required=False)
@click.option("--none", "nobody", is_flag=True, help="No profile: all servers run.")
@click.option("--dry-run", is_flag=True, help="Only show what would happen.")
@waits
@pass_invocation
def use(invocation: Invocation, name: str | None, nobody: bool, dry_run: bool, timeout: float | None) -> int:
    """Make a profile the active one, and wait until its servers run and all others have ended.

    That is an edit: `spec.active` becomes true in its document, and false in that of the profile before it. It counts
    as a person's word too: where the profile selects no server any more, this confirms that it is meant.
    """
    if nobody and name is not None:
        raise click.UsageError("give one of NAME and --none, not both")
    if not nobody and name is None:
        raise click.UsageError("name the profile, or give --none")
    wanted = (name or "").removeprefix("profile/")
    # An unset variable of a script must not start every server.
    if not nobody and not wanted:
        raise click.UsageError("the name of the profile is empty: name one, or give --none")
    from reconciler.cli.switching import switch  # noqa: PLC0415 - it takes longer than the help may

    return switch(invocation, wanted, timeout, dry_run=dry_run)
