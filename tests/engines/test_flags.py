import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import Refusal, Value, check_flags, flag_arguments, inside, long_name


def refusals(**flags: Value) -> list[Refusal]:
    spec = ServerSpec(model="a.gguf", flags=flags)
    return check_flags(spec.flags)


def refusal_of(name: str, value: Value) -> str:
    ((location, message),) = refusals(**{name: value})
    assert location[:2] == ("flags", name)
    return message


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model", "b.gguf", "field `model` decides"),
        ("m", "b.gguf", "field `model` decides"),
        ("hf-repo", "a/b", "field `model` decides"),
        ("hfr", "a/b", "field `model` decides"),
        ("hf-file", "b.gguf", "field `model` decides"),
        ("model-url", "http://h/b.gguf", "field `model` decides"),
        ("ctx-size", 4096, "field `ctx` decides"),
        ("c", 4096, "field `ctx` decides"),
        ("ctx_size", 4096, "field `ctx` decides"),
        ("--ctx-size", 4096, "field `ctx` decides"),
        ("CTX-SIZE", 4096, "field `ctx` decides"),
        ("ctx-size=4096", True, "field `ctx` decides"),
        ("np", 2, "field `parallel` decides"),
        ("ngl", 99, "field `gpuLayers` decides"),
        ("gpu-layers", 99, "field `gpuLayers` decides"),
        ("n-gpu-layers", 99, "field `gpuLayers` decides"),
        ("threads", 4, "field `threads` decides"),
        ("host", "0.0.0.0", "field `host` decides"),
        ("port", 80, "field `port` decides"),
        ("api-key-file", "keys", "field `apiKeyFile` decides"),
        ("api-key", "s3cret", "name it in `apiKeyFile`"),
        ("hf-token", "hf_x", "`HF_TOKEN: {fromFile: <path>}`"),
        ("hft", "hf_x", "`HF_TOKEN: {fromFile: <path>}`"),
        ("log-disable", True, "`reconciler logs`"),
        ("log-file", "x.log", "`reconciler logs`"),
        ("verbosity", 0, "write 1 or more"),
        ("log-verbosity", "-1", "write 1 or more"),
        ("verbosity", (0,), "takes one value"),
        ("help", True, "exits"),
        ("list-devices", True, "exits"),
        ("fim-qwen-1.5b-default", True, "chooses a model"),
        ("gpt-oss-20b-default", True, "chooses a model"),
        ("fa", "on", "long name without dashes: `flash-attn`"),
        ("flash_attn", "on", "long name without dashes: `flash-attn`"),
        ("--flash-attn", "on", "long name without dashes: `flash-attn`"),
        ("flash-attn=on", True, "long name without dashes: `flash-attn`"),
        ("C", "ff", "long name without dashes: `cpu-mask`"),
        ("flash attn", "on", "not a flag's name"),
        ("", True, "not a flag's name"),
        ("--", True, "not a flag's name"),
        ("no-warmup", True, "write `warmup: false`"),
        ("no-warmup", False, "write `warmup: true`"),
        ("nkvo", True, "write `kv-offload: false`"),
        ("no-host", False, "leave the flag out"),
        ("metrics", False, "no `--no-metrics`"),
        ("temp", float("nan"), "cannot read nan"),
        ("temp", float("inf"), "cannot read inf"),
        ("control-vector-layer-range", (1, 2, 3), "list of two"),
        ("api-prefix", "chat", "begin it with `/`"),
        ("api-prefix", "/chat/", "begin it with `/`"),
        ("api-prefix", True, "begin it with `/`"),
        ("api-prefix", ("/a", "/b"), "takes one value"),
    ],
)
def test_refused_flags_say_what_to_write(name: str, value: Value, said: str) -> None:
    assert said in refusal_of(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alias", "coder"),
        ("flash-attn", "on"),
        ("no-host", True),
        ("warmup", False),
        ("threads-batch", 4),
        ("threads-http", 2),
        ("hf-repo-draft", "a/b"),
        ("spec-default", True),
        ("verbosity", 4),
        ("api-prefix", "/chat"),
        ("lora", ("a.gguf", "b.gguf")),
        ("control-vector-layer-range", (1, 2)),
        ("a-flag-of-next-year", 1.5),
        ("metrics", True),
    ],
)
def test_other_flags_are_accepted(name: str, value: Value) -> None:
    assert refusals(**{name: value}) == []


def test_each_bad_element_of_a_list_is_named_by_its_place() -> None:
    found = refusals(lora=("a.gguf", True, float("inf")))
    assert [location for location, _ in found] == [("flags", "lora", 1), ("flags", "lora", 2)]


def test_a_refused_secret_is_not_repeated() -> None:
    assert "s3cret" not in refusal_of("api-key", "s3cret") + refusal_of("api-key=s3cret", True)


@pytest.mark.parametrize("written", ["-ngl", "ngl", "--n_gpu_layers=99", " --N-GPU-LAYERS "])
def test_long_name_of_every_spelling(written: str) -> None:
    assert long_name(written) == "n-gpu-layers"


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        ({}, []),
        ({"metrics": True, "warmup": False}, ["--metrics", "--no-warmup"]),
        ({"temp": 0.5, "top-k": 40, "top-p": 1.0}, ["--temp", "0.5", "--top-k", "40", "--top-p", "1.0"]),
        ({"predict": -1, "alias": "1"}, ["--alias", "1", "--predict", "-1"]),
        ({"temp": 1e-06}, ["--temp", "1e-06"]),
        ({"lora": ("b", "a")}, ["--lora", "b", "--lora", "a"]),
        ({"lora": ()}, []),
        ({"alias": ""}, ["--alias", ""]),
        ({"control-vector-layer-range": (1, 2)}, ["--control-vector-layer-range", "1", "2"]),
        ({"chat-template-file": "t", "jinja": True}, ["--jinja", "--chat-template-file", "t"]),
    ],
)
def test_arguments(flags: dict[str, Value], arguments: list[str]) -> None:
    assert flag_arguments(flags) == arguments
    assert flag_arguments(dict(reversed(flags.items()))) == arguments


@pytest.mark.parametrize(
    ("name", "value", "resolved"),
    [
        ("mmproj", "vision/p.gguf", "/models/vision/p.gguf"),
        ("mmproj", "/elsewhere/p.gguf", "/elsewhere/p.gguf"),
        ("mmproj", "~/p.gguf", "/home/ann/p.gguf"),
        ("mmproj", "", ""),
        ("lora", "a.gguf,/x/b.gguf", "/models/a.gguf,/x/b.gguf"),
        ("lora-scaled", "a.gguf:0.5,b.gguf:1", "/models/a.gguf:0.5,/models/b.gguf:1"),
        ("lora", '"a,b.gguf",c.gguf', '"a,b.gguf",c.gguf'),
        ("chat-template-file", "a,b.jinja", "/models/a,b.jinja"),
        ("alias", "vision/p", "vision/p"),
        ("chat-template", "chatml", "chatml"),
    ],
)
def test_relative_paths_are_in_the_models_folder(name: str, value: Value, resolved: str) -> None:
    assert flag_arguments({name: value}, inside("/models", "/home/ann")) == [f"--{name}", resolved]


def test_paths_in_a_list_are_resolved_too() -> None:
    arguments = flag_arguments({"lora": ("a", "/b")}, inside("/models"))
    assert arguments == ["--lora", "/models/a", "--lora", "/b"]
