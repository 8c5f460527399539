"""The kinds of documents beside `LlamaServer`: what they may say, and the values that are read of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Field, create_model

from reconciler.core.source import LOCAL
from reconciler.core.spec import Metadata, Name, ServerSpec, Strict, Text

PROFILE = "Profile"
DEFAULTS = "LlamaServerDefaults"
OTHER_KINDS = (PROFILE, DEFAULTS)
"""All kinds but that of servers."""
OWN_TO_EACH = ("model", "port", "dependsOn")
"""Fields of a spec that no two servers share."""


class Selector(Strict):
    """Which servers are meant."""

    match_labels: Mapping[Text, Text] = Field(default_factory=dict, examples=[{"tier": "front"}])
    """Labels that a server must bear, all of them; none: every server is meant."""


class ProfileSpec(Strict):
    """Servers that run together."""

    servers: tuple[Name, ...] = Field((), examples=[["coder", "embedder"]])
    """Servers of the profile by name; those of `selector` belong to it too."""
    selector: Selector | None = None
    """Servers of the profile by their labels."""
    active: bool = False
    """true: only the servers of this profile run. At most one profile is active; without one all servers run."""
    switch: Literal["StopFirst", "StartFirst"] = "StopFirst"
    """Whether the servers that the profile leaves out end before its own start (they need the memory), or after."""


class Profile(Strict):
    """A manifest that chooses which servers run."""

    api_version: Literal["llama.reconciler/v1alpha1"]
    """Version of the manifest's format."""
    kind: Literal["Profile"]
    """What the document declares."""
    metadata: Metadata
    """Who the document is about."""
    spec: ProfileSpec
    """Which servers run together, and whether they do now."""


def _no_number(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError("each server has a port of its own: write it in the server's document, or leave it to 'auto'")  # noqa: TRY004 - pydantic turns a ValueError into its own
    return value


def _template_fields() -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: (about.annotation if not about.metadata else Annotated[about.annotation, *about.metadata], about)
        for name, about in ServerSpec.model_fields.items()
        if about.alias not in OWN_TO_EACH
    }
    port = Field(default="auto", alias="port", description="`auto` alone: each server has a port of its own.")
    fields["port"] = (Annotated[Literal["auto"], BeforeValidator(_no_number)], port)
    return fields


if TYPE_CHECKING:
    Template = ServerSpec
else:
    Template = create_model("Template", __base__=Strict, __doc__="Part of a server's spec.", **_template_fields())


class DefaultsSpec(Strict):
    """What servers take over where they do not say it themselves."""

    selector: Selector | None = None
    """Servers that take it over, by their labels; without it all of them do."""
    template: Template
    """Fields of a server's spec, without `model` and `dependsOn`."""


class LlamaServerDefaults(Strict):
    """A manifest with fields that many servers share."""

    api_version: Literal["llama.reconciler/v1alpha1"]
    """Version of the manifest's format."""
    kind: Literal["LlamaServerDefaults"]
    """What the document declares."""
    metadata: Metadata
    """Who the document is about."""
    spec: DefaultsSpec
    """What is shared, and by whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OtherDocument:
    """What all of them have in common."""

    kind: ClassVar[str]
    name: str
    file: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    """Number of accepted changes of the document; 0 for one not accepted yet."""
    line: int = 0
    """Where it begins in its file, from 1."""
    origin: str = LOCAL
    """Where it comes from: `local` or `git`."""
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, compare=False)
    """Line and column, from 1, of fields as they are written, such as `spec.servers`; not kept over a restart."""

    @property
    def key(self) -> str:
        """What it is called among documents of all kinds; no server's name looks like that."""
        return key_of(self.kind, self.name)

    @property
    def place(self) -> tuple[str, int, str]:
        """Where it stands: file, line, origin."""
        return self.file, self.line, self.origin

    @property
    def is_wanted(self) -> bool:
        """It runs nothing itself: the prune guard counts servers."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDocument(_OtherDocument):
    """A valid `Profile`: what a file declares, or what was last accepted of it."""

    kind: ClassVar[str] = PROFILE
    spec: ProfileSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsDocument(_OtherDocument):
    """A valid `LlamaServerDefaults`: what a file declares, or what was last accepted of it."""

    kind: ClassVar[str] = DEFAULTS
    spec: DefaultsSpec


OtherDocument = ProfileDocument | DefaultsDocument
Others = Mapping[str, OtherDocument]
"""Documents of the other kinds by their keys, such as `Profile/day`."""


def key_of(kind: str, name: str) -> str:
    """The key of a document that declares no server."""
    return f"{kind}/{name}"


def other_document(kind: str, spec: BaseModel | str, **about: Any) -> OtherDocument:
    """A document of one of the other kinds; its `spec` as a value, or as JSON. Raises ValidationError."""
    model: type[ProfileSpec | DefaultsSpec] = ProfileSpec if kind == PROFILE else DefaultsSpec
    value = model.model_validate_json(spec) if isinstance(spec, str) else spec
    make: Any = ProfileDocument if kind == PROFILE else DefaultsDocument
    found: OtherDocument = make(spec=value, **about)
    return found


def dump_other(document: OtherDocument) -> dict[str, Any]:
    """Its spec as JSON-ready data, only what was written."""
    return document.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)


def say_the_same(one: OtherDocument, other: OtherDocument) -> bool:
    """Whether both declare the same; where they stand does not count."""
    return (one.key, one.labels, one.annotations, repr(dump_other(one))) == (
        other.key,
        other.labels,
        other.annotations,
        repr(dump_other(other)),
    )
