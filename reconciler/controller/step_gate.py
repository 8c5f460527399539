"""The gate's part about fallback steps: those that name a model or flags of their own are held against it too."""

from dataclasses import replace

from reconciler.core.ladder import NAMES_FILES, spec_on, steps
from reconciler.core.model import Document
from reconciler.core.spec import Fallback, ServerSpec

MOST_KEPT = 256

Stepped = tuple[tuple[int, Document], ...]
"""Steps by number, each as a document that asks for it."""


class StepGate:
    """Knows what is to be looked at for the steps of a document."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ServerSpec, Stepped]] = {}
        """By name, of which spec: each pass looks again."""

    def of(self, document: Document) -> Stepped:
        """Its steps with files or flags of their own."""
        spec = document.spec
        if not isinstance(spec.fallback, Fallback):
            return ()
        before = self._known.get(document.name)
        if before is not None and before[0] is spec:
            return before[1]
        found = tuple(
            (step.number, replace(document, name=f"{document.name} step {step.number}", spec=spec_on(spec, step)))
            for step in steps(spec)
            if not NAMES_FILES.isdisjoint(step.changes)
        )
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[document.name] = spec, found
        return found
