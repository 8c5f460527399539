import os
import sys
from collections.abc import Callable, Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple

import pytest

from reconciler import installation
from reconciler.cli import main
from tests.cli.fake_controller import FakeController
from tests.cli.filling import Filling
from tests.cli.pasted import faults


class Called(NamedTuple):
    """What came of a command line."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with nothing in the environment that speaks of another installation."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("RECONCILER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    configs = [tmp_path / "config" / "reconciler" / "reconciler.toml", tmp_path / "etc" / "reconciler.toml"]
    monkeypatch.setattr(installation, "installed_configs", lambda _environ: configs)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Subprocesses run the code that is tested, installed or not.
    monkeypatch.setenv("PYTHONPATH", str(Path(main.__file__).parents[2]))
    return tmp_path


@pytest.fixture
def filling(root: Path) -> Iterator[Filling]:
    """A state folder in the working folder."""
    with Filling(root) as filling:
        yield filling


@pytest.fixture
def controller(filling: Filling) -> Iterator[FakeController]:
    """Somebody who answers on the state folder's socket."""
    with FakeController(filling.state) as controller:
        yield controller


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command line within this process. The commands that it tells people to type must be understood."""

    def run(*arguments: str, stdin: str = "") -> Called:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin.encode())))
        code = main.invoke(list(arguments))
        captured = capsys.readouterr()
        assert faults(captured.out + captured.err) == []
        return Called(code, captured.out, captured.err)

    return run
