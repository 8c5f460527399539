"""Documents of all kinds for tests of acceptance, and looks that are judged one after the other."""

from dataclasses import dataclass, field
from typing import Any

from reconciler.core.accept import Acceptance, Beside, Seen, accept
from reconciler.core.defaults import Check
from reconciler.core.kinds import (
    DefaultsDocument,
    LlamaServerDefaults,
    OtherDocument,
    Others,
    Profile,
    ProfileDocument,
)
from reconciler.core.model import Document, Problem
from reconciler.core.pruning import Memory
from reconciler.core.selection import Selection
from reconciler.core.source import LOCAL
from reconciler.core.spec import API_VERSION

Found = Document | OtherDocument


def profile(name: str, file: str = "", *, origin: str = LOCAL, **spec: Any) -> ProfileDocument:
    found = Profile.model_validate(_data("Profile", name, spec)).spec
    return ProfileDocument(name=name, file=file or f"{name}.yaml", line=1, origin=origin, spec=found)


def defaults(
    name: str, template: dict[str, Any], *, labels: dict[str, str] | None = None, origin: str = LOCAL
) -> DefaultsDocument:
    selector = {} if labels is None else {"selector": {"matchLabels": labels}}
    data = _data("LlamaServerDefaults", name, {"template": template, **selector})
    spec = LlamaServerDefaults.model_validate(data).spec
    return DefaultsDocument(name=name, file=f"{name}.yaml", line=1, origin=origin, spec=spec)


def _data(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


@dataclass
class Judge:
    """What is in force, look after look."""

    documents: dict[str, Document] = field(default_factory=dict)
    others: Others = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    selection: Selection = field(default_factory=Selection)
    asked: str | None = None
    check: Check = lambda _: ()

    def look(
        self, now: float, *found: Found, problems: tuple[Problem, ...] = (), failed: str = "", **more: Any
    ) -> Acceptance:
        servers = tuple(one for one in found if isinstance(one, Document))
        others = tuple(one for one in found if not isinstance(one, Document))
        confirmed = more.pop("confirmed", frozenset())
        seen = Seen(servers, problems, failed, others=others, **more)
        beside = Beside(self.others, self.selection, self.asked, self.check)
        made = accept(self.documents, seen, self.memory, now, confirmed, beside)
        self.documents, self.others = dict(made.documents), made.others
        self.memory, self.selection = made.memory, made.selection
        return made


def texts(acceptance: Acceptance) -> list[str]:
    """All that is wrong."""
    every = (*acceptance.problems.values(), *acceptance.other_problems.values(), acceptance.general)
    return [str(problem) for found in every for problem in found]
