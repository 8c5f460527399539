"""What befalls a manifests folder stops no server, and what is written afterwards is used within a tick."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.core.pruning import PRUNE_DELAY
from tests.e2e.installation import Installation, document

pytestmark = pytest.mark.real
TICK = 2.0
NAMES = [f"s{number}" for number in range(6)]
privileged = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def running(installation: Installation) -> dict[str, int]:
    """Six servers that are Ready; their pids."""
    for name in NAMES:
        installation.declare(name)
    installation.start(RECONCILER_TICK=str(TICK))
    return installation.wait_ready(*NAMES)


@contextmanager
def harmless(installation: Installation, seconds: float = PRUNE_DELAY + 0.5) -> Iterator[None]:
    """Within, and for a while after, no process ends or begins."""
    before = installation.pids()
    yield
    installation.stays(lambda: installation.pids() == before, seconds)
    rows = installation.query("select count(*) from instances")
    assert rows == [(len(before),)], installation.log()


def is_current(installation: Installation, folder: Path | None = None) -> None:
    """Everything is well, and an edit is used within a tick."""

    def is_well() -> bool:
        return all(installation.conditions(name)["Reconciled"]["status"] for name in NAMES)

    installation.wait_for("all to be well", is_well, 2 * TICK)
    installation.write((folder or installation.manifests) / "s5.yaml", document("s5", ctx=512))
    before = installation.generation("s5")
    installation.wait_for("the edit to be used", lambda: installation.generation("s5") > before, TICK + 0.5)
    installation.wait_ready(*NAMES)


def copy(source: Path, target: Path, pause: float) -> None:
    """As a slow copy does it, file by file; the last ones at once, for nothing new comes of them."""
    target.mkdir(exist_ok=True)
    for number, path in enumerate(sorted(source.iterdir())):
        shutil.copy(path, target / path.name)
        time.sleep(pause if number < 2 else 0.0)


@pytest.fixture
def aside(installation: Installation, running: dict[str, int]) -> Path:
    """A copy of all manifests."""
    return Path(shutil.copytree(installation.manifests, installation.root / "aside"))


@pytest.mark.parametrize("pause", [0.0, 0.7, 2.4])
def test_deleted_and_made_again(installation: Installation, aside: Path, pause: float) -> None:
    with harmless(installation):
        shutil.rmtree(installation.manifests)
        time.sleep(pause)
        copy(aside, installation.manifests, pause)
    is_current(installation)


def test_emptied_slowly_and_filled_again(installation: Installation, aside: Path) -> None:
    with harmless(installation):
        for path in sorted(installation.manifests.iterdir()):
            path.unlink()
            time.sleep(0.5)
        installation.wait_for("the guard to be told", lambda: "--prune" in installation.problem("s0"))
        installation.stays(lambda: len(installation.pids()) == len(NAMES), PRUNE_DELAY)
        copy(aside, installation.manifests, 1.0)
    is_current(installation)


def test_what_an_accident_took_stays_so_for_the_next_controller(installation: Installation, aside: Path) -> None:
    with harmless(installation):
        shutil.rmtree(installation.manifests)
        installation.manifests.mkdir()
        installation.wait_for("the guard to be told", lambda: "--prune" in installation.problem("s0"))
        copy(aside, installation.manifests, 0.0)
        (installation.manifests / "s0.yaml").unlink()
        installation.wait_for("all but one", lambda: installation.reason("s1") != "PruneHeld")
        installation.end(signal.SIGKILL)
        installation.start(RECONCILER_TICK=str(TICK))
        installation.wait_for("a controller", installation.is_controlled)
        installation.reconcile()
    assert "--prune" in installation.problem("s0")
    installation.cli("apply", "--prune")
    installation.wait_for("it to be gone", lambda: set(installation.pids()) == set(NAMES[1:]))


def bind(source: Path, target: Path) -> None:
    subprocess.run(["mount", "--bind", source, target], check=True)


@pytest.fixture
def volume(installation: Installation) -> Iterator[Path]:
    """A file system of its own that holds six manifests."""
    path = installation.root / "volume"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=False).returncode:
        pytest.skip("no mounts here")
    for name in NAMES:
        installation.write(path / f"{name}.yaml", document(name))
    yield path
    for mounted in (installation.manifests / "team", installation.manifests, path):
        subprocess.run(["umount", "-l", mounted], check=False, stderr=subprocess.DEVNULL)


@privileged
@pytest.mark.parametrize("beneath", [[], NAMES[:3]], ids=["nothing beneath", "half of them beneath"])
def test_unmounted_and_mounted_again(installation: Installation, volume: Path, beneath: list[str]) -> None:
    for name in beneath:
        installation.declare(name)
    bind(volume, installation.manifests)
    installation.start(RECONCILER_TICK=str(TICK))
    installation.wait_ready(*NAMES)
    with harmless(installation, 0.5):
        subprocess.run(["umount", "-l", installation.manifests], check=True)
        installation.wait_for("the loss to be told", lambda: "--prune" in installation.problem("s5"), TICK + 0.5)
        time.sleep(PRUNE_DELAY)
        bind(volume, installation.manifests)
    is_current(installation)


@privileged
@pytest.mark.parametrize("when", ["under a controller", "between two of them"])
def test_a_part_that_is_unmounted_is_no_removal_of_a_few(installation: Installation, volume: Path, when: str) -> None:
    for name in NAMES[:4]:
        (volume / f"{name}.yaml").unlink()
        installation.declare(name)
    team = installation.manifests / "team"
    team.mkdir()
    bind(volume, team)
    installation.start(RECONCILER_TICK=str(TICK))
    installation.wait_ready(*NAMES)
    with harmless(installation, 0.5):
        if when == "between two of them":
            installation.end()
        subprocess.run(["umount", "-l", team], check=True)
        if when == "between two of them":
            installation.start(RECONCILER_TICK=str(TICK))
            installation.wait_for("a controller", installation.is_controlled)
        installation.wait_for("the loss to be told", lambda: "--prune" in installation.problem("s5"), TICK + 0.5)
        time.sleep(PRUNE_DELAY)
        bind(volume, team)
    is_current(installation, team)


@pytest.mark.parametrize("how", ["a folder", "a link to one"])
def test_a_part_that_is_away_for_a_while_is_no_removal_of_a_few(installation: Installation, how: str) -> None:
    team, volume, away = (installation.root / name for name in ("manifests/team", "volume", "away"))
    for name in NAMES[:4]:
        installation.declare(name)
    (team if how == "a folder" else volume).mkdir()
    if how != "a folder":
        team.symlink_to(volume)
    for name in NAMES[4:]:
        installation.write(team / f"{name}.yaml", document(name))
    installation.start(RECONCILER_TICK=str(TICK))
    installation.wait_ready(*NAMES)
    with harmless(installation, 0.5):
        (team if how == "a folder" else volume).rename(away)
        time.sleep(PRUNE_DELAY + 1.0)
        away.rename(team if how == "a folder" else volume)
    is_current(installation, team)


@pytest.mark.parametrize("how", ["the folder itself", "..data"])
def test_revisions_swapped_by_a_link(installation: Installation, how: str) -> None:
    """As git-sync does it, and as a mounted ConfigMap does."""
    shutil.rmtree(installation.manifests)
    home = installation.root / "git" if how != "..data" else installation.manifests
    home.mkdir()
    for revision in range(20):
        folder = home / f"..rev{revision}"
        folder.mkdir()
        for name in NAMES:
            (folder / f"{name}.yaml").write_text(document(name, ctx=512 if revision == 19 and name == "s5" else 128))
    link = installation.manifests if how != "..data" else home / "..data"
    link.symlink_to(home / "..rev0")
    if how == "..data":
        for name in NAMES:
            (home / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    installation.start(RECONCILER_TICK=str(TICK))
    before = installation.wait_ready(*NAMES)
    with harmless(installation):
        for revision in range(1, 19):
            swap(link, home / f"..rev{revision}")
            shutil.rmtree(home / f"..rev{revision - 1}")
            time.sleep(0.1)
    swap(link, home / "..rev19")
    installation.wait_for("the edit to be used", lambda: installation.generation("s5") == 2, TICK + 1.0)
    installation.wait_for("its new process", lambda: installation.pids().get("s5", before["s5"]) != before["s5"])
    after = installation.wait_ready(*NAMES)
    assert {name for name in NAMES if after[name] != before[name]} == {"s5"}


def swap(link: Path, target: Path) -> None:
    draft = link.with_name(".next")
    draft.symlink_to(target)
    draft.replace(link)


def test_a_storm_of_saves_keeps_nobody_waiting(installation: Installation, running: dict[str, int]) -> None:
    slowest = 0.0
    with harmless(installation):
        for number in range(1000):
            path, text = installation.manifests / f"s{number % 5}.yaml", document(f"s{number % 5}")
            commented = f"# save {number}\n{text}"
            installation.write(path, commented) if number % 2 else path.write_text(commented)
            if number % 100 == 0:
                began = time.monotonic()
                installation.passes()
                slowest = max(slowest, time.monotonic() - began)
    assert slowest < TICK
    is_current(installation)


def test_a_crash_within_a_storm_is_seen_at_once(installation: Installation, running: dict[str, int]) -> None:
    os.kill(running["s5"], signal.SIGKILL)
    until = time.monotonic() + TICK + 1.0
    while installation.pids().get("s5", running["s5"]) == running["s5"]:
        assert time.monotonic() < until
        for name in NAMES[:5]:
            (installation.manifests / f"{name}.yaml").write_text(document(name) + "#\n")
    after = installation.wait_ready(*NAMES)
    assert {name for name in NAMES if after[name] != running[name]} == {"s5"}


def write_slowly(path: Path, text: str, pause: float) -> None:
    path.write_text("")
    for begin in range(0, len(text), len(text) // 2):
        time.sleep(pause)
        with path.open("a") as file:
            file.write(text[begin : begin + len(text) // 2])


def test_half_written_files(installation: Installation, running: dict[str, int]) -> None:
    with harmless(installation), ThreadPoolExecutor(len(NAMES)) as writers:
        for name, pause in zip(NAMES, (0.0, 0.1, 0.3, 0.6, 1.0, 2.5), strict=True):
            writers.submit(write_slowly, installation.manifests / f"{name}.yaml", document(name), pause)
    is_current(installation)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not here")
def test_permissions_that_are_taken_away_and_given_back(installation: Installation) -> None:
    for name in NAMES:
        installation.declare(name)
    powers = "-dac_override,-dac_read_search"  # those for which files' modes mean nothing
    prefix = ["setpriv", f"--bounding-set={powers}"] if os.geteuid() == 0 else []
    with (installation.root / "controller-1.log").open("wb") as log:
        installation.controller = subprocess.Popen(
            [*prefix, sys.executable, "-m", "reconciler", "run"],
            cwd=installation.root,
            env={**installation.environ, "RECONCILER_TICK": str(TICK)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    installation.wait_ready(*NAMES)
    with harmless(installation):
        for path, mode in ((installation.manifests, 0o755), (installation.manifests / "s1.yaml", 0o644)):
            path.chmod(0)
            installation.wait_for("it to be told", lambda: "permission" in installation.cli("get", "events").lower())
            installation.stays(lambda: installation.phases()["s1"] == "Ready", PRUNE_DELAY)
            path.chmod(mode)
            time.sleep(0.6)
    is_current(installation)
