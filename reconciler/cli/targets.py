"""What an edit is about, as people name it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.cli.failure import BAD_INPUT, Failure, did_you_mean

SERVER = "LlamaServer"
KINDS = {SERVER: "server", "Profile": "profile", "LlamaServerDefaults": "defaults"}
"""The kinds that can be edited, with the words that people type for them."""
_WORDS = {
    **{word: kind for kind, word in KINDS.items()},
    **{kind.lower(): kind for kind in KINDS},
    "servers": SERVER,
    "srv": SERVER,
    "profiles": "Profile",
    "prof": "Profile",
    "default": "LlamaServerDefaults",
    "def": "LlamaServerDefaults",
}
"""What may stand before a name."""
EXIT_CODES: Mapping[int, str] = {
    0: "done, or it was so already",
    1: "it could not be done; with --wait also: the server is not as declared",
    2: "the command line has errors, or the manifest would have; nothing was changed",
}
"""Of the verbs that edit manifests."""


@dataclass(frozen=True)
class Target:
    """What an edit is about."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{KINDS.get(self.kind, self.kind)}/{self.name}"

    @property
    def key(self) -> str:
        """As the controller keeps it."""
        return self.name if self.kind == SERVER else f"{self.kind}/{self.name}"

    @property
    def shortest(self) -> str:
        """As it can be typed where a name alone means a server."""
        return self.name if self.kind == SERVER else str(self)

    @property
    def words(self) -> str:
        """For a sentence."""
        return f"{KINDS.get(self.kind, self.kind)} '{self.name}'"


def kind_of(word: str) -> str:
    """The kind that a word stands for; empty for none."""
    return _WORDS.get(word.lower(), "")


def target_of(text: str) -> Target:
    """`server/coder`, or `coder` alone for a server. Raises Failure."""
    word, slash, name = text.partition("/")
    kind = kind_of(word) if slash else SERVER
    if not kind:
        known = ", ".join(f"{one}/NAME" for one in KINDS.values())
        raise Failure(f"no kind '{word}'{did_you_mean(word, _WORDS)}", f"say one of: {known}", exit_code=BAD_INPUT)
    return Target(kind, name if slash else text)


def targets_of(arguments: Sequence[str]) -> list[Target]:
    """`server coder chat`, `server/coder profile/day` or `coder`. Raises Failure."""
    if len(arguments) > 1 and (kind := kind_of(arguments[0])):
        return [Target(kind, name.rpartition("/")[2]) for name in dict.fromkeys(arguments[1:])]
    return [target_of(text) for text in dict.fromkeys(arguments)]
