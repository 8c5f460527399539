"""Fields of what `-o json` prints, by their paths or by the short names that people use."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean

MISSING = object()
"""What a field is where its path leads nowhere."""
_SHORT: Mapping[str, tuple[str, ...]] = {
    "name": ("metadata.name", "server"),
    "uptime": ("status.uptimeSeconds",),
    "pid": ("status.instance.pid",),
    "uid": ("status.instance.uid",),
    "slots": ("status.effective.slots",),
    "file": ("metadata.source.file",),
    "origin": ("metadata.source.origin",),
    "last": ("lastAt",),
    "started": ("startedAt", "status.instance.startedAt"),
    "ended": ("endedAt",),
}
_PLACES = ("", "metadata.", "status.", "spec.", "status.conditions.", "metadata.labels.")
"""Where a path may begin that is not written from the top; the first that leads somewhere counts."""
_FREE = ("metadata.labels", "metadata.annotations", "metadata.source", "status.effective")
"""Where a key may be missing in all that are listed, and be none the worse."""


@dataclass(frozen=True)
class Field:
    """A field, as people write it: `phase`, `status.phase`, `.status.phase`, `{.status.phase}`."""

    written: str

    @property
    def path(self) -> str:
        """Without the marks of a JSONPath."""
        return re.sub(r"^\{(.*)\}$", r"\1", self.written).lstrip(".")

    @property
    def is_phase(self) -> bool:
        """Whether it is a server's phase."""
        return self.path in ("phase", "status.phase")

    def of(self, item: Mapping[str, Any]) -> Any:
        """Its value; MISSING where the path leads nowhere."""
        for path in self._paths():
            if (value := _look_up(item, path.split("."))) is not MISSING:
                return value
        return MISSING

    def _paths(self) -> Iterator[str]:
        yield from _SHORT.get(self.path, ())
        yield from (place + self.path for place in _PLACES)


def _look_up(value: Any, path: Sequence[str]) -> Any:
    """A value below another. Keys may have dots in them; of a list of conditions the type is the key."""
    if not path or value is None:
        # What is not there for now, such as the instance of a stopped server, has no fields for now.
        return value
    if isinstance(value, Mapping):
        for end in range(1, len(path) + 1):
            key = ".".join(path[:end])
            if key in value:
                return _look_up(value[key], path[end:])
    elif isinstance(value, list):
        for number, each in enumerate(value):
            kind = each.get("type", "") if isinstance(each, Mapping) else ""
            if path[0] == str(number) or (kind and path[0].lower() == str(kind).lower()):
                return _look_up(each, path[1:])
    return MISSING


def texts(value: Any) -> list[str]:
    """A value as people write it: `true`, `8001`; each of a list, the status of a condition, nothing as empty."""
    if value is MISSING or value is None:
        return [""]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    if isinstance(value, Mapping):
        return texts(value["status"]) if "status" in value else [",".join(f"{key}={value[key]}" for key in value)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def name_of(item: Mapping[str, Any]) -> str:
    """The name of a thing; of what happened, the server's."""
    return ", ".join(texts(Field("name").of(item)))


def refuse_unknown_fields(fields: Sequence[Field], items: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> None:
    """Raise Failure for a field that none of the items has, or could have. `kinds`: those that were asked for."""
    for field in fields:
        if items and all(field.of(item) is MISSING for item in items) and not _may_be(field.path, items):
            known = sorted({path for item in items for path in _paths_of(item)})
            names = {*known, *(path.rpartition(".")[2] for path in known), *_SHORT}
            raise Failure(
                f"no field '{field.written}'{did_you_mean(field.path, names)}",
                f"see which there are in: reconciler get {','.join(kinds)} -o json",
                exit_code=BAD_INPUT,
            )


def _may_be(path: str, items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is a field that just nobody wrote."""
    if not any("spec" in item for item in items):
        return False
    if path in _SHORT or path.startswith(_FREE):
        return True
    head, _, rest = path.removeprefix("spec.").partition(".")
    return _is_declared(head, rest)


def _is_declared(head: str, rest: str) -> bool:
    """Whether a spec may have it."""
    from reconciler.core.spec import ServerSpec  # noqa: PLC0415 - pydantic is slow to import, and seldom needed here

    model: Any = ServerSpec
    for name in (head, *filter(None, rest.split("."))):
        fields = {field.alias: field.annotation for field in getattr(model, "model_fields", {}).values()}
        if not fields:
            return True
        if name not in fields:
            return False
        model = fields[name]
    return True


def _paths_of(value: Any, above: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield f"{above}{key}"
            yield from _paths_of(each, f"{above}{key}.")
