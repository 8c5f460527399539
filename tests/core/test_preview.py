"""What `diff` and `apply --dry-run` tell."""

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.accept import Beside, Seen
from reconciler.core.guard import CONFIRM
from reconciler.core.history import History, Requests
from reconciler.core.kinds import DEFAULTS, PROFILE, DefaultsSpec, ProfileSpec, other_document
from reconciler.core.model import Document, Problem
from reconciler.core.preview import Change, Declared, FieldChange, Standing, compare, preview
from reconciler.core.selection import Selection
from tests.core.states import STATES, removed, running
from tests.core.worlds import World, document_of, fingerprint_of

BROKEN = Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a")


def change_of(world: World, *documents: Document, problems: tuple[Problem, ...] = (), name: str = "a") -> Change:
    """What would happen to a server, were these documents the manifests (beside `b`, as it is)."""
    _, _, history, requests, _ = world.inputs()
    others = tuple(document for other, document in world.files.items() if other == "b")
    changes, _ = preview(
        Standing(world.documents, history, requests), Seen((*others, *documents), problems), fingerprint_of
    )
    return next(change for change in changes if change.server == name)


@pytest.mark.parametrize(
    ("fields", "action", "reason", "changes"),
    [
        ({}, "unchanged", "", []),
        ({"file": "elsewhere.yaml"}, "unchanged", "", []),
        ({"host": "127.0.0.1"}, "unchanged", "", []),
        ({"ctx": 512}, "restart", "ctx changed", [("spec.ctx", None, 512)]),
        (
            {"ctx": 512, "port": 9001},
            "restart",
            "ctx, port changed",
            [("spec.ctx", None, 512), ("spec.port", None, 9001)],
        ),
        ({"labels": {"x": "y"}}, "update", "nothing restarts", [("metadata.labels.x", None, "y")]),
        (
            {"restart": {"maxRestarts": 9}},
            "update",
            "nothing restarts",
            [("spec.restart.maxRestarts", None, 9)],
        ),
        ({"suspend": True}, "stop", "suspended by its manifest", [("spec.suspend", None, True)]),
    ],
    ids=str,
)
def test_a_change_of_a_running_server(
    fields: dict[str, Any], action: str, reason: str, changes: list[tuple[str, Any, Any]]
) -> None:
    found = change_of(running(), document_of("a", **fields))
    assert (found.action, found.reason, list(found.fields)) == (action, reason, [FieldChange(*c) for c in changes])


def test_a_field_that_is_taken_out_is_shown_with_what_it_was() -> None:
    found = change_of(running(ctx=256, stop={"drain": "2s"}), document_of("a"))
    assert found.fields == (FieldChange("spec.ctx", 256, None), FieldChange("spec.stop.drain", "2s", None))


@pytest.mark.parametrize(
    "accepted", [{"restart": {"maxBackoff": "2m"}}, {"dependsOn": ["b"]}, {"stop": {"drain": "2s"}, "adopt": "Never"}]
)
def test_only_what_restarts_is_compared_with_what_runs(accepted: dict[str, Any]) -> None:
    world = running()
    world.files["a"] = document_of("a", **accepted)
    world.settle()
    assert change_of(world, document_of("a", **accepted)).action == "unchanged"
    assert change_of(world, document_of("a", **accepted, ctx=512)) == Change(
        "a", "restart", "ctx changed", (FieldChange("spec.ctx", None, 512),)
    )


def test_what_restarts_nothing_is_listed_but_is_no_cause() -> None:
    found = change_of(running(), document_of("a", ctx=512, restart={"maxRestarts": 9}, labels={"x": "y"}))
    assert (found.action, found.reason) == ("restart", "ctx changed")
    assert [one.path for one in found.fields] == ["spec.ctx", "spec.restart.maxRestarts", "metadata.labels.x"]


def test_what_was_started_with_values_that_are_none_any_more_is_restarted() -> None:
    world = running()
    _, _, history, requests, _ = world.inputs()
    old = replace(history.instances["a"], spec={"model": "m.gguf", "ctx": "many"}, fingerprint="1:other")
    standing = Standing(world.documents, replace(history, instances={"a": old}), requests)
    changes, _ = preview(standing, Seen((document_of("a"),)), fingerprint_of)
    (change,) = [one for one in changes if one.server == "a"]
    assert (change.action, change.reason) == ("restart", "ctx changed")
    assert change.fields == (FieldChange("spec.ctx", "many", None),)


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ({}, "unchanged"),
        ({"labels": {"x": "y"}}, "update"),
        ({"fallback": "off"}, "restart"),
        ({"ctx": 512}, "restart"),
    ],
    ids=str,
)
def test_a_fallback_step_is_no_change_and_ends_with_the_next_one(fields: dict[str, Any], action: str) -> None:
    world = running()
    _, _, history, requests, _ = world.inputs()
    on_step = replace(history.instances["a"], step=2, step_told="CPU only", changes={"gpuLayers": 0}, hides_gpus=True)
    standing = Standing(world.documents, replace(history, instances={"a": on_step}), requests)
    changes, _ = preview(standing, Seen((document_of("a", **fields),)), fingerprint_of)
    (change,) = (one for one in changes if one.server == "a")
    assert change.action == action
    assert ("fallback step (CPU only)" in change.reason) == ("fallback" in fields)


def test_flags_that_python_takes_for_equal_are_shown() -> None:
    found = change_of(running(flags={"x": 1}), document_of("a", flags={"x": True}))
    assert found.fields == (FieldChange("spec.flags.x", 1, True),)
    assert repr(found.fields[0].new) == "True"


@pytest.mark.parametrize(
    ("state", "action", "reason"),
    [
        ("BackOff", "start", "not running"),
        ("Blocked", "start", "not running"),
        ("Failed", "unchanged", "it has failed or completed"),
        ("Suspended", "start", "changed"),
    ],
)
def test_each_state_has_its_next_step(state: str, action: str, reason: str) -> None:
    found = change_of(STATES[state](), document_of("a"))
    assert (found.action, found.reason) == (action, reason)


def test_a_failed_server_is_started_by_any_change() -> None:
    assert change_of(STATES["Failed"](), document_of("a", ctx=512)).action == "start"


def test_a_stopped_server_stays_stopped() -> None:
    world = running()
    world.ask("stop", "a")
    world.settle()
    assert change_of(world, document_of("a")).action == "unchanged"
    assert change_of(world, document_of("a", ctx=512)) == Change(
        "a", "update", "stopped by request", (FieldChange("spec.ctx", None, 512),)
    )


def test_what_is_new_starts_and_what_is_gone_stops() -> None:
    world = running()
    new = change_of(world, document_of("a"), document_of("c"), name="c")
    assert (new.action, new.reason, new.fields) == ("start", "new", (FieldChange("spec.model", None, "m.gguf"),))
    assert change_of(world) == Change("a", "stop", "its document is gone")
    removed(world)
    world.settle()
    assert change_of(world, name="b").action == "unchanged"


def test_what_is_wrong_or_held_is_told() -> None:
    world = running()
    assert change_of(world, problems=(BROKEN,)) == Change("a", "invalid", str(BROKEN))
    del world.files["b"]
    held = change_of(world)
    assert (held.action, held.reason.endswith(CONFIRM)) == ("hold", True)


@pytest.mark.parametrize(
    ("template", "profile", "action", "reason"),
    [
        ({"ctx": 512}, None, "restart", "ctx changed (from LlamaServerDefaults all)"),
        ({"restart": {"maxRestarts": 9}}, None, "update", "nothing restarts"),
        ({}, {"servers": ["b"], "active": True}, "stop", "the active profile 'day' leaves it out"),
    ],
    ids=["defaults that restart it", "defaults that do not", "a profile"],
)
def test_what_reaches_a_broken_document_from_outside_is_told(
    template: dict[str, Any], profile: dict[str, Any] | None, action: str, reason: str
) -> None:
    world = running()
    _, _, history, requests, _ = world.inputs()
    others = [other_document(DEFAULTS, DefaultsSpec.model_validate({"template": template}), name="all", file="d.yaml")]
    if profile:
        others.append(other_document(PROFILE, ProfileSpec.model_validate(profile), name="day", file="p.yaml"))
    seen = Seen((world.files["b"],), (BROKEN,), others=tuple(others))
    changes, _ = preview(Standing(world.documents, history, requests), seen, fingerprint_of)
    found = next(change for change in changes if change.server == "a")
    assert found.action == action
    assert found.reason.startswith(reason)
    assert found.reason.endswith("; its own document has an error, and stays as accepted last")


# ---------------------------------------------------------------- without a machine


@pytest.mark.parametrize(
    ("before", "after", "action", "reason", "changed"),
    [
        ({}, {}, "unchanged", "", []),
        ({}, {"ctx": 512}, "restart", "ctx changed", ["spec.ctx"]),
        ({"ctx": 512}, {"ctx": 512, "labels": {"x": "y"}}, "update", "nothing restarts", ["metadata.labels.x"]),
        ({}, {"ctx": 9, "labels": {"x": "y"}}, "restart", "ctx changed", ["spec.ctx", "metadata.labels.x"]),
        ({}, {"restart": {"maxRestarts": 9}}, "update", "nothing restarts", ["spec.restart.maxRestarts"]),
        ({}, {"suspend": True}, "stop", "suspended by its manifest", ["spec.suspend"]),
        ({"suspend": True}, {"suspend": True}, "unchanged", "suspended by its manifest", []),
        (
            {"suspend": True},
            {"suspend": True, "ctx": 9},
            "update",
            "suspended by its manifest",
            ["spec.ctx"],
        ),
        ({"suspend": True}, {}, "start", "no longer suspended", ["spec.suspend"]),
        (None, {}, "start", "new", ["spec.model"]),
        ({}, None, "stop", "its document is gone", []),
    ],
    ids=str,
)
def test_two_revisions_are_compared(
    before: dict[str, Any] | None, after: dict[str, Any] | None, action: str, reason: str, changed: list[str]
) -> None:
    one, other = ({} if fields is None else {"a": document_of("a", **fields)} for fields in (before, after))
    (change,) = compare(Declared(one), Declared(other), fingerprint_of)
    assert (change.server, change.action, change.reason) == ("a", action, reason)
    assert [field.path for field in change.fields] == changed


def test_all_servers_of_two_revisions_are_compared_in_their_order() -> None:
    one = {name: document_of(name) for name in ("c", "a")}
    other = {name: document_of(name) for name in ("b", "c")}
    found = [(change.server, change.action) for change in compare(Declared(one), Declared(other), fingerprint_of)]
    assert found == [("a", "stop"), ("b", "start"), ("c", "unchanged")]


def test_a_profile_decides_which_of_two_revisions_servers_run() -> None:
    both = {name: document_of(name) for name in ("a", "b")}
    day, night = (Selection(name, frozenset({one})) for name, one in (("day", "a"), ("night", "b")))
    found = compare(Declared(both, day), Declared(both, night), fingerprint_of)
    assert [(change.server, change.action) for change in found] == [("a", "stop"), ("b", "start")]
    assert found[0].reason.startswith("the active profile 'night' leaves it out")
    assert found[1].reason == "the active profile wants it"
    found = compare(Declared(both, day), Declared(both), fingerprint_of)
    assert [(change.action, change.reason) for change in found] == [
        ("unchanged", ""),
        ("start", "no profile is active any more"),
    ]


@pytest.mark.parametrize(
    ("active", "reason"), [(True, "the active profile wants it"), (False, "no profile is active any more")]
)
def test_a_server_that_was_left_out_is_told_why_it_starts(active: bool, reason: str) -> None:
    documents = {name: document_of(name) for name in ("a", "b")}
    spec = ProfileSpec(servers=("a", "b"), active=active)
    profile = other_document("Profile", spec, name="day", file="day.yaml")
    beside = Beside({profile.key: profile}, Selection("day", frozenset({"b"})))
    standing = Standing(documents, History(), Requests(), beside)
    changes, _ = preview(standing, Seen(tuple(documents.values()), others=(profile,)), fingerprint_of)
    assert (changes[0].server, changes[0].action, changes[0].reason) == ("a", "start", reason)
