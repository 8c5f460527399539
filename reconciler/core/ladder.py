"""The fallback ladder: what is tried, in which order, when what was asked for does not run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

from reconciler.core.causes import CAUSES
from reconciler.core.clean import clean
from reconciler.core.spec import Fallback, FallbackStep, ServerSpec, dump_spec

LEAST_CTX = 2048
"""Tokens of context below which `auto` does not go."""
FIRST_CTX = 8192
"""Tokens of context that `auto` begins with where nobody knows how many were asked for."""
EASED = frozenset(cause.name for cause in CAUSES.values() if cause.eases)
"""The causes that a written step answers, unless it names its own."""
MEMORY = EASED - {"GpuUnavailable"}
GPU_MEMORY = frozenset({"GpuOutOfMemory", "ContextTooLarge"})

NAMES_FILES = frozenset({"model", "flags"})
"""The fields of a step by which it may need other files than what was asked for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One safer setting."""

    number: int
    """From 1, in the order of trying; 0 is what was asked for."""
    told: str = ""
    """It in a few words, such as `ctx 16384` or `CPU only`."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the spec that differ, as a manifest writes them; flags by name within `flags`."""
    hides_gpus: bool = False
    """The GPUs are hidden from it, too: without that a CUDA context would take memory on them."""
    on: frozenset[str] = frozenset()
    """The causes that it answers."""


PRIMARY = Step(0)
"""What was asked for."""


def spec_on(spec: ServerSpec, step: Step) -> ServerSpec:
    """The spec of what runs on a step: the fields of the step in place of those that were asked for, flags by name."""
    if not step.changes:
        return spec
    asked = dump_spec(spec)
    flags = {**asked.get("flags", {}), **step.changes.get("flags", {})}
    changed = {**asked, **step.changes}
    return ServerSpec.model_validate({**changed, "flags": flags} if flags else changed)


def steps(
    spec: ServerSpec,
    default: Literal["auto", "off"] = "auto",
    *,
    trained: int = 0,
    layers: int = 0,
    cpu_only: bool = False,
) -> tuple[Step, ...]:
    """The safer settings of a spec, in the order of trying.

    `default`: what the settings say, for a spec that says nothing. `trained`, `layers`: tokens of context that the
    model was trained with, and its layers; 0: not known. `cpu_only`: no server may use a GPU.
    """
    wanted = spec.fallback or default
    if wanted == "off":
        return ()
    found = _written(wanted, spec) if isinstance(wanted, Fallback) else _auto(spec, trained, layers, cpu_only)
    if cpu_only:
        found = (replace(step, hides_gpus=True) for step in found if step.changes.keys() != {"gpuLayers"})
    return tuple(replace(step, number=number) for number, step in enumerate(found, 1))


def next_step(
    ladder: Sequence[Step], spec: ServerSpec, current: Step, cause: str, tried: frozenset[int] = frozenset()
) -> Step | None:
    """The first step after the current one that answers a cause and was not tried yet; None: there is none.

    A step of `auto` with more context than is had already is passed over: it could only do worse.
    """
    is_written = isinstance(spec.fallback, Fallback)
    for step in ladder:
        if step.number <= current.number or step.number in tried or cause not in step.on:
            continue
        if is_written or _is_safer(step, current, spec, cause):
            return step
    return None


def _is_safer(step: Step, current: Step, spec: ServerSpec, cause: str) -> bool:
    if step.changes == current.changes or _ctx(step, spec) > _ctx(current, spec):
        return False
    # On the CPU more of the machine's own memory is needed, not less.
    mended = {"GpuOutOfMemory", "GpuUnavailable"} if spec.gpu_layers == 0 else GPU_MEMORY | {"GpuUnavailable"}
    return current.hides_gpus or not step.hides_gpus or cause in mended


def as_marked(number: int, told: str, changes: Mapping[str, Any], *, hides_gpus: bool) -> Step | None:
    """The step of a process that is known by its mark alone; None where the mark does not say what the step changes."""
    try:
        found = _changes(FallbackStep.model_validate(changes))
    except ValueError:
        return None
    return Step(number, clean(told), found, hides_gpus) if number and found else None


def told_of(spec: ServerSpec) -> str:
    """What was asked for, in the words in which the steps are told."""
    written = dump_spec(spec)
    return ", ".join(_words(written, [name for name in ("gpuLayers", "ctx") if name in written])) or "as asked"


def asked_beside(spec: ServerSpec, step: Step) -> str:
    """What was asked for of the fields in which a step differs."""
    written, names = dump_spec(spec), [name for name in step.changes if name != "flags"]
    flags = {flag: written.get("flags", {}).get(flag, "unset") for flag in step.changes.get("flags", {})}
    asked = {name: written.get(name, "unset") for name in names}
    return ", ".join([*_words(asked, names), *_words({"flags": flags}, ["flags"])]) or told_of(spec)


def _ctx(step: Step, spec: ServerSpec) -> float:
    return float(step.changes.get("ctx") or spec.ctx or inf)


# ---------------------------------------------------------------- as written


def _written(fallback: Fallback, spec: ServerSpec) -> Iterator[Step]:
    asked = dump_spec(spec)
    for one in fallback.steps:
        changes = _changes(one)
        if changes and any(not _is_so(asked, name, value) for name, value in changes.items()):
            hides = changes.get("gpuLayers") == 0
            told = ", ".join(_words(changes, changes))
            yield Step(0, told, changes, hides_gpus=hides, on=frozenset(one.on) or EASED)


def _changes(step: FallbackStep) -> dict[str, Any]:
    written = step.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return {name: value for name, value in written.items() if name != "on" and value != {}}


def _is_so(asked: Mapping[str, Any], name: str, value: Any) -> bool:
    if name == "gpuLayers" and value == 0:
        return False  # the GPUs are hidden too
    if name == "flags":
        flags = asked.get("flags", {})
        return all(repr(flags.get(flag)) == repr(wanted) for flag, wanted in value.items())
    return bool(asked.get(name) == value)


# ---------------------------------------------------------------- auto


def _auto(spec: ServerSpec, trained: int, layers: int, cpu_only: bool) -> Iterator[Step]:
    """Less context, then fewer layers on the GPU, then none at all.

    Who has no GPU left keeps the context, and gives some of it up only if memory does not do either.
    """
    halves = [{"ctx": ctx} for ctx in _halves(spec, trained)]
    for changes in halves:
        yield _auto_step(changes, MEMORY)
    if cpu_only:
        return
    least: dict[str, Any] = halves[-1] if halves else {}
    if half := _half_layers(spec, layers):
        yield _auto_step({**least, "gpuLayers": half}, GPU_MEMORY)
    for changes in ({}, *halves):
        on = EASED if changes else GPU_MEMORY | {"GpuUnavailable"}
        yield _auto_step({**changes, "gpuLayers": 0}, on)


def _auto_step(changes: dict[str, Any], on: frozenset[str]) -> Step:
    hides = changes.get("gpuLayers") == 0
    rest = [name for name in changes if not (hides and name == "gpuLayers")]
    told = ", ".join([*(["CPU only"] if hides else []), *_words(changes, rest)])
    return Step(0, told, changes, hides_gpus=hides, on=on)


def _halves(spec: ServerSpec, trained: int) -> Iterator[int]:
    ctx = spec.ctx or trained
    if not ctx:
        yield FIRST_CTX
        ctx = FIRST_CTX
    while ctx > LEAST_CTX:
        ctx = max(ctx // 2, LEAST_CTX)
        yield ctx


def _half_layers(spec: ServerSpec, layers: int) -> int:
    asked = spec.gpu_layers
    return (asked if isinstance(asked, int) else layers) // 2


def _words(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    found = []
    for name in names:
        value = values[name]
        if name == "flags":
            found += [f"{flag} {_plain(one)}" for flag, one in value.items()]
        else:
            found.append(f"{name} {_plain(value)}")
    return found


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, dict):
        return str(value.get("hf", value))
    return ",".join(str(one) for one in value) if isinstance(value, list) else str(value)
