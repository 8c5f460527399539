"""What a server gets of its controller, and what not."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.runtimes.spawning import Bounds, Child, spawn
from tests.runtimes.patience import eventually

Run = Callable[..., Child]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Spawns a shell that runs a script and then waits."""
    children: list[Child] = []

    def start(script: str, bounds: Bounds) -> Child:
        log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        argv = ("/bin/sh", "-c", f"{script}; exec sleep 60")
        child = spawn(argv, {"PATH": os.environ["PATH"]}, log, bounds)
        children.append(child)
        os.close(log)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o000, 0o666), (0o027, 0o640)])
def test_a_server_keeps_the_umask_of_who_called_the_controller(run: Run, tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(0o077)
    try:
        run(f"touch {tmp_path}/made", Bounds(umask))
        eventually((tmp_path / "made").exists)
        assert (tmp_path / "made").stat().st_mode & 0o777 == mode
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def limits(child: Child) -> tuple[str, str]:
    """Soft and hard, as the kernel has them."""
    text = Path(f"/proc/{child.pid}/limits").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("Max open files"))
    _, _, _, soft, hard, _ = line.split()
    return soft, hard


@pytest.fixture
def raised() -> Iterator[None]:
    """This process may have as many files open as a controller."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
@pytest.mark.parametrize("most", [512, 4096])
def test_a_server_may_have_fewer_files_open_than_its_controller(run: Run, raised: None, most: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limits(run("true", Bounds(open_files=most))) == (str(most), str(most))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_more_than_the_controller_itself_may_have_is_not_given(run: Run, raised: None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard // 2, hard))
    assert limits(run("true", Bounds(open_files=hard * 2))) == (str(hard), str(hard))


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_server_cannot_open_more(run: Run, tmp_path: Path) -> None:
    """The limit is there before a program has had time to load."""
    script = (
        "import os, time; time.sleep(0.2)\ntry:\n while True: os.dup(0)\nexcept OSError as e: print(os.dup2(0, 9), e)"
    )
    run(f"{sys.executable} -c '{script}'", Bounds(open_files=300))
    assert "Too many open files" in eventually((tmp_path / "log").read_text)


def test_one_that_has_ended_at_once_is_no_error(run: Run) -> None:
    for _ in range(20):
        assert run("exit 3", Bounds(open_files=300)).wait() == 3
