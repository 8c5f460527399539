"""The fallback steps that a manifest writes itself, as whole specs: what is asked of a spec is asked of each."""

from collections.abc import Iterator

from reconciler.core.ladder import Step, spec_on
from reconciler.core.spec import Fallback, FallbackStep, ServerSpec

Place = tuple[str | int, ...]
"""A place within a spec, such as `("flags", "threads-batch")`."""


def written_steps(spec: ServerSpec) -> Iterator[tuple[Place, FallbackStep, ServerSpec]]:
    """Each step with its place in the spec, and the spec of what runs on it."""
    steps = spec.fallback.steps if isinstance(spec.fallback, Fallback) else ()
    for index, step in enumerate(steps):
        changes = step.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"on"})
        yield ("fallback", "steps", index), step, spec_on(spec, Step(index + 1, changes=changes))


def says(step: FallbackStep, place: Place) -> bool:
    """Whether it is the step that says what stands at a place of its spec."""
    written = step.model_dump(by_alias=True, exclude_unset=True)
    return place[0] in written and (place[0] != "flags" or len(place) == 1 or place[1] in step.flags)
