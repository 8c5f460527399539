import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from reconciler.demo import up


class ReplacedError(Exception):
    """Stands for the end of this program at exec."""


@pytest.fixture
def execs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    calls = []

    def exec_instead(path: str, argv: list[str], environ: dict[str, str]) -> NoReturn:
        assert path == argv[0]
        calls.append((argv, environ))
        raise ReplacedError

    monkeypatch.setattr(os, "execve", exec_instead)
    monkeypatch.setattr(up, "in_background", lambda _: None)
    return calls


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RECONCILER_MANIFESTS", "RECONCILER_MODELS"):
        monkeypatch.delenv(name, raising=False)
    program = tmp_path / "llama-server"
    program.touch(mode=0o755)
    monkeypatch.delenv("LLAMA_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "manifests").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_the_models_and_becomes_the_controller(
    checkout: Path, execs: list[tuple[list[str], dict[str, str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReplacedError):
        up.main()
    [(argv, environ)] = execs
    assert argv == [sys.executable, "-m", "reconciler", "run"]
    assert environ["LLAMA_SERVER"] == str(checkout / "llama-server")
    assert {path.name for path in (checkout / "models").iterdir()} == {
        *("tiny-chat.gguf", "tiny-embed.gguf", "tiny-long.gguf"),
        "llama-server-300MiB",
    }
    told = capsys.readouterr().out
    assert f"llama-server: {checkout}/llama-server (from PATH)" in told
    assert "wrote models/tiny-chat.gguf (0.5 MB, random weights" in told


@pytest.mark.usefixtures("execs")
def test_outside_a_checkout_it_says_so(checkout: Path) -> None:
    (checkout / "manifests").rmdir()
    with pytest.raises(SystemExit, match=r"no manifests/ in .*: run `make up` in a checkout"):
        up.main()


@pytest.mark.usefixtures("execs")
def test_a_llama_server_that_cannot_run_is_an_error(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "llama-server").chmod(0o644)
    monkeypatch.setenv("LLAMA_SERVER", str(checkout / "llama-server"))
    with pytest.raises(SystemExit, match=r"error: .*llama-server .*not an executable file"):
        up.main()
    assert not (checkout / "models").exists()
