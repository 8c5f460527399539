"""The text of a new manifest: what was asked for, and comments that say what more there is."""

from collections.abc import Mapping, Sequence

from reconciler.core.spec import API_VERSION
from reconciler.manifests.changing import Change, set_value
from reconciler.manifests.nodes import Path, compose, locate

_COLUMN = 23
"""Where comments begin, unless the line is longer."""
_BEGINNING = f"""\
apiVersion: {API_VERSION}
kind: LlamaServer
metadata:
  name: name
spec:
  model: model
"""
_FIELDS = "all fields, with their defaults: reconciler explain server.spec"
_ABOUT: Mapping[Path, tuple[str, str]] = {
    ("spec", "model"): ("", "in the models folder; absolute paths and {hf: user/repo:quant} work too"),
    ("spec", "ctx"): ("ctx: 8192", "tokens over all slots; without it: what the model was trained with"),
    ("spec", "parallel"): ("parallel: 2", "slots: requests that are served at the same time"),
    ("spec", "gpuLayers"): ("gpuLayers: all", "layers kept on the GPU; without it llama-server decides"),
    ("spec", "port"): ("port: auto", "the first free one from 8001 on, kept over restarts; or a number"),
    ("spec", "flags"): ("flags: {jinja: true}", "any flag of llama-server, by its long name without dashes"),
}
"""The fields that most people need, in their order: an example of each, and what to say of it."""


def manifest(name: str, changes: Sequence[Change], comments: Mapping[Path, str], about: str = "") -> str:
    """A server's manifest with these fields. `comments` are for some of them; `about` is for the first line.

    Raises EditError for fields that contradict one another.
    """
    text = _BEGINNING
    order = list(_ABOUT)
    # Each below the one it belongs to, in the order of those that people look for.
    ranked = sorted(changes, key=lambda one: order.index(one[0][:2]) if one[0][:2] in order else -1)
    for at, value in [(("metadata", "name"), name), *ranked]:
        text = set_value(text, at, value)
    given = {at[:2] for at, _ in changes}
    said = {at: words for at, (_, words) in _ABOUT.items() if at in given} | dict(comments)
    for at, words in said.items():
        text = _beside(text, at, words)
    hints = [_line(f"  # {example}", words) for at, (example, words) in _ABOUT.items() if example and at not in given]
    head = [f"# {line}\n" for line in (about, _FIELDS) if line]
    return "".join([*head, text, *hints])


def _beside(text: str, at: Path, comment: str) -> str:
    """The text with a comment at the end of the line where a field's key stands."""
    root = compose(text)
    assert root is not None
    number, _ = locate(root, at, at_key=True)
    lines = text.splitlines(keepends=True)
    lines[number] = _line(lines[number].rstrip("\n"), comment)
    return "".join(lines)


def _line(text: str, comment: str) -> str:
    return f"{text:<{_COLUMN}} # {comment}\n"
