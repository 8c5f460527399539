"""`explain`: the fields of manifests, and the reasons that are shown, without leaving the terminal."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from reconciler.cli.explaining import field_named, top_of
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.folding import fold_behind
from reconciler.cli.invocation import Verb
from reconciler.cli.output import API_VERSION, list_of, print_json, print_yaml, show
from reconciler.cli.sections import field_lines, section
from reconciler.cli.targets import KINDS
from reconciler.cli.terminal import width
from reconciler.manifests.fields import Field

_EXAMPLES = (
    ("reconciler explain", "what can be declared"),
    ("reconciler explain server.spec", "all that a server's spec may say"),
    ("reconciler explain server.spec.restart.policy", "one field, with an example"),
    ("reconciler explain restart.policy", "the same, in short"),
    ("reconciler explain server --recursive", "every field, as a tree"),
    ("reconciler explain PortInUse", "a reason that is shown: what it means, and what to do"),
)
_EXIT_CODES = {0: "done", 2: "there is no such field or reason"}


@click.command(
    cls=Verb, short_help="Explain fields of manifests, and reasons.", examples=_EXAMPLES, exit_codes=_EXIT_CODES
)
@click.argument("field", metavar="[KIND[.FIELD]… | REASON]", required=False, default="")
@click.option("-r", "--recursive", is_flag=True, help="All fields below it, as a tree.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Output format.  [default: text]")
def explain(field: str, recursive: bool, output: str | None) -> None:
    """Say of a field what may stand there, what holds when it is not written, and what it means.

    The kinds are server, profile and defaults; a server's may be left out, and so may spec. Of a reason that is shown
    somewhere, such as ModelMissing, it says what it means, whether a retry can help, and what to do.
    """
    if field[:1].isupper() and _tell_reason(field, output, exactly=True):
        return
    if not field:
        kinds = [_item(kind, top, deep=False) for kind, top in _all_kinds()]
        _print(list_of("FieldList", kinds), output) if output else show("\n".join(_overview()))
        return
    try:
        kind, found = field_named(field)
    except Failure as error:
        if _tell_reason(field, output, exactly=False):
            return
        raise _with_near_reason(error, field) from None
    if output:
        _print(_item(kind, found, deep=recursive), output)
    else:
        show("\n".join(_tree(kind, found) if recursive and found.below else _lines(kind, found)))


def _tell_reason(text: str, output: str | None, *, exactly: bool) -> bool:
    """Whether it is one."""
    from reconciler.cli.explain_reason import (  # noqa: PLC0415 - fields are asked for more often
        reason_data,
        reason_lines,
        reason_named,
    )

    reason = reason_named(text, exactly=exactly)
    if reason and output:
        _print(reason_data(reason), output)
    elif reason:
        show("\n".join(reason_lines(reason)))
    return bool(reason)


def _with_near_reason(error: Failure, text: str) -> Failure:
    """The same, with the reason that may be meant where no field is."""
    from reconciler.cli.explain_reason import near_reason  # noqa: PLC0415 - for errors alone

    near = near_reason(text) if text[:1].isupper() else ""
    if not near:
        return error
    return Failure(
        f"no kind, field or reason '{text}'", f"explain it with: reconciler explain {near}", exit_code=BAD_INPUT
    )


def _print(value: Any, output: str) -> None:
    (print_json if output == "json" else print_yaml)(value)


def _all_kinds() -> Iterator[tuple[str, Field]]:
    return ((kind, top_of(kind)) for kind in KINDS)


def _item(kind: str, field: Field, *, deep: bool) -> dict[str, Any]:
    """A field as data; with all below it, or with its own fields alone."""
    item: dict[str, Any] = {"kind": kind, "field": ".".join(field.path), "value": field.value}
    item |= {"required": field.is_required, "default": field.default, "meaning": field.meaning}
    item["examples"] = list(field.examples)
    item["fields"] = [_item(kind, one, deep=True) if deep else ".".join(one.path) for one in field.below]
    return item


# ---------------------------------------------------------------- for people


def _overview() -> Iterator[str]:
    yield from field_lines((_named(kind, top), f"{kind}: {top.meaning}") for kind, top in _all_kinds())
    yield ""
    yield "see the fields of one with: reconciler explain server.spec"


def _named(kind: str, field: Field) -> str:
    return ".".join([KINDS[kind], *field.path])


def _lines(kind: str, field: Field) -> Iterator[str]:
    head = [("Kind", f"{kind} ({API_VERSION})")] if not field.path else []
    told = [("Field", _named(kind, field)), ("Value", _value(field))]
    yield from field_lines([*head, *told, ("Default", _short(field.default)), ("Meaning", field.meaning)])
    first, *more = field.examples or (None,)
    if first is not None:
        yield from section("Example", field.shown.splitlines())
        yield from field_lines([("Or", ", ".join(map(_short, more)))])
        yield from field_lines([("Set it with", _setting(kind, field, first))])
    yield from section("Fields", (line for one in field.below for line in _listed(one, _breadth(field.below))))


def _value(field: Field) -> str:
    return f"{field.value}, required" if field.is_required and field.path else field.value


def _short(value: Any) -> str:
    """A value in one line, as YAML would have it; nothing where there is none."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _setting(kind: str, field: Field, example: Any) -> str:
    """The command for one value; a document's name and what it is do not change."""
    if field.path[0] != "spec" or isinstance(example, Mapping | list):
        return ""
    name = _named(kind, field).partition(".")[0]
    return f"reconciler set {name}/NAME {'.'.join(field.path[1:])}={_short(example)}"


def _breadth(fields: Iterable[Field]) -> int:
    return max(len(field.name) for field in fields)


def _listed(field: Field, breadth: int) -> list[str]:
    """A field's name with what may stand there, and below that what it means."""
    room = _room()
    default = f", default {_short(field.default)}" if field.default is not None else ""
    value = f"{field.value}{', required' if field.is_required else default}"
    head, indent = f"{field.name:<{breadth}}  ", " " * (breadth + 2)
    return [*fold_behind(head, value, room), *fold_behind(indent, field.meaning, room)]


def _tree(kind: str, field: Field) -> Iterator[str]:
    yield from field_lines([("Kind", kind), ("Field", _named(kind, field))])
    yield from section("Fields", _branches(field, len(field.path)))


def _branches(field: Field, level: int) -> Iterator[str]:
    for one in field.below:
        head = f"{'  ' * (len(one.path) - level - 1)}{one.name}"
        default = f", default {_short(one.default)}" if one.default is not None else ""
        value = "" if one.below and not one.examples else f"{one.value}{', required' if one.is_required else default}"
        yield from fold_behind(f"{head}: ", value, _room())
        yield from _branches(one, level)


def _room() -> int | None:
    """Columns within a section; None: any number."""
    return None if (columns := width()) is None else columns - 2
