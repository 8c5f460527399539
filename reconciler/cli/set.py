"""`set`, `unset`: fields of a manifest from the command line; the rest of the file keeps every byte."""

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.targets import EXIT_CODES, Target, kind_of, target_of
from reconciler.cli.waiting import may_wait

if TYPE_CHECKING:
    from reconciler.cli.drafts import Draft


def _verb(
    short_help: str, arguments: str, examples: Sequence[tuple[str, str]]
) -> Callable[[Callable[..., Any]], click.Command]:
    """What both take."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for decorator in (
            pass_invocation,
            may_wait,
            click.option("--dry-run", is_flag=True, help="Only show what would happen."),
            click.argument("arguments", metavar=arguments, nargs=-1, required=True),
        ):
            function = decorator(function)
        command = click.command(cls=Verb, short_help=short_help, examples=examples, exit_codes=EXIT_CODES)
        return command(function)

    return decorate


@_verb(
    "Set fields of a manifest.",
    "NAME FIELD=VALUE…",
    (
        ("reconciler set coder ctx=8192", "another context size; the server is restarted"),
        ("reconciler set server/coder spec.parallel=2 spec.flags.load-mode=mlock", "two at once, for one restart"),
        ("reconciler set coder metadata.labels.team=search", "a label"),
        ("reconciler set coder 'env.HF_TOKEN={fromEnv: HF_TOKEN}' --dry-run", "only tell what that would do"),
    ),
)
def set(  # noqa: A001 - the verb's own name
    invocation: Invocation, arguments: tuple[str, ...], dry_run: bool, timeout: float | None
) -> int:
    """Set fields of a manifest, in its file, and tell what follows from it.

    NAME is a server's, or server/NAME, profile/NAME, defaults/NAME. A field is named by its path; `spec.` may be left
    out, and a flag that has a field of its own is that field. Values are read as YAML: numbers, true, text, [lists],
    {mappings: too}. Comments, order and all other bytes of the file stay. What would be wrong is refused, and nothing
    is written.
    """
    target, fields = _parted(arguments, needed=1)
    return _change(invocation, target, fields, "set", dry_run, timeout)


@_verb(
    "Take fields out of a manifest.",
    "NAME FIELD…",
    (
        ("reconciler unset coder ctx", "back to what the model was trained with"),
        ("reconciler unset server/coder spec.flags.load-mode", "one flag of several"),
    ),
)
def unset(invocation: Invocation, arguments: tuple[str, ...], dry_run: bool, timeout: float | None) -> int:
    """Take fields out of a manifest, in its file, so that the defaults hold, and tell what follows from it.

    A field that is not there is none to take out: that is no error. One that no manifest may have is.
    """
    target, fields = _parted(arguments, needed=2)
    return _change(invocation, target, fields, "unset", dry_run, timeout)


def _parted(arguments: Sequence[str], *, needed: int) -> tuple[Target, Sequence[str]]:
    """Whose fields, and which; `server coder …` is understood too, with so many more arguments behind the kind."""
    first, *rest = arguments
    if kind_of(first) and len(rest) >= needed and rest and "=" not in rest[0]:
        target, rest = Target(kind_of(first), rest[0]), rest[1:]
    else:
        target = target_of(first)
    if not rest:
        raise click.UsageError(f"name the fields of {target}, such as ctx")
    return target, rest


def _change(
    invocation: Invocation,
    target: Target,
    fields: Sequence[str],
    verb: str,
    dry_run: bool,
    timeout: float | None,
) -> int:
    from reconciler.cli.assigning import assignments_of  # noqa: PLC0415 - what reads manifests is slow to import
    from reconciler.cli.drafts import Draft  # noqa: PLC0415
    from reconciler.cli.editing import apply_edit  # noqa: PLC0415

    def drafted() -> Draft:
        draft = Draft(invocation.existing_or_new())
        if verb == "set":
            draft.respec(target, assignments_of(fields, target))
        else:
            _take_out(draft, target, fields)
        return draft

    return apply_edit(drafted(), verb, dry_run=dry_run, timeout=timeout, again=drafted)


def _take_out(draft: "Draft", target: Target, fields: Sequence[str]) -> None:
    """Draft the removal of fields. Raises Failure for one that is neither there nor known."""
    from reconciler.cli.assigning import path_of, refuse_unknown  # noqa: PLC0415
    from reconciler.manifests.changing import REMOVED  # noqa: PLC0415
    from reconciler.manifests.field_paths import meant  # noqa: PLC0415

    for text in fields:
        field, equals, _ = text.partition("=")
        if equals:
            hint = f"give the field alone: reconciler unset {target.shortest} {shlex.quote(field)}"
            raise Failure(f"'{text}': unset takes no values", hint, exit_code=BAD_INPUT)
    for path in map(path_of, fields):
        before = draft.text_of(draft.find(target))
        # A flag may stand there as it was typed, or be the field that `set` made of it.
        for one in dict.fromkeys((path, meant(path))):
            draft.respec(target, [(one, REMOVED)])
        # A field that is there although no document may have it is an error that this mends.
        if draft.text_of(draft.find(target)) == before:
            refuse_unknown([path], target.kind)
