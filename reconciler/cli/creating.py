"""A first manifest for a server: from what was given, and from what its model's file tells."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path as FilePath
from typing import Any

from reconciler.cli.assigning import assignment_of, value_of
from reconciler.cli.drafts import Draft
from reconciler.cli.editing import apply_edit, foresee, refuse, tell
from reconciler.cli.elsewhere import place_in_git
from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import is_quiet, show
from reconciler.cli.sources import is_from_git
from reconciler.cli.targets import SERVER, Target
from reconciler.cli.writing import manifest
from reconciler.manifests.changing import Change, EditError
from reconciler.manifests.nodes import Path

_HF = "hf:"
_OPTIONS = {"ctx": "ctx", "parallel": "parallel", "gpu_layers": "gpuLayers", "port": "port"}
"""Options with fields of their own."""


def create_server(
    invocation: Invocation, name: str | None, given: Mapping[str, Any], *, dry_run: bool, timeout: float | None
) -> int:
    """Write a new server's manifest, from the options that were given. Returns the exit code. Raises Failure."""
    model, file = given["model"], given["from_model"]
    draft = Draft(invocation.existing_or_new())
    changes = [*_options(model, given), *_pairs(given)]
    target, text = _written(draft, name, file, changes)
    _refuse_present(draft, target)
    draft.create(target, text)
    if dry_run:
        foreseen = foresee(draft)
        refuse(foreseen.problems)
        show(text.rstrip("\n"))
        # What is printed can be put into a file; what it leads to stands beside it.
        if not is_quiet():
            with redirect_stdout(sys.stderr):
                tell(draft, foreseen)
        return 0
    return apply_edit(draft, "create", timeout=timeout)


def _refuse_present(draft: Draft, target: Target) -> None:
    """Raise Failure where there is such a server."""
    paths = draft.declaring(target) if draft.root.is_dir() else []
    item = draft.present().get(target.name)
    name = target.name
    if paths:
        place = f": {draft.shown(paths[0])}"
        hint = f"change it with: reconciler edit server {name}, or reconciler delete server {name} first"
    elif item is None:
        return
    elif is_from_git(item):
        place = f", from Git: {place_in_git(draft, item)}"
        hint = "choose another name, or change it there, commit the change, and then: reconciler sync"
    else:
        place = "; its document is gone, but it is not removed yet"
        hint = f"have it back with: reconciler rollback {name}, or let it go first: reconciler delete server {name}"
    raise Failure(f"{target.words} is there already{place}", hint)


def _options(model: str | None, given: Mapping[str, Any]) -> list[Change]:
    """The fields that have options of their own."""
    changes: list[Change] = []
    if model is not None:
        changes.append((("spec", "model"), {"hf": model.removeprefix(_HF)} if model.startswith(_HF) else model))
    for option, field in _OPTIONS.items():
        if (text := given[option]) is not None:
            at: Path = ("spec", field)
            changes.append((at, value_of(text, at, SERVER)))
    return changes


def _pairs(given: Mapping[str, Any]) -> list[Change]:
    """What is given as `key=value`. Raises Failure."""
    for option, texts in (("--label", given["labels"]), ("--set", given["fields"])):
        for text in texts:
            if "=" not in text:
                hint = f"give it as {option} {shlex.quote(text)}=VALUE"
                raise Failure(f"{option} {text} has no value", hint, exit_code=BAD_INPUT)
    texts = [
        *(f"metadata.labels.{label}" for label in given["labels"]),
        *(f"spec.flags.{flag.removeprefix('--')}{'' if '=' in flag else '=true'}" for flag in given["flags"]),
        *given["fields"],
    ]
    return [assignment_of(text, SERVER) for text in texts]


def _written(draft: Draft, name: str | None, file: str | None, changes: Sequence[Change]) -> tuple[Target, str]:
    """The manifest's text, and what it declares. What was given wins over what a model's file proposes."""
    comments: Mapping[Path, str] = {}
    about = ""
    if file is not None:
        from reconciler.cli.proposing import proposed  # noqa: PLC0415 - reading model files is seldom asked for

        proposal = proposed(file, FilePath(draft.settings.models))
        given = {at for at, _ in changes}
        fields = [(at, value) for at, value in _leaves(("spec",), proposal.spec) if at not in given]
        comments = {at: text for at, _ in fields if (text := proposal.comments.get(".".join(map(str, at[1:]))))}
        name, about, changes = name or proposal.name, proposal.about, [*fields, *changes]
    assert name is not None
    try:
        return Target(SERVER, name), manifest(name, changes, comments, about)
    except EditError as error:
        raise Failure(error.message, error.remedy, exit_code=BAD_INPUT) from None


def _leaves(at: Path, value: Any) -> list[Change]:
    if isinstance(value, Mapping) and value:
        return [leaf for key, below in value.items() for leaf in _leaves((*at, key), below)]
    return [(at, value)]
