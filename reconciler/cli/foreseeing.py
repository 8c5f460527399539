"""What apply would change, asked for and printed."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.documents import Source, read_sources
from reconciler.cli.failure import BAD_INPUT, Failure, database_trouble, say_error
from reconciler.cli.output import plural, print_json, print_problems, show
from reconciler.cli.sources import refuse_without_source
from reconciler.cli.targets import Target
from reconciler.cli.terminal import clean, uses_colour
from reconciler.installation import is_controller_running

if TYPE_CHECKING:
    from reconciler.settings import Settings

SIGNS = {"start": "+", "restart": "~", "update": "~", "stop": "-", "hold": "!", "invalid": "!"}
HIDDEN = "(hidden)"
_PRIVATE = re.compile(r"spec\.env\.[^.]+")
"""Fields whose plain values may be secrets; a reference to one is none."""
_COLOURS = {"+": 32, "~": 33, "-": 31, "!": 31}


def show_diff(settings: "Settings", paths: Sequence[str], against: str | None, output: str | None) -> bool | None:
    """Print what would change; whether anything would, or None where the manifests have errors. Raises Failure."""
    answer = preview(settings, read_sources(paths), against)
    if output:
        print_json(answer)
    else:
        print_preview(answer)
    if is_refused(answer):
        return None
    return any(change["action"] != "unchanged" for change in answer["changes"])


def preview(
    settings: "Settings", sources: Sequence[Source], against: str | None = None, without: Sequence[Target] = ()
) -> Mapping[str, Any]:
    """What would happen with these documents; asked of the controller where one runs. Raises Failure.

    `without` are removed. `against` is a revision of the Git source that counts as the one in force. It may have to be
    fetched, so that a controller is needed, if only for this command.
    """
    texts = []
    for source in sources:
        try:
            texts.append({"file": source.file, "text": source.content.decode()})
        except UnicodeDecodeError:
            raise Failure(f"{source.file} is not UTF-8", "save it in that encoding", exit_code=BAD_INPUT) from None
    texts += [{"file": "", "text": "", "without": target.key} for target in without]
    state = Path(settings.state)
    if against is not None:
        refuse_without_source(state, lambda: settings)
    if is_controller_running(state) or against is not None:
        from reconciler.cli.controller import open_controller  # noqa: PLC0415 - httpx is slow to import

        with open_controller(state, lambda: settings, "diff") as controller:
            return controller.preview(texts, against)
    from reconciler.controller.preview import preview_offline  # noqa: PLC0415 - not needed with a controller

    with database_trouble(state):
        return preview_offline(settings, texts)


def is_refused(answer: Mapping[str, Any]) -> bool:
    """Whether the manifests have errors."""
    return bool(answer["problems"] or answer["folderProblem"])


def print_preview(answer: Mapping[str, Any]) -> None:
    """The changes, the errors on stderr, and a last line with the counts."""
    changes = [change for change in answer["changes"] if change["action"] not in ("unchanged", "invalid")]
    for change in changes:
        print_change(change)
    problems = [problem["text"] for problem in answer["problems"]]
    problems += [answer["folderProblem"]] if answer["folderProblem"] else []
    print_problems(problems)
    if problems:
        count = plural(len(problems), "error")
        refused = clean(answer.get("refused") or "")
        check = "commit and push" if refused else "and check it with: reconciler validate"
        hint = f"correct what is named above, {check}"
        say_error(f"{refused}: {count}" if refused else f"{count} in the manifests", hint)
    if changes:
        show(counted(answer["changes"]))
    elif not problems:
        unchanged = sum(change["action"] == "unchanged" for change in answer["changes"])
        show(f"no changes: {plural(unchanged, 'server')} as declared")


def counted(changes: Sequence[Mapping[str, Any]]) -> str:
    """`3 start (1 blocked), 2 unchanged`."""
    counts = Counter(change["action"] for change in changes)
    blocked = Counter(change["action"] for change in changes if change.get("blocked"))
    told = [(f"{counts[action]} {action}", blocked[action]) for action in (*SIGNS, "unchanged") if counts[action]]
    return ", ".join(f"{text} ({count} blocked)" if count else text for text, count in told)


def print_change(change: Mapping[str, Any]) -> None:
    """What would happen to one server, why, and what differs."""
    show("\n".join(_lines(change)))


def _lines(change: Mapping[str, Any]) -> list[str]:
    sign = SIGNS.get(change["action"], "~")
    head = f"{sign} {change['server']}  {change['action']}"
    head += f": {clean(change['reason'])}" if change["reason"] else ""
    if uses_colour():
        head = f"\x1b[{_COLOURS[sign]}m{head}\x1b[0m"
    fields = [clean(_field_line(field)) for field in change["fields"]]
    blocked = [f"blocked: {clean(change['blocked'])}"] if change.get("blocked") else []
    return [head, *(f"    {line}" for line in (*fields, *blocked))]


def _field_line(field: Mapping[str, Any]) -> str:
    source = f"   (from LlamaServerDefaults {field['source']})" if field.get("source") else ""
    is_private = _PRIVATE.fullmatch(field["path"]) is not None
    old, new = (HIDDEN if is_private and isinstance(field[one], str) else _shown(field[one]) for one in ("old", "new"))
    return f"{field['path']}: {old} → {new}{source}"


def _shown(value: Any) -> str:
    """A value on one line; text without its quotes, and a field that is not written as (unset)."""
    if value is None:
        return "(unset)"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
