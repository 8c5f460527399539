"""What `validate` does: checks manifests, and prints what was found."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.annotations import change_lines, command, problem_line, refusal_line
from reconciler.cli.documents import Source, read_files, read_sources, shown_folder
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.foreseeing import print_preview
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import plural, print_json, print_problems, say, show
from reconciler.cli.strict import Base, Findings, base_of, examine
from reconciler.cli.terminal import clean

if TYPE_CHECKING:
    from reconciler.settings import Settings

MOST_WARNINGS = 5


def validate(invocation: Invocation, paths: Sequence[str], output: str, *, strict: bool, against: str | None) -> int:
    """Check, print what was found, and return the exit code. Raises Failure."""
    sources = read_sources(paths) if paths else _folder(invocation)
    if against == "":
        raise Failure("--against names no revision", "name a branch, tag or commit", exit_code=BAD_INPUT)
    base = None if against is None else base_of(_only_folder(invocation, paths), against)
    found = examine(sources, _settings(invocation, needed=strict), base, for_git=strict)
    {"text": _print_text, "github": _print_github, "json": _print_json}[output](found)
    return BAD_INPUT if found.errors else 0


def _settings(invocation: Invocation, *, needed: bool) -> "Settings | None":
    """Manifests that are named can be checked without any, or with some that have an error."""
    try:
        return invocation.existing_or_new()
    except Failure:
        if needed:
            raise
        return None


def _folder(invocation: Invocation) -> list[Source]:
    folder = invocation.existing_or_new().manifests
    if not Path(folder).is_dir():
        hint = "name manifests: reconciler validate FILE…, or the folder with --manifests"
        raise Failure(f"the manifests folder {folder} does not exist", hint, exit_code=BAD_INPUT)
    return read_files(Path(folder), shown_folder(folder))


def _only_folder(invocation: Invocation, paths: Sequence[str]) -> Path:
    """The folder that another revision is asked for."""
    if len(paths) > 1 or (paths and not Path(paths[0]).is_dir()):
        raise click.UsageError("--against takes one folder, of which all manifests are compared")
    return Path(paths[0] if paths else invocation.existing_or_new().manifests)


def _print_text(found: Findings) -> None:
    print_problems([str(problem) for problem in found.problems])
    print_problems([str(refusal) for refusal in found.refusals or ()])
    print_problems([str(problem) for problem in found.flags.problems])
    print_problems([f"warning: {problem}" for problem in found.warnings])
    if found.flags.note:
        say(clean(f"note: {found.flags.note}"), err=True)
    changes = found.changes()
    if found.base is not None and changes is not None:
        print_problems([f"warning: {problem}" for problem in _told(found.base)])
        show(clean(f"against {found.base.revision}{found.base.where}:"))
        print_preview({"changes": changes, "problems": [], "folderProblem": ""})
    if found.errors:
        click.echo(f"error: {_counts(found)}", err=True)
    else:
        say(_counts(found))


def _print_github(found: Findings) -> None:
    documents = {document.name: document for document in found.documents}
    lines = [problem_line(problem) for problem in found.problems]
    lines += [refusal_line(refusal) for refusal in found.refusals or ()]
    lines += [problem_line(problem) for problem in found.flags.problems]
    lines += [problem_line(problem, "warning") for problem in found.warnings]
    lines += [command("notice", found.flags.note, "flags")] if found.flags.note else []
    changes = found.changes()
    if found.base is not None and changes is not None:
        lines += [command("warning", text, "the other revision has errors") for text in _told(found.base)]
        lines += change_lines(changes, documents)
    show("\n".join([*lines, _counts(found)]))


def _print_json(found: Findings) -> None:
    data: dict[str, Any] = {
        "manifests": found.manifests,
        "servers": len(found.documents),
        "others": found.others,
        "problems": [problem.data for problem in (*found.problems, *found.flags.problems)],
        "warnings": [problem.data for problem in found.warnings],
    }
    if found.flags.note:
        data["note"] = found.flags.note
    if found.refusals is not None:
        data["refusals"] = [refusal.data() for refusal in found.refusals]
    if found.base is not None:
        revision = found.base.revision
        data["against"] = {"commit": revision.commit, "subject": revision.subject, "problems": _texts(found.base)}
        data["changes"] = found.changes()
    print_json(data)


def _texts(base: Base) -> list[str]:
    return [str(problem) for problem in base.problems]


def _told(base: Base) -> list[str]:
    """What is wrong with the revision that is compared with: its servers may go on as an older one had them."""
    texts = _texts(base)
    more = [f"{len(texts) - MOST_WARNINGS} more errors there"] if len(texts) > MOST_WARNINGS else []
    return [*texts[:MOST_WARNINGS], *more]


def _counts(found: Findings) -> str:
    if found.errors:
        return f"{plural(found.errors, 'error')} in {plural(found.manifests, 'manifest')}"
    others = f", {plural(found.others, 'other document')}" if found.others else ""
    return f"{plural(found.manifests, 'manifest')}, {plural(len(found.documents), 'server')}{others}: ok"
