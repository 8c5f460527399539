"""Documents of all shapes, written in a random manner, and changes of all kinds: the data follows, the lines stay."""

import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.manifests import emit
from reconciler.manifests.changing import REMOVED, Change, respec
from reconciler.manifests.nodes import Path, compose, plain
from reconciler.manifests.text import lines

TEXT = st.one_of(
    st.sampled_from(["yes", "1", "1e3", "~", "null", "- a", "a: b", "a #b", "<<", "=", "2026-01-01", "1:30", ".5", ""]),
    st.text(max_size=12),
    st.text("ab\n :#-'\"\\\t", max_size=12),
)
SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: abs(value) < 2.0**62),
    TEXT,
)
KEY = st.one_of(st.sampled_from(["a", "b", "c d", "on", "1"]), st.text(min_size=1, max_size=6))
VALUE = st.recursive(
    SCALAR,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(KEY, below, max_size=3)),
    max_leaves=8,
)
SPEC = st.dictionaries(KEY, VALUE, min_size=1, max_size=5)


@dataclass
class Written:
    """A document as text, and whose each line is."""

    chance: random.Random
    ending: str
    text: list[tuple[Path, str]] = field(default_factory=list)

    def put(self, at: Path, line: str, *, comment: bool = True) -> None:
        """One line, perhaps with a comment at its end."""
        if comment and self.chance.random() < 0.3:
            line += " " * self.chance.randint(1, 4) + f"# {self.chance.random()}"
        self.text.append((at, line + self.ending))

    def noise(self, at: Path, column: int) -> None:
        """Perhaps a blank line, or a comment, among what a place holds."""
        if self.chance.random() < 0.3:
            kind = self.chance.choice(["", " " * column + f"# {self.chance.random()}", f"# {self.chance.random()}"])
            self.text.append(((*at, "noise"), kind + self.ending))

    def entry(self, at: Path, begin: str, value: Any, column: int) -> None:
        """A key with its sign, or a dash, and the value behind it."""
        if isinstance(value, dict | list) and value and self.chance.random() < 0.7:
            self.put(at, begin)
            self.block(at, value, column)
        else:
            style = self.chance.choice(["", "", "'"])
            self.put(at, f"{begin}{' ' * self.chance.randint(1, 3)}{emit.inline(value, style)}")

    def block(self, at: Path, value: Any, column: int) -> None:
        """The lines of a mapping or a list whose holder stands at `column`."""
        below = column + self.chance.randint(0 if isinstance(value, list) else 1, 4)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for number, (part, one) in enumerate(pairs):
            if number:
                self.noise(at, below)
            if isinstance(value, list):
                # A list below a dash has to stand deeper than it.
                self.entry((*at, part), " " * below + "-", one, below + 1)
            else:
                sign = self.chance.choice([":", " :"])
                self.entry((*at, part), " " * below + emit.inline(part) + sign, one, below)


def written(spec: dict[str, Any], seed: int, ending: str) -> Written:
    made = Written(random.Random(seed), ending)
    made.put(("kind",), "kind: LlamaServer")
    made.put(("metadata",), "metadata: {name: coder}")
    made.put(("spec",), "spec:")
    made.block(("spec",), spec, 0)
    return made


def every_place(data: Any, at: Path = ("spec",)) -> list[Path]:
    pairs = list(data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else [])
    news: list[Path] = (
        [(*at, "new")] if isinstance(data, dict) else [(*at, len(data))] if isinstance(data, list) else []
    )
    return news + [one for part, value in pairs for one in [(*at, part), *every_place(value, (*at, part))]]


def changed(data: Any, at: Path, value: Any) -> Any:
    if not at:
        return value
    part: Any = at[0]
    if isinstance(data, list):
        below = value if len(at) == 1 else changed(data[part], at[1:], value)
        return [*data[:part], *([] if below is REMOVED else [below]), *data[part + 1 :]]
    if len(at) == 1 and value is REMOVED:
        return {key: one for key, one in data.items() if key != part}
    return data | {part: changed(data.get(part), at[1:], value)}


def stays(owner: Path, at: Path) -> bool:
    """Whether a line of that owner may not be touched by a change there.

    The line of a key is touched, too, when what it holds becomes, or was, empty, or stands beside it.
    """
    return owner[: len(at)] != at and at[: len(owner)] != owner


def is_part(some: list[str], all_: list[str]) -> bool:
    left = iter(all_)
    return all(one in left for one in some)


@settings(max_examples=60, deadline=None)
@given(spec=SPEC, data=st.data(), seed=st.integers(0, 2**32), ending=st.sampled_from(["\n", "\r\n"]))
def test_the_data_follows_and_the_lines_stay(spec: dict[str, Any], data: st.DataObject, seed: int, ending: str) -> None:
    made = written(spec, seed, ending)
    text = "".join(line for _, line in made.text)
    root = compose(text)
    assert root is not None
    before = plain(root)
    assert before["spec"] == spec
    changes: list[Change] = []
    after, touched = before, list[Path]()
    for _ in range(data.draw(st.integers(1, 3), "number")):
        at = data.draw(st.sampled_from(every_place(after["spec"]) or [("spec", "new")]), "at")
        value = data.draw(st.one_of(st.just(REMOVED), VALUE), "value")
        changes.append((at, value))
        after, touched = changed(after, at, value), [*touched, at]
    new = respec(text, "LlamaServer", "coder", changes)
    said = compose(new)
    assert said is not None
    assert repr(sorted_(plain(said))) == repr(sorted_(after))
    if len(touched) > 1:
        # Which of several items of a list is meant by a number depends on the changes before.
        touched = [at[: next((n for n, part in enumerate(at) if isinstance(part, int)), len(at))] for at in touched]
    stayed = [line for owner, line in made.text if all(stays(owner, at) for at in touched)]
    assert is_part([line for line in stayed if line.strip()], [*lines(new), ending])


def sorted_(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: sorted_(data[key]) for key in sorted(data)}
    return [sorted_(one) for one in data] if isinstance(data, list) else data


@given(VALUE)
def test_what_is_written_is_read_back_by_readers_of_both_versions(value: Any) -> None:
    for version in ((1, 2), (1, 1)):
        yaml = YAML(typ="safe", pure=True)
        yaml.version = version
        said = yaml.load(f"a: {emit.inline(value)}\n")["a"]
        assert repr(said) == repr(value), version


@given(st.dictionaries(KEY, VALUE, max_size=3), st.integers(0, 3), st.integers(1, 4))
def test_lines_below_a_key_are_read_back(value: dict[str, Any], column: int, step: int) -> None:
    text = "\n".join([" " * column + "first: 1", *emit.pair("a", emit.Grown(value), column, step)])
    root = compose(text + "\n")
    assert root is not None
    assert repr(plain(root)["a"]) == repr(value)
