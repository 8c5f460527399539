"""Keeping a server off the GPUs, and that the real llama-server takes what comes of it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.ladder import Step, spec_on
from reconciler.core.spec import ServerSpec
from reconciler.engines.gpus import HIDING
from reconciler.engines.llama_server import check, render, without_gpus

FOR_GPUS: dict[str, Any] = {
    "main-gpu": 1,
    "tensor-split": "3,1",
    "split-mode": "tensor",
    "override-tensor": "blk.*=CUDA0",
    "device": "CUDA0",
    "fit-target": "1024,1024",
    "mmproj-device": "CUDA1",
    "spec-draft-device": "CUDA1",
    "spec-draft-ngl": 99,
    "spec-draft-override-tensor": "blk.*=CUDA0",
}
NEUTRAL = {"device": "none", "spec-draft-device": "none", "spec-draft-ngl": 0, "mmproj-offload": False}


def spec(**fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "a.gguf", **fields})


def test_flags_that_need_a_gpu_are_dropped_or_neutralised() -> None:
    found = without_gpus(spec(gpuLayers=99, ctx=4096, flags={**FOR_GPUS, "temp": 0.5}))
    assert (found.gpu_layers, found.ctx) == (0, 4096)
    assert found.flags == {**NEUTRAL, "temp": 0.5}


def test_only_what_is_written_of_drafts_and_projectors_is_neutralised() -> None:
    """Older builds have not all of these flags."""
    assert without_gpus(spec()).flags == {"device": "none"}
    assert without_gpus(spec(flags={"mmproj": "m.gguf"})).flags["mmproj-offload"] is False


@pytest.mark.parametrize("asked", [{}, {"CUDA_VISIBLE_DEVICES": "0", "GGML_VK_VISIBLE_DEVICES": "1"}])
def test_the_gpus_are_hidden_by_the_environment_whatever_it_says(asked: dict[str, str]) -> None:
    env = without_gpus(spec(env={**asked, "LANG": "C", "LLAMA_ARG_TENSOR_SPLIT": "3,1"})).env
    assert env == {"LANG": "C", **HIDING}


def test_what_comes_of_it_is_acceptable() -> None:
    assert check(without_gpus(spec(gpuLayers="all", flags={**FOR_GPUS, "mmproj": "m.gguf"}))) == []


@pytest.mark.real
def test_the_real_server_takes_it_and_without_it_would_not(llama_server: str, tiny_model: Path) -> None:
    asked = spec(gpuLayers=99, ctx=128, threads=1, flags={**FOR_GPUS, "warmup": False})
    assert re.search("invalid device|unknown buffer type", ends_with(asked, llama_server, tiny_model))
    assert "listening on http://" in ends_with(without_gpus(asked), llama_server, tiny_model)


def ends_with(one: ServerSpec, binary: str, model: Path) -> str:
    """The log up to the line that tells that it serves, or that it does not."""
    env = {name: value for name, value in one.env.items() if isinstance(value, str)}
    folder = str(model.parent)
    argv = render(one, binary=binary, model=str(model), port=0, models_dir=folder, api_key_file=None)
    with subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "listening on" in line:
                break
        process.kill()  # a SIGTERM this early can be lost
        return "".join(lines)


# ---------------------------------------------------------------- the steps that a manifest writes


def test_the_steps_of_a_manifest_are_checked_like_the_rest_of_it() -> None:
    steps = [{"ctx": 2048}, {"flags": {"api-key": "x"}, "parallel": 4000}]
    found = check(spec(flags={"port": 1}, fallback={"steps": steps}))
    assert [place for place, _ in found] == [
        ("flags", "port"),
        ("fallback", "steps", 1, "flags", "api-key"),
        ("fallback", "steps", 1, "parallel"),
    ]


def test_a_flag_of_a_step_is_judged_beside_those_of_the_spec() -> None:
    one = spec(flags={"temp": 0.5, "top-k": 40}, fallback={"steps": [{"flags": {"top-k": 10}}]})
    assert spec_on(one, Step(1, changes={"flags": {"top-k": 10}})).flags == {"temp": 0.5, "top-k": 10}
    assert check(one) == []
