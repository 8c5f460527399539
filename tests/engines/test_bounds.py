"""How much one manifest may ask for."""

from typing import Any

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines import llama_server


def refusals(**fields: Any) -> list[tuple[str, str]]:
    found = llama_server.check(ServerSpec.model_validate({"model": "a.gguf", **fields}))
    return [(".".join(map(str, path)), message) for path, message in found]


@pytest.mark.parametrize(
    ("fields", "place", "message"),
    [
        ({"flags": {f"f-{n}": 1 for n in range(257)}}, "flags", "257 entries, and 256 may be"),
        ({"env": {f"V{n}": "1" for n in range(257)}}, "env", "257 entries"),
        ({"flags": {"logit-bias": ["1+1"] * 257}}, "flags.logit-bias", "257 values"),
        ({"model": "a" * 4097}, "model", "a path of 4097 characters, and 4096 may be"),
        ({"apiKeyFile": "a" * 4097}, "apiKeyFile", "a path of 4097"),
        ({"env": {"A": {"fromFile": "a" * 4097}}}, "env.A", "a path of 4097"),
        ({"flags": {"mmproj": "a" * 4097}}, "flags.mmproj", "a path of 4097"),
        ({"model": "a/" * 256 + "b"}, "model", "more than 32 files, or paths of more than 256 folders and names"),
        ({"flags": {"lora": ",".join(["x-00001-of-99999.gguf"] * 1000)}}, "flags.lora", "more than 32 files"),
        ({"flags": {"lora": ["a.gguf"] * 20, "lora-scaled": ["a.gguf:1"] * 12}}, "flags.lora-scaled", "more than 32"),
        ({"flags": {"threads-http": 513}}, "flags.threads-http", "starts more than 512 threads"),
        ({"flags": {"threads-http": "4000x"}}, "flags.threads-http", "starts more than 512 threads"),
        ({"flags": {"threads-batch": [1, 5000]}}, "flags.threads-batch", "starts more"),
        ({"flags": {"spec-draft-threads-batch": "9" * 5000}}, "flags.spec-draft-threads-batch", "starts more"),
        ({"flags": {"threads-batch-draft": 4097.0}}, "flags.threads-batch-draft", "starts more"),
        ({"parallel": 513}, "parallel", "above 512"),
        ({"probes": {"startup": {"initialPeriod": "1ms"}}}, "probes.startup.initialPeriod", "must be 50ms or longer"),
        ({"probes": {"startup": {"maxPeriod": "0s"}}}, "probes.startup.maxPeriod", "must be 50ms or longer"),
        ({"probes": {"startup": {"timeout": "1ms"}}}, "probes.startup.timeout", "must be 10ms or longer"),
        ({"probes": {"liveness": {"period": "0.001ms"}}}, "probes.liveness.period", "must be 50ms or longer"),
        ({"probes": {"liveness": {"timeout": "99ms"}}}, "probes.liveness.timeout", "must be 100ms or longer"),
        ({"probes": {"liveness": {"busyLimit": "0s"}}}, "probes.liveness.busyLimit", "must be 1s or longer"),
        ({"probes": {"startup": {"deadline": "0s"}}}, "probes.startup.deadline", "must be 1s or longer"),
        ({"probes": {"liveness": {"stall": "1ms"}}}, "probes.liveness.stall", "must be 1s or longer"),
        ({"probes": {"liveness": {"completionPeriod": "0s"}}}, "probes.liveness.completionPeriod", "must be 1s or"),
        ({"restart": {"retryFailedAfter": "1ms"}}, "restart.retryFailedAfter", "must be 1s or longer"),
        ({"flags": {"control-vector-layer-range": 1}}, "flags.control-vector-layer-range", "takes a list of"),
        ({"flags": {"control-vector-layer-range": True}}, "flags.control-vector-layer-range", "takes a list of two"),
    ],
)
def test_what_is_too_much(fields: dict[str, Any], place: str, message: str) -> None:
    [(where, told)] = refusals(**fields)
    assert where == place
    assert message in told


@pytest.mark.parametrize(
    "fields",
    [
        {
            "flags": {
                "threads-http": 512,
                "threads-batch": -1,
                "spec-draft-threads": 4096,
                "logit-bias": ["1+1"] * 256,
                "threads-draft": "auto",
            }
        },
        {"flags": {"lora": ",".join(["/models/of/mine/x.gguf"] * 31)}},
        {"flags": {"control-vector-layer-range": [1, 2]}},
        {"flags": {"chat-template": "a/" * 5000}},
        {"parallel": 512, "threads": 4096},
        {"model": "a/" * 255 + "b"},
        {"model": {"hf": "user/repo"}},
        {"probes": {"startup": {"initialPeriod": "50ms"}, "liveness": {"period": "50ms", "timeout": "100ms"}}},
        {"probes": {"startup": {"deadline": "1s", "timeout": "10ms"}}},
        {"probes": {"liveness": {"stall": "0s", "busyLimit": "1s", "completionPeriod": "1s"}}},
        {"restart": {"retryFailedAfter": "0s", "initialBackoff": "0s", "maxRestarts": 1_000_000}},
    ],
)
def test_what_is_not(fields: dict[str, Any]) -> None:
    assert refusals(**fields) == []
