"""What servers take over from LlamaServerDefaults, and what gives way where that does not fit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.defaults import Misfit, merged
from reconciler.core.kinds import DefaultsDocument, dump_other, other_document
from reconciler.core.model import Document, Problem
from reconciler.core.spec import ServerSpec, dump_spec
from tests.core.declaring import Judge, defaults, texts
from tests.core.worlds import document_of

LABELLED = {"gpu": "yes"}


def few_threads(spec: ServerSpec) -> Sequence[tuple[tuple[str | int, ...], str]]:
    """An engine that dislikes many threads together with a `slow` flag."""
    return [(("threads",), "too many")] if (spec.threads or 0) > 8 and "slow" in spec.flags else []


def made(own: dict[str, Any], *found: DefaultsDocument) -> Document:
    result = merged(document_of("a", **own), found, lambda _: ())
    assert isinstance(result, Document)
    return result


@pytest.mark.parametrize(
    ("own", "templates", "spec", "came_from"),
    [
        ({}, [{"ctx": 512}], {"ctx": 512}, {"spec.ctx": "d0"}),
        ({"ctx": 256}, [{"ctx": 512}], {"ctx": 256}, {}),
        ({}, [{"ctx": 512}, {"ctx": 1024}], {"ctx": 1024}, {"spec.ctx": "d1"}),
        (
            {"flags": {"b": 2}},
            [{"flags": {"a": 1, "b": 1}}],
            {"flags": {"a": 1, "b": 2}},
            {"spec.flags.a": "d0"},
        ),
        ({"flags": {"a": ("x",)}}, [{"flags": {"a": ["y", "z"]}}], {"flags": {"a": ["x"]}}, {}),
        (
            {"env": {"A": "1"}},
            [{"env": {"A": {"fromEnv": "X"}, "B": {"fromFile": "/f"}}}],
            {"env": {"A": "1", "B": {"fromFile": "/f"}}},
            {"spec.env.B": "d0"},
        ),
        (
            {"probes": {"liveness": {"period": 3.0}}},
            [{"probes": {"liveness": {"period": "1s", "timeout": "2s"}, "startup": {"timeout": "9s"}}}],
            {"probes": {"liveness": {"period": "3s", "timeout": "2s"}, "startup": {"timeout": "9s"}}},
            {"spec.probes.liveness.timeout": "d0", "spec.probes.startup.timeout": "d0"},
        ),
        ({"restart": {"factor": 3}}, [{"stop": {"drain": "1s"}}], None, {"spec.stop.drain": "d0"}),
        ({"ctx": None}, [{"ctx": 512}], {"ctx": None}, {}),
        ({}, [{"port": "auto"}], {"port": "auto"}, {"spec.port": "d0"}),
    ],
)
def test_a_servers_own_values_win_and_mappings_are_merged(
    own: dict[str, Any], templates: list[dict[str, Any]], spec: dict[str, Any] | None, came_from: dict[str, str]
) -> None:
    document = made(own, *(defaults(f"d{number}", each) for number, each in enumerate(templates)))
    assert document.came_from == came_from
    assert dump_spec(document.written) == dump_spec(document_of("a", **own).spec)
    if spec is not None:
        assert dump_spec(document.spec) == {"model": document.spec.model, **spec}


@pytest.mark.parametrize(
    ("own", "templates", "host", "made_anew"),
    [
        ({}, [], "0.0.0.0", True),
        ({"host": "127.0.0.1"}, [], "127.0.0.1", False),
        ({"host": "10.0.0.1"}, [{"ctx": 512}], "10.0.0.1", True),
        ({}, [{"host": "10.0.0.2"}], "10.0.0.2", True),
    ],
)
def test_where_servers_listen_by_the_settings_comes_last(
    own: dict[str, Any], templates: list[dict[str, Any]], host: str, made_anew: bool
) -> None:
    document = document_of("a", **own)
    found = [defaults(f"d{number}", template=template) for number, template in enumerate(templates)]
    result = merged(document, found, lambda _: (), None, "0.0.0.0")
    assert isinstance(result, Document)
    assert (result.spec.host, result.written, result.own is not None) == (host, document.spec, made_anew)
    assert "spec.host" not in result.came_from or host == "10.0.0.2"
    assert merged(result, found, lambda _: (), result, "0.0.0.0") == result
    # Taken back, it is as if it had never been.
    assert merged(result, found, lambda _: ()) == merged(document, found, lambda _: ())


def test_what_nothing_came_from_is_as_it_was() -> None:
    document = document_of("a", ctx=5)
    assert merged(document, (), lambda _: ()) is document
    assert merged(document, [defaults("d", {"ctx": 6})], lambda _: ()) is document
    taken = made({}, defaults("d", {"ctx": 6}))
    assert merged(taken, (), lambda _: ()) == document_of("a")


def test_a_flag_that_is_true_is_not_a_flag_that_is_one() -> None:
    before = made({}, defaults("d", {"flags": {"x": 1}}))
    after = merged(document_of("a"), [defaults("d", {"flags": {"x": True}})], lambda _: (), before)
    assert isinstance(after, Document)
    assert after.spec.flags["x"] is True
    assert not after.says_the_same(before)


@given(st.dictionaries(st.sampled_from(["ctx", "parallel", "threads"]), st.integers(1, 99)), st.integers(1, 99))
def test_merging_twice_is_merging_once(template: dict[str, int], ctx: int) -> None:
    found = [defaults("d", template), defaults("e", {"flags": {"x": ctx}})]
    once = merged(document_of("a", ctx=ctx), found, lambda _: ())
    assert isinstance(once, Document)
    assert merged(once, found, lambda _: ()) == once
    assert once.spec.ctx == ctx


def test_the_later_name_wins_whatever_the_order_of_the_files() -> None:
    judge = Judge()
    acceptance = judge.look(0, defaults("z", {"ctx": 9}), document_of("a"), defaults("b", {"ctx": 2}))
    assert acceptance.documents["a"].spec.ctx == 9
    assert acceptance.documents["a"].came_from == {"spec.ctx": "z"}


def test_only_the_selected_servers_take_over() -> None:
    judge = Judge()
    labelled = replace(document_of("a"), labels=LABELLED)
    acceptance = judge.look(0, labelled, document_of("b"), defaults("d", {"ctx": 9}, labels=LABELLED))
    assert (acceptance.documents["a"].spec.ctx, acceptance.documents["b"].spec.ctx) == (9, None)


@pytest.mark.parametrize(
    ("of_defaults", "of_server", "takes_over"),
    [("local", "local", True), ("local", "git", True), ("git", "git", True), ("git", "local", False)],
)
def test_what_comes_from_git_reaches_no_server_of_this_machine(
    of_defaults: str, of_server: str, takes_over: bool
) -> None:
    server = replace(document_of("a"), origin=of_server)
    acceptance = Judge().look(0, server, defaults("d", {"binary": "/x"}, origin=of_defaults))
    assert bool(acceptance.documents["a"].spec.binary) is takes_over


def test_a_change_of_defaults_is_a_generation_of_those_it_changes() -> None:
    judge = Judge()
    judge.look(0, document_of("a"), document_of("b", ctx=1), defaults("d", {"ctx": 9}))
    acceptance = judge.look(1, document_of("a"), document_of("b", ctx=1), defaults("d", {"ctx": 8}))
    assert [(one.name, one.generation) for one in acceptance.changed] == [("a", 2)]
    assert acceptance.others["LlamaServerDefaults/d"].generation == 2
    again = judge.look(2, document_of("a"), document_of("b", ctx=1), defaults("d", {"ctx": 8}))
    assert (again.changed, again.others_changed) == ((), ())


def test_a_value_that_comes_from_elsewhere_now_is_saved_and_is_no_generation() -> None:
    judge = Judge()
    judge.look(0, document_of("a"), defaults("d", {"ctx": 9}))
    acceptance = judge.look(1, document_of("a"), defaults("d", {"ctx": 9}), defaults("e", {"ctx": 9}))
    assert [(one.generation, one.came_from) for one in acceptance.changed] == [(1, {"spec.ctx": "e"})]


def test_a_change_that_does_not_fit_a_server_changes_nothing() -> None:
    judge = Judge(check=few_threads)
    servers = (document_of("a", flags={"slow": True}), document_of("b"))
    judge.look(0, *servers, defaults("d", {"threads": 4}))
    acceptance = judge.look(1, *servers, defaults("d", {"threads": 9}))
    assert texts(acceptance) == ["d.yaml:1:1: spec.template.threads: it does not fit server 'a' (a.yaml:1): too many"]
    assert [one.spec.threads for one in acceptance.documents.values()] == [4, 4]
    assert (acceptance.changed, acceptance.others_changed) == ((), ())


def test_who_is_to_blame_among_several_gives_way_alone() -> None:
    judge = Judge(check=few_threads)
    judge.look(0, document_of("a", flags={"slow": True}))
    acceptance = judge.look(
        1, document_of("a", flags={"slow": True}), defaults("d", {"threads": 9}), defaults("c", {"ctx": 4})
    )
    assert list(acceptance.other_problems) == ["LlamaServerDefaults/d"]
    assert dump_spec(acceptance.documents["a"].spec) == {"model": "m.gguf", "ctx": 4, "flags": {"slow": True}}


def test_two_that_fit_alone_and_not_together_both_give_way() -> None:
    judge = Judge(check=few_threads)
    judge.look(0, document_of("a"))
    acceptance = judge.look(
        1, document_of("a"), defaults("d", {"threads": 9}), defaults("e", {"flags": {"slow": True}})
    )
    assert sorted(acceptance.other_problems) == ["LlamaServerDefaults/d", "LlamaServerDefaults/e"]
    assert acceptance.others == {}


def test_a_new_server_that_does_not_fit_is_the_servers_error() -> None:
    judge = Judge(check=few_threads)
    judge.look(0, document_of("b"), defaults("d", {"threads": 9}))
    acceptance = judge.look(1, document_of("b"), document_of("a", flags={"slow": True}), defaults("d", {"threads": 9}))
    assert texts(acceptance) == ["a.yaml:1:1: spec.threads: with LlamaServerDefaults 'd': too many"]
    assert list(acceptance.documents) == ["b"]


def test_a_changed_server_that_no_longer_fits_goes_on_as_it_was() -> None:
    judge = Judge(check=few_threads)
    judge.look(0, document_of("a"), defaults("d", {"threads": 9}))
    acceptance = judge.look(1, document_of("a", flags={"slow": True}), defaults("d", {"threads": 9}))
    assert list(acceptance.problems) == ["a"]
    assert acceptance.documents["a"].spec.flags == {}


def test_a_broken_server_goes_on_with_what_the_defaults_say_now() -> None:
    judge = Judge()
    judge.look(0, document_of("a", parallel=2), defaults("d", {"ctx": 9}))
    broken = Problem("a.yaml", "expected a number", 6, 9, "spec.parallel", "a", "LlamaServer")
    acceptance = judge.look(1, defaults("d", {"ctx": 8}), problems=(broken,))
    found = acceptance.documents["a"]
    assert (found.spec.ctx, found.spec.parallel, found.generation) == (8, 2, 2)


def test_broken_defaults_stay_as_they_were_accepted_over_their_text() -> None:
    judge = Judge()
    judge.look(0, document_of("a"), defaults("d", {"ctx": 9}))
    broken = Problem("d.yaml", "expected a number", 6, 9, "spec.template.ctx", "d", "LlamaServerDefaults")
    acceptance = judge.look(60, document_of("a"), problems=(broken,))
    assert acceptance.documents["a"].spec.ctx == 9
    assert acceptance.problems == {}
    assert acceptance.changed == ()


def test_a_misfit_names_the_field() -> None:
    result = merged(document_of("a", flags={"slow": True}), [defaults("d", {"threads": 9})], few_threads)
    assert result == Misfit("too many", "spec.threads")


def test_their_rows_come_back_as_they_were() -> None:
    document = defaults("d", {"probes": {"liveness": {"period": "7s"}}, "flags": {"x": True, "y": [1, "2"]}})
    again = other_document(document.kind, json.dumps(dump_other(document)), name="d", file="d.yaml", line=1)
    assert again == document
