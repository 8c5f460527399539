import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.history import Condition, Status
from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import QUIET, FakeController
from tests.cli.filling import START, Filling, stamp, status
from tests.cli.test_diff_and_validate import manifest

SOON = 0.05


@pytest.fixture
def manifests(root: Path) -> Path:
    folder = root / "manifests"
    folder.mkdir()
    return folder


def then(*steps: Callable[[], Any]) -> Callable[[Any], tuple[int, Any]]:
    """Answer at once, and do these steps one after the other."""

    def play() -> None:
        for step in steps:
            time.sleep(SOON)
            step()

    def answer(body: Any) -> tuple[int, Any]:
        threading.Thread(target=play, daemon=True).start()
        return 200, {**QUIET, "requests": [1] * len(body.get("servers", []))}

    return answer


def starting(filling: Filling, name: str) -> Callable[[], None]:
    def step() -> None:
        filling.document(name, ctx=128)
        filling.record(name, status(Phase.STARTING))

    return step


def ready(filling: Filling, name: str) -> Callable[[], object]:
    return lambda: filling.ready(name, ctx=128)


# ---------------------------------------------------------------- apply


def test_a_new_document_is_written_and_followed(
    filling: Filling, controller: FakeController, manifests: Path, root: Path, call: Call
) -> None:
    filling.ready("chat", ctx=128)
    (manifests / "chat.yaml").write_text(manifest("chat"))
    (root / "new.yaml").write_text(manifest("coder"))
    controller.on("/reconcile", then(starting(filling, "coder"), ready(filling, "coder")))
    code, out, err = call("apply", "-f", "new.yaml")
    first, *steps, last = out.splitlines()
    assert (code, err) == (0, "")
    assert first == "coder  written to manifests/coder.yaml"
    assert [step.split()[:2] for step in steps][-2:] == [["coder", "Starting"], ["coder", "Ready"]]
    assert last == "1 started, 0 changed, 0 unchanged, 0 stopped, 0 failed"
    assert (manifests / "coder.yaml").read_text() == manifest("coder")
    assert controller.asked == [("/reconcile", {})]


def test_a_document_is_exchanged_where_it_is_declared(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    filling.ready("b", ctx=999)
    (manifests / "all.yaml").write_text(f"# two\n{manifest('a')}---\n{manifest('b')}")
    code, out, _ = call("apply", "-f", "-", stdin=manifest("b", "ctx: 999"))
    assert code == 0
    assert out == "b  written to manifests/all.yaml\n0 started, 0 changed, 1 unchanged, 0 stopped, 0 failed\n"
    assert (manifests / "all.yaml").read_text() == f"# two\n{manifest('a')}---\n{manifest('b', 'ctx: 999')}"


def test_all_servers_count_when_none_is_named(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    filling.ready("same")
    filling.stopped("asleep")
    filling.failed("broken")
    changed, gone = filling.ready("changed"), filling.ready("gone")

    def replace_changed() -> None:
        filling.end(changed)
        filling.instance("changed")

    def remove_gone() -> None:
        filling.end(gone)
        with filling.store.transaction():
            filling.store.remove_document("gone")
            filling.store.forget("gone")

    def answer(_body: Any) -> tuple[int, Any]:
        replace_changed()
        remove_gone()
        return 200, QUIET

    controller.on("/reconcile", answer)
    code, out, err = call("apply")
    assert code == 1
    assert out.splitlines()[-1] == "0 started, 1 changed, 2 unchanged, 1 stopped, 1 failed"
    assert "broken   Failed: gave up after 3 restarts" in out
    assert err.startswith("✗ broken  Failed: Killed\n  What happened   it ended after 5s (SIGKILL)")
    assert err.endswith(
        "     or try again as it is: reconciler restart broken\nhint: reconciler describe server broken\n"
    )


def test_only_the_named_ones_count(filling: Filling, controller: FakeController, manifests: Path, call: Call) -> None:
    filling.ready("same")
    filling.failed("broken")
    assert call("apply", "same").code == 0
    assert call("apply", "broken").code == 1
    called = call("apply", "brokn")
    assert (called.code, "did you mean 'broken'?" in called.err) == (2, True)


def test_bad_input_changes_nothing(
    filling: Filling, controller: FakeController, manifests: Path, root: Path, call: Call
) -> None:
    (manifests / "broken.yaml").write_text(manifest("broken", "ctz: 1"))
    (root / "new.yaml").write_text(manifest("new", "port: 8001") + "---\n" + manifest("other", "port: 8001"))
    code, out, err = call("apply", "-f", "new.yaml")
    assert (code, out) == (2, "")
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        "manifests/broken.yaml:4:26",
        "new.yaml:4:32",
        "new.yaml:9:32",
        "error",
        "hint",
    ]
    assert "3 errors in the manifests; nothing was changed" in err
    assert [path.name for path in manifests.iterdir()] == ["broken.yaml"]
    assert controller.asked == []


def test_a_broken_document_is_mended_by_its_successor(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    filling.ready("broken", ctx=128)
    (manifests / "broken.yaml").write_text(manifest("broken", "ctz: 1"))
    assert call("apply", "-f", "-", stdin=manifest("broken")).code == 0
    assert (manifests / "broken.yaml").read_text() == manifest("broken")


def test_a_dry_run_only_asks(filling: Filling, controller: FakeController, manifests: Path, call: Call) -> None:
    code, out, _ = call("apply", "--dry-run", "-f", "-", stdin=manifest("a"))
    assert (code, out) == (0, "no changes: 0 servers as declared\n")
    assert [path for path, _ in controller.asked] == ["/preview"]
    assert list(manifests.iterdir()) == []


def test_it_does_not_wait_when_told(filling: Filling, controller: FakeController, manifests: Path, call: Call) -> None:
    starting(filling, "coder")()
    assert call("apply", "--no-wait").code == 0
    assert call("apply", "--timeout", "100ms").code == 1


def test_a_manifest_that_is_not_taken_up_yet_is_waited_for(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    filling.ready("coder", ctx=64)
    (manifests / "coder.yaml").write_text(manifest("coder"))
    controller.on("/reconcile", then(lambda: filling.document("coder", ctx=128, generation=2)))
    code, out, _ = call("apply")
    first, second, last = out.splitlines()
    assert (code, first) == (0, "coder  its manifest is not taken up yet")
    assert second.startswith("coder  Ready in ")
    assert last == "0 started, 1 changed, 0 unchanged, 0 stopped, 0 failed"


def test_a_timeout_tells_what_it_waits_for(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    filling.document("coder")
    filling.record("coder", status(Phase.STARTING, "loading"))
    out = call("apply", "--timeout", "100ms").out
    assert "coder  not done within 100ms: Starting: loading\n" in out
    assert out.endswith("0 started, 0 changed, 0 unchanged, 0 stopped, 1 failed\n")


def test_a_prune_is_confirmed_for_what_may_go(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    filling.document("old")
    held = "held by the prune guard: 1 of 1 servers would stop (old); if this is meant, …"
    filling.record("old", Status(Phase.READY, held, (Condition("Reconciled", False, "PruneHeld", held, START),)))
    controller.on("/reconcile", lambda _body: (200, {**QUIET, "prunable": ["old"], "held": {"old": held}}))
    code, out, err = call("apply")
    assert code == 1
    assert f"old  Ready, not as declared: {held}" in out
    assert f"held: old: {held}\n" in err
    assert controller.asked == [("/reconcile", {})]
    _, out, _ = call("apply", "--prune")
    assert ("/requests", {"kind": "prune", "servers": ["old"]}) in controller.asked
    assert out.startswith("removal confirmed: old\n")


@pytest.mark.parametrize(("names", "pruned"), [(["a", "b", "c"], ["a", "b"]), (["c"], []), ([], ["a", "b", "t0"])])
def test_with_names_only_their_removal_is_confirmed(
    filling: Filling, controller: FakeController, manifests: Path, call: Call, names: list[str], pruned: list[str]
) -> None:
    for name in ("a", "b", "c", "t0"):
        filling.ready(name)
    controller.on("/reconcile", lambda _body: (200, {**QUIET, "prunable": ["a", "b", "t0"]}))
    _, out, err = call("apply", *names, "--prune", "--no-wait")
    assert [body["servers"] for path, body in controller.asked if path == "/requests"] == ([pruned] if pruned else [])
    assert (f"removal confirmed: {', '.join(pruned)}\n" in out) == bool(pruned)
    left = [name for name in ("a", "b", "t0") if name not in pruned]
    assert (f"held as before, for it is not named: {', '.join(left)}\n" in err) == bool(left)


def test_a_server_that_is_blocked_has_a_moment(
    filling: Filling, controller: FakeController, manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.follow.PATIENCE", 0.3)
    filling.document("coder")
    filling.record("coder", status(Phase.BLOCKED, "no file at /m", "ModelMissing"))
    filling.document("slow")
    filling.record("slow", status(Phase.BLOCKED, "being written", "ModelGrowing"))
    controller.on("/reconcile", then(ready(filling, "slow")))
    code, out, _ = call("apply", "--timeout", "20s")
    assert code == 1
    assert out.count("coder  Blocked: no file at /m\n") == 1
    assert "slow   Ready in " in out


def test_what_is_stuck_is_told_once_although_its_words_change(
    filling: Filling, controller: FakeController, manifests: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.follow.PATIENCE", 0.3)
    filling.ready("coder")

    def shut(why: str) -> Callable[[], None]:
        conditions = (Condition("Ready", True, "Ready", "", START), Condition("Reconciled", False, "GateShut", why))
        return lambda: filling.record("coder", Status(Phase.READY, why, conditions))

    shut("the port is held")()
    controller.on("/reconcile", then(shut("the port is held by pid 5")))
    assert call("apply").out.splitlines()[:-1] == ["coder  Ready, not as declared: the port is held by pid 5"]


def test_the_folders_problem_is_told_once(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    problem = "no manifest is left, but 2 were accepted"
    held = Condition("Reconciled", False, "PruneHeld", problem, START)
    for name in ("chat", "coder"):
        filling.ready(name)
        filling.record(name, Status(Phase.READY, problem, (Condition("Ready", True, "Ready", "", START), held)))
    answer = {**QUIET, "folderProblem": problem, "held": {"chat": problem, "coder": problem}}
    controller.on("/reconcile", lambda _body: (200, answer))
    code, out, err = call("apply")
    assert code == 1
    assert out.count("Ready, not as declared: held, see the warning\n") == 2
    assert (out + err).count(problem) == 1


def test_a_controller_that_ends_is_told(
    filling: Filling, controller: FakeController, manifests: Path, call: Call
) -> None:
    starting(filling, "coder")()
    controller.on("/reconcile", then(controller.stop))
    called = call("apply")
    assert called.code == 1
    assert called.err.startswith("error: the controller ended meanwhile; what was asked for is kept\nhint: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-f", "gone.yaml"), "gone.yaml: no such file or folder"),
        (("-f", "empty"), "no manifests in empty"),
        (("--timeout", "soon"), "expected a duration such as 500ms"),
        ((), "manifests does not exist"),
    ],
)
def test_input_that_is_not_there_is_bad_input(
    controller: FakeController, root: Path, call: Call, arguments: tuple[str, ...], words: str
) -> None:
    (root / "empty").mkdir()
    called = call("apply", *arguments)
    assert called.code == 2
    assert words in called.err


# ---------------------------------------------------------------- restart, stop, start


def test_a_restart_waits_for_another_instance(filling: Filling, controller: FakeController, call: Call) -> None:
    begun = filling.ready("coder")
    controller.on(
        "/requests",
        then(
            lambda: filling.record("coder", status(Phase.STOPPING)),
            lambda: filling.end(begun),
            lambda: filling.record("coder", status(Phase.STARTING)),
            ready(filling, "coder"),
        ),
    )
    code, out, err = call("restart", "coder")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("coder  Ready in ")
    assert "coder  Stopping\n" in out
    assert controller.asked == [("/requests", {"kind": "restart", "servers": ["coder"]})]


@pytest.mark.parametrize("goes_well", [True, False])
def test_as_asked_for_again_means_no_fallback_step(
    filling: Filling, controller: FakeController, call: Call, *, goes_well: bool
) -> None:
    begun = filling.degraded("coder")

    after = ready(filling, "coder") if goes_well else lambda: filling.degraded("coder")
    controller.on(
        "/requests",
        then(
            lambda: filling.record("coder", status(Phase.STOPPING)),
            lambda: filling.end(begun),
            lambda: filling.record("coder", status(Phase.STARTING)),
            after,
        ),
    )
    code, out, err = call("restart", "coder", "--primary")
    assert controller.asked == [("/requests", {"kind": "primary", "servers": ["coder"]})]
    if goes_well:
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].startswith("coder  Ready in ")
    else:
        assert code == 1
        assert "coder  Ready, but on a fallback step: CPU only (GpuOutOfMemory); see why with: " in out
        assert "error: 1 server not running as asked for\n" in err


def test_as_asked_for_again_means_with_no_less(filling: Filling, controller: FakeController, call: Call) -> None:
    begun = filling.ready("coder")
    less = "asked for gpuLayers 99; running on the CPU"
    degraded = Condition("Degraded", True, "CpuOnly", less, START)
    shown = Status(Phase.READY, less, (*status(Phase.READY).conditions, degraded))
    controller.on(
        "/requests",
        then(
            lambda: filling.record("coder", status(Phase.STARTING)),
            lambda: filling.end(begun),
            lambda: filling.instance("coder", ready=stamp(9)),
            lambda: filling.record("coder", shown),
        ),
    )
    code, out, err = call("restart", "coder", "--primary")
    assert code == 1
    assert f"coder  Ready, but Degraded: CpuOnly: {less}; see why with: reconciler describe server coder\n" in out
    assert "✗ coder  Degraded: CpuOnly\n" in err


def test_a_restart_that_the_gate_forbids_has_failed(
    filling: Filling, controller: FakeController, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.cli.follow.PATIENCE", 0.0)
    filling.ready("coder")
    shut = Condition("Reconciled", False, "GateShut", "the running instance stays: no file at /m", START)
    filling.record("coder", Status(Phase.READY, "", (Condition("Ready", True, "Ready", "", START), shut)))
    code, out, err = call("restart", "coder")
    assert code == 1
    assert out == "coder  Ready, not restarted: the running instance stays: no file at /m\n"
    assert "\nerror: 1 server not restarted\nhint: " in err


def test_stopping_all_tells_how_long(filling: Filling, controller: FakeController, call: Call) -> None:
    instances = {name: filling.ready(name) for name in ("a", "b")}

    def stop() -> None:
        for name, instance in instances.items():
            filling.end(instance)
            filling.record(name, status(Phase.STOPPED, "stopped by request", "StopRequested"))

    controller.on("/requests", then(stop))
    code, out, _ = call("stop", "--all")
    assert code == 0
    assert out.splitlines()[-1].startswith("2 stopped in ")
    assert controller.asked == [("/requests", {"kind": "stop", "servers": ["a", "b"]})]


def test_starting_a_failed_one_ends_with_its_failure(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("coder")
    filling.ready("chat")
    code, out, err = call("start", "server/chat", "coder")
    assert code == 1
    assert "coder  Failed: gave up after 3 restarts" in out
    assert out.endswith(", 1 failed\n")
    assert "hint: see why with: reconciler describe server coder" in err


def test_a_server_that_runs_on_its_last_good_spec_counts_as_started(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.ready("coder")
    invalid = Condition("Reconciled", False, "InvalidManifest", "a.yaml:1:1: junk", START)
    filling.record("coder", Status(Phase.READY, "", (Condition("Ready", True, "Ready", "", START), invalid)))
    assert call("start", "coder").code == 0
    assert call("apply", "-f", "-", stdin=manifest("coder")).code == 1


@pytest.mark.parametrize("verb", ["restart", "stop", "start"])
@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("coder", "codr"), (1, "error: no server 'codr', did you mean 'coder'?")),
        ((), (2, "error: name the servers, or give --all or -l")),
        (("coder", "--all"), (2, "error: give names or --all, not both")),
    ],
)
def test_mistakes_are_answered_before_anything_is_done(
    filling: Filling,
    controller: FakeController,
    call: Call,
    verb: str,
    arguments: tuple[str, ...],
    answer: tuple[int, str],
) -> None:
    filling.ready("coder")
    called = call(verb, *arguments)
    assert (called.code, called.err.splitlines()[0]) == answer
    assert controller.asked == []


def test_names_that_vanish_meanwhile_are_told(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    controller.on("/requests", lambda _body: (404, {"error": "no such server: coder", "unknown": ["coder"]}))
    called = call("stop", "coder")
    assert (called.code, called.err) == (1, "error: no such server: coder\nhint: reconciler get servers\n")


def test_nothing_is_waited_for_when_told(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder")
    code, out, _ = call("stop", "coder", "--no-wait")
    assert (code, out) == (0, "asked for; see how it goes with: reconciler get servers coder -w\n")


@pytest.mark.parametrize("words", ["stop coder", "restart coder", "apply", "sync --wait"])
def test_a_controller_that_stands_still_is_waited_for_no_longer_than_told(
    filling: Filling, controller: FakeController, manifests: Path, call: Call, words: str
) -> None:
    """What was asked for reaches it all the same: that is said."""
    if words.startswith("sync"):
        filling.source()
    filling.ready("coder", ctx=128)
    (manifests / "coder.yaml").write_text(manifest("coder"))
    goes_on = threading.Event()

    def hangs(_body: Any) -> tuple[int, Any]:
        goes_on.wait()
        return 200, QUIET

    for path in ("/requests", "/reconcile", "/sync"):
        controller.on(path, hangs)
    began = time.monotonic()
    code, _, err = call(*words.split(), "--timeout", "1500ms")
    took = time.monotonic() - began
    goes_on.set()
    assert (code, took < 4.0) == (1, True)
    assert "the controller has not answered within 1.5s; what was asked for may still be done" in err
    assert "reconciler get servers -w" in err
    assert len(controller.asked) == 1
