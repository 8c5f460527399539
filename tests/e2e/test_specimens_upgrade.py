"""A controller over what every earlier schema left: it goes on as if nothing had been."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from reconciler.runtimes.host import choose_host
from tests.e2e.installation import Installation
from tests.sampling import some
from tests.store.older import migrations_in
from tests.store.specimen import NAMES, lay_out
from tests.store.test_specimens import MIGRATIONS, declared_in

pytestmark = pytest.mark.real


def settle_in(installation: Installation, name: str) -> None:
    """Lay a specimen out where the installation is, with what it needs around it."""
    root = installation.root
    (root / "reconciler.toml").unlink()
    installation.manifests.rmdir()
    lay_out(name, root, home=str(root))
    for secret in ("keys.txt", "secret.txt", "token.txt"):
        (root / secret).write_text("a-word\n")
        (root / secret).chmod(0o600)
    broken = installation.models / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 64)
    os.utime(broken, (0, 0))
    _move_ports(installation)
    if (root / "remote").exists():
        _commit(root / "remote")


def _move_ports(installation: Installation) -> None:
    """The fixed ports of a specimen become those of this test, in what was accepted too."""
    first = installation.ports.start
    texts = [*installation.manifests.glob("*.yaml"), *installation.root.glob("remote/*/*.yaml")]
    for path in texts:
        path.write_text(_moved(path.read_text(), first, "port: {}"))
        os.utime(path, (0, 0))
    config = installation.root / "reconciler.toml"
    moved = (
        config.read_text().replace("low = 9710", f"low = {first + 10}").replace("high = 9719", f"high = {first + 19}")
    )
    config.write_text(moved.replace("9720-9729", f"{first + 2}-{first + 2}"))
    with installation.writing() as db:
        db.execute("delete from ports")
        for kind, name, spec in db.execute("select kind, name, spec from documents").fetchall():
            moved = _moved(spec, first, '"port": {}')
            db.execute("update documents set spec = ? where kind = ? and name = ?", [moved, kind, name])


def _moved(text: str, first: int, words: str) -> str:
    for place, port in enumerate((9701, 9702, 9720)):
        text = text.replace(words.format(port), words.format(first + place))
    return text


def _commit(remote: Path) -> None:
    author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-q", "-m", "One server"]):
        subprocess.run(["git", *words], cwd=remote, check=True)


@pytest.mark.parametrize("name", some(NAMES, [NAMES[0], NAMES[-1]]))
def test_a_controller_goes_on_from_it(installation: Installation, name: str) -> None:
    settle_in(installation, name)
    kept = {row[0] for row in installation.query("select uid from instances")}
    events, identity = len(installation.events()), installation.query("select value from meta where key='installation'")
    wanted = {"chat", "embedder", "fetched"} & declared_in(name)
    installation.start()
    pids = installation.wait_ready(*wanted)
    assert migrations_in(installation.state) == MIGRATIONS
    assert installation.query("select value from meta where key='installation'") == identity
    assert kept <= {row[0] for row in installation.query("select uid from instances")}
    assert len(installation.events()) > events
    generations = dict(installation.query("select name, generation from documents"))
    assert generations == {name: 2 if name == "chat" else 1 for name in declared_in(name)}
    assert installation.phases()["stopped"] == installation.phases()["resting"] == "Stopped"
    assert installation.phases()["blocked"] == "Blocked"
    assert all(
        instance["trigger"] == "Rebooted" for server in wanted for instance in installation.instances(server)[-1:]
    )
    installation.end()
    installation.start()
    assert installation.wait_ready(*wanted) == pids


@pytest.mark.parametrize("name", some(NAMES, [NAMES[0], NAMES[-1]]))
def test_a_server_that_the_earlier_version_started_runs_on(installation: Installation, name: str) -> None:
    settle_in(installation, name)
    instance = installation.instances("embedder")[-1]
    with running_since(installation, instance) as pid:
        installation.start()
        wanted = {"chat", "embedder", "fetched"} & declared_in(name)
        assert installation.wait_ready(*wanted)["embedder"] == pid
        [*_, newest] = installation.instances("embedder")
        assert (newest["uid"], newest["ended"]) == (instance["uid"], None)
        assert installation.phases()["embedder"] == "Ready"
        installation.cli("stop", "embedder")
        assert "embedder" not in installation.pids()


@contextmanager
def running_since(installation: Installation, instance: dict[str, Any]) -> Iterator[int]:
    """The process of an open instance, with the marks that an earlier version gave it, as its row says."""
    ((identity,),) = installation.query("select value from meta where key = 'installation'")
    ((launch,),) = installation.query("select launch from instances where uid = ?", instance["uid"])
    port = installation.ports.start + 10
    argv = [word.replace("9711", str(port)) for word in json.loads(launch)["argv"]]
    marks = {"INSTALLATION": identity, "SERVER": "embedder", "UID": instance["uid"], "STEP": "0"}
    marks |= {"FINGERPRINT": instance["fingerprint"], "PORT": str(port)}
    environ = {"PATH": os.environ["PATH"], **{f"RECONCILER_{key}": value for key, value in marks.items()}}
    binary = installation.environ["LLAMA_SERVER"]
    process = subprocess.Popen(
        [binary, *argv[1:]], env=environ, cwd="/", start_new_session=True, stderr=subprocess.DEVNULL
    )
    found = choose_host("auto").identify(process.pid)
    assert found is not None
    now = {"boot": found.boot, "monotonic": time.monotonic() - 1, "wall": time.time() - 1}
    row = {**instance, "identity": asdict(found), "port": port, "intent": now, "ready": now, "first_ready": now}
    with installation.writing() as db:
        db.execute("update instances set row = ?, pid = ? where uid = ?", [json.dumps(row), process.pid, row["uid"]])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
