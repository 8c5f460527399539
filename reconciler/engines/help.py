"""What `llama-server --help` tells of the flags of that very binary."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

FEWEST = 20
"""Options that a text must list to be taken for the help of a llama-server."""
NEEDED = frozenset({"model", "ctx-size"})
"""Options that every llama-server has."""
ON, OFF = "on", "off"
SYNONYMS = {ON: ("true", "enabled", "1"), OFF: ("false", "disabled", "0"), "auto": ("-1",)}
"""What llama-server takes for them besides, without its help telling."""

_NAME = r"-{1,2}[A-Za-z][\w.-]*"
_HEAD = re.compile(rf"(?P<indent> {{0,4}}|\* +)(?={_NAME})")
_NAMED = re.compile(rf"(?P<name>{_NAME})(?P<value>(?: (?!-{{1,2}}[A-Za-z])\S+?)*)(?P<end>,\s+(?=-)| (?=-)| {{2,}}|$)")
_IN_WORDS = re.compile(r"[\[{](?P<words>[\w.+-]+(?:[|,][\w.+-]+)+)[\]}]")
_PAIR = re.compile(r"[A-Z]{3,} [A-Z]{3,}")
_SEVERAL = re.compile(r"[a-z][\w-]+(?:,[a-z][\w-]+){2,}")
_ALLOWED = re.compile(r"allowed values: (?P<words>[\w.+-]+(?:, [\w.+-]+)*)")
_BULLET = re.compile(r"- (?P<word>[a-z][\w+-]*)(?: \(default\))?:", re.IGNORECASE)
_DEFAULT = re.compile(r"\(default: '?(?P<word>[\w.+-]+)'?[,) ]")
_QUOTED = re.compile(r"'(?P<word>[a-z]+)'")
_REMOVED = re.compile(r"(?:the |this )?(?:argument|option|flag|parameter) (?:has been|was|is) removed", re.IGNORECASE)
_IGNORED = re.compile(r"\bDEPRECATED\b")
_SUCCESSOR = re.compile(r"--(?P<name>[a-z][\w*-]*)")
_UNTOLD: Mapping[str, tuple[str, ...]] = {"reasoning-format": ("auto", "none", "deepseek", "deepseek-legacy")}
"""Values that some builds take although their help leaves them out."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a llama-server."""

    names: tuple[str, ...]
    """Its long names without dashes, negated ones (`no-…`) too."""
    values: int | None = 0
    """How many values it takes; None: the help does not tell."""
    placeholder: str = ""
    """What the help writes in the place of the value, such as `N` or `{none,linear,yarn}`."""
    allowed: tuple[str, ...] = ()
    """The only values that it takes; empty: others too."""
    several: bool = False
    """It takes several of those, separated by commas."""
    is_number: bool = False
    """It takes a number, or one of `words`."""
    words: tuple[str, ...] = ()
    removed: str = ""
    """What the help says of its removal."""
    successors: tuple[str, ...] = ()
    """Options that the help names in its place."""

    @property
    def switches(self) -> bool:
        """Whether its value is `on` or `off`."""
        return ON in self.allowed and OFF in self.allowed

    def takes(self, text: str) -> bool:
        """Whether the value is one that it takes, as far as the help tells."""
        if self.is_number:
            return text in self.words or re.match(r"\s*[+-]?\.?\d|[+-]?(inf|nan)", text) is not None
        if not self.allowed:
            return True
        accepted = {*self.allowed, *(other for word in self.allowed for other in SYNONYMS.get(word, ()))}
        return all(word in accepted for word in (text.split(",") if self.several else [text]))


Help = Mapping[str, Option]
"""The options by each of their long names."""


def read_help(text: str) -> Help | None:
    """The options of a help text; None where it is none of a llama-server."""
    found: dict[str, Option] = {}
    for lines in _blocks(text):
        option = _option(lines)
        for name in option.names if option else ():
            assert option is not None
            found.setdefault(name, option)
    if len(found) < FEWEST or not found.keys() >= NEEDED:
        return None
    return {name: _with_existing_successors(option, found) for name, option in found.items()}


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines of each option: those that begin with a name, and what is indented below it."""
    block: list[str] = []
    for line in text.splitlines():
        if _HEAD.match(line):
            if block:
                yield block
            block = [line]
        elif block and line[:1].isspace():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _option(lines: Sequence[str]) -> Option | None:
    names, placeholder, told = _head(lines[0].lstrip("* ").rstrip())
    longs = tuple(name.removeprefix("--") for name in names if name.startswith("--"))
    if not longs:
        return None
    about = [told, *(line.strip() for line in lines[1:])]
    return _with_values(Option(longs, _values(placeholder, lines[0]), placeholder), about)


def _values(placeholder: str, line: str) -> int | None:
    if placeholder:
        return 2 if _PAIR.fullmatch(placeholder) else 1
    return None if line.startswith((" ", "*")) else 0  # the older form leaves some placeholders out


def _head(line: str) -> tuple[list[str], str, str]:
    """The names in the first line of an option, what stands for its value, and the words behind them."""
    names, placeholder, at = [], "", 0
    while match := _NAMED.match(line, at):
        names.append(match["name"])
        placeholder = match["value"].strip() or placeholder
        at = match.end()
        if not match["end"].startswith(",") and match["end"] != " ":
            break
    return names, placeholder, line[at:].strip()


def _with_values(option: Option, about: Sequence[str]) -> Option:
    text = " ".join(about).strip()
    if match := _REMOVED.match(text):
        told = re.sub(r"\s*\(env: \w+\)", "", text[match.start() :])
        return replace(option, removed=told, successors=tuple(_SUCCESSOR.findall(told)))
    if _IGNORED.search(text):
        return option  # whatever its value is, it does not count any more
    if option.placeholder == "N":
        return replace(option, is_number=True, words=tuple(_QUOTED.findall(text)))
    several = _SEVERAL.fullmatch(option.placeholder) is not None
    words = _words(option.placeholder, about)
    if not words:
        return option
    default = [match["word"]] if (match := _DEFAULT.search(f"{text} ")) else []
    untold = [word for name in option.names for word in _UNTOLD.get(name, ())]
    return replace(option, several=several, allowed=tuple(dict.fromkeys([*words, *default, *untold])))


def _words(placeholder: str, about: Sequence[str]) -> list[str]:
    """The values of a closed list, however the help writes it."""
    if match := _IN_WORDS.fullmatch(placeholder):
        return re.split(r"[|,]", match["words"])
    if _SEVERAL.fullmatch(placeholder):
        return placeholder.split(",")
    if match := _ALLOWED.search(" ".join(about)):
        return match["words"].split(", ")
    bullets = [match["word"] for line in about if (match := _BULLET.match(line))]
    return bullets if len(bullets) > 1 and placeholder else []


def _with_existing_successors(option: Option, found: Mapping[str, Option]) -> Option:
    """With those that this very help lists; `*` stands for anything."""
    if not option.successors:
        return option
    kept = [
        name
        for told in option.successors
        for name in found
        if re.fullmatch(re.escape(told).replace(r"\*", r"[\w-]+"), name) and not found[name].removed
    ]
    return replace(option, successors=tuple(dict.fromkeys(kept)))
