import os
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller.launching import Launcher, LaunchError
from reconciler.core.model import Document, GateFacts, Now
from reconciler.core.spec import ServerSpec
from reconciler.settings import Settings

NOW = Now(monotonic=1000.0, wall=4_000_000_000.0, boot="b")
SECRET = "correct-horse-battery-staple"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "a.gguf").write_bytes(b"GGUF")
    return folder


def spec(**fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "a.gguf", **fields})


def declared(one: ServerSpec) -> Document:
    return Document("LlamaServer", "chat", "chat.yaml", one)


@pytest.fixture
def launcher(models: Path) -> Launcher:
    settings = Settings(models=str(models), llama_server=sys.executable, binaries=("/bin/sh", "~/bin/llama-server"))
    environ = {
        "PATH": "/bin",
        "HOME": str(models.parent),
        "SHELL": "/bin/zsh",
        "TOKEN": SECRET,
        "LLAMA_ARG_CTX_SIZE": "1",
    }
    return Launcher(settings, environ)


def refusal(launcher: Launcher, one: ServerSpec) -> tuple[str, str]:
    """Reason and message; gate and launch agree on both."""
    gate = launcher.look(declared(one), NOW)
    with pytest.raises(LaunchError) as raised:
        launcher.launch(declared(one), 8001)
    assert (raised.value.reason, str(raised.value)) == (gate.reason, gate.message)
    return gate.reason, gate.message


# ---------------------------------------------------------------- paths


def test_a_launch_names_everything_by_its_absolute_path(launcher: Launcher, models: Path) -> None:
    launch = launcher.launch(declared(spec(ctx=128)), 8001)
    expected = (
        sys.executable,
        "--model",
        f"{models}/a.gguf",
        "--host",
        "127.0.0.1",
        "--port",
        "8001",
        "--ctx-size",
        "128",
    )
    assert launch.argv == expected
    assert launcher.look(declared(spec()), NOW).reason == ""


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ("a.gguf", "{models}/a.gguf"),
        ("sub/a.gguf", "{models}/sub/a.gguf"),
        ("/m/a.gguf", "/m/a.gguf"),
        ("~/a.gguf", "{home}/a.gguf"),
    ],
)
def test_model_paths(
    launcher: Launcher, models: Path, monkeypatch: pytest.MonkeyPatch, written: str, resolved: str
) -> None:
    monkeypatch.setenv("HOME", str(models.parent))
    expected = resolved.format(models=models, home=models.parent)
    assert launcher.model_path(spec(model=written)) == expected
    assert expected in launcher.launch(declared(spec(model=written)), 1).argv


def test_a_model_of_hugging_face_has_no_path(launcher: Launcher) -> None:
    one = spec(model={"hf": "ggml-org/gemma"})
    assert launcher.model_path(one) is None
    assert launcher.look(declared(one), NOW).reason == ""


def test_the_home_of_nobody_is_a_missing_file_and_no_crash(launcher: Launcher) -> None:
    gate = launcher.look(declared(spec(model="~no-such-user/a.gguf")), NOW)
    assert gate.reason == "ModelMissing"
    assert "~no-such-user/a.gguf" in gate.message
    assert refusal(launcher, spec(binary="~no-such-user/llama-server"))[0] == "BinaryNotAllowed"


@pytest.mark.parametrize("field", ["model", "apiKeyFile"])
def test_a_name_too_long_for_any_file_is_a_missing_file_and_no_crash(launcher: Launcher, field: str) -> None:
    assert launcher.look(declared(spec(**{field: "x" * 300})), NOW).reason in ("ModelMissing", "SecretMissing")


def test_all_parts_of_a_split_model_are_looked_at(launcher: Launcher, models: Path) -> None:
    (models / "b-00001-of-00002.gguf").write_bytes(b"GGUF")
    gate = launcher.look(declared(spec(model="b-00001-of-00002.gguf")), NOW)
    assert gate.reason == "ModelMissing"
    assert "b-00002-of-00002.gguf" in gate.message


# ---------------------------------------------------------------- binary


def test_only_allowed_programs_are_run(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert launcher.launch(declared(spec(binary="/bin/sh")), 1).argv[0] == "/bin/sh"
    assert launcher.launch(declared(spec(binary="/bin/../bin/sh")), 1).argv[0] == "/bin/sh"
    assert launcher.launch(declared(spec(binary="~/bin/llama-server")), 1).argv[0] == "/home/me/bin/llama-server"
    assert launcher.launch(declared(spec(binary=sys.executable)), 1).argv[0] == sys.executable
    reason, message = refusal(launcher, spec(binary="/bin/cat"))
    assert reason == "BinaryNotAllowed"
    assert message == "/bin/cat is not allowed by the settings; add it to `binaries` in reconciler.toml"


def test_a_program_that_is_missing_or_may_not_be_run(models: Path) -> None:
    missing = Launcher(Settings(models=str(models), llama_server="/no/llama-server"), {})
    assert missing.look(declared(spec()), NOW).reason == "BinaryMissing"
    plain = Launcher(Settings(models=str(models), llama_server=str(models / "a.gguf")), {})
    assert plain.look(declared(spec()), NOW).reason == "PermissionDenied"


def test_no_program_at_all(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.controller.launching.find_llama_server", lambda _environ: None)
    reason, message = refusal(Launcher(Settings(models=str(models)), {}), spec())
    assert reason == "BinaryMissing"
    assert "LLAMA_SERVER" in message
    assert message.endswith(f": {sys.executable} -m reconciler.demo.binary")


def test_the_program_on_path_is_found(models: Path) -> None:
    program = models / "llama-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    launcher = Launcher(Settings(models=str(models)), {"PATH": str(models)})
    assert launcher.launch(declared(spec()), 1).argv[0] == str(program)


# ---------------------------------------------------------------- environment and secrets


def test_only_the_allowlist_of_the_controllers_environment_is_passed_on(launcher: Launcher, models: Path) -> None:
    environment = launcher.launch(declared(spec(env={"GGML_X": "1"})), 1).environment
    assert environment == {"PATH": "/bin", "HOME": str(models.parent), "GGML_X": "1"}


def test_references_are_resolved_for_the_process_alone(launcher: Launcher, models: Path) -> None:
    (models / "token").write_text(SECRET + "\n")
    one = spec(
        env={
            "A": {"fromEnv": "TOKEN"},
            "B": {"fromFile": "token"},
            "C": {"fromFile": str(models / "token")},
            "D": "plain",
        }
    )
    launch = launcher.launch(declared(one), 1)
    assert [launch.environment[name] for name in "ABCD"] == [SECRET, SECRET, SECRET, "plain"]
    public = launcher.public(one, launch)
    assert public == {
        "argv": list(launch.argv),
        "env": {
            "A": {"from_env": "TOKEN"},
            "B": {"from_file": "token"},
            "C": {"from_file": f"{models}/token"},
            "D": "plain",
        },
    }
    assert SECRET not in str(public)


@pytest.mark.parametrize(
    ("content", "value"), [("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x ", " x "), ("", "")]
)
def test_one_line_break_is_dropped_from_a_file(launcher: Launcher, models: Path, content: str, value: str) -> None:
    (models / "token").write_bytes(content.encode())
    assert launcher.launch(declared(spec(env={"A": {"fromFile": "token"}})), 1).environment["A"] == value


def test_missing_secrets_are_named(launcher: Launcher, models: Path) -> None:
    reason, message = refusal(launcher, spec(env={"A": {"fromEnv": "NOT_SET"}}))
    assert reason == "SecretMissing"
    assert message.startswith("spec.env.A: the controller's environment has no NOT_SET; set it")
    reason, message = refusal(launcher, spec(env={"A": {"fromFile": "token"}}))
    assert (reason, message) == (
        "SecretMissing",
        f"spec.env.A: {models}/token cannot be read: No such file or directory",
    )
    reason, message = refusal(launcher, spec(apiKeyFile="keys"))
    assert reason == "SecretMissing"
    assert message.startswith(f"spec.apiKeyFile: no file at {models}/keys; write the keys there")


def test_a_secret_that_is_no_text_is_not_shown(launcher: Launcher, models: Path) -> None:
    (models / "token").write_bytes(SECRET.encode() + b"\xff")
    reason, message = refusal(launcher, spec(env={"A": {"fromFile": "token"}}))
    assert (reason, message) == ("SecretMissing", f"spec.env.A: {models}/token cannot be read: it is not text")
    with pytest.raises(LaunchError) as raised:
        launcher.launch(declared(spec(env={"A": {"fromFile": "token"}})), 1)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_secret_is_not_waited_for(launcher: Launcher, models: Path) -> None:
    os.mkfifo(models / "pipe")
    assert refusal(launcher, spec(env={"A": {"fromFile": "pipe"}}))[0] == "SecretMissing"
    assert refusal(launcher, spec(apiKeyFile="pipe"))[0] == "SecretMissing"
    assert launcher.api_key(spec(apiKeyFile="pipe")) is None


def test_a_missing_secret_comes_before_a_missing_model(launcher: Launcher) -> None:
    gate = launcher.look(declared(spec(model="none.gguf", env={"A": {"fromEnv": "NOT_SET"}})), NOW)
    assert isinstance(gate, GateFacts)
    assert gate.reason == "SecretMissing"


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("one\ntwo\n", "one"),
        ("\n\ntwo", "two"),
        ("a key with spaces\n", "a key with spaces"),
        ("one\r\n", "one"),
        ("", None),
    ],
)
def test_the_first_line_of_the_key_file_is_the_key(
    launcher: Launcher, models: Path, content: str, key: str | None
) -> None:
    (models / "keys").write_bytes(content.encode())
    assert launcher.api_key(spec(apiKeyFile="keys")) == key
    assert f"{models}/keys" in launcher.launch(declared(spec(apiKeyFile="keys")), 1).argv


def test_without_a_readable_key_file_there_is_no_key(launcher: Launcher, models: Path) -> None:
    (models / "keys").write_bytes(b"\xff\xfe")
    assert launcher.api_key(spec(apiKeyFile="keys")) is None
    assert launcher.api_key(spec(apiKeyFile="none")) is None
    assert launcher.api_key(spec()) is None
