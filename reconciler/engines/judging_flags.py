"""A spec's flags held against the help of the binary that is to be run, and fitted to it."""

import difflib
from collections.abc import Iterator, Mapping

from reconciler.core.spec import Fallback, HfModel, Scalar, ServerSpec
from reconciler.engines.flags import Refusal, Value, text_of
from reconciler.engines.help import OFF, ON, Help, Option
from reconciler.engines.known_flags import BLINDING, EXITING, FIELD_OF, PRESET, TWO_VALUES
from reconciler.engines.renamed_flags import other_names, otherwise_written

LEAST_LIKENESS = 0.75
MOST_NAMED = 4
"""Flags or values that are named in one message."""
HIDDEN_BY_SOME = frozenset({"n-gpu-layers", "gpu-layers", "split-mode", "tensor-split", "main-gpu", "mlock", "mmap"})
"""Flags that older builds take, but list only where the machine has a use for them."""
_HIDING: Mapping[str, Value] = {"device": "none", "mmproj-offload": False}
_UNWRITABLE = frozenset({*BLINDING, *EXITING, "api-key", "hf-token"})
"""Flags that no manifest may set, and none is told to."""


def judge_flags(spec: ServerSpec, known: Help, *, lists_all: bool = True) -> list[Refusal]:
    """What the binary would not take of a spec, its fallback steps included: each with its place and a remedy.

    Without `lists_all` it may take flags that its help lacks, as a script around another one may.
    """
    found = _judge(spec, known)
    return found if lists_all else [refusal for refusal in found if not _is_lacked(refusal[0], known)]


def _is_lacked(place: tuple[str | int, ...], known: Help) -> bool:
    """Whether all that speaks against what is written there is that the help does not list it."""
    if "flags" in place:
        return str(place[place.index("flags") + 1]) not in known
    return place[-1] != "gpuLayers"


def _judge(spec: ServerSpec, known: Help) -> list[Refusal]:
    found = [*_judge_fields(spec, known), *_judge_each(spec.flags, known, ("flags",))]
    if isinstance(spec.fallback, Fallback):
        for index, step in enumerate(spec.fallback.steps):
            place = ("fallback", "steps", index)
            found += _judge_each(step.flags, known, (*place, "flags"))
            found += _judge_layers(step.gpu_layers, known, (*place, "gpuLayers"))
    return found


def fitted(spec: ServerSpec, known: Help) -> ServerSpec:
    """The spec with `true` and `false` written as the binary wants them, `on` and `off`; the same when they fit.

    What only keeps a server off the GPUs (see gpus) is left out where the binary has no such flag.
    """
    flags = {name: _fitted(name, value, known) for name, value in spec.flags.items() if _has(name, value, known)}
    changed = len(flags) < len(spec.flags) or any(flags[name] is not value for name, value in spec.flags.items())
    return spec.model_copy(update={"flags": flags}) if changed else spec


def _has(name: str, value: Value, known: Help) -> bool:
    rendered = f"no-{name}" if value is False else name
    return (name, value) not in _HIDING.items() or rendered in known


def _fitted(name: str, value: Value, known: Help) -> Value:
    option = known.get(name)
    if not isinstance(value, bool) or option is None or not option.switches:
        return value
    if value is False and f"no-{name}" in known:
        return value
    return ON if value else OFF


# ---------------------------------------------------------------- fields


def _judge_fields(spec: ServerSpec, known: Help) -> Iterator[Refusal]:
    written = {
        "hf-repo" if isinstance(spec.model, HfModel) else "model": ("model", True),
        "host": ("host", True),
        "port": ("port", True),
        "ctx-size": ("ctx", spec.ctx is not None),
        "parallel": ("parallel", spec.parallel is not None),
        "threads": ("threads", spec.threads is not None),
        "api-key-file": ("apiKeyFile", spec.api_key_file is not None),
    }
    for flag, (field, is_rendered) in written.items():
        if is_rendered and flag not in known:
            yield (field,), f"this llama-server has no `--{flag}`, by which it would be told; {_without(field)}"
    yield from _judge_layers(spec.gpu_layers, known, ("gpuLayers",))


def _without(field: str) -> str:
    needed = field in ("model", "host", "port")
    return "name another one with `binary`" if needed else "leave the field out, or name another one with `binary`"


def _judge_layers(layers: int | str | None, known: Help, place: tuple[str | int, ...]) -> Iterator[Refusal]:
    option = known.get("n-gpu-layers")
    if isinstance(layers, str) and option is not None and not option.takes(layers):
        yield place, f"this llama-server takes no `{layers}` for it; write a number, such as 99 for all layers"


# ---------------------------------------------------------------- flags


def _judge_each(flags: Mapping[str, Value], known: Help, place: tuple[str | int, ...]) -> Iterator[Refusal]:
    for name, value in flags.items():
        option = known.get(name)
        if option is not None and option.removed:
            yield (*place, name), _removed(value, option)
        elif value is False and f"no-{name}" in known:
            continue
        elif option is None:
            if message := _unknown(name, value, known):
                yield (*place, name), message
        else:
            yield from (((*place, name, *index), message) for index, message in _misfits(name, value, option))


def _removed(value: Value, option: Option) -> str:
    if not option.successors:
        return f"this llama-server no longer takes it ({option.removed}); leave it out"
    first, *others = option.successors[:MOST_NAMED]
    or_else = f" (or {_listed(others, 'or')})" if others else ""
    return f"it has been removed from this llama-server; write `{_written(first, value)}`{or_else}"


def _unknown(name: str, value: Value, known: Help) -> str:
    """Empty where it may be known all the same."""
    if isinstance(value, bool) and f"no-{name}" in known:
        return f"this llama-server has only `--no-{name}`, and does what is asked without a flag; leave it out"
    if name in HIDDEN_BY_SOME and "load-mode" not in known and "split-mode" not in known:
        return ""
    missing = "this llama-server has no such flag"
    if instead := _instead(name, value, known):
        return f"{missing}; write `{instead}`"
    if near := _nearest(name, known):
        return f"{missing}; the nearest that it has: {_listed(near, 'or')}"
    return f"{missing}; leave it out"


def _instead(name: str, value: Value, known: Help) -> str:
    """The same as this binary wants it written; empty where that is not known."""
    if not isinstance(value, tuple) and (other := otherwise_written(name, _yaml(value))):
        flag, text = other
        option = known.get(f"no-{flag}" if text == "false" else flag)
        if option is not None and (text in ("true", "false") or option.takes(text)):
            return f"{flag}: {text}"
    found = (other for other in other_names(name) if other in known and not known[other].removed)
    return next((_written(other, value) for other in found), "")


def _nearest(name: str, known: Help) -> list[str]:
    """Flags and fields that somebody may have meant, in words, the likeliest first."""
    writable = [
        one
        for one, option in known.items()
        if not option.removed and not one.startswith("no-") and one not in _UNWRITABLE and not PRESET.fullmatch(one)
    ]
    parts = set(name.split("-"))
    likely = difflib.get_close_matches(name, writable, 2, LEAST_LIKENESS)
    longer = [one for one in writable if parts <= set(one.split("-"))][:2] if len(parts) > 1 else []
    found = list(dict.fromkeys([*longer, *likely]))[:2]
    return list(dict.fromkeys(f"the field `{FIELD_OF[one]}`" if one in FIELD_OF else f"`{one}`" for one in found))


def _misfits(name: str, value: Value, option: Option) -> Iterator[tuple[tuple[int, ...], str]]:
    """Values that the option does not take, each with its place in a list."""
    if value is False:
        if not option.switches:
            yield (), f"this llama-server has no `--no-{name}`; leave the flag out"
    elif value is True:
        if option.values and not option.switches:
            yield (), f"it needs a value; {_how(name, option)}"
    elif option.values == 0:
        yield (), f"it takes no value; {_bare(name, value, option)}"
    elif isinstance(value, tuple):
        if name not in TWO_VALUES:
            misfits = ((index, _misfit(name, one, option)) for index, one in enumerate(value))
            yield from (((index,), message) for index, message in misfits if message)
    elif message := _misfit(name, value, option):
        yield (), message


def _misfit(name: str, value: Scalar, option: Option) -> str:
    if option.takes(text_of(value)):
        return ""
    if option.is_number:
        words = "".join(f" or `{word}`" for word in option.words)
        return f"it takes a number{words}; {_how(name, option)}"
    many = "some of these, separated by commas" if option.several else "one of these"
    return f"it takes {many}: {', '.join(option.allowed)}"


def _how(name: str, option: Option) -> str:
    """How the flag is written with a value."""
    if option.allowed:
        return f"write `{name}: {option.allowed[0]}`, or another of: {', '.join(option.allowed)}"
    return f"write `{name}: {option.placeholder}`, as its help has it"


def _bare(name: str, value: Value, option: Option) -> str:
    off = not isinstance(value, tuple) and text_of(value).lower() in (OFF, "false", "0", "disabled", "no")
    if not off:
        return f"write `{name}: true`"
    return f"write `{name}: false`" if f"no-{name}" in option.names else "leave the flag out"


def _written(name: str, value: Value) -> str:
    """As a manifest has it."""
    return f"{name}: [{', '.join(map(_yaml, value))}]" if isinstance(value, tuple) else f"{name}: {_yaml(value)}"


def _yaml(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else text_of(value)


def _listed(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
