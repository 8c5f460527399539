"""What is read of `--help`: the real one's, and synthetic ones in older forms."""

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.engines.help import Help, Option, read_help

HELPS = Path(__file__).parent / "helps"
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")


@pytest.fixture(scope="module")
def real(llama_server: str) -> Help:
    text = subprocess.run([llama_server, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    found = read_help(text)
    assert found is not None
    return found


def read(name: str) -> Help:
    found = read_help((HELPS / f"{name}.txt").read_text())
    assert found is not None
    return found


# ---------------------------------------------------------------- the real one


@pytest.mark.real
def test_every_long_name_of_the_real_help_is_read(real: Help, llama_server: str) -> None:
    text = subprocess.run([llama_server, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    names = {word.rstrip(",")[2:] for line in text.splitlines() for word in _names_at(line)}
    assert len(names) > 300
    assert names == set(real)


def _names_at(line: str) -> list[str]:
    """The long names at the beginning of a line, by another way than the reader's."""
    words, found = line.split(), []
    if not line.startswith("-") or line.startswith("-----"):
        return []
    for word in words:
        if not word.startswith("-"):
            break
        found.append(word)
        if not word.endswith(","):
            break
    return [word for word in found if word.startswith("--")]


@pytest.mark.real
def test_closed_lists_of_the_real_help(real: Help) -> None:
    """All of them: a list that is read where none is would refuse what runs."""
    closed = {option.names[0]: option.allowed for option in real.values() if option.allowed}
    assert {name: set(words) for name, words in closed.items()} == {
        "flash-attn": {"on", "off", "auto"},
        "fit": {"on", "off"},
        "log-colors": {"on", "off", "auto"},
        "reasoning": {"on", "off", "auto"},
        "lazy-mode": {"on", "off", "auto"},
        "rope-scaling": {"none", "linear", "yarn"},
        "pooling": {"none", "mean", "cls", "last", "rank"},
        "split-mode": {"none", "layer", "row", "tensor"},
        "load-mode": {"auto", "none", "mmap", "mlock", "mmap+mlock", "dio"},
        "numa": {"distribute", "isolate", "numactl"},
        "cache-type-k": set(TYPES),
        "cache-type-v": set(TYPES),
        "spec-draft-type-k": set(TYPES),
        "spec-draft-type-v": set(TYPES),
        "spec-draft-sampling": {"greedy", "probabilistic"},
        "spec-type": {
            *("none", "draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash", "draft-dspark"),
            *("ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache"),
        },
        "reasoning-format": {"none", "auto", "deepseek", "deepseek-legacy"},
    }
    assert [name for name, option in real.items() if option.several] == ["spec-type"]


@pytest.mark.real
def test_removed_options_of_the_real_help_name_what_exists(real: Help) -> None:
    removed = {option.names[0]: option.successors for option in real.values() if option.removed}
    assert removed == {
        "draft": ("spec-draft-n-max", "spec-ngram-mod-n-max"),
        "draft-min": ("spec-draft-n-min", "spec-ngram-mod-n-min"),
        "spec-ngram-size-n": (
            *("spec-ngram-simple-size-n", "spec-ngram-map-k-size-n", "spec-ngram-map-k4v-size-n"),
            "spec-ngram-mod-n-match",
        ),
        "spec-ngram-size-m": ("spec-ngram-simple-size-m", "spec-ngram-map-k-size-m", "spec-ngram-map-k4v-size-m"),
        "spec-ngram-min-hits": (
            *("spec-ngram-simple-min-hits", "spec-ngram-map-k-min-hits", "spec-ngram-map-k4v-min-hits"),
        ),
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "values"),
    [
        *(("metrics", 0), ("no-host", 0), ("cont-batching", 0), ("no-webui", 0), ("lora-init-without-apply", 0)),
        *(("ctx-size", 1), ("hf-repo", 1), ("override-tensor", 1), ("spec-draft-type-v", 1), ("samplers", 1)),
        ("control-vector-layer-range", 2),
    ],
)
def test_how_many_values_the_real_options_take(real: Help, name: str, values: int) -> None:
    assert real[name].values == values


@pytest.mark.real
def test_layers_of_the_real_llama_server_are_a_number_or_a_word(real: Help) -> None:
    assert [text for text in ("99", "0", "auto", "all", "many") if real["n-gpu-layers"].takes(text)] == [
        *("99", "0", "auto", "all")
    ]


# ---------------------------------------------------------------- older forms (synthetic)


def test_the_value_of_a_deprecated_option_does_not_count() -> None:
    """The real one takes anything for `defrag-thold`."""
    line = "-dt,   --defrag-thold N                 KV cache defragmentation threshold (DEPRECATED)\n"
    known = read_help((HELPS / "table.txt").read_text().replace("-fa, ", f"{line}-fa, ", 1))
    assert known is not None
    assert (known["defrag-thold"].values, known["defrag-thold"].takes("off")) == (1, True)


def test_the_form_with_columns() -> None:
    found = read("table")
    assert len(found) == 40
    assert found["flash-attn"] == Option(("flash-attn",))
    assert found["no-mmap"].names == ("no-mmap",)
    assert "mmap" not in found
    assert found["draft-n"] is found["draft-max"]
    assert found["split-mode"].allowed == ("none", "layer", "row")
    assert not found["n-gpu-layers"].takes("all")


def test_the_form_with_indented_names_does_not_tell_who_takes_no_value() -> None:
    found = read("usage")
    assert len(found) == 26
    assert (found["host"].values, found["mlock"].values, found["port"].values) == (None, None, 1)
    assert found["threads"].names == ("threads",)
    assert found["numa"].allowed == ("distribute", "isolate", "numactl")
    assert found["cache-type-k"].allowed == ()


# ---------------------------------------------------------------- no help


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0" * 100,
        "usage: tool [options]\n" + "".join(f"--option-{number} N   a number\n" for number in range(100)),
        "--model FNAME   a model\n--ctx-size N    a context\n--port N    a port\n",
        "error: cannot open shared object file",
        "-" * 100_000,
        ("--" + "a " * 50_000),
        ("-a, " * 30_000),
    ],
)
def test_what_is_no_help_of_a_llama_server_is_none(text: str) -> None:
    assert read_help(text) is None


@pytest.mark.real
def test_lines_that_a_device_prints_before_the_help_do_not_matter(real: Help, llama_server: str) -> None:
    text = subprocess.run([llama_server, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    noise = "ggml_cuda_init: found 1 CUDA devices:\n  Device 0: NVIDIA H200, compute capability 9.0, VMM: yes\n"
    assert read_help(noise + text) == real


def test_nobody_is_led_from_one_removed_option_to_another() -> None:
    removed = [f"--{name} N   the argument has been removed. use --new-one or --old-*" for name in ("old-a", "old-b")]
    others = [f"--option-{number} N   a number" for number in range(20)]
    found = read_help("\n".join([*removed, *others, "--model FNAME   a", "--ctx-size N   a", "--new-one N   a"]))
    assert found is not None
    assert found["old-a"].successors == ("new-one",)


@pytest.mark.parametrize(
    ("option", "accepted", "refused"),
    [
        (Option(("a",), 1, "[on|off|auto]", ("on", "off", "auto")), "on off auto true 0 -1 enabled", "maybe ON yes"),
        (Option(("a",), 1, "N", is_number=True), "1 -1 0.5 .5 1e-6 8k +3", "abc auto"),
        (Option(("a",), 1, "N", is_number=True, words=("auto",)), "1 auto", "all"),
        (Option(("a",), 1, "x,y", ("x", "y"), several=True), "x y x,y", "z x,z"),
        (Option(("a",), 1, "FNAME"), "anything -1", ""),
    ],
)
def test_values_that_an_option_takes(option: Option, accepted: str, refused: str) -> None:
    assert [text for text in accepted.split() if not option.takes(text)] == []
    assert [text for text in refused.split() if option.takes(text)] == []


def test_helps_are_marked_as_synthetic() -> None:
    assert "synthetic" in (HELPS / "README.md").read_text()
    assert set(os.listdir(HELPS)) == {"README.md", "table.txt", "usage.txt"}  # noqa: PTH208
