import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.core.loaders import loads_code
from reconciler.core.policy import is_inside, judge, shown, together
from reconciler.core.reach import Reach
from reconciler.core.rules import LocalRules, Policy, Rules, port_range
from reconciler.core.source import GIT, LOCAL
from reconciler.core.spec import ServerSpec
from reconciler.settings import SettingsError, load_settings

NOWHERE: dict[str, list[str]] = {"models": ["/m"], "secrets": [], "binaries": []}


@pytest.mark.parametrize(
    "name",
    [
        *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_X", "DYLD_INSERT_LIBRARIES", "GLIBC_TUNABLES", "GCONV_PATH"),
        *(
            "GGML_BACKEND_PATH",
            "GGML_BACKEND_DIR",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5LIB",
            "RUBYOPT",
            "NODE_OPTIONS",
        ),
        *("PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "GIT_SSH_COMMAND", "GIT_EXEC_PATH", "VK_LAYER_PATH"),
        *("VK_ICD_FILENAMES", "CUDA_INJECTION64_PATH", "OMP_TOOL_LIBRARIES", "OPENSSL_CONF", "OCL_ICD_VENDORS"),
        *("HSA_TOOLS_LIB", "LIBGL_DRIVERS_PATH", "FFREPORT", "SSLKEYLOGFILE", "ASAN_OPTIONS", "ZE_ENABLE_ALT_DRIVERS"),
    ],
)
def test_variables_that_load_code(name: str) -> None:
    assert loads_code(name)


@pytest.mark.parametrize(
    "name",
    [
        *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES", "GGML_CUDA_ENABLE_UNIFIED_MEMORY"),
        *("OMP_NUM_THREADS", "LANG", "LC_ALL", "HF_TOKEN", "PATH_X", "ENVIRONMENT", "MALLOC_ARENA_MAX", "HOME"),
        *("HSA_OVERRIDE_GFX_VERSION", "ROCBLAS_USE_HIPBLASLT", "ZES_ENABLE_SYSMAN", "GGML_OPENCL_DEVICE", "TZ"),
    ],
)
def test_variables_that_do_not(name: str) -> None:
    assert not loads_code(name)


@pytest.mark.parametrize(
    ("path", "folders", "inside"),
    [
        ("/m/a", ["/m"], True),
        ("/m", ["/m"], True),
        ("/m2/a", ["/m"], False),
        ("/", ["/m"], False),
        ("/etc/x", ["/"], True),
        ("/m/a", ["/m/"], True),
        ("/x", ["/m", "*"], True),
        ("/x", [], False),
    ],
)
def test_inside(path: str, folders: list[str], inside: bool) -> None:
    assert is_inside(path, folders) is inside


def test_a_path_at_the_root_is_told_with_its_folder() -> None:
    (denied,) = judge([Reach("models", "spec.model", "/x.gguf")], Rules(), NOWHERE, GIT)
    assert 'write models = ["/"] under' in denied.message


def test_what_would_make_a_long_setting_is_not_written_out() -> None:
    (denied,) = judge([Reach("env", "spec.env.X", "X" * 2000)], Rules(), NOWHERE, GIT)
    assert "add it to env under [policy.git] in reconciler.toml" in denied.message
    assert len(denied.message) < 300


@pytest.mark.parametrize("name", ["a\u202eb", "a\x9bb", 'a"b', "a\\b", "größe", "\U0001f600", "a\tb"])
def test_the_setting_to_write_is_toml_on_one_printable_line(name: str) -> None:
    (denied,) = judge([Reach("env", "spec.env", name)], Rules(env=("OLD",)), NOWHERE, GIT)
    assert denied.message.isprintable()
    found = re.search(r"write (env = \[.*\]) under", denied.message)
    assert found
    assert tomllib.loads(found[1]) == {"env": ["OLD", name]}


def test_text_is_shown_on_one_short_line() -> None:
    assert shown("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert len(shown("x" * 5000)) < 130


def test_only_a_star_is_special_in_patterns() -> None:
    rules = Rules(flags=("a.c", "[x]", "p?q", "*-z"))
    for name, allowed in (("a.c", True), ("abc", False), ("x", False), ("pxq", False), ("a-z", True), ("a-zz", False)):
        denied = list(judge([Reach("flags", "flag", name, "reaches far")], rules, NOWHERE, GIT))
        assert (not denied) is allowed, name


def test_what_no_setting_allows_is_in_no_remedy_of_others() -> None:
    names = ("LD_PRELOAD", "DENIED", "FOO")
    found = judge([Reach("env", f"spec.env.{name}", name) for name in names], Rules(deny_env=("D*",)), NOWHERE, GIT)
    assert 'write env = ["FOO"] under' in [one.message for one in found][2]


def test_refusals_without_end_are_counted_so_far() -> None:
    found = judge([Reach("env", "spec.env.X", f"X{number}") for number in range(60)], Rules(), NOWHERE, GIT)
    first = together(found)
    assert first is not None
    assert first.message.endswith(" (and at least 50 more)")
    assert together(()) is None


# ---------------------------------------------------------------- settings


def test_the_defaults_are_strict_for_git_and_kind_to_the_owner() -> None:
    policy = Policy()
    assert policy.of(LOCAL) == LocalRules()
    assert policy.of(GIT) == policy.of("anything else") == Rules()
    assert (policy.git.hf, policy.git.max_servers, policy.git.ports) == (False, 64, ("8001-8999",))
    assert (policy.local.hf, policy.local.max_servers, policy.local.flags) == (True, 0, ("*",))
    strict = {name for name in Rules.model_fields if getattr(policy.git, name) in ((), False, 0)}
    assert {"binaries", "models", "secrets", "from_env", "flags", "env", "hosts", "hf"} <= strict


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('env = ["LD_PRELOAD"]', "policy.git.env: LD_PRELOAD decides which code a server loads"),
        ('env = ["LD_*"]', "LD_* decides which code"),
        ('env = ["GGML_BACKEND_PATH"]', "GGML_BACKEND_PATH decides"),
        ('env = ["PATH"]', "PATH decides"),
        ('ports = ["80-70"]', "'80-70' is neither a port nor a range"),
        ('ports = ["auto"]', "'auto' is neither"),
        ('ports = ["0"]', "'0' is neither"),
        ('ports = ["70000"]', "'70000' is neither"),
        ('hosts = ["10.0.0.1/8"]', "policy.git.hosts: 10.0.0.1/8 has host bits set"),
        ('flags = "x"', 'policy.git.flags: expected a list, such as ["x"]'),
        ("flags = 3", "policy.git.flags: expected a list"),
        ('flag = ["x"]', "policy.git.flag: unknown setting; did you mean 'flags'?"),
        ('models = [""]', "policy.git.models.0:"),
        ("max_ctx = -1", "policy.git.max_ctx"),
        ('hf = "perhaps"', "policy.git.hf"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "reconciler.toml"
    path.write_text(f"[policy.git]\n{text}\n")
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings({}, str(path))


def test_no_loader_is_allowed_by_the_owner_either(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="LD_PRELOAD decides"):
        LocalRules(env=("LD_PRELOAD",))


def test_relative_folders_start_from_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    path = tmp_path / "reconciler.toml"
    path.write_text('[policy.git]\nmodels = ["shared", "/abs", "~/m", "*"]\nbinaries = ["bin/x"]\nsecrets = ["../s"]')
    git = load_settings({}, str(path)).policy.git
    assert git.models == (f"{tmp_path}/shared", "/abs", "/home/me/m", "*")
    assert (git.binaries, git.secrets) == ((f"{tmp_path}/bin/x",), (f"{tmp_path}/../s",))


@pytest.mark.parametrize(
    ("text", "found"),
    [("8080", (8080, 8080)), ("1-65535", (1, 65535)), ("", None), ("1-", None), ("1-2-3", None), ("１", None)],  # noqa: RUF001
)
def test_port_ranges(text: str, found: tuple[int, int] | None) -> None:
    assert port_range(text) == found


# ---------------------------------------------------------------- hosts, as the schema takes them


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0", "127.0.0.1", "gpu-1.lan"])
def test_hosts_that_are_one_address(host: str) -> None:
    assert ServerSpec.model_validate({"model": "a", "host": host}).host == host


@pytest.mark.parametrize("host", ["::1%,0.0.0.0", "::1%/tmp/x", "::1%a b", "::1%", "%", "a%b", "127.0.0.1%eth0"])
def test_hosts_that_could_be_two(host: str) -> None:
    spec: dict[str, Any] = {"model": "a", "host": host}
    with pytest.raises(ValidationError):
        ServerSpec.model_validate(spec)
