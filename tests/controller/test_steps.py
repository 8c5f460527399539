"""Fallback steps at the edges: what is launched on one, what the policy says of it, and how it is asked."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.launching import Launcher, LaunchError
from reconciler.controller.observing import _may_start, _spec_of
from reconciler.core.history import History, Instance, Requests, Stamp
from reconciler.core.ladder import PRIMARY, Step
from reconciler.core.model import Desired, Document, Identity, Limits, Now, Process, Wanted
from reconciler.core.rules import Policy
from reconciler.core.source import GIT
from reconciler.core.spec import ServerSpec, dump_spec
from reconciler.settings import Settings

NOW = Now(monotonic=1000.0, wall=4_000_000_000.0, boot="b")
IDENTITY = Identity("b", 500, 7)
SMALLER = Step(1, "ctx 2048", {"ctx": 2048})
ON_CPU = Step(2, "CPU only", {"gpuLayers": 0}, hides_gpus=True)
OTHER = Step(1, "model b.gguf", {"model": "b.gguf", "flags": {"temp": 0.1}})


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    return tmp_path


def launcher(models: Path, **settings: Any) -> Launcher:
    return Launcher(
        Settings(models=str(models), llama_server=sys.executable, **settings), {"CUDA_VISIBLE_DEVICES": "0"}
    )


def declared(origin: str = "local", **fields: Any) -> Document:
    spec = {"model": "a.gguf", "ctx": 8192, "flags": {"top-k": 40, "temp": 0.7}, **fields}
    return Document("LlamaServer", "chat", "chat.yaml", ServerSpec.model_validate(spec), origin=origin)


# ---------------------------------------------------------------- the gate


def test_the_gate_of_a_step_looks_at_its_own_files(models: Path) -> None:
    steps = [
        {"model": "b.gguf"},
        {"model": "none.gguf"},
        {"ctx": 512},
        {"flags": {"lora": "gone.gguf"}},
        {"threads": 2, "flags": {"chat-template-file": "a.gguf"}},
    ]
    one, found = launcher(models), declared(fallback={"steps": steps})
    assert [(number, gate.reason) for number, gate in one.look(found, NOW).on_steps.items()] == [
        (1, ""),
        (2, "ModelMissing"),
        (4, "ModelMissing"),
        (5, ""),
    ]
    assert one.look(found, NOW).reason == ""
    (models / "a.gguf").unlink()
    gate = one.look(found, NOW)
    assert (gate.reason, gate.on_steps[1].reason, gate.on_steps[5].reason) == ("ModelMissing", "", "ModelMissing")
    (models / "none.gguf").write_bytes(b"GGUF")
    later = replace(NOW, monotonic=NOW.monotonic + 9, wall=NOW.wall + 9)
    assert one.look(found, later).on_steps[2].reason == ""


@pytest.mark.parametrize("fallback", [None, "auto", "off", {"steps": [{"ctx": 512}]}])
def test_for_most_steps_the_gate_is_that_of_what_was_asked_for(models: Path, fallback: Any) -> None:
    assert launcher(models).look(declared(fallback=fallback), NOW).on_steps == {}


def test_other_steps_of_the_same_name_are_looked_at_anew(models: Path) -> None:
    one = launcher(models)
    assert one.look(declared(fallback={"steps": [{"model": "b.gguf"}]}), NOW).on_steps[1].reason == ""
    assert one.look(declared(fallback={"steps": [{"model": "c.gguf"}]}), NOW).on_steps[1].reason == "ModelMissing"


# ---------------------------------------------------------------- launches


@pytest.mark.parametrize(
    ("step", "arguments", "devices"),
    [
        (PRIMARY, "--model {}/a.gguf --ctx-size 8192 --temp 0.7 --top-k 40", "0"),
        (SMALLER, "--model {}/a.gguf --ctx-size 2048 --temp 0.7 --top-k 40", "0"),
        (ON_CPU, "--model {}/a.gguf --ctx-size 8192 --n-gpu-layers 0 --device none --temp 0.7 --top-k 40", ""),
        (OTHER, "--model {}/b.gguf --ctx-size 8192 --temp 0.1 --top-k 40", "0"),
    ],
    ids=["as asked", "less context", "CPU only", "another model"],
)
def test_a_step_is_launched_with_its_own_settings(models: Path, step: Step, arguments: str, devices: str) -> None:
    launch = launcher(models).launch(declared(), 8001, step)
    told = " ".join(launch.argv[1:]).replace("--host 127.0.0.1 --port 8001 ", "")
    assert told == arguments.format(models)
    assert launch.environment["CUDA_VISIBLE_DEVICES"] == devices


def test_where_no_gpu_may_be_used_they_are_hidden_from_every_step(models: Path) -> None:
    ours = launcher(models, cpu_only=True)
    for step in (PRIMARY, SMALLER, OTHER):
        launch = ours.launch(declared(gpuLayers=99), 8001, step)
        assert " --n-gpu-layers 0 --device none" in " ".join(launch.argv)
        assert launch.environment["CUDA_VISIBLE_DEVICES"] == ""
        assert ours.hides_gpus(step)
    assert not launcher(models).hides_gpus(SMALLER)


# ---------------------------------------------------------------- the policy


@pytest.mark.parametrize(
    ("step", "rule", "place"),
    [
        ({"model": "/etc/b.gguf"}, "policy.git.models", "spec.model of spec.fallback.steps.1"),
        ({"model": {"hf": "u/r"}}, "policy.git.hf", "spec.model of spec.fallback.steps.1"),
        ({"flags": {"tools": "all"}}, "policy.git.flags", "flag `tools` of spec.fallback.steps.1"),
        ({"ctx": 16384}, "policy.git.max_ctx", "spec.ctx of spec.fallback.steps.1"),
    ],
)
def test_a_step_may_not_do_what_its_manifest_may_not(models: Path, step: dict[str, Any], rule: str, place: str) -> None:
    policy = Policy.model_validate({"git": {"max_ctx": 8192}})
    gate = launcher(models, policy=policy).look(declared(GIT, fallback={"steps": [{"ctx": 4096}, step]}), NOW)
    assert gate.reason == "PolicyDenied"
    assert f"{rule}: {place} " in gate.message
    assert launcher(models, policy=policy).look(declared(GIT, fallback={"steps": [{"ctx": 4096}]}), NOW).reason == ""


def test_a_launch_on_a_step_asks_the_policy_anew(models: Path) -> None:
    """What was found at the gate may be a link elsewhere by now."""
    (models / "b.gguf").unlink()
    (models / "b.gguf").symlink_to("/etc/hostname")
    ours = launcher(models, policy=Policy())
    with pytest.raises(LaunchError, match=r"policy\.git\.models"):
        ours.launch(declared(GIT), 8001, OTHER)
    ours.launch(declared(GIT), 8001)


# ---------------------------------------------------------------- what runs on a step


def running(step: Step = PRIMARY) -> Instance:
    started = Instance("u1", "chat", "1:abc", 1, 8001, Stamp.of(NOW), identity=IDENTITY)
    on_step = replace(started, step=step.number, changes=step.changes, hides_gpus=step.hides_gpus)
    return replace(on_step, spec={"model": "a.gguf", "ctx": 8192})


@pytest.mark.parametrize("fingerprint", ["1:abc", "1:new"], ids=["as declared", "declared otherwise by now"])
def test_it_is_asked_by_the_spec_of_its_step(fingerprint: str) -> None:
    wanted = Wanted(declared(probes={"liveness": {"period": "9s"}}), fingerprint)
    spec = _spec_of(running(OTHER), wanted)
    assert (spec.model, spec.ctx, spec.probes.liveness.period) == ("b.gguf", 8192, 9.0)
    assert spec.flags == ({"top-k": 40, "temp": 0.1} if fingerprint == "1:abc" else {"temp": 0.1})


@pytest.mark.parametrize(
    ("step", "restart", "requests", "cpu_only", "looked_at"),
    [
        (PRIMARY, {}, Requests(), False, False),
        (PRIMARY, {}, Requests(primary={"chat": 1}), False, True),
        (PRIMARY, {}, Requests(), True, True),
        (PRIMARY, {"retryPrimaryAfter": "1m"}, Requests(), False, False),
        (SMALLER, {}, Requests(), False, False),
        (SMALLER, {"retryPrimaryAfter": "1m"}, Requests(), False, True),
    ],
)
def test_the_gate_is_looked_at_where_it_may_be_replaced(
    step: Step, restart: dict[str, str], requests: Requests, cpu_only: bool, looked_at: bool
) -> None:
    wanted = Wanted(declared(restart=restart), "1:abc")
    desired = Desired({"chat": wanted}, limits=Limits(cpu_only=cpu_only))
    process = Process("u1", "chat", IDENTITY, leader=True, alive=True, port=8001)
    history = History(instances={"chat": replace(running(step), spec=dump_spec(wanted.spec))})
    assert _may_start(wanted, desired, {"chat": (process,)}, history, requests) is looked_at
    gone = {"chat": (replace(process, alive=False),)}
    assert _may_start(wanted, desired, gone, history, requests)
