"""`edit`: a document in the user's editor."""

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.targets import EXIT_CODES, targets_of
from reconciler.cli.waiting import may_wait

_EXAMPLES = (
    ("reconciler edit server coder", "its document in $VISUAL, $EDITOR, or vi"),
    ("reconciler edit coder --wait", "and wait until the server is as it says then"),
)


@click.command(cls=Verb, short_help="Edit a manifest in your editor.", examples=_EXAMPLES, exit_codes=EXIT_CODES)
@click.argument("arguments", metavar="[KIND] NAME", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Only show what would happen; nothing is written.")
@may_wait
@pass_invocation
def edit(invocation: Invocation, arguments: tuple[str, ...], dry_run: bool, timeout: float | None) -> int:
    """Edit one document in $VISUAL, else $EDITOR, else vi.

    What is saved is checked together with all other manifests before it takes its place. On an error the editor opens
    again, with the error above the text. Left unchanged or emptied, the edit is cancelled; what could not be put in
    place is kept in a file that is named.
    """
    targets = targets_of(arguments)
    if len(targets) != 1:
        raise click.UsageError("name one document, such as: server coder")
    from reconciler.cli.editor import edit_document  # noqa: PLC0415 - what reads manifests is slow to import

    return edit_document(invocation, targets[0], dry_run=dry_run, timeout=timeout)
