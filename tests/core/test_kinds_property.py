"""Law 5 for all kinds, over any series of looks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.kinds import key_of
from reconciler.core.model import Document, Problem
from reconciler.core.profiles import active_of
from reconciler.core.pruning import LONGEST_DELAY
from reconciler.core.spec import ServerSpec
from tests.core.declaring import Found, Judge, defaults, profile
from tests.core.worlds import document_of

NAMES = ("a", "b", "c", "d", "e")


def picky(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    return [(("ctx",), "too much")] if (spec.ctx or 0) * (spec.parallel or 1) > 50 else []


numbers = st.one_of(st.none(), st.integers(1, 10))
servers = st.builds(
    lambda name, ctx, port, tier: replace(
        document_of(name, **{"ctx": ctx} if ctx else {}, port=port), labels={"tier": tier}
    ),
    st.sampled_from(NAMES),
    numbers,
    st.sampled_from(["auto", 8001, 8002]),
    st.sampled_from("xy"),
)
shared = st.builds(
    lambda name, ctx, parallel: defaults(name, {"ctx": ctx, "parallel": parallel}),
    st.sampled_from("pq"),
    numbers,
    numbers,
)
profiles = st.builds(
    lambda name, named, tier, active: profile(
        name, servers=sorted(named), selector={"matchLabels": {"tier": tier}} if tier else None, active=active
    ),
    st.sampled_from("uv"),
    st.sets(st.sampled_from((*NAMES, "z")), max_size=3),
    st.sampled_from(["x", "y", ""]),
    st.booleans(),
)
broken = st.builds(
    lambda kind, name: Problem(f"{name}.yaml", "wrong", 1, 1, "spec", name, kind),
    st.sampled_from(["LlamaServer", "Profile", "LlamaServerDefaults"]),
    st.sampled_from((*NAMES, "p", "u")),
)
looks = st.tuples(
    st.lists(st.one_of(servers, shared, profiles), max_size=8),
    st.lists(broken, max_size=2),
    st.sampled_from([0.5, 3.0, LONGEST_DELAY + 1]),
)


def key(document: Found) -> str:
    return document.name if isinstance(document, Document) else document.key


@given(st.lists(looks, min_size=1, max_size=6))
def test_what_is_in_force_is_sound_whatever_is_looked_at(series: list[tuple[list[Any], list[Problem], float]]) -> None:
    judge, now = Judge(check=picky), 0.0
    for found, problems, pause in series:
        before = {**judge.documents, **judge.others}
        was_wanted = {name for name in judge.documents if judge.selection.wants(name)}
        now += pause
        made = judge.look(now, *found, problems=tuple(problems))
        after = {**made.documents, **made.others}
        # Nothing that was declared, well or badly, goes away.
        named = {key(one) for one in found}
        named |= {p.server if p.kind == "LlamaServer" else key_of(p.kind, p.server) for p in problems}
        assert before.keys() & named <= after.keys()
        assert set(made.removed).isdisjoint(made.documents)
        assert set(made.others_removed).isdisjoint(made.others)
        # Whatever is in force is valid, and at most one profile is active.
        assert all(not picky(one.spec) for one in made.documents.values())
        assert sum(getattr(one.spec, "active", False) for one in made.others.values()) <= 1
        # A selection does not become empty by itself.
        now_wanted = {name for name in made.documents if made.selection.wants(name)}
        if was_wanted & made.documents.keys():
            assert now_wanted
        if (active := active_of(made.others.values())) is not None and not made.selection.held:
            assert made.selection.profile == active.name


@given(st.lists(st.one_of(servers, shared, profiles), max_size=8), st.lists(broken, max_size=2))
def test_the_same_look_again_changes_nothing(found: list[Found], problems: list[Problem]) -> None:
    judge = Judge(check=picky)
    judge.look(0.0, *found, problems=tuple(problems))
    first = judge.look(1000.0, *found, problems=tuple(problems))
    again = judge.look(2000.0, *found, problems=tuple(problems))
    assert (again.changed, again.removed, again.others_changed, again.others_removed) == ((), (), (), ())
    assert (again.documents, again.others, again.selection) == (first.documents, first.others, first.selection)


@given(st.lists(st.one_of(servers, shared, profiles), max_size=8), st.randoms())
def test_the_order_in_which_files_are_found_means_nothing(found: list[Found], chance: Any) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)
    one, other = (Judge(check=picky).look(0.0, *each) for each in (found, shuffled))
    assert one.documents.keys() == other.documents.keys()
    assert one.others.keys() == other.others.keys()
    assert one.selection == other.selection
