import json

import pytest

from reconciler.core.model import Effective, HealthState
from reconciler.core.spec import ServerSpec
from reconciler.engines import answers

OURS = {"Server": "llama.cpp"}
LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
NO_KEY = b'{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}'
PROPS = json.dumps(
    {
        "default_generation_settings": {"params": {"seed": 1}, "n_ctx": 256},
        "total_slots": 2,
        "model_path": "/models/a.gguf",
    }
).encode()
CPU_BUFFER = "0.00.016.326 I load_tensors:   CPU_Mapped model buffer size =     0.49 MiB\n"
DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("status", "headers", "body", "state", "said"),
    [
        (200, OURS, b'{"status":"ok"}', HealthState.OK, ""),
        (200, {"server": "llama.cpp"}, b'{"status": "ok", "slots_idle": 1}', HealthState.OK, ""),
        (200, {}, b'{"status":"ok"}', HealthState.OK, ""),
        (503, OURS, LOADING, HealthState.LOADING, "Loading model"),
        (503, {}, b'{"status":"loading model"}', HealthState.LOADING, "loading model"),
        (503, {}, b"", HealthState.LOADING, "503"),
        (200, {"SERVER": "nginx"}, b'{"status":"ok"}', HealthState.STRANGER, "'nginx' answers on the port"),
        (503, {"Server": "nginx"}, b"", HealthState.STRANGER, "'nginx' answers on the port"),
        (200, OURS, b"", HealthState.STRANGER, "but not with"),
        (200, {}, b'{"status":"fine"}', HealthState.STRANGER, "but not with"),
        (200, {}, b"[1]", HealthState.STRANGER, "but not with"),
        (200, {}, b"\xff\xfe", HealthState.STRANGER, "but not with"),
        (200, {}, DEEP, HealthState.STRANGER, "but not with"),
        (404, OURS, b'{"error":{"message":"File Not Found"}}', HealthState.FAILING, "404: File Not Found"),
        (500, {}, b"oops", HealthState.FAILING, "500: without a reason"),
    ],
)
def test_health(status: int, headers: dict[str, str], body: bytes, state: HealthState, said: str) -> None:
    found, message = answers.read_health(status, headers, body)
    assert found is state
    assert (said in message) if said else message == ""


def test_props_of_the_model_that_was_started() -> None:
    effective = Effective(256, 2, model="/models/a.gguf")
    assert answers.read_props(PROPS, model_path="/models/a.gguf") == (effective, "")
    assert answers.read_props(PROPS, model_path=None) == (effective, "")


def test_props_of_another_model_are_nobodys() -> None:
    effective, message = answers.read_props(PROPS, model_path="/models/b.gguf")
    assert effective is None
    assert "/models/a.gguf, not /models/b.gguf" in message


@pytest.mark.parametrize(
    ("body", "effective"),
    [
        (b'{"total_slots":4}', Effective(slots=4)),
        (b'{"default_generation_settings":{"n_ctx":64}}', Effective(ctx_per_slot=64)),
        (NO_KEY, Effective(unverified="/props does not tell: Invalid API Key")),
        (b"<html>", Effective(unverified="/props does not tell: no settings in it")),
        (
            b'{"total_slots":true,"default_generation_settings":[]}',
            Effective(unverified="/props does not tell: no settings in it"),
        ),
    ],
)
def test_props_with_less_in_them(body: bytes, effective: Effective) -> None:
    assert answers.read_props(body, model_path="/models/a.gguf") == (effective, "")


def test_models() -> None:
    meta = {"vocab_type": 1, "n_ctx": 256, "n_ctx_train": 512, "n_params": 127552, "size": 510208, "ftype": "all F32"}
    body = json.dumps({"data": [{"id": "tiny", "owned_by": "llamacpp", "meta": meta}, {"id": "bare", "meta": None}]})
    assert answers.read_models(body.encode()) == (
        {"id": "tiny", "size": 510208, "parameters": 127552, "trainedContext": 512},
        {"id": "bare"},
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":3}', b'{"data":["x"]}', NO_KEY, DEEP])
def test_no_models(body: bytes) -> None:
    assert answers.read_models(body) == ()


@pytest.mark.parametrize(
    ("log", "layers"),
    [
        ("load_tensors: offloaded 62/62 layers to GPU\n", "62/62"),
        ("offloaded 1/9 layers to GPU\nload_tensors: offloaded 3/9 layers to GPU", "3/9"),
        ("load_tensors: offloading output layer to GPU\n", None),
    ],
)
def test_gpu_layers(log: str, layers: str | None) -> None:
    assert answers.read_log_head(log).gpu_layers == layers


@pytest.mark.parametrize(
    ("log", "device"),
    [
        (CPU_BUFFER, "CPU"),
        (f"{CPU_BUFFER}load_tensors:        CUDA0 model buffer size =  4096.50 MiB\n", "CUDA0"),
        (
            "load_tensors: CUDA1 model buffer size = 12.0 MiB\nload_tensors: CUDA0 model buffer size = 9 MiB",
            "CUDA1,CUDA0",
        ),
        ("load_tensors:    CUDA0 model buffer size =     0.00 MiB\n" + CPU_BUFFER, "CPU"),
        ("load_tensors: Metal_Mapped model buffer size = 9.00 MiB\n" + CPU_BUFFER, "Metal"),
        ("load_tensors:    CUDA_Host model buffer size = 125.00 MiB\n", "CPU"),
        ("warning: no usable GPU found, --gpu-layers option will be ignored\n", "CPU"),
        ("llama_kv_cache:      CUDA0 KV buffer size =     0.25 MiB", ""),
        ("model buffer size = 1.2.3", ""),
        ("x" * 250_000, ""),
        ("", ""),
    ],
)
def test_device(log: str, device: str) -> None:
    assert answers.read_log_head(log).device == device


def test_a_context_that_was_cut_to_what_the_model_was_trained_with() -> None:
    asked = "0.00.009.768 W llama_context: n_ctx_seq (1024) > n_ctx_train (512) -- possible training context overflow\n"
    cut = "the slot context (1024) exceeds the training context of the model (512) - capping"
    assert not answers.read_log_head(asked).is_capped
    assert answers.read_log_head(f"{asked}0.00.012.525 W srv    load_model: {cut}\n").is_capped


@pytest.mark.parametrize(
    ("told", "model"),
    [
        ({"model_path": "/m/a.gguf", "model_alias": "a"}, "/m/a.gguf"),
        ({"model_alias": "a\x1b[2J"}, "a\ufffd[2J"),
        ({"model_path": 3}, ""),
    ],
)
def test_the_model_as_it_is_named(told: dict[str, object], model: str) -> None:
    effective, _ = answers.read_props(json.dumps({"total_slots": 1, **told}).encode(), model_path=None)
    assert effective == Effective(slots=1, model=model)


@pytest.mark.parametrize(("flags", "prefix"), [({}, ""), ({"api-prefix": "/chat"}, "/chat")])
def test_paths_follow_the_prefix(flags: dict[str, str], prefix: str) -> None:
    spec = ServerSpec(model="a", flags=flags)
    asked = [each(spec) for each in (answers.health_path, answers.props_path, answers.models_path, answers.slots_path)]
    assert asked == [prefix + "/health", prefix + "/props", prefix + "/v1/models", prefix + "/slots"]


def test_a_certificate_with_its_key_means_https() -> None:
    assert answers.scheme(ServerSpec(model="a", flags={"ssl-key-file": "k", "ssl-cert-file": "c"})) == "https"
    assert answers.scheme(ServerSpec(model="a", flags={"ssl-cert-file": "c"})) == "http"


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\ud800", "two\nlines", "\u202eabc"])
def test_what_a_stranger_answers_is_one_harmless_line(evil: str) -> None:
    """It is kept in the database, where a lone surrogate could not be written, and shown."""
    error = json.dumps({"error": {"message": evil}, "model_path": evil}).encode()
    state, message = answers.read_health(500, {"server": "llama.cpp"}, error)
    assert state is HealthState.FAILING
    refused = answers.read_props(error, model_path="/m/a.gguf")[1]
    effective = answers.read_props(json.dumps({"error": {"message": evil}}).encode(), model_path=None)[0]
    assert effective is not None
    models = answers.read_models(json.dumps({"data": [{"id": evil * 1000}]}).encode())
    for text in (message, refused, effective.unverified, models[0]["id"]):
        assert text.isprintable()
    assert len(models[0]["id"]) <= 500
