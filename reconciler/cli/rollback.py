"""`rollback`: an earlier version of a manifest, put back into its file as an edit."""

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.targets import target_of
from reconciler.cli.waiting import may_wait

_EXAMPLES = (
    ("reconciler rollback coder", "undo the last change"),
    ("reconciler rollback coder --to 3", "back to a generation of: reconciler rollout history coder"),
    ("reconciler rollback coder --dry-run", "only tell what that would do"),
)
_EXIT_CODES = {
    0: "done, or the file says it already",
    1: "there is nothing to go back to, or it could not be written; with --wait also: the server is not as declared",
    2: "the command line has errors, the manifest would have, or it comes from Git; nothing was changed",
}


@click.command(
    cls=Verb, short_help="Put an earlier version of a manifest back.", examples=_EXAMPLES, exit_codes=_EXIT_CODES
)
@click.argument("name", metavar="NAME")
@click.option("--to", "number", type=click.IntRange(min=1), help="This generation.  [default: the one before]")
@click.option("--dry-run", is_flag=True, help="Only show what would happen.")
@may_wait
@pass_invocation
def rollback(invocation: Invocation, name: str, number: int | None, dry_run: bool, timeout: float | None) -> int:
    """Put an earlier accepted version of a manifest back into its file, and tell what follows from it.

    NAME is a server's, or server/NAME, profile/NAME, defaults/NAME. Only what differs is edited: comments and all other
    bytes of the file stay. A document that is gone is written anew. Going back is a change like any other, and a new
    generation. Without --to it is the newest one that says something else than the file does now.
    """
    from reconciler.cli.editing import apply_edit  # noqa: PLC0415 - slow to import
    from reconciler.cli.going_back import drafted  # noqa: PLC0415 - as above

    draft = drafted(invocation, target_of(name), number)
    return apply_edit(draft, "rollback", dry_run=dry_run, timeout=timeout)
