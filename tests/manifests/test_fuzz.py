"""A few hundred of the manifests that `python -m chaos --only fuzz` makes up by the thousands."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import fuzz
from chaos.fuzz import FILE, Judge
from chaos.mutation import _FLAGS, Maker
from reconciler.controller.preview import check_spec
from reconciler.manifests.parse import Parsed, parse
from reconciler.manifests.schema import json_schema

NUMBER = 250


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    made = Judge(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(2))
def test_never_a_traceback_never_a_stop_always_a_position(judge: Judge, seed: int) -> None:
    maker = Maker(random.Random(seed), json_schema())
    for _ in range(NUMBER):
        text = maker.text()
        assert judge.faults(text) == [], repr(text)
    assert judge.counts["valid"] > NUMBER / 20, "else too little of what is accepted is tried"
    assert judge.counts["with errors"] > NUMBER / 3


def test_what_is_mutated_is_valid(judge: Judge) -> None:
    maker = Maker(random.Random(0), json_schema())
    for _ in range(100):
        tree = maker.document("chat")
        parsed = parse(maker._written(tree), FILE, check_spec)
        assert [one.name for one in parsed.documents] == ["chat"], (tree, parsed.problems)


def test_every_field_is_made() -> None:
    maker, schema = Maker(random.Random(0), json_schema()), json_schema()
    written = "\n".join(maker._written(maker.document("chat")) for _ in range(300))
    # Neither of these: what is played must run, and nothing may be fetched.
    fields = {field for one in schema["$defs"].values() for field in one.get("properties", {})} - {"suspend", "hf"}
    assert {field for field in fields if field not in written} == set()
    assert {flag for flag in _FLAGS if flag not in written} == set()


def test_the_same_seed_makes_the_same_manifests() -> None:
    one, other = (Maker(random.Random(5), json_schema()) for _ in range(2))
    assert [one.text() for _ in range(50)] == [other.text() for _ in range(50)]


@pytest.mark.parametrize(
    ("made", "told"),
    [("raise", "a traceback"), ("nowhere", "an error without a position"), ("silence", "was stopped although")],
)
def test_a_fault_is_told(judge: Judge, monkeypatch: pytest.MonkeyPatch, made: str, told: str) -> None:
    """A judge that finds nothing wrong with anything would be no judge."""

    def faulty(*arguments: object) -> Parsed:
        if made == "raise":
            raise RuntimeError
        problem = parse("a: [", FILE, check_spec).problems[0]
        lost = type(problem)(problem.file if made == "nowhere" else "manifests/elsewhere.yaml", "bad", server="x")
        return Parsed(problems=(lost,))

    monkeypatch.setattr(fuzz, "parse", faulty)
    assert any(told in fault for fault in judge.faults("a: ["))
