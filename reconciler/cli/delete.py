"""`delete`: be rid of servers, and of their documents."""

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.selecting import selector_option
from reconciler.cli.targets import targets_of
from reconciler.cli.waiting import waits
from reconciler.core.label_selector import LabelSelector

_EXAMPLES = (
    ("reconciler delete server coder", "take its document out of its file, and wait until the server has ended"),
    ("reconciler delete server/coder server/chat --no-wait", "two of them, without waiting"),
    ("reconciler delete -l tier=trial", "all servers with this label"),
    ("reconciler delete server coder --dry-run", "only tell what that would do"),
)
_EXIT_CODES = {
    0: "the documents are gone, and their servers have ended",
    1: "a server has not ended (yet), or there is no such document",
    2: "the command line has errors, or the other manifests would have; nothing was changed",
}


@click.command(cls=Verb, short_help="Remove servers and their documents.", examples=_EXAMPLES, exit_codes=_EXIT_CODES)
@click.argument("arguments", metavar="[KIND] NAME…", nargs=-1)
@selector_option
@click.option("--dry-run", is_flag=True, help="Only show what would happen.")
@waits
@pass_invocation
def delete(
    invocation: Invocation,
    arguments: tuple[str, ...],
    labels: LabelSelector | None,
    dry_run: bool,
    timeout: float | None,
) -> int:
    """Take the documents of the named servers out of their files, and wait until the servers have ended.

    The rest of a file keeps every byte; with its last document the file goes. That counts as a person's word: neither
    the prune guard nor its delay holds such a removal, and a server that is held already is let go. Models, logs and
    the history stay. KIND is server where it is left out; there are profile and defaults too.
    """
    if bool(arguments) == (labels is not None):
        raise click.UsageError("name what is to go, or give -l: one of both")
    from reconciler.cli.deleting import delete_all, labelled  # noqa: PLC0415 - what reads manifests is slow to import

    targets = targets_of(arguments) if labels is None else labelled(invocation, labels)
    return delete_all(invocation, targets, dry_run=dry_run, timeout=timeout)
