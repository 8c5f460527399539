"""Flags held against a help: what is refused, with which remedy, and what is fitted."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import Refusal, Value, check_flags, flag_arguments
from reconciler.engines.gpus import without_gpus
from reconciler.engines.help import Help, Option, read_help
from reconciler.engines.judging_flags import fitted, judge_flags
from reconciler.engines.llama_server import fingerprint

HELPS = Path(__file__).parent / "helps"
MISSING = "this llama-server has no such flag"
REMOVED = "it has been removed from this llama-server"


@pytest.fixture(scope="module")
def real(llama_server: str) -> Help:
    text = subprocess.run([llama_server, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    found = read_help(text)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def table() -> Help:
    """A synthetic help of an older llama-server."""
    found = read_help((HELPS / "table.txt").read_text())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def usage() -> Help:
    """A synthetic help of a much older one."""
    found = read_help((HELPS / "usage.txt").read_text())
    assert found is not None
    return found


def spec(flags: Mapping[str, Value], **fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "a.gguf", "flags": flags, **fields})


def judged(known: Help, flags: Mapping[str, Value], **fields: Any) -> list[Refusal]:
    return judge_flags(spec(flags, **fields), known)


LACKED: Mapping[str, Value] = {"fast": True, "fast-list": ("1", "2"), "load-mode": "mlock", "mlok": False}


def test_what_may_take_more_than_its_help_lists_is_refused_only_what_that_lists(table: Help) -> None:
    wanted = spec({**LACKED, "cache-type-k": "q9", "batch-size": "many"}, fallback={"steps": [{"flags": {"fast": 1}}]})
    every, sure = judge_flags(wanted, table), judge_flags(wanted, table, lists_all=False)
    assert {str(place[-1]) for place, _ in every} == {*LACKED, "cache-type-k", "batch-size"}
    assert [place for place, _ in sure] == [("flags", "cache-type-k"), ("flags", "batch-size")]
    without = {name: option for name, option in table.items() if name != "threads"}
    assert judge_flags(spec({}, threads=2), without, lists_all=False) == []


# ---------------------------------------------------------------- the real one


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mlock", True, f"{MISSING}; write `load-mode: mlock`"),
        ("mmap", False, f"{MISSING}; write `load-mode: none`"),
        ("mmap", True, f"{MISSING}; write `load-mode: mmap`"),
        ("direct-io", True, f"{MISSING}; write `load-mode: dio`"),
        ("draft", 16, f"{REMOVED}; write `spec-draft-n-max: 16` (or spec-ngram-mod-n-max)"),
        ("draft-max", 8, f"{REMOVED}; write `spec-draft-n-max: 8` (or spec-ngram-mod-n-max)"),
        ("draft-min", 1, f"{REMOVED}; write `spec-draft-n-min: 1` (or spec-ngram-mod-n-min)"),
        ("spec-ngram-min-hits", 2, f"{REMOVED}; write `spec-ngram-simple-min-hits: 2` (or "),
        ("slots-endpoint-disable", True, f"{MISSING}; write `slots: false`"),
        ("memory-f32", True, f"{MISSING}; write `cache-type-k: f32`"),
        ("tensor-splt", "3,1", f"{MISSING}; the nearest that it has: `tensor-split`"),
        ("embeding", True, f"{MISSING}; the nearest that it has: `embedding` or `embeddings`"),
        ("draft-model", "d.gguf", f"{MISSING}; the nearest that it has: `spec-draft-model` or `model-draft`"),
        ("ctx-siez", 4096, f"{MISSING}; the nearest that it has: the field `ctx`"),
        ("n-gpu-layer", 9, f"{MISSING}; the nearest that it has: the field `gpuLayers`"),
        ("ctx-size-draft", 64, f"{MISSING}; leave it out"),
        ("frobnicate", 1, f"{MISSING}; leave it out"),
        ("log-format", "json", f"{MISSING}; leave it out"),
        ("metrics", "on", "it takes no value; write `metrics: true`"),
        ("metrics", ("on",), "it takes no value; write `metrics: true`"),
        ("cont-batching", "off", "it takes no value; write `cont-batching: false`"),
        ("batch-size", True, "it needs a value; write `batch-size: N`, as its help has it"),
        ("numa", True, "it needs a value; write `numa: distribute`, or another of: distribute, isolate, numactl"),
        ("batch-size", False, "this llama-server has no `--no-batch-size`; leave the flag out"),
        ("flash-attn", "maybe", "it takes one of these: on, off, auto"),
        ("cache-type-k", "q9", "it takes one of these: f32, f16, bf16, q8_0, "),
        ("spec-type", "draft-mtp,x", "it takes some of these, separated by commas: none, "),
        ("temp", "warm", "it takes a number; write `temp: N`, as its help has it"),
    ],
)
def test_what_the_real_llama_server_would_not_take(real: Help, name: str, value: Value, said: str) -> None:
    ((place, message),) = judged(real, {name: value})
    assert (place, message[: len(said)]) == (("flags", name), said)


@pytest.mark.real
@pytest.mark.parametrize(
    "flags",
    [
        {"flash-attn": True},
        {"flash-attn": False},
        {"flash-attn": "auto"},
        {"flash-attn": 1},
        {"warmup": False, "jinja": True, "slots": False, "webui": False, "mmproj": False, "no-host": True},
        {"override-kv": ("a=int:1", "b=int:2"), "lora": ("a.gguf", "b.gguf")},
        {"control-vector-layer-range": (1, 2)},
        {"spec-type": "draft-mtp,ngram-mod", "spec-draft-n-max": 4, "model-draft": "d.gguf"},
        {"temp": 0.5, "top-k": 40, "predict": -1, "seed": -1, "poll": 50, "prio": -1},
        {"load-mode": "mlock", "reasoning-format": "auto", "chat-template": "chatml"},
        {"cpu-strict": 1, "device": "none", "tensor-split": "3,1", "tools": "all", "verbosity": 4},
        {"defrag-thold": 0.1},
    ],
)
def test_what_it_takes_is_not_refused(real: Help, flags: Mapping[str, Value]) -> None:
    assert judged(real, flags, ctx=1, parallel=1, threads=1, gpuLayers="all", apiKeyFile="k") == []


@pytest.mark.real
def test_each_bad_value_of_a_list_has_its_place(real: Help) -> None:
    assert [place for place, _ in judged(real, {"top-k": (1, "x", 2)})] == [("flags", "top-k", 1)]


@pytest.mark.real
def test_flags_of_fallback_steps_are_judged_too(real: Help) -> None:
    steps = [{"ctx": 2048}, {"flags": {"mlock": True}}, {"gpuLayers": "auto"}]
    assert judged(real, {}, fallback={"steps": steps}) == [
        (("fallback", "steps", 1, "flags", "mlock"), f"{MISSING}; write `load-mode: mlock`")
    ]


@pytest.mark.real
def test_what_is_refused_fails_and_what_passes_starts_to_load(real: Help, llama_server: str) -> None:
    """The real one is asked itself: no flag that it takes is refused, and none that it refuses passes."""
    values: dict[str, tuple[Value, ...]] = {
        "flash-attn": (True, False, "on", "auto", "maybe", 0, "enabled"),
        "rope-scaling": ("yarn", "x", True),
        "cache-type-k": ("q8_0", "q9"),
        "split-mode": ("row", "column"),
        "load-mode": ("mlock", "mmap+mlock", "x", False),
        "numa": ("isolate", "x"),
        "pooling": ("rank", "x"),
        "spec-type": ("ngram-mod,ngram-cache", "x"),
        "reasoning-format": ("auto", "deepseek-legacy", "x"),
        "reasoning": (True, "maybe"),
        "fit": (False, "maybe"),
        "metrics": (True, "on"),
        "warmup": (False, 1),
        "temp": (0.5, "warm"),
        "prio": (2, "high"),
        "mlock": (True,),
        "draft": (4,),
        "draft-p-min": (0.5,),
        "frobnicate": (True, False, 1),
    }
    differing = [
        (name, value, accepted)
        for name, options in values.items()
        for value in options
        if (accepted := _starts(llama_server, fitted(spec({name: value}), real).flags))
        != (judged(real, {name: value}) == [])
    ]
    assert differing == []


def _starts(llama_server: str, flags: Mapping[str, Value]) -> bool:
    command = [llama_server, "--model", "/nowhere/a.gguf", "--port", "1", *flag_arguments(flags)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return "failed to open GGUF file" in done.stderr + done.stdout


@pytest.mark.real
def test_what_a_remedy_says_is_taken_and_may_be_written(real: Help) -> None:
    tried: dict[str, Value] = {
        "mlock": True,
        "mmap": False,
        "draft": 4,
        "numa": True,
        "metrics": "on",
        "slots-endpoint-disable": True,
    }
    for name, value in tried.items():
        ((_, message),) = judged(real, {name: value})
        written = re.search(r"write `([\w-]+): ([\w-]+)`", message)
        assert written
        read: Value = {"true": True, "false": False}.get(written[2], written[2])
        assert judged(real, {written[1]: read}) == [], message
        assert check_flags({written[1]: read}) == [], message


# ---------------------------------------------------------------- older forms (synthetic)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"load-mode": "mlock"}, f"{MISSING}; write `mlock: true`"),
        ({"load-mode": "none"}, f"{MISSING}; write `mmap: false`"),
        ({"load-mode": "dio"}, f"{MISSING}; leave it out"),
        ({"spec-draft-n-max": 4}, f"{MISSING}; write `draft-max: 4`"),
        ({"spec-draft-model": "d.gguf"}, f"{MISSING}; write `model-draft: d.gguf`"),
        ({"ui": True}, "this llama-server has no such flag; leave it out"),
        ({"mmap": True}, "this llama-server has only `--no-mmap`, and does what is asked without a flag; leave it out"),
        ({"flash-attn": "on"}, "it takes no value; write `flash-attn: true`"),
        ({"flash-attn": "off"}, "it takes no value; leave the flag out"),
        ({"flash-attn": False}, "this llama-server has no `--no-flash-attn`; leave the flag out"),
    ],
)
def test_an_older_one_is_told_in_its_own_words(table: Help, flags: Mapping[str, Value], said: str) -> None:
    ((_, message),) = judged(table, flags)
    assert message == said


@pytest.mark.parametrize(
    "flags",
    [
        {"mlock": True, "mmap": False, "flash-attn": True, "draft": 4, "webui": False, "context-shift": False},
        {"reasoning-format": "auto"},
    ],
)
def test_what_an_older_one_takes_is_not_refused(table: Help, flags: Mapping[str, Value]) -> None:
    assert judged(table, flags) == []


def test_a_help_that_leaves_much_out_refuses_little(usage: Help) -> None:
    """Without placeholders nobody knows what takes none; and GPU flags are listed only where there is a GPU."""
    flags: dict[str, Value] = {"mlock": True, "split-mode": "row", "main-gpu": 1, "slots-endpoint-disable": True}
    assert judged(usage, flags, gpuLayers=99, host="127.0.0.1") == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"gpuLayers": "all"}, (("gpuLayers",), "this llama-server takes no `all` for it; write a number, such as")),
        ({"gpuLayers": 99}, None),
        (
            {"fallback": {"steps": [{"ctx": 1}, {"gpuLayers": "auto"}]}},
            (("fallback", "steps", 1, "gpuLayers"), "this llama-server takes no `auto`"),
        ),
    ],
)
def test_layers_in_words_need_a_llama_server_that_knows_them(
    table: Help, fields: dict[str, Any], said: tuple[Any, str] | None
) -> None:
    found = judged(table, {}, **fields)
    assert [(place, message[: len(said[1]) if said else 0]) for place, message in found] == ([said] if said else [])


@pytest.mark.parametrize(
    ("flag", "fields", "place"),
    [
        ("parallel", {"parallel": 2}, ("parallel",)),
        ("threads", {"threads": 2}, ("threads",)),
        ("hf-repo", {"model": {"hf": "a/b"}}, ("model",)),
        ("api-key-file", {"apiKeyFile": "k"}, ("apiKeyFile",)),
        ("port", {}, ("port",)),
    ],
)
def test_a_field_that_the_binary_cannot_be_told_is_named(
    table: Help, flag: str, fields: dict[str, Any], place: tuple[str]
) -> None:
    without = {name: option for name, option in table.items() if name != flag}
    ((found, message),) = judged(without, {}, **fields)
    assert found == place
    assert f"no `--{flag}`" in message
    assert "`binary`" in message
    assert judged(without, {}, model="a.gguf") == [] or flag == "port"


# ---------------------------------------------------------------- fitted


@pytest.mark.real
def test_true_and_false_become_words_where_a_word_is_needed(real: Help) -> None:
    wanted = spec({"flash-attn": True, "fit": False, "jinja": True, "metrics": True, "log-colors": "auto"})
    made = fitted(wanted, real)
    assert made.flags == {"flash-attn": "on", "fit": "off", "jinja": True, "metrics": True, "log-colors": "auto"}
    assert flag_arguments(made.flags)[:4] == ["--jinja", "--metrics", "--fit", "off"]


def test_false_stays_where_there_is_a_negation() -> None:
    known = {name: Option(("fit", "no-fit"), 1, "[on|off]", ("on", "off")) for name in ("fit", "no-fit")}
    assert fitted(spec({"fit": False}), known).flags == {"fit": False}
    assert fitted(spec({"fit": True}), known).flags == {"fit": "on"}


@pytest.mark.real
def test_hiding_the_gpus_uses_what_the_binary_has(real: Help, table: Help) -> None:
    """It sets flags by itself, which an older one may not have: there the variables must do."""
    hidden = without_gpus(spec({"mmproj": "p.gguf", "top-k": 40}))
    assert {"device", "mmproj-offload"} <= fitted(hidden, real).flags.keys()
    assert fitted(hidden, table).flags == {"mmproj": "p.gguf", "top-k": 40}
    assert fitted(hidden, table).env["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.real
def test_what_fits_is_left_as_it_is(real: Help, table: Help) -> None:
    plain = spec({"jinja": True, "warmup": False, "temp": 0.5})
    assert fitted(plain, real) is plain
    bare = spec({"flash-attn": True})
    assert fitted(bare, table) is bare


@pytest.mark.real
def test_the_fingerprint_is_of_what_was_written(real: Help) -> None:
    wanted = spec({"flash-attn": True})
    assert fingerprint(wanted) != fingerprint(fitted(wanted, real))
    assert wanted.flags == {"flash-attn": True}
