"""The kinds of things that can be listed, by every name that people give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean


@dataclass(frozen=True)
class Kind:
    """One kind of thing."""

    plural: str
    """Its name in `get`."""
    singular: str
    """What stands before the name of one: `server/coder`."""
    short: tuple[str, ...]
    """Other names."""
    document: str = ""
    """The `kind` of its documents."""
    happened: bool = False
    """Its names are those of the servers that it happened to."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of its names, in lower case."""
        long = (self.document.lower(), f"{self.document.lower().removesuffix('s')}s") if self.document else ()
        return tuple(dict.fromkeys((self.plural, self.singular, *self.short, *long)))


KINDS: Mapping[str, Kind] = {
    kind.plural: kind
    for kind in (
        Kind("servers", "server", ("srv",), "LlamaServer"),
        Kind("profiles", "profile", ("prof",), "Profile"),
        Kind("defaults", "default", ("def",), "LlamaServerDefaults"),
        Kind("sources", "source", ("src",)),
        Kind("events", "event", ("ev",), happened=True),
        Kind("restarts", "restart", ("rs",), happened=True),
    )
}
"""Every kind by its plural."""
EVERYTHING = "all"
"""All that is, without what happened."""


def kind_of(word: str) -> Kind | None:
    """The kind that a word means."""
    return next((kind for kind in KINDS.values() if word.lower() in kind.names), None)


def asked_for(word: str, more: Sequence[str]) -> dict[str, list[str]]:
    """What the arguments of `get` mean: the names asked for (none: all) by kind, in their order.

    They are `KIND[,KIND]… [NAME]…`, or each of them `KIND/NAME`. Raises Failure.
    """
    if "/" in word:
        return _one_by_one([word, *more])
    kinds = [kind for each in word.split(",") if each for kind in _kinds(each)]
    if not kinds:
        raise _unknown(word)
    return {kind.plural: list(dict.fromkeys(_plain(name, kind) for name in more)) for kind in kinds}


def _one_by_one(words: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        prefix, slash, name = word.partition("/")
        kind = kind_of(prefix)
        if kind is None and slash:
            raise _unknown(prefix)
        if kind is None or not name:
            raise Failure(f"'{word}' is not KIND/NAME", "write for example: server/coder", exit_code=BAD_INPUT)
        # What happened bears a reason or a uid behind the name, as `-o name` prints it.
        name = name.rpartition("/")[0] or name if kind.happened else name
        names = found.setdefault(kind.plural, [])
        names += [name] if name not in names else []
    return found


def _kinds(word: str) -> list[Kind]:
    if word.lower() == EVERYTHING:
        return [kind for kind in KINDS.values() if not kind.happened]
    kind = kind_of(word)
    if kind is None:
        raise _unknown(word)
    return [kind]


def _plain(name: str, kind: Kind) -> str:
    """A name without the kind before it."""
    prefix, _, rest = name.partition("/")
    meant = KINDS["servers"] if kind.happened else kind
    return rest if rest and prefix.lower() in meant.names else name


def _unknown(word: str) -> Failure:
    return Failure(
        f"no such list '{word}'{did_you_mean(word.lower(), KINDS)}",
        f"there are: {', '.join(f'reconciler get {known}' for known in (*KINDS, EVERYTHING))}",
        exit_code=BAD_INPUT,
    )
