"""Fields of documents as people name them: `ctx`, `spec.flags.threads`, `metadata.labels.team`."""

from reconciler.engines.flags import long_name
from reconciler.engines.known_flags import FIELD_OF
from reconciler.manifests.differing import EditError
from reconciler.manifests.nodes import Path

_FREE = (
    ("metadata", "labels"),
    ("metadata", "annotations"),
    ("spec", "flags"),
    ("spec", "template", "flags"),
    ("spec", "selector", "matchLabels"),
)
"""Mappings whose keys are the user's own, and may have dots in them."""
_FIXED = {
    ("kind",): "the kind of a document cannot change",
    ("apiVersion",): "there is only one version",
    ("metadata",): "name a label or an annotation, such as metadata.labels.team=search",
    ("metadata", "name"): "a server of another name is another server: change it with $EDITOR, or write a second one",
    ("spec",): "name a field of it, such as ctx=8192",
}


def path_of(text: str) -> Path:
    """The place of a field: below `spec` unless it says `metadata`. Raises EditError."""
    parts = tuple(text.split("."))
    if "" in parts:
        raise EditError(f"'{text}' is no field", "give it as ctx, flags.threads or spec.ctx")
    if parts[0] not in ("spec", "metadata", "kind", "apiVersion"):
        parts = ("spec", *parts)
    if parts in _FIXED:
        raise EditError(f"'{text}' cannot be set: {_FIXED[parts]}", "see: reconciler set --help")
    for free in _FREE:
        if parts[: len(free)] == free and len(parts) > len(free) + 1:
            return (*free, ".".join(parts[len(free) :]))
    return parts


def meant(path: Path) -> Path:
    """A flag by its long name, as a manifest has it; one that has a field of its own is that field."""
    if path[:2] != ("spec", "flags") or len(path) != 3:
        return path
    name = long_name(str(path[2]))
    field = FIELD_OF.get(name, "model")
    # Of the flags for models each names it in a way of its own: the refusal says how it is written.
    return ("spec", "flags", name) if field == "model" else ("spec", field)
