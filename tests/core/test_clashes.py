"""Documents that want one port: held against a slow and plain way to find them, and against the clock."""

import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.clashes import RIVALS
from reconciler.core.model import Document
from reconciler.core.ports import hosts_overlap
from reconciler.core.pruning import Memory
from tests.core.worlds import document_of

HOSTS = ("127.0.0.1", "127.0.0.2", "localhost", "::1", "0.0.0.0", "box")
DECLARED = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.sampled_from([8001, 8002, 8003, "auto"]), st.sampled_from(HOSTS))
)


def documents(declared: Mapping[str, tuple[Any, str]]) -> dict[str, Document]:
    return {name: document_of(name, port=port, host=host) for name, (port, host) in declared.items()}


def look(*documents: Document, accepted: Mapping[str, Document] | None = None) -> Acceptance:
    return accept(accepted or {}, Seen(documents), Memory(), 0.0)


def plainly(
    accepted: Mapping[str, Document], candidates: Mapping[str, Document]
) -> tuple[dict[str, Document], set[str]]:
    """Who is in force, and who clashed: all pairs, again and again."""
    effective, clashed = dict(candidates), set()
    while True:
        pairs = [
            (one, other)
            for one in effective.values()
            for other in effective.values()
            if one is not other and one.spec.port == other.spec.port != "auto"
            if hosts_overlap(one.spec.host, other.spec.host)
        ]
        clashed |= {one.name for one, _ in pairs}
        yielding = {
            one.name for one, _ in pairs if one.name not in accepted or not one.says_the_same(accepted[one.name])
        }
        if not yielding:
            return effective, clashed
        for name in yielding:
            del effective[name]
        effective |= {name: accepted[name] for name in yielding if name in accepted}


@given(DECLARED, DECLARED)
def test_who_gives_way_is_as_found_pair_by_pair(before: dict[str, Any], now: dict[str, Any]) -> None:
    accepted, candidates = plainly({}, documents(before))[0], documents(now)
    effective, clashed = plainly(accepted, candidates)
    found = look(*candidates.values(), accepted=accepted)
    specs = {name: found.documents[name].spec for name in effective}
    assert specs == {name: document.spec for name, document in effective.items()}
    assert set(found.problems) == clashed


def test_of_many_rivals_some_are_named_and_the_others_counted() -> None:
    found = look(*(document_of(f"s{number}", port=8001) for number in range(10)))
    messages = [problem.message for problem in found.problems["s4"]]
    assert [message.split()[1] for message in messages[:RIVALS]] == ["'s0'", "'s1'", "'s2'"]
    assert messages[RIVALS:] == ["9 others want port 8001 in all"]


def test_of_many_places_of_a_name_some_are_named_and_the_others_counted() -> None:
    found = look(*(document_of("s", file=f"{number}.yaml") for number in range(6)))
    assert "is declared at 0.yaml:1, 2.yaml:1, 3.yaml:1 and 2 more places too" in found.problems["s"][1].message


def one_port(number: int) -> Document:
    return document_of(f"s{number}", port=8001)


def one_port_at_addresses(number: int) -> Document:
    return document_of(f"s{number}", port=8001, host=f"127.0.{number // 250}.{number % 250 + 1}")


def one_name(number: int) -> Document:
    return document_of("s", file=f"{number}.yaml")


@pytest.mark.parametrize("declared", [one_port, one_port_at_addresses, one_name])
def test_thousands_are_judged_at_once(declared: Any) -> None:
    many = [declared(number) for number in range(2000)]
    began = time.monotonic()
    found = look(*many)
    assert time.monotonic() - began < 2
    assert sum(len(str(problem)) for told in found.problems.values() for problem in told) < 2_000_000


def test_a_long_chain_of_those_that_give_way_is_judged_at_once() -> None:
    accepted = {f"s{number}": document_of(f"s{number}", port=8001 + number) for number in range(2000)}
    moved = [document_of(f"s{number}", port=8002 + number) for number in range(1999)]
    began = time.monotonic()
    found = look(*moved, accepted["s1999"], accepted=accepted)
    assert time.monotonic() - began < 2
    assert {name: document.spec for name, document in found.documents.items()} == {
        name: document.spec for name, document in accepted.items()
    }
