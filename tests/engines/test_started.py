"""From a command line back to what was asked for; and what of a command line people may see."""

from typing import Any

import pytest

from reconciler.core.observed import Started
from reconciler.engines.llama_server import render
from reconciler.engines.started import is_llama_server, is_of_llama_server, read_started, shown_command
from tests.core.worlds import spec_of


@pytest.mark.parametrize(
    ("executable", "argv", "found"),
    [
        ("/usr/bin/llama-server", ["./llama-server", "-m", "x"], True),
        ("", ["/opt/llama-server-cuda"], True),
        ("/usr/bin/python3.11", ["python3", "/home/anna/bin/llama-server"], True),
        ("/opt/llama.cpp/llama", ["llama", "serve", "-m", "x"], True),
        ("/opt/llama.cpp/llama", ["llama", "cli"], False),
        ("/usr/bin/vim", ["vim", "-o", "llama-server"], False),
        ("/usr/bin/dash", ["/bin/sh", "/usr/local/bin/llama-server", "-m", "x"], True),
        ("/usr/lib/ld-linux-x86-64.so.2", ["/lib64/ld-linux-x86-64.so.2", "./llama-server"], True),
        ("/usr/bin/ssh", ["ssh", "llama-server-box", "-L", "8080:localhost:8080"], False),
        ("/usr/bin/python3.11", ["ssh", "llama-server-box"], False),
        ("", ["kubectl", "llama-server"], False),
        ("/usr/bin/python3.11", ["python3", "-m", "llama_cpp.server"], False),
        ("/usr/sbin/nginx", ["nginx: master process"], False),
        ("", [], False),
    ],
)
def test_a_llama_server_is_known_by_its_program(executable: str, argv: list[str], found: bool) -> None:
    assert is_llama_server(executable, argv) is found


@pytest.mark.parametrize(
    ("headers", "found"),
    [({"Server": "llama.cpp"}, True), ({"server": "Llama.cpp"}, True), ({"Server": "nginx"}, False), ({}, False)],
)
def test_it_is_known_by_its_answer(headers: dict[str, str], found: bool) -> None:
    assert is_of_llama_server(headers) is found


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("-m a.gguf", {"model": "a.gguf"}),
        ("--model a.gguf --model b.gguf", {"model": "b.gguf"}),
        ("-c 128 -np 2 -t 4 -ngl 99", {"ctx": 128, "parallel": 2, "threads": 4, "gpu_layers": "99"}),
        ("--ctx_size 128 --n-gpu-layers all", {"ctx": 128, "gpu_layers": "all"}),
        ("--gpu-layers 7", {"gpu_layers": "7"}),
        ("-c 0 -np -1 -t -1", {}),
        ("-c many", {"ctx_unread": "many"}),
        ("-c 8k", {"ctx_unread": "8k"}),
        ("-c 1_28", {"ctx_unread": "1_28"}),
        ("-c 0x80", {"ctx_unread": "0x80"}),
        ("-hf anna/m:Q4 -hff other.gguf", {}),
        ("-m a.gguf -mu http://h/b.gguf", {}),
        ("-m a.gguf -dr ai/gemma", {}),
        ("-m a.gguf --fim-qwen-1.5b-default", {}),
        ("-m a.gguf --models-dir /m", {"flags": {"models-dir": "/m"}}),
        ("-c", {}),
        ("-hf anna/m:Q4", {"hf": "anna/m:Q4"}),
        ("--api-key-file keys", {"api_key_file": "keys"}),
        ("--no-warmup --jinja --metrics -fa on", {"flags": {"warmup": False, "jinja": True, "metrics": True}}),
        ("--temp 0.5 --top-k 40 --seed -1 --alias 007", {"flags": {"temp": 0.5, "top-k": 40, "seed": -1}}),
        ("--lora a --lora b", {"flags": {"lora": ("a", "b")}}),
        ("--control-vector-layer-range 1 2 -m x", {"model": "x", "flags": {"control-vector-layer-range": (1, 2)}}),
        ("--verbose a.gguf -m b", {"model": "b", "flags": {"verbose": True}}),
        ("--api-key hunter2 --hf-token abc --port 8080 --host 0.0.0.0", {}),
        ("- -- x", {}),
    ],
)
def test_a_command_line_is_read(line: str, fields: dict[str, Any]) -> None:
    found = read_started(["llama-server", *line.split()], {})
    flags = dict(fields.get("flags", {}))
    told = {name: value for name, value in found.flags.items() if name in flags}
    expected = Started(**{**fields, "flags": found.flags})
    assert (found, told) == (expected, flags)
    assert not {"api-key", "hf-token", "port", "host"} & found.flags.keys()


def test_the_environment_fills_what_the_command_line_leaves_open() -> None:
    environment = {"LLAMA_ARG_MODEL": "a.gguf", "LLAMA_ARG_CTX_SIZE": "64", "LLAMA_ARG_API_PREFIX": "/x", "HOME": "/"}
    assert read_started(["llama-server"], environment) == Started("a.gguf", ctx=64, flags={"api-prefix": "/x"})
    assert read_started(["llama-server", "-m", "b.gguf", "-c", "0"], environment).ctx is None
    assert read_started(["llama-server", "-m", "b.gguf"], environment).model == "b.gguf"
    assert read_started(["llama-server"], {**environment, "LLAMA_ARG_HF_FILE": "x"}).model == ""


def test_what_we_start_ourselves_is_read_back() -> None:
    spec = spec_of(ctx=128, parallel=2, gpu_layers=5, threads=1, flags={"warmup": False, "temp": 0.5, "lora": ["a"]})
    argv = render(spec, binary="/b/llama-server", model="/m/m.gguf", port=1, models_dir="/m", api_key_file="/k")
    flags = {"warmup": False, "temp": 0.5, "lora": "/m/a"}
    assert read_started(argv, {}) == Started("/m/m.gguf", "", 128, 2, "5", 1, "/k", flags)


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["llama-server", "-m", "my model.gguf"], "llama-server -m 'my model.gguf'"),
        (["llama-server", "--api-key", "hunter2", "-c", "1"], "llama-server --api-key '***' -c 1"),
        (["llama-server", "-hft", "hunter2"], "llama-server -hft '***'"),
        (["x", "--db-password=hunter2", "TOKEN=hunter2"], "x '--db-password=***' 'TOKEN=***'"),
        (["x", "--api-key-file", "/srv/keys", "--ssl-key-file=k"], "x --api-key-file /srv/keys --ssl-key-file=k"),
        (["x", "http://anna:hunter2@host/y"], "x 'http://***@host/y'"),
        (["x", "--token", "-v"], "x --token -v"),
        (["x", "\x1b[2J\ny"], "x '\N{REPLACEMENT CHARACTER}[2J y'"),
        ([], ""),
    ],
)
def test_a_command_line_is_shown_without_secrets(argv: list[str], shown: str) -> None:
    assert shown_command(argv) == shown


def test_a_long_command_line_is_cut() -> None:
    assert (len(shown_command(["x" * 5000])), shown_command(["x" * 5000])[-1]) == (300, "…")
