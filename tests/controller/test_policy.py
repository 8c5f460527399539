"""The policy over documents as they come: every way to have a machine run, read or write more than it should."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.source import GIT, LOCAL
from tests.controller.policed import MODELS, SCHEMA, denials, lay_out, read, rule, settings_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


FLAGS, ENV = "policy.git.flags", "policy.git.env"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"model": "sub/b.gguf"},
        {"model": "./sub/../a.gguf"},
        {"model": "round.gguf"},
        {"model": "missing.gguf"},
        {"model": "{root}/models/a.gguf"},
        {"model": "@a.gguf"},
        {"model": "-a.gguf"},
        {"model": "a, b.gguf"},
        {"model": "．．／outside／x.gguf"},  # noqa: RUF001 - full width
        {"flags": {"lora": "a.gguf,sub/b.gguf", "mmproj": "{root}/models/a.gguf"}},
        {"flags": {"lora-scaled": ["a.gguf:0.5", "sub/b.gguf:-1"]}},
        {"flags": {"metrics": True, "warmup": False, "seed": -1, "temp": -0.5, "top-k": "-1", "mmproj": False}},
        {"flags": {"chat-template": "{{ bos_token }} @/etc/passwd --path /", "alias": "a b"}},
        {"flags": {"control-vector-layer-range": [1, 2]}},
        {"env": {"CUDA_VISIBLE_DEVICES": "0", "LC_ALL": "C"}},
        {"host": "127.0.0.1", "port": 8001},
        {"host": "127.9.9.9"},
        {"host": "::1"},
        {"host": "localhost", "port": 8999},
        {"port": "auto"},
    ],
)
def test_what_a_repository_may_ask_for(root: Path, spec: dict[str, Any]) -> None:
    spec = json.loads(json.dumps(spec).replace("{root}", str(root)))
    assert rule(settings_of(root), **spec) == ""


SMUGGLED: list[tuple[dict[str, Any], str]] = [
    # models and other files
    ({"model": "../outside/x.gguf"}, MODELS),
    ({"model": "sub/../../outside/x.gguf"}, MODELS),
    ({"model": "../models-2"}, MODELS),
    ({"model": "/etc/passwd"}, MODELS),
    ({"model": "~/x.gguf"}, MODELS),
    ({"model": "file.gguf"}, MODELS),
    ({"model": "folder/x.gguf"}, MODELS),
    ({"model": "folder/not-there"}, MODELS),
    ({"model": "loop/../../outside/x.gguf"}, MODELS),
    ({"model": "/proc/self/root/etc/passwd"}, MODELS),
    ({"model": "split-00001-of-00003.gguf"}, MODELS),
    ({"model": "a.gguf\x00/../../outside/x.gguf"}, SCHEMA),
    ({"model": "a.gguf\n--path /"}, SCHEMA),
    ({"model": {"hf": "user/repo"}}, "policy.git.hf"),
    ({"model": {"hf": "user/repo --path /"}}, SCHEMA),
    ({"flags": {"lora": "/etc/passwd"}}, MODELS),
    ({"flags": {"lora": "a.gguf,../outside/x.gguf"}}, MODELS),
    ({"flags": {"lora": ["a.gguf", "folder/x.gguf"]}}, MODELS),
    ({"flags": {"lora": 'a.gguf,"../outside/x.gguf"'}}, FLAGS),
    ({"flags": {"lora-scaled": "../outside/x.gguf:1"}}, MODELS),
    ({"flags": {"spec-draft-model": "file.gguf"}}, MODELS),
    ({"flags": {"model-draft": "split-00001-of-00003.gguf"}}, MODELS),
    ({"flags": {"chat-template-file": "/etc/passwd"}}, MODELS),
    ({"flags": {"grammar-file": "../outside/key"}}, MODELS),
    ({"apiKeyFile": "a.gguf"}, "policy.git.secrets"),
    ({"apiKeyFile": "/etc/shadow"}, "policy.git.secrets"),
    # flags by their names
    ({"flags": {"m": "/etc/passwd"}}, SCHEMA),
    ({"flags": {"-m": "/etc/passwd"}}, SCHEMA),
    ({"flags": {"--model": "/etc/passwd"}}, SCHEMA),
    ({"flags": {"model": "/etc/passwd"}}, SCHEMA),
    ({"flags": {"--model=/etc/passwd": True}}, SCHEMA),
    ({"flags": {"metrics --path": "/"}}, SCHEMA),
    ({"flags": {"metrics\n--path": "/"}}, SCHEMA),
    ({"flags": {"metrics\x00": "/"}}, SCHEMA),
    ({"flags": {"slot_save_path": "/tmp"}}, SCHEMA),
    ({"flags": {"Tools": "all"}}, SCHEMA),
    ({"flags": {"tооls": "all"}}, SCHEMA),  # noqa: RUF001 - Cyrillic
    ({"flags": {"ｔools": "all"}}, SCHEMA),  # noqa: RUF001 - full width
    ({"flags": {"no-tools": True}}, SCHEMA),
    ({"flags": {"no-ui": True}}, SCHEMA),
    ({"flags": {"@/tmp/arguments": True}}, SCHEMA),
    ({"flags": {"tool": "all"}}, FLAGS),
    ({"flags": {"slot-save": "/tmp"}}, FLAGS),
    ({"flags": {"new-flag-of-tomorrow": True}}, FLAGS),
    ({"flags": {"fim-qwen-7b-spec": True}}, SCHEMA),
    # flags by what they do
    ({"flags": {"slot-save-path": "/tmp"}}, FLAGS),
    ({"flags": {"slot-save-path": "."}}, FLAGS),
    ({"flags": {"path": "."}}, FLAGS),
    ({"flags": {"media-path": "."}}, FLAGS),
    ({"flags": {"models-dir": "."}}, FLAGS),
    ({"flags": {"models-preset": "a.ini"}}, FLAGS),
    ({"flags": {"ssl-key-file": "a", "ssl-cert-file": "b"}}, FLAGS),
    ({"flags": {"log-prompts-dir": "."}}, FLAGS),
    ({"flags": {"log-colors": "on"}}, FLAGS),
    ({"flags": {"log-file": "x"}}, SCHEMA),
    ({"flags": {"lookup-cache-dynamic": "a"}}, FLAGS),
    ({"flags": {"rpc": "10.0.0.1:1"}}, FLAGS),
    ({"flags": {"tools": "all"}}, FLAGS),
    ({"flags": {"agent": True}}, FLAGS),
    ({"flags": {"tools-runtime": "docker:x"}}, FLAGS),
    ({"flags": {"mcp-servers-json": "{}"}}, FLAGS),
    ({"flags": {"mcp-servers-config": "a"}}, FLAGS),
    ({"flags": {"webui-mcp-proxy": True}}, FLAGS),
    ({"flags": {"video-ffmpeg-dir": "."}}, FLAGS),
    ({"flags": {"mmproj-url": "http://x/y"}}, "policy.git.hf"),
    ({"flags": {"hf-repo-draft": "a/b"}}, "policy.git.hf"),
    # flags by their values
    ({"flags": {"alias": "--tools"}}, FLAGS),
    ({"flags": {"alias": "-m"}}, FLAGS),
    ({"flags": {"alias": ["a", "--path=/"]}}, FLAGS),
    ({"flags": {"seed": "-1 --tools all"}}, FLAGS),
    ({"flags": {"control-vector-layer-range": [1, "--tools"]}}, FLAGS),
    ({"flags": {"metrics": "--tools"}}, FLAGS),
    ({"flags": {"metrics": 1}}, FLAGS),
    ({"flags": {"grammar": True, "seed": "/etc/passwd"}}, FLAGS),
    ({"flags": {"lora": True, "seed": "/etc/passwd"}}, FLAGS),
    ({"flags": {"alias": "a\n--tools"}}, SCHEMA),
    ({"flags": {"alias": "a\x00--tools"}}, SCHEMA),
    # the environment
    ({"env": {"LD_PRELOAD": "/tmp/x.so"}}, ENV),
    ({"env": {"LD_LIBRARY_PATH": "models"}}, ENV),
    ({"env": {"DYLD_INSERT_LIBRARIES": "x"}}, ENV),
    ({"env": {"GGML_BACKEND_PATH": "x"}}, ENV),
    ({"env": {"PATH": "/tmp"}}, ENV),
    ({"env": {"PYTHONPATH": "/tmp"}}, ENV),
    ({"env": {"HOME": "/tmp"}}, ENV),
    ({"env": {"FOO": "1"}}, ENV),
    ({"env": {"LLAMA_CACHE": "/tmp"}}, ENV),
    ({"env": {"LLAMA_ARG_TOOLS": "all"}}, FLAGS),
    ({"env": {"LLAMA_ARG_STATIC_PATH": "/"}}, FLAGS),
    ({"env": {"LLAMA_ARG_MODEL": "/etc/passwd"}}, SCHEMA),
    ({"env": {"HF_TOKEN": {"fromFile": "/etc/passwd"}}}, "policy.git.hf"),
    ({"env": {"MODEL_ENDPOINT": "http://evil"}}, "policy.git.hf"),
    ({"env": {"LANG": {"fromEnv": "AWS_SECRET_ACCESS_KEY"}}}, "policy.git.from_env"),
    ({"env": {"LANG": {"fromFile": "../outside/key"}}}, "policy.git.secrets"),
    ({"env": {"LANG=x": "1"}}, SCHEMA),
    ({"env": {"LANG": "C\nLD_PRELOAD=x"}}, SCHEMA),
    # program, address
    ({"binary": "/bin/sh"}, "policy.git.binaries"),
    ({"binary": "models/a.gguf"}, "policy.git.binaries"),
    ({"host": "0.0.0.0"}, "policy.git.hosts"),
    ({"host": "::"}, "policy.git.hosts"),
    ({"host": "192.168.1.5"}, "policy.git.hosts"),
    ({"host": "localhost.evil.example"}, "policy.git.hosts"),
    ({"host": "127.0.0.1.nip.io"}, "policy.git.hosts"),
    ({"host": "::1%eth0"}, "policy.git.hosts"),
    ({"host": "::1%,0.0.0.0"}, SCHEMA),
    ({"host": "127.0.0.1,0.0.0.0"}, SCHEMA),
    ({"host": "１２７.0.0.1"}, SCHEMA),  # noqa: RUF001 - full width
    ({"port": 22}, "policy.git.ports"),
    ({"port": 9000}, "policy.git.ports"),
]


@pytest.mark.parametrize(("spec", "expected"), SMUGGLED, ids=lambda part: ascii(part)[:60])
def test_nothing_is_smuggled_from_a_repository(root: Path, spec: dict[str, Any], expected: str) -> None:
    assert rule(settings_of(root), **spec) == expected


@pytest.mark.parametrize(("spec", "expected"), SMUGGLED, ids=lambda part: ascii(part)[:60])
def test_the_owner_of_the_machine_may_do_nearly_all_of_it(root: Path, spec: dict[str, Any], expected: str) -> None:
    """But code is loaded by nobody's manifests, and what is no valid manifest is none."""
    loads = any(re.match("LD_|DYLD_|GGML_BACKEND|PATH|PYTHON", name) for name in spec.get("env", ()))
    wanted = expected if expected == SCHEMA else "policy.local.env" if loads else ""
    assert rule(settings_of(root), LOCAL, **spec) == wanted


WRITTEN = re.compile(r"write ((\w+) = (?:\[.*\]|\w+)) under \[policy\.(\w+)\] in reconciler\.toml")


@pytest.mark.parametrize(
    "spec",
    [spec for spec, expected in SMUGGLED if expected != SCHEMA] + [{"flags": {"lora": '/o/a "b", \u202e.gguf'}}],
    ids=lambda part: ascii(part)[:60],
)
def test_what_a_refusal_tells_to_write_allows_it(root: Path, spec: dict[str, Any]) -> None:
    written: dict[str, str] = {}
    for _ in range(6):
        settings = settings_of(root, "[policy.git]\n" + "\n".join(written.values()))
        found = denials(read(GIT, **spec), settings).get("chat")
        if found is None:
            break
        remedy = WRITTEN.search(found.message)
        if remedy is None:
            assert "take it out" in found.message or "write the flag under `flags`" in found.message
            return
        assert (remedy[3], written.get(remedy[2])) != ("git", remedy[1]), "told twice"
        written[remedy[2]] = remedy[1]
    assert found is None
    assert 1 <= len(written) <= 3


@pytest.mark.parametrize(
    ("text", "spec", "expected"),
    [
        ('models = ["shared"]', {"model": "../shared/c.gguf"}, ""),
        ('models = ["shared"]', {"model": "a.gguf"}, ""),
        ('models = ["shared"]', {"model": "file.gguf"}, MODELS),
        ('models = ["models/folder"]', {"model": "file.gguf"}, ""),
        ('models = ["*"]', {"model": "/etc/passwd"}, ""),
        ('flags = ["slot-*"]', {"flags": {"slot-save-path": "/tmp"}}, ""),
        ('flags = ["slot-*"]\ndeny_flags = ["slot-save-path"]', {"flags": {"slot-save-path": "/"}}, FLAGS),
        ('deny_flags = ["model-draft"]', {"flags": {"spec-draft-model": "a.gguf"}}, FLAGS),
        ('deny_flags = ["embeddings"]', {"flags": {"embedding": True}}, FLAGS),
        ('deny_flags = ["metrics"]', {"flags": {"metrics": True}}, FLAGS),
        ('flags = ["*"]', {"flags": {"tools": "all", "unknown": 1}}, ""),
        ('flags = ["*"]', {"flags": {"lora": "/etc/passwd"}}, MODELS),
        ('flags = ["*"]\nenv = ["*"]', {"env": {"LLAMA_ARG_TOOLS": "all"}}, FLAGS),
        ('flags = ["*"]\nmodels = ["*"]\nhf = true\nenv = ["*"]', {"env": {"LLAMA_ARG_TOOLS": "all"}}, ""),
        ('env = ["*"]', {"env": {"FOO": "1"}}, ""),
        ('env = ["*"]', {"env": {"LD_PRELOAD": "x"}}, ENV),
        ('env = ["FO?"]', {"env": {"FOO": "1"}}, ENV),
        ('env = ["*"]\ndeny_env = ["FOO*"]', {"env": {"FOO_BAR": "1"}}, ENV),
        ('deny_env = ["LANG"]', {"env": {"LANG": "C"}}, ENV),
        ('from_env = ["MY_*"]', {"env": {"LANG": {"fromEnv": "MY_LANG"}}}, ""),
        ('secrets = ["outside"]', {"apiKeyFile": "../outside/key"}, ""),
        ('secrets = ["outside"]', {"apiKeyFile": "../shared/c.gguf"}, "policy.git.secrets"),
        ('hosts = ["192.168.1.0/24"]', {"host": "192.168.1.5"}, ""),
        ('hosts = ["192.168.1.0/24"]', {"host": "192.168.2.5"}, "policy.git.hosts"),
        ('hosts = ["fd00::/8"]', {"host": "192.168.2.5"}, "policy.git.hosts"),
        ('hosts = ["gpu.lan"]', {"host": "gpu.lan"}, ""),
        ('hosts = ["*"]', {"host": "0.0.0.0"}, ""),
        ('ports = ["8080", "9000-9009"]', {"port": 9009}, ""),
        ('ports = ["8080", "9000-9009"]', {"port": 8081}, "policy.git.ports"),
        ("ports = []", {"port": 80}, ""),
        ("hf = true", {"model": {"hf": "a/b"}}, ""),
        ("max_ctx = 4096", {"ctx": 4096}, ""),
        ("max_ctx = 4096", {"ctx": 4097}, "policy.git.max_ctx"),
        ("max_ctx = 4096", {}, "policy.git.max_ctx"),
        ("max_parallel = 2", {"parallel": 3}, "policy.git.max_parallel"),
        ("max_parallel = 2", {}, "policy.git.max_parallel"),
        ('binaries = ["/bin/sh"]', {"binary": "/bin/../bin/sh"}, ""),
    ],
)
def test_settings_decide(root: Path, text: str, spec: dict[str, Any], expected: str) -> None:
    assert rule(settings_of(root, f"[policy.git]\n{text}"), **spec) == expected


def test_where_servers_listen_by_the_settings_they_may(root: Path) -> None:
    settings = settings_of(root, 'server_host = "0.0.0.0"')
    assert rule(settings, host="0.0.0.0") == ""
    assert rule(settings, host="192.168.1.5") == "policy.git.hosts"


def test_local_manifests_can_be_held_as_strictly(root: Path) -> None:
    text = '[policy.local]\nmodels = []\ndeny_flags = ["tools"]\nhosts = []\nmax_ctx = 100'
    settings = settings_of(root, text)
    assert rule(settings, LOCAL, model="/etc/passwd") == "policy.local.models"
    assert rule(settings, LOCAL, flags={"tools": "all"}, ctx=1) == "policy.local.flags"
    assert rule(settings, LOCAL, env={"LLAMA_ARG_TOOLS": "all"}, ctx=1) == "policy.local.flags"
    assert rule(settings, LOCAL, host="0.0.0.0", ctx=1) == "policy.local.hosts"
    assert rule(settings, LOCAL) == "policy.local.max_ctx"
    assert rule(settings, LOCAL, ctx=100) == ""


def test_a_variable_does_not_pass_by_a_denied_flag(root: Path) -> None:
    spec = {"env": {"LLAMA_ARG_TOOLS": "all"}}
    assert rule(settings_of(root), LOCAL, **spec) == ""
    assert rule(settings_of(root, '[policy.local]\ndeny_flags = ["tools"]'), LOCAL, **spec) == "policy.local.flags"


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("LD_LIBRARY_PATH", "set it where the controller is started, which hands it on to its servers"),
        ("VK_ICD_FILENAMES", "set it where the controller is started, which hands it on to its servers"),
        ("LD_PRELOAD", "a server that needs it is started by a program of this machine that sets it"),
        ("PYTHONPATH", "a server that needs it is started by a program of this machine that sets it"),
    ],
)
def test_what_loads_code_is_told_with_a_way_that_works(root: Path, name: str, way_out: str) -> None:
    (found,) = denials(read(GIT, env={name: "x"}), settings_of(root)).values()
    assert found.message.endswith(f"take it out; {way_out}") or f"take it out; {way_out}: " in found.message


def test_a_size_that_must_be_written_is_told(root: Path) -> None:
    settings = settings_of(root, "[policy.git]\nmax_ctx = 4096")
    (found,) = denials(read(GIT), settings).values()
    assert "spec.ctx is not written, and must be at most 4096; write spec.ctx, or write max_ctx = 0" in found.message
    (found,) = denials(read(GIT, ctx=5000), settings).values()
    assert "; write a smaller one, or write max_ctx = 5000" in found.message


def test_an_origin_that_nobody_knows_is_held_to_the_strict_rules(root: Path) -> None:
    assert rule(settings_of(root), "elsewhere", host="0.0.0.0") == "policy.elsewhere.hosts"


# ---------------------------------------------------------------- programs


@pytest.mark.parametrize("written", ["../bin/x", "{root}/../bin/x", "{root}/models/../../bin/x"])
def test_a_listed_program_is_allowed_however_its_path_is_written(root: Path, written: str) -> None:
    settings = settings_of(root, f'[policy.git]\nbinaries = ["{written.replace("{root}", str(root))}"]')
    assert rule(settings, binary=f"{root.parent}/bin/x") == ""
    assert rule(settings, binary=f"{root}/../bin/x") == ""
    assert rule(settings, binary=f"{root.parent}/bin/y") == "policy.git.binaries"


@pytest.mark.parametrize("path", ["{root}/llama/llama-server", "{root}/models/../llama/llama-server"])
def test_the_llama_server_in_use_may_be_named(root: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"{root}/llama/llama-server"
    in_use = path.replace("{root}", str(root))
    assert rule(settings_of(root, f'llama_server = "{in_use}"'), binary=program) == ""
    monkeypatch.setenv("LLAMA_SERVER", in_use)
    assert rule(settings_of(root), binary=program) == ""
    assert rule(settings_of(root), binary=f"{root}/llama/other") == "policy.git.binaries"
    assert rule(settings_of(root, 'llama_server = "/bin/other"'), binary=program) == "policy.git.binaries"
