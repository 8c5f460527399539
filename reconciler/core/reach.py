"""What a manifest would use of this machine, as far as the rules of the policy ask."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reconciler.core.spec import FromEnv, FromFile, HfModel, ServerSpec

FOLDERS = frozenset({"models", "secrets"})
"""Settings that list folders, in which a file must lie."""
PATHS = FOLDERS | {"binaries"}
"""Settings that list paths."""


@dataclass(frozen=True, slots=True)
class Reach:
    """One thing of this machine that a spec would use, and the setting that decides about it."""

    setting: str
    """A field of the rules."""
    subject: str
    """What people are told about: `spec.port`, or a flag."""
    value: str = ""
    """What is held against the setting: a path, a name, an address, a number."""
    why: str = ""
    """What is wrong with it; empty for what is refused only when the rules name it."""
    aliases: tuple[str, ...] = ()
    """Other names of a flag."""
    inherited: bool = False
    """Whether servers get this variable of the controller's own."""

    def within(self, place: tuple[str | int, ...]) -> "Reach":
        """The same, of a part of the spec such as a fallback step."""
        return replace(self, subject=f"{self.subject} of spec.{'.'.join(map(str, place))}")


def reaches(spec: ServerSpec, inherits: Callable[[str], bool] = lambda _: False) -> Iterator[Reach]:
    """What the fields of a spec would use; flags are the engine's to know, and which variables a server `inherits`."""
    if spec.binary is not None:
        yield Reach("binaries", "spec.binary", spec.binary)
    if isinstance(spec.model, HfModel):
        yield Reach("hf", "spec.model")
    else:
        yield Reach("models", "spec.model", spec.model)
    yield Reach("hosts", "spec.host", spec.host)
    if spec.port != "auto":
        yield Reach("ports", "spec.port", str(spec.port))
    if spec.api_key_file is not None:
        yield Reach("secrets", "spec.apiKeyFile", spec.api_key_file)
    yield Reach("max_ctx", "spec.ctx", str(spec.ctx or ""))
    yield Reach("max_parallel", "spec.parallel", str(spec.parallel or ""))
    for name, value in spec.env.items():
        yield Reach("env", f"spec.env.{name}", name, inherited=inherits(name))
        match value:
            case FromEnv(from_env=source):
                yield Reach("from_env", f"spec.env.{name}", source)
            case FromFile(from_file=path):
                yield Reach("secrets", f"spec.env.{name}", path)
