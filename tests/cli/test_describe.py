import time
from dataclasses import replace

import pytest

from reconciler.core.model import Phase
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling, stamp, status


def test_a_server_that_is_well(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.ready("coder", ctx=4096, parallel=4, flags={"mlock": True}, env={"A": "1"})
    filling.event("coder", "Ready", "pid 5 is ready after 0.1 s")
    code, out, err = call("describe", "server", "coder")
    assert (code, err) == (0, "")
    for line in (
        "Name:            coder",
        "Phase:           Ready",
        "Declared in:     manifests/coder.yaml:1, generation 1",
        "Labels:          tier=demo",
        "  flags:\n    mlock: true",
        "  uid:           uid1",
        "  address:       http://127.0.0.1:8001",
        "  context:       4096",
        "  gpu layers:    12/12",
        "  tiny, 10 bytes, 5 parameters, 512 tokens of trained context",
        """  KEY="${SECRET}" '/opt/llama server' --model tiny.gguf""",
        "pid 5 is ready after 0.1 s",
        f"reconciler logs coder -f   ({filling.state}/logs/coder/uid1.log)",
    ):
        assert line in out
    assert "What happened" not in out


def advice(out: str) -> dict[str, str]:
    return {line[2:18].strip(): line[18:] for line in out.splitlines() if line.startswith("  What ")}


def test_a_failed_one_tells_what_to_do(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("coder", diagnosis="KilledByUser")
    out = call("describe", "server", "coder").out
    told = advice(out)
    assert "\n✗ coder  Failed: KilledByUser\n" in out
    assert told["What happened"] == "it ended after 5s (SIGKILL): SIGKILL, not sent from here"
    assert told["What I tried"] == "3 restarts (after 500ms, 1s, 2s), then it gave up"
    assert told["What you can do"].endswith("     or try again as it is: reconciler restart coder")
    assert "reconciler stop coder" in told["What you can do"]
    assert "Last lines of its last log:\n  bye\n" in out


def test_one_that_backs_off_tells_when_it_goes_on(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.failed("coder")
    filling.record("coder", status(Phase.BACKOFF, "signal 9"), n=2, ended=stamp(30), delay=1.0)
    tried = advice(call("describe", "server", "coder").out)["What I tried"]
    assert tried == "2 of 3 restarts (after 1s, 2s); the next one soon"
    filling.remember("coder", delay=time.time() - stamp(30).wall + 300)
    tried = advice(call("describe", "server", "coder").out)["What I tried"]
    assert tried.endswith("; the next one in 5m") or "; the next one in 4m" in tried


@pytest.mark.parametrize(
    ("phase", "reason", "told"),
    [
        (
            Phase.BLOCKED,
            "ModelMissing",
            ("such tries do not count against restart.maxRestarts", "or edit manifests/coder.yaml:1"),
        ),
        (Phase.INVALID, "InvalidManifest", ("nothing was started", "reconciler validate")),
    ],
)
def test_one_that_cannot_start_tells_what_it_waits_for(
    filling: Filling, controller: FakeController, call: Call, phase: Phase, reason: str, told: tuple[str, str]
) -> None:
    if phase is Phase.BLOCKED:
        filling.document("coder")
    filling.record("coder", status(phase, "no file at /m", reason))
    rows = advice(call("describe", "server", "coder").out)
    assert rows["What happened"] == "no file at /m"
    assert told[0] in rows["What I tried"]
    assert told[1] in rows["What you can do"]


def test_what_came_from_git_is_changed_there(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.document("coder", file="git:servers/coder.yaml", origin="git")
    filling.record("coder", status(Phase.BLOCKED, "no file at /m", "ModelMissing"))
    told = advice(call("describe", "server", "coder").out)["What you can do"]
    assert "or edit git:servers/coder.yaml:1, commit and push" in told
    assert "reconciler edit" not in told


@pytest.mark.parametrize("cause", ["Crashed", "Unknown"])
@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.BACKOFF])
def test_the_log_of_the_end_is_that_of_the_newest_instance(
    filling: Filling, controller: FakeController, call: Call, phase: Phase, cause: str
) -> None:
    filling.document("coder")
    filling.end(filling.instance("coder"), diagnosis=cause, log_tail="bye")
    filling.record("coder", status(phase), n=1, ended=stamp(30), delay=1.0)
    told = advice(call("describe", "server", "coder").out)["What you can do"]
    assert told.count("reconciler logs coder") == 1
    assert "--previous" not in told


@pytest.mark.parametrize(
    ("phase", "remedy"),
    [
        (Phase.PENDING, "start a controller, which goes on with it: reconciler run"),
        (Phase.BACKOFF, "start a controller, which goes on with it: reconciler run"),
        (Phase.BLOCKED, "put right what the message says     or edit manifests/coder.yaml:1     then start a c"),
    ],
)
def test_without_a_controller_nothing_is_promised(filling: Filling, call: Call, phase: Phase, remedy: str) -> None:
    filling.document("coder")
    filling.record("coder", status(phase, "no file at /m", "ModelMissing"))
    told = advice(call("describe", "server", "coder").out)
    assert told["What I tried"] == "nothing for now: no controller is running"
    assert told["What you can do"].startswith(remedy)
    assert told["What you can do"].endswith("reconciler run")


def test_one_never_looked_at_needs_a_controller_too(filling: Filling, call: Call) -> None:
    filling.document("coder")
    assert advice(call("describe", "server", "coder").out)["What you can do"].endswith("reconciler run")


def test_an_invalid_one_is_not_taken_up_without_a_controller(filling: Filling, call: Call) -> None:
    filling.record("coder", status(Phase.INVALID, "a.yaml:1:1: junk", "InvalidManifest"))
    told = advice(call("describe", "server", "coder").out)["What you can do"]
    assert "reconciler validate" in told
    assert told.endswith("     then start a controller: reconciler run")


def test_what_runs_is_shown_beside_what_is_declared(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.document("coder", model="new.gguf", ctx=8192, parallel=2, restart={"maxRestarts": 7}, flags={"mlock": True})
    older = {"model": "old.gguf", "ctx": 512, "parallel": 2, "host": "127.0.0.2", "restart": {"maxRestarts": 1}}
    filling.instance("coder", spec=older)
    filling.record("coder", status(Phase.READY, "the running instance stays", reconciled="GateShut"))
    out = call("describe", "server", "coder").out
    assert (
        "Runs on an older spec:\n"
        "  ctx: 512 (declared: 8192)\n"
        "  flags.mlock: (unset) (declared: true)\n"
        "  host: 127.0.0.2 (declared: (unset))\n"
        "  model: old.gguf (declared: new.gguf)\n"
        "Conditions:\n"
    ) in out
    assert "  address:       http://127.0.0.2:8001" in out
    assert "  context:       512" in out


def test_what_runs_as_declared_is_shown_once(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.document("coder", ctx=8192, restart={"maxRestarts": 7})
    filling.instance("coder", spec={"model": "tiny.gguf", "ctx": 8192})
    filling.record("coder", status(Phase.READY))
    assert "older spec" not in call("describe", "server", "coder").out


def test_nothing_in_the_database_can_command_a_terminal(
    filling: Filling, controller: FakeController, call: Call
) -> None:
    filling.document("coder", flags={"alias": "fine"})
    begun = filling.instance("coder")
    filling.end(begun, diagnosis="Crashed", evidence="\x1b]0;evil\x07", log_tail="\x1b[2Jgone\nbell\x07")
    filling.record("coder", status(Phase.FAILED, "\x9b2J"), n=1, last_error="\x1b[1A")
    filling.event("coder", "Crashed", "\x1b[31m")
    out = call("describe", "server", "coder").out
    assert [
        character for character in out if (ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160
    ] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("server", "codr"), 1, "did you mean 'coder'?"),
        (("event", "coder"), 2, "'event' cannot be described"),
        (("server",), 2, "Missing argument 'NAME'"),
    ],
)
def test_mistakes_are_answered(filling: Filling, call: Call, arguments: tuple[str, ...], code: int, words: str) -> None:
    filling.ready("coder")
    called = call("describe", *arguments)
    assert called.code == code
    assert words in called.err


def test_one_evidence_is_told_once_for_each_place(filling: Filling, controller: FakeController, call: Call) -> None:
    filling.degraded("coder")
    out = call("describe", "server", "coder").out
    assert "Runs on fallback step 2:\n" in out
    starts = out[out.index("\nRestarts:\n") + 1 : out.index("Log:")].splitlines()
    assert "  STEP  " in starts[1]
    assert ["ctx 16384" in line for line in starts[2:5]] == [False, True, False]
    assert "CPU only" in starts[4]
    assert [line.endswith("as above") for line in starts[2:5]] == [False, True, False]
    conditions = out[out.index("Conditions:") : out.index("Instance:")]
    assert "asked for gpuLayers 99" not in conditions, "its message says so above"
    assert out.count("asked for gpuLayers 99") == 1


def test_an_end_that_nobody_saw_is_no_running_one(filling: Filling, call: Call) -> None:
    instance = filling.ready("coder")
    assert instance.identity is not None
    filling.save(instance, identity=replace(instance.identity, pid=2**30))
    out = call("describe", "server", "coder").out
    starts = out[out.index("\nRestarts:\n") + 1 : out.index("Log:")]
    assert ("unseen" in starts, "running" in starts) == (True, False)
    assert "\n✗ coder  Stopped: NoController\n" in out
    assert "AsDeclared" not in out, "nothing of it runs"
