import json
from pathlib import Path
from typing import Any, get_args

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines import ENGINES, REFUSED, engine_of, llama_server

GOLDEN = json.loads((Path(__file__).parent / "golden_fingerprints.json").read_text())


def command(spec: ServerSpec, **given: Any) -> tuple[str, ...]:
    defaults: dict[str, Any] = {
        "binary": "/bin/ls",
        "model": "/m/a.gguf",
        "port": 8001,
        "models_dir": "/m",
        "api_key_file": None,
    }
    return llama_server.render(spec, **(defaults | given))


def test_a_bare_spec() -> None:
    spec = ServerSpec(model="a.gguf")
    assert llama_server.symbolic_argv(spec) == ("--model", "a.gguf", "--port", "auto")
    assert command(spec) == ("/bin/ls", "--model", "/m/a.gguf", "--host", "127.0.0.1", "--port", "8001")


def test_a_full_spec() -> None:
    spec = ServerSpec.model_validate(
        {
            "model": "~/a.gguf",
            "ctx": 4096,
            "parallel": 2,
            "gpuLayers": "all",
            "threads": 8,
            "host": "::1",
            "port": 9000,
            "apiKeyFile": "keys",
            "flags": {"metrics": True, "mmproj": "p.gguf"},
        }
    )
    sizes = ("--ctx-size", "4096", "--parallel", "2", "--n-gpu-layers", "all", "--threads", "8")
    assert llama_server.symbolic_argv(spec) == (
        *("--model", "~/a.gguf", "--host", "::1", "--port", "9000", *sizes),
        *("--api-key-file", "keys", "--metrics", "--mmproj", "p.gguf"),
    )
    assert command(spec, port=9000, api_key_file="/etc/keys") == (
        *("/bin/ls", "--model", "/m/a.gguf", "--host", "::1", "--port", "9000", *sizes),
        *("--api-key-file", "/etc/keys", "--metrics", "--mmproj", "/m/p.gguf"),
    )


def test_a_model_of_hugging_face() -> None:
    spec = ServerSpec.model_validate({"model": {"hf": "ggml-org/gemma:Q4_0"}})
    assert llama_server.symbolic_argv(spec)[:2] == ("--hf-repo", "ggml-org/gemma:Q4_0")
    assert command(spec, model=None)[1:3] == ("--hf-repo", "ggml-org/gemma:Q4_0")


def test_a_path_that_was_not_resolved_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"a\.gguf was not resolved"):
        command(ServerSpec(model="a.gguf"), model=None)


@pytest.mark.parametrize(
    "written",
    [
        {"port": "auto"},
        {"host": "127.0.0.1"},
        {"flags": {}},
        {"suspend": True},
        {"engine": "llama-server"},
        {"probes": {"liveness": {"period": "1s"}}},
        {"restart": {"policy": "Never"}},
        {"stop": {"gracePeriod": "1s"}},
    ],
)
def test_what_restarts_nothing(written: dict[str, Any]) -> None:
    bare = ServerSpec(model="a.gguf")
    assert llama_server.fingerprint(
        ServerSpec.model_validate({"model": "a.gguf"} | written)
    ) == llama_server.fingerprint(bare)


@pytest.mark.parametrize(
    "written",
    [
        {"model": "./a.gguf"},
        {"model": {"hf": "a/gguf"}},
        {"ctx": 512},
        {"parallel": 1},
        {"gpuLayers": 0},
        {"threads": 1},
        {"host": "0.0.0.0"},
        {"port": 8001},
        {"flags": {"metrics": True}},
        {"flags": {"temp": 1}},
        {"flags": {"temp": 1.5}},
        {"env": {"A": "b"}},
        {"env": {"A": {"fromEnv": "b"}}},
        {"env": {"A": {"fromFile": "b"}}},
        {"apiKeyFile": "keys"},
        {"binary": "/usr/bin/llama-server"},
    ],
)
def test_what_restarts(written: dict[str, Any]) -> None:
    spec = ServerSpec.model_validate({"model": "a.gguf"} | written)
    assert llama_server.fingerprint(spec) != llama_server.fingerprint(ServerSpec(model="a.gguf"))


def test_order_of_flags_and_variables_restarts_nothing() -> None:
    one = ServerSpec(model="a", flags={"temp": 0.5, "metrics": True}, env={"A": "1", "B": "2"})
    other = ServerSpec(model="a", flags={"metrics": True, "temp": 0.5}, env={"B": "2", "A": "1"})
    assert llama_server.fingerprint(one) == llama_server.fingerprint(other)


def test_order_in_a_list_restarts() -> None:
    one, other = (ServerSpec(model="a", flags={"lora": each}) for each in (("x", "y"), ("y", "x")))
    assert llama_server.fingerprint(one) != llama_server.fingerprint(other)


def test_the_fingerprint_is_that_of_the_spec_read_back_from_json() -> None:
    spec = ServerSpec.model_validate(
        {"model": "a", "flags": {"temp": 1.0, "lora": ["x"]}, "env": {"A": {"fromEnv": "b"}}}
    )
    again = ServerSpec.model_validate_json(spec.model_dump_json(by_alias=True, exclude_unset=True))
    assert llama_server.fingerprint(again) == llama_server.fingerprint(spec)


@pytest.mark.parametrize("specimen", GOLDEN["specimens"], ids=lambda each: each["name"])
def test_fingerprints_stay_what_they_were(specimen: dict[str, Any]) -> None:
    spec = ServerSpec.model_validate(specimen["spec"])
    assert llama_server.fingerprint(spec) == specimen["fingerprint"], GOLDEN["comment"]


def test_check_gathers_all() -> None:
    spec = ServerSpec(model="a", host="x.sock", flags={"port": 1}, env={"HF_TOKEN": "x"})
    assert [location for location, _ in llama_server.check(spec)] == [("host",), ("flags", "port"), ("env", "HF_TOKEN")]
    assert llama_server.check(ServerSpec(model="a")) == []


def test_the_registry_has_what_a_spec_may_name() -> None:
    assert engine_of(ServerSpec(model="a")) is llama_server
    assert set(ENGINES) == set(get_args(ServerSpec.model_fields["engine"].annotation))
    assert not set(ENGINES) & set(REFUSED)
