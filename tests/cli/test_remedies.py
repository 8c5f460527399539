"""What the owner of a server is told to do: made of its own names and numbers, and nothing that was tried in vain."""

from typing import Any

import pytest

from reconciler.core.history import StopReason, Tried
from reconciler.core.model import Effective, Exit, Phase
from tests.cli.filling import Filling, status
from tests.cli.pasted import faults
from tests.cli.test_rendering import looked

RESTART = "reconciler restart coder"
HELP = "(all that it takes: '/opt/my llama' --help)"
LINE = "ggml_cuda_init: failed to initialize CUDA"


def all_ways(filling: Filling, **facts: Any) -> str:
    found = looked(filling, **facts)
    assert found is not None
    lines = "\n".join(found.can_do)
    assert faults(lines) == []
    return lines


def on_a_step(filling: Filling, cause: str, changes: dict[str, Any], told: str, **spec: Any) -> None:
    running = filling.degraded("coder", cause, **spec)
    tried = (Tried(0, "as asked", cause, LINE), Tried(1, told, "", ready_after=0.25))
    filling.save(running, step=1, step_told=told, changes=changes)
    filling.remember("coder", tried=tried, step=1)


def failed(filling: Filling, cause: str, *tried: str, evidence: str = LINE, log_tail: str = "bye", **spec: Any) -> None:
    filling.document("coder", **spec)
    filling.end(filling.instance("coder"), exit=Exit(code=1), diagnosis=cause, evidence=evidence, log_tail=log_tail)
    steps = tuple(Tried(number, told, cause, evidence) for number, told in enumerate(tried))
    filling.record("coder", status(Phase.FAILED, "gave up", cause), n=4, tried=steps, last_cause=cause)


def blocked(filling: Filling, reason: str, message: str, **spec: Any) -> None:
    filling.document("coder", **spec)
    filling.record("coder", status(Phase.BLOCKED, message, reason, reconciled=reason))


# ---------------------------------------------------------------- less of what does not suffice


def test_what_runs_is_kept_as_a_whole(filling: Filling) -> None:
    changes = {"model": "small.gguf", "ctx": 1024, "flags": {"batch-size": 32, "cache-type-k": "q8_0", "warmup": False}}
    on_a_step(filling, "ContextTooLarge", changes, "model small.gguf, ctx 1024", ctx=524288)
    keep = "spec.model=small.gguf spec.ctx=1024 spec.flags.batch-size=32 spec.flags.cache-type-k=q8_0"
    assert f"keep what runs: reconciler set server/coder {keep} spec.flags.warmup=false" in all_ways(filling)
    assert "spec.ctx=1024\n" not in all_ways(filling), "of the large model"


@pytest.mark.parametrize("flag", ["main-gpu", "device"])
def test_the_cpu_alone_is_not_told_beside_flags_that_it_goes_ill_with(filling: Filling, flag: str) -> None:
    on_a_step(filling, "GpuUnavailable", {"gpuLayers": 0}, "CPU only", flags={flag: "0"})
    assert "keep what runs" not in all_ways(filling)
    assert "spec.gpuLayers=0" not in all_ways(filling)


def test_without_a_step_the_layers_that_run_are_kept(filling: Filling) -> None:
    instance = filling.ready("coder", gpuLayers=99)
    filling.save(instance, effective=Effective(1024, 4, "12/29"))
    filling.condition("coder", "Degraded", "GpuUnavailable", "asked for 99 layers, 12/29 are on the GPU", holds=True)
    assert looked(filling).can_do[0] == "keep what runs: reconciler set server/coder spec.gpuLayers=12"


@pytest.mark.parametrize("last", ["ctx 2048, gpuLayers 49", "CPU only, ctx 2048"])
def test_what_was_tried_in_vain_is_not_told(filling: Filling, last: str) -> None:
    tried = ("gpuLayers 99, ctx 8192", "ctx 2048", last)
    failed(filling, "GpuOutOfMemory", *tried, gpuLayers=99, ctx=8192)
    told = all_ways(filling)
    assert "gpuLayers" not in told
    assert told.startswith("reconciler set server/coder spec.ctx=1024\n")


@pytest.mark.parametrize(
    ("cause", "first"),
    [
        ("GpuOutOfMemory", "reconciler set server/coder spec.ctx=4096"),
        ("GpuUnavailable", "run it on the CPU: reconciler set server/coder spec.gpuLayers=0 spec.flags.device=none"),
    ],
)
def test_where_no_step_was_tried_less_is_told(filling: Filling, cause: str, first: str) -> None:
    failed(filling, cause, gpuLayers=99, ctx=8192)
    assert all_ways(filling).startswith(first)
    assert ("spec.gpuLayers=49" in all_ways(filling)) is (cause == "GpuOutOfMemory")


def test_safer_settings_that_are_off_are_told_first(filling: Filling) -> None:
    failed(filling, "HostOutOfMemory", fallback="off", ctx=8192)
    assert looked(filling).can_do[:2] == (
        "let safer settings be tried: reconciler unset server/coder spec.fallback",
        "reconciler set server/coder spec.ctx=4096",
    )


def test_without_a_written_context_that_of_the_training_counts(filling: Filling) -> None:
    running = filling.degraded("coder", "GpuOutOfMemory", ctx=None)
    filling.save(running, effective=Effective(1024, 4, trained=40960), changes={"gpuLayers": 0})
    filling.remember("coder", tried=(Tried(0, "as asked", "GpuOutOfMemory", LINE), Tried(1, "CPU only", "")))
    assert looked(filling).can_do[0] == "reconciler set server/coder spec.ctx=20480"


@pytest.mark.parametrize(("spec", "ctx"), [({"parallel": 2}, 4096), ({}, 2048)])
def test_a_capped_context_is_asked_for_as_it_is(filling: Filling, spec: dict[str, Any], ctx: int) -> None:
    instance = filling.ready("coder", ctx=8192, **spec)
    filling.save(instance, effective=Effective(2048, spec.get("parallel", 4)))
    filling.condition("coder", "ContextCapped", "ContextCapped", "running with 2048", holds=True)
    assert looked(filling).can_do[0] == f"reconciler set server/coder spec.ctx={ctx}"
    assert "describe" not in all_ways(filling), "its reader is there already"


# ---------------------------------------------------------------- what has to follow, and what need not


@pytest.mark.parametrize("cause", ["ModelBroken", "InvalidFlag", "WrongArchitecture"])
def test_what_a_change_mends_needs_no_restart(filling: Filling, cause: str) -> None:
    failed(filling, cause)
    assert RESTART not in all_ways(filling)


def test_another_try_is_one_way_of_several(filling: Filling) -> None:
    failed(filling, "OomKilled", ctx=8192)
    assert looked(filling).can_do[-1] == f"try again as it is: {RESTART}"
    assert not [way for way in looked(filling).can_do if way.startswith("then")]


# ---------------------------------------------------------------- its own flag, address, file, program


@pytest.mark.parametrize(
    ("told", "flags", "ways"),
    [
        (
            "it has been removed from this llama-server; write `spec-draft-n-max: 16` (or spec-x)",
            {"draft-max": 16},
            ("reconciler unset server/coder spec.flags.draft-max", "spec.flags.spec-draft-n-max=16"),
        ),
        (
            "this llama-server has no such flag; the nearest that it has: the field `ctx`",
            {"ctx-siez": 4096},
            ("reconciler unset server/coder spec.flags.ctx-siez", "spec.ctx=4096"),
        ),
        (
            "this llama-server has no such flag; the nearest that it has: `numa` or `mlock`",
            {"nulock": "x"},
            ("reconciler unset server/coder spec.flags.nulock", ""),
        ),
        (
            "it needs a value; write `flash-attn: on`, or another of: on, off, auto",
            {"flash-attn": True},
            ("reconciler set server/coder spec.flags.flash-attn=on", ""),
        ),
        (
            "it takes a number; write `keep: N`, as its help has it",
            {"keep": "many"},
            ("reconciler unset server/coder spec.flags.keep", ""),
        ),
    ],
)
def test_a_refused_flag_is_named(filling: Filling, told: str, flags: dict[str, Any], ways: tuple[str, str]) -> None:
    name = next(iter(flags))
    blocked(filling, "InvalidFlag", f"spec.flags.{name}: {told} {HELP}", flags=flags)
    found = looked(filling).can_do
    assert found[0] == ways[0]
    assert (found[1] == f"then reconciler set server/coder {ways[1]}") is bool(ways[1])
    assert "reconciler edit coder" in all_ways(filling)


def test_a_flag_that_a_start_has_shown_to_be_wrong_is_named(filling: Filling) -> None:
    failed(filling, "InvalidFlag", evidence="error: invalid argument: --nonsense", flags={"nonsense": 1})
    found = looked(filling, program="/opt/my llama")
    assert found.can_do[0] == "reconciler unset server/coder spec.flags.nonsense"
    assert "see which this build has: '/opt/my llama' --help" in found.can_do


def test_a_flag_from_defaults_is_not_taken_out_of_the_manifest(filling: Filling) -> None:
    failed(filling, "InvalidFlag", evidence="error: invalid argument: --other", flags={"nonsense": 1})
    assert "unset" not in all_ways(filling)


@pytest.mark.parametrize("host", ["192.0.2.7", "127.0.0.1"])
def test_an_address_of_another_machine(filling: Filling, host: str) -> None:
    evidence = f"srv         start: couldn't bind HTTP server socket, hostname: {host}, port: 8001"
    filling.document("coder", host=host, port="auto")
    filling.end(filling.instance("coder"), exit=Exit(code=1), diagnosis="PortInUse", evidence=evidence)
    shown = status(Phase.BLOCKED, f"exit code 1: PortInUse: {evidence}; it is tried again by itself", "PortInUse")
    filling.record("coder", shown)
    found = looked(filling)
    assert found.happened.startswith("it ended after 5s (exit 1): srv start: couldn't bind HTTP server socket")
    assert ("spec.host=127.0.0.1" in found.can_do[0]) is (host == "192.0.2.7")
    assert "adopt" not in all_ways(filling), "there is nobody"
    assert "spec.port=auto" not in all_ways(filling), "so it is"


def test_a_program_that_was_named_is_not_searched_for_elsewhere(filling: Filling) -> None:
    blocked(filling, "BinaryMissing", "no program at /opt/gone; install it, or correct spec.binary", binary="/opt/gone")
    assert looked(filling).can_do == ("use the llama-server of the others: reconciler unset server/coder spec.binary",)


def test_a_file_is_named(filling: Filling) -> None:
    blocked(filling, "ModelBroken", "/models/my web.gguf is not a GGUF file; copy the right file there")
    assert "head -c 64 '/models/my web.gguf'" in all_ways(filling)


def test_the_right_to_a_file_is_given_by_what_the_message_says(filling: Filling) -> None:
    told = "/models/my.gguf may not be read; allow it with: chmod +r /models/my.gguf"
    blocked(filling, "PermissionDenied", told)
    assert looked(filling).can_do[:2] == (
        "allow it: chmod +r /models/my.gguf",
        "see whose it is: ls -ld /models/my.gguf",
    )


# ---------------------------------------------------------------- ended by the controller, and other ways to stand


def test_one_that_the_controller_ended_was_not_killed_by_somebody(filling: Filling) -> None:
    evidence = "not Ready, and no progress for 3s (probes.startup.deadline); the socket is closed"
    filling.document("coder")
    stopped = {"stop_reason": StopReason.STARTUP_TIMEOUT, "diagnosis": "StartupTimeout", "evidence": evidence}
    filling.end(filling.instance("coder"), after=3.1, exit=Exit(signal=15), **stopped)
    filling.record("coder", status(Phase.FAILED, "gave up", "StartupTimeout"), n=4, last_cause="StartupTimeout")
    found = looked(filling)
    told = "not Ready, and no progress for 3s (probes.startup.deadline)"
    assert found.happened == f"the controller ended it after 3.1s: {told}; its log is empty"
    assert "reconciler logs" not in all_ways(filling), "there is nothing in it"
    assert "spec.probes.startup.deadline=20m" in all_ways(filling)


def test_a_shut_gate_tells_what_mends_its_cause(filling: Filling) -> None:
    filling.ready("coder")
    message = "ModelMissing: no file at /m/a.gguf; until then the instance that runs stays"
    filling.condition("coder", "Reconciled", "GateShut", message, holds=False)
    assert looked(filling).headline == "✗ coder  Ready, not as declared: GateShut"
    assert "reconciler models" in all_ways(filling)


@pytest.mark.parametrize(("phase", "told"), [("Failed (OomKilled)", True), ("Starting", False)])
def test_one_that_waits_for_a_server_that_does_not_come(filling: Filling, phase: str, told: bool) -> None:
    filling.document("coder")
    see = "; see: reconciler describe server chat" if told else ""
    message = f"it depends on 'chat', which is {phase}{see}"
    filling.record("coder", status(Phase.PENDING, message, "WaitingForDependency"))
    found = looked(filling)
    assert bool(found) is told
    if told:
        assert found.can_do[0] == "see what is wrong there: reconciler describe server chat"


def test_one_that_ended_unseen(filling: Filling) -> None:
    instance = filling.ready("chat")
    assert instance.identity is not None
    filling.save(instance, identity=type(instance.identity)(instance.identity.boot, 2**30, 1))
    filling.condition("chat", "Reconciled", "AsDeclared", "", holds=True)
    found = looked(filling, "chat", controller=False)
    assert found.headline == "✗ chat  Stopped: NoController"
    assert found.happened.startswith("ended while no controller was running")
    assert found.can_do == ("start a controller, which goes on with it: reconciler run",)
