"""Every place of files that are written in every way people have, changed in every manner: nothing else may change."""

import random
import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.manifests.changing import REMOVED, EditError, respec
from reconciler.manifests.identity import identify
from reconciler.manifests.nodes import Path, compose, entries, plain
from reconciler.manifests.text import lines, split

FILES = sorted(FilePath(__file__).with_name("nasty").glob("*.yaml"))
VALUES: list[Any] = [
    *(REMOVED, 8192, 1.5, True, None, "yes", "text", "a: b #c", "", "'\"\\", "two\nlines\n", "\n", " é€🦙\x07"),
    *([], ["p", "q, r", {"s": [1]}], {}, {"a": 1, "b": "x"}, {"a": {"b": [1, "x, y"]}, "c": {"d": {}}}),
]
BY_HAND = {("metadata", "annotations", "app"), ("metadata", "annotations", "tier")} | {
    *((("spec", "env", "A"), ("spec", "env", "B"))),
    *((("spec", "probes", "liveness", "deadline"), ("spec", "probes", "liveness", "period"))),
}
"""What is merged cannot be taken away where it is merged."""


def texts(file: FilePath) -> tuple[str, str]:
    """A file's text, and that of the document in it."""
    text = file.read_bytes().decode()
    [found] = [chunk.text for chunk in split(text) if chunk.content_line and identify(chunk.text)[1] == "coder"]
    return text, found


def places(data: Any, at: Path = ()) -> Iterator[Path]:
    """Every key and item there is, and a new one in each mapping and list."""
    if isinstance(data, dict):
        below = [(key, data[key]) for key in data]
        yield from ((*at, "new"), (*at, "fresh", "er"))
    else:
        below = list(enumerate(data)) if isinstance(data, list) else []
        yield from [(*at, len(data))] if isinstance(data, list) else []
    for part, value in below:
        yield (*at, part)
        yield from places(value, (*at, part))


def expected(data: Any, at: Path, value: Any) -> Any:
    if not at:
        return value
    part: Any = at[0]
    data = ([] if isinstance(part, int) else {}) if data is None else data
    new = [*data] if isinstance(data, list) else dict(data)
    if len(at) == 1 and value is REMOVED:
        if isinstance(new, dict):
            new.pop(part, None)
        elif part < len(new):
            del new[part]
    elif isinstance(new, list):
        new[part : part + 1] = [expected(data[part] if part < len(data) else None, at[1:], value)]
    elif value is not REMOVED or isinstance(new.get(part), dict | list):
        new[part] = expected(new.get(part), at[1:], value)
    return new


def last_line(node: Node) -> int:
    """The last line of what is written for a node, which for blocks is that of their last part."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        below = node.value[-1]
        return max(last_line(one) for one in (below if isinstance(below, tuple) else (below,)))
    end: int = node.end_mark.line
    is_literal = isinstance(node, ScalarNode) and node.style in ("|", ">")
    return end - 1 if is_literal and node.end_mark.column == 0 else end


def span(root: Node, at: Path) -> tuple[int, int]:
    """First and last line (from 0) of what may have to change: the entry, else what a new one would be put into."""
    node, first, last = root, 0, last_line(root)
    for depth, part in enumerate(at):
        if isinstance(node, MappingNode) and (entry := entries(node).get(str(part))):
            is_only = len(node.value) == 1
            start, node = entry[0].start_mark.line, entry[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            is_only = len(node.value) == 1
            # Its dash may stand in a line of its own.
            dashed = part and not node.flow_style
            start = last_line(node.value[part - 1]) + 1 if dashed else node.value[part].start_mark.line
            node = node.value[part]
        else:
            is_line = getattr(node, "flow_style", False) or not node.value
            return (first, last) if is_line else (last, last)
        # The only one of its kind goes together with what holds it; behind a dash, the next one takes its place.
        first, last = first if is_only else start, max(last_line(node), start) + (start == first and depth > 3)
    return first, last


def is_part(some: list[str], all_: list[str]) -> bool:
    left = iter(all_)
    return all(one in left for one in some)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_every_other_byte_stays(file: FilePath) -> None:
    text, document = texts(file)
    root = compose(document)
    assert root is not None
    data = plain(root)
    above = text.index(document)
    tried = 0
    for at in places(data):
        for value in (REMOVED, VALUES[tried % len(VALUES)]):
            tried += 1
            what = (at, value)
            try:
                new = respec(text, "LlamaServer", "coder", [(at, value)])
            except EditError:
                assert value is REMOVED, what
                assert file.stem == "anchors", what
                assert at in BY_HAND, what
                continue
            assert new[:above] == text[:above], what
            behind = text[above + len(document) :]
            assert new.endswith(behind), what
            changed = new[above : len(new) - len(behind)]
            check_data(changed, expected(data, at, value), what)
            check_lines(lines(document), lines(changed), span(root, at), what)
    assert tried > 20


def check_data(text: str, wanted: Any, what: Any) -> None:
    root = compose(text)
    assert root is not None
    said = plain(root)
    assert said == wanted, what
    assert types(said) == types(wanted), what


def types(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: types(value) for key, value in data.items()}
    return [types(value) for value in data] if isinstance(data, list) else type(data)


ANCHORS = re.compile(r"[&*]\w+")


def check_lines(old: list[str], new: list[str], where: tuple[int, int], what: Any) -> None:
    """Lines outside of the place are the same, but for those that refer to it or are referred to in it."""
    first, last = where
    above = [line for line in old[:first] if not ANCHORS.search(line)]
    below = [line for line in old[last + 1 :] if not ANCHORS.search(line) and line.strip() != ","]
    assert is_part(above + below, new), (what, new)
    if len(below) == len(old[last + 1 :]):
        assert new[:first] == old[:first], what
        assert new[len(new) - len(below) :] == below, what


SCRAPS = [*" \n\r\t#:-?{}[],&*!|>'\"%@`~a1<=+é\u2028\x85\ufeff\\.", "---", "...", "<<: ", "- ", "&x ", "*x ", "|+\n"]


def damaged(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(["", *SCRAPS]) + text[at + chance.choice([0, 0, 1, 5, 20]) :]
    return text


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_text_it_is_right_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    originals = [file.read_bytes().decode() for file in FILES]
    done, refused = 0, list[str]()
    for _ in range(100):
        text = damaged(chance.choice(originals), chance)
        at, value = chance.choice(list(places({"spec": {"ctx": 1, "flags": {"lora": []}}}))), chance.choice(VALUES)
        try:
            new = respec(text, "LlamaServer", "coder", [(at, value)])
        except EditError as error:
            refused.append(str(error))
            continue
        done += 1
        [old_one] = [chunk.text for chunk in split(text) if identify(chunk.text) == ("LlamaServer", "coder")]
        [new_one] = [chunk.text for chunk in split(new) if identify(chunk.text) == ("LlamaServer", "coder")]
        assert new.replace(new_one, old_one, 1) == text, (at, value)
        if old := compose(old_one):
            check_data(new_one, expected(plain(old), at, value), (text, at, value))
    assert done > 10
    assert not [message for message in refused if "without harm" in message]
