"""The checks of `doctor` of the machine, the folders, the database and the controller, each seen failing."""

import ctypes
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.cli import doctoring_binary, doctoring_machine
from reconciler.runtimes import mounts
from tests.cli.conftest import Call
from tests.cli.doctoring import as_nobody, be_patient, declare, everybody, findings, program, worst, worst_for_nobody
from tests.cli.filling import Filling

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make this happen")


def run(root: Path, prepare: str) -> dict[str, list[dict[str, str]]]:
    """The findings by check, in a process that first does something to itself."""
    script = f"import os, resource, sys\n{prepare}\nfrom reconciler.cli.main import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script, "doctor", "-o", "json"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[dict[str, str]]] = {}
    for item in json.loads(done.stdout)["items"]:
        found.setdefault(item["name"], []).append(item)
    return found


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


# ---------------------------------------------------------------- GPUs

LISTS = 'test "$1" = --list-devices || { echo "version: 1 (x)"; exit 0; }\n'
NO_DRIVER = "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def device(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device as NVIDIA's driver makes them, in a folder of devices of our own."""
    (root / "dev").mkdir()
    (root / "dev" / "nvidia0").touch(mode=0o666)
    monkeypatch.setattr(doctoring_binary, "DEV", root / "dev")
    return root / "dev" / "nvidia0"


@pytest.mark.parametrize(
    ("listed", "expected", "words"),
    [
        (f"echo '{NO_DRIVER}' >&2; echo 'Available devices:'", "warn", f"cannot use the GPU: {NO_DRIVER}"),
        ("echo 'Available devices:'; echo '  (none)'", "warn", "lists no device that it could use"),
        ("echo 'Available devices:'; echo '  CUDA0: A GPU (100 MiB, 90 MiB free)'", "ok", "CUDA0: A GPU (100 MiB"),
    ],
)
def test_a_gpu(
    device: Path, call: Call, monkeypatch: pytest.MonkeyPatch, listed: str, expected: str, words: str
) -> None:
    monkeypatch.setenv("LLAMA_SERVER", str(program(device.parent / "llama-server", LISTS + listed)))
    found = worst(call, "gpu")
    assert (found[0], words in found[1]) == (expected, True), found
    monkeypatch.setenv("RECONCILER_CPU_ONLY", "1")
    assert worst(call, "gpu")[0] == "ok"


def test_a_driver_that_takes_its_time(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring_binary, "LISTING", 0.1)
    monkeypatch.setenv("LLAMA_SERVER", str(program(root / "llama-server", f"{LISTS}sleep 60")))
    status, message, _ = worst(call, "gpu")
    assert (status, "has not listed its devices within 0.1 s" in message) == ("warn", True), message


def test_a_gpu_that_may_not_be_opened(device: Path, root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    device.chmod(0o000)
    with everybody(monkeypatch) as folder:
        monkeypatch.setattr(doctoring_binary, "DEV", folder / "dev")
        shutil.move(root / "dev", folder / "dev")
        found = worst_for_nobody(call, "gpu")
    assert (found[0], "may not be opened by" in found[1]) == ("warn", True), found


def test_a_server_that_asks_for_a_gpu_in_vain(root: Path, call: Call) -> None:
    declare(root, "chat", gpuLayers=99)
    declare(root, "other", gpuLayers=99)
    declare(root, "idle", gpuLayers=99, suspend=True)
    assert [one["message"] for one in findings(call, "gpu") if one["status"] == "warn"] == [
        "gpuLayers 99 is asked for by server/chat and 1 more, and there is no GPU for it"
    ]


# ---------------------------------------------------------------- memory and limits


def test_models_that_are_larger_than_the_memory(root: Path, call: Call) -> None:
    declare(root, "one", model="huge.gguf")
    declare(root, "two", model="huge.gguf")
    with (root / "models" / "huge.gguf").open("wb") as file:
        file.truncate(1 << 42)
    status, message, _ = worst(call, "memory")
    assert (status, "take 4.4 TB, and this machine has" in message) == ("warn", True), message


def test_a_limit_of_address_space(root: Path) -> None:
    found = run(root, "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))")
    assert found["memory"][0]["status"] == "warn"
    assert found["memory"][0]["remedy"].endswith("ulimit -v unlimited")


@only_root
def test_the_limit_of_a_control_group(root: Path) -> None:
    old, new = Path("/sys/fs/cgroup/memory/reconciler-doctor"), Path("/sys/fs/cgroup/reconciler-doctor")
    group, limit = (old, "memory.limit_in_bytes") if old.parent.is_dir() else (new, "memory.max")
    try:
        group.mkdir()
        (group / limit).write_text(str(512 << 20))
    except OSError as error:
        pytest.skip(f"no control group of memory can be made here: {error}")
    try:
        declare(root, "chat", model="large.gguf")
        with (root / "models" / "large.gguf").open("wb") as file:
            file.truncate(1 << 30)
        found = run(root, f"open('{group}/cgroup.procs', 'w').write(str(os.getpid()))")
    finally:
        group.rmdir()
    assert [one["status"] for one in found["memory"]] == ["warn"]
    assert "the control group of this process has 537 MB" in found["memory"][0]["message"]


def test_a_kernel_that_promises_no_more(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """To have the machine's own do so would break what else runs on it."""
    declare(root, "chat", model="large.gguf")
    (root / "models" / "large.gguf").write_bytes(bytes(5000))
    (root / "proc" / "sys" / "vm").mkdir(parents=True)
    (root / "proc" / "sys" / "vm" / "overcommit_memory").write_text("2\n")
    told = {"MemTotal": 1000, "MemFree": 900, "CommitLimit": 500, "Committed_AS": 499}
    (root / "proc" / "meminfo").write_text("".join(f"{name}: {size} kB\n" for name, size in told.items()))
    monkeypatch.setattr(doctoring_machine, "PROC", root / "proc")
    assert worst(call, "memory")[2].endswith("sudo sysctl vm.overcommit_memory=0")


def test_few_open_files(root: Path) -> None:
    found = run(root, "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
    assert found["limits"][0]["message"] == "processes begun here may have 256 files open, and servers are to have 4096"


@only_root
def test_no_inotify_left(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of each user: that of one that nobody else is."""
    library, descriptors = ctypes.CDLL(None), []
    call("doctor")
    with everybody(monkeypatch), as_nobody(54321):
        try:
            while (descriptor := library.inotify_init1(os.O_CLOEXEC)) >= 0:
                descriptors.append(descriptor)
                if len(descriptors) > 5000:
                    pytest.skip("there is no end of them here")
            assert "no inotify instance left" in worst(call, "limits")[1]
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


@pytest.mark.parametrize(("what", "setting"), [("instance", "instances"), ("watch", "watches")])
def test_no_inotify_in_a_container(root: Path, what: str, setting: str) -> None:
    """A namespace has limits of its own."""
    declare(root, "chat")
    inside = f"echo 0 > /proc/sys/user/max_inotify_{setting} && exec {sys.executable} -m reconciler doctor -o json"
    done = subprocess.run(["unshare", "-Ur", "sh", "-c", inside], cwd=root, capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(f"no namespace can be made here: {done.stderr.strip()}")
    told = [item["message"] for item in json.loads(done.stdout)["items"] if item["name"] == "limits"]
    assert told[0].startswith(f"this user has no inotify {what} left")


def test_few_processes() -> None:
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (100, before[1]))
        with as_nobody():
            (found,) = doctoring_machine._processes(20)
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, before)
    assert found.message.startswith("this user may have 100 processes and threads, and 20 servers take about ")


# ---------------------------------------------------------------- folders


def test_models_that_cannot_be_used(root: Path, call: Call, tiny_model: Path) -> None:
    assert worst(call, "models")[0] == "warn"  # no folder
    declare(root, "chat")
    status, message, remedy = worst(call, "models")
    assert (status, message) == ("fail", f"no model for server/chat: no file at {root}/models/tiny.gguf")
    assert remedy.endswith("reconciler set server/chat spec.model=FILE")
    (root / "models" / "tiny.gguf").write_bytes(tiny_model.read_bytes()[:-1000])
    (root / "models" / "junk.gguf").write_bytes(b"junk")
    other, truncated = findings(call, "models")
    assert (other["status"], other["message"].split(":")[0]) == ("warn", "junk.gguf")
    assert (truncated["status"], truncated["message"].split(" ")[0]) == ("fail", "tiny.gguf:")
    assert truncated["message"].endswith(" (server/chat)")
    shutil.copy2(tiny_model, root / "models" / "tiny.gguf")
    for number in range(7):
        (root / "models" / f"junk{number}.gguf").write_bytes(b"junk")
    assert [one["message"] for one in findings(call, "models")][5:] == ["3 more files cannot be loaded"]
    for junk in (root / "models").glob("junk*"):
        junk.unlink()
    assert worst(call, "models")[1].startswith(f"1 model in {root}/models (")


def test_a_models_folder_that_may_not_be_read(call: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with everybody(monkeypatch) as folder:
        (folder / "models").mkdir(mode=0o000)
        found = worst_for_nobody(call, "models")
        (folder / "models").chmod(0o700)
    assert found[:2] == ("fail", f"the models folder {folder}/models may not be read by this user")


@only_root
def test_a_disk_on_which_no_model_fits(root: Path, call: Call) -> None:
    with mounted(root / "models", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        assert worst(call, "models")[1] == f"the disk of {root}/models has 1.0 MB left"


def test_folders_that_may_not_be_read(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tiny_model: Path
) -> None:
    with everybody(monkeypatch) as folder:
        declare(folder, "chat")
        shutil.copy2(tiny_model, folder / "models" / "tiny.gguf")
        for closed, check, words in (
            ("models/tiny.gguf", "models", f"may not be read by this user: {folder}/models/tiny.gguf"),
            ("models", "models", f"is in {folder}/models, which this user may not enter"),
            ("manifests", "manifests", str(folder / "manifests")),
        ):
            mode = (folder / closed).stat().st_mode
            (folder / closed).chmod(0o000)
            status, message, _ = worst_for_nobody(call, check)
            (folder / closed).chmod(mode)
            assert (status, words in message) == ("fail", True), message


def test_manifests_with_errors(root: Path, call: Call) -> None:
    assert worst(call, "manifests")[0] == "warn"  # no folder
    for number in range(7):
        declare(root, f"s{number}").write_text("kind: [")
    found = findings(call, "manifests")
    assert [one["status"] for one in found] == ["fail"] * 6
    assert found[0]["message"].startswith("manifests/s0.yaml:1")
    assert found[5]["message"] == "2 more errors in manifests"


# ---------------------------------------------------------------- the state folder


@only_root
def test_a_disk_that_is_full_or_read_only(root: Path, call: Call) -> None:
    with mounted(root / "state", "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        assert re.search(r" has \S+ [kM]B left$", worst(call, "state")[1])
        with pytest.raises(OSError, match="No space"):
            (root / "state" / "fill").write_bytes(bytes(2 << 20))
        assert worst(call, "state")[:2] == ("fail", "its disk is full")
        subprocess.run(["mount", "-o", "remount,ro", str(root / "state")], check=True)
        assert worst(call, "state")[0] == "fail"
        assert "is read-only" in worst(call, "state")[1]


def test_a_state_folder_that_cannot_be_had(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "state").write_text("no folder")
    assert worst(call, "state")[:2] == ("fail", f"{root}/state is in the place of the state folder, and is no folder")
    with everybody(monkeypatch) as folder:
        folder.chmod(0o555)
        status, message, _ = worst_for_nobody(call, "state")
        folder.chmod(0o755)
        assert (status, "this user may not make it" in message) == ("fail", True), message


def test_a_state_folder_that_others_may_write(filling: Filling, call: Call) -> None:
    filling.state.chmod(0o777)
    assert worst(call, "state")[2] == f"keep them out: chmod go-w {filling.state}"


def test_a_network_disk(filling: Filling, root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel tells of one: to have a real one takes another machine."""
    place = str(filling.state).replace(" ", "\\040")
    table = f"1 1 8:1 / / rw - ext4 /dev/a rw\n2 1 0:4 / {place} rw,noatime shared:7 - nfs4 host:/x rw\n"
    (root / "mountinfo").write_text(table)
    monkeypatch.setattr(mounts, "MOUNTS", root / "mountinfo")
    assert "is on a network's disk (nfs4)" in worst(call, "state")[1]
    assert mounts.mount_of(root) == "ext4"


# ---------------------------------------------------------------- the database


def _garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _holed(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 8192))


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('reconciler', 'later', '')"
        )
    db.close()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_garbage, "is damaged"), (_empty, "has lost what was in it"), (_holed, "damaged"), (_newer, "newer reconciler")],
)
def test_a_database_that_cannot_be_read(root: Path, call: Call, spoil: object, words: str) -> None:
    with Filling(root) as filling:
        for number in range(40):
            filling.document(f"s{number}")
    (root / "state" / "installation").write_text("abc\n")
    spoil(root / "state" / "state.db")  # type: ignore[operator]
    status, message, remedy = worst(call, "database")
    assert (status, words in message) == ("fail", True), message
    assert remedy
    # From elsewhere too, where the settings are looked for by what the database says.
    os.chdir("/")
    assert worst(call, "database", "--state", str(root / "state"))[0] == "fail"


def test_a_log_that_nobody_takes_in(filling: Filling, call: Call) -> None:
    os.truncate(filling.state / "state.db-wal", 300 << 20)
    assert worst(call, "database")[:1] == ("warn",)
