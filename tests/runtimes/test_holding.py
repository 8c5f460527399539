"""What one installation has taken over, another one leaves alone, whether or not a controller runs."""

import os
from pathlib import Path

import pytest

from reconciler.core.history import Instance, Stamp, Trigger
from reconciler.core.model import Identity
from reconciler.runtimes.claims import Claims
from reconciler.runtimes.holding import Holder, Holdings
from reconciler.runtimes.homes import is_at_home
from reconciler.runtimes.host import FOLDER, INSTALLATION, SERVER, UID, Host
from reconciler.runtimes.local import LocalRuntime
from reconciler.runtimes.logs import Logs
from tests.runtimes.conftest import Spawn
from tests.runtimes.patience import eventually

A, B = "a" * 16, "b" * 16


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tests' installations tell each other."""
    base = tmp_path / "shared"
    base.mkdir()
    monkeypatch.setattr("reconciler.runtimes.holding.PLACES", (str(base),))
    return base / f"reconciler-{os.geteuid()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_home(tmp_path / "a", A)


def make_home(folder: Path, installation: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "installation").write_text(f"{installation}\n{folder}\n")
    return folder


def identity_of(host: Host, pid: int) -> Identity:
    found = host.identify(pid)
    assert found is not None
    return found


def test_who_has_a_process_is_told_to_others(spawn: Spawn, host: Host, folder: Path, tmp_path: Path) -> None:
    identity = identity_of(host, spawn("sleep", "600").pid)
    ours, theirs = Holdings(A, str(folder)), Holdings(B, str(tmp_path / "b"))
    assert theirs.other(identity) is None
    assert ours.hold(identity, "chat")
    assert theirs.other(identity) == Holder(A, str(folder), "chat")
    assert not theirs.hold(identity, "talk")
    assert ours.other(identity) is None
    assert ours.hold(identity, "chat")


@pytest.mark.parametrize("end", ["its folder is gone", "its folder is another's", "another boot"])
def test_it_counts_while_that_installation_is_there(spawn: Spawn, host: Host, folder: Path, end: str) -> None:
    identity = identity_of(host, spawn("sleep", "600").pid)
    assert Holdings(A, str(folder)).hold(identity, "chat")
    if end == "its folder is gone":
        folder.rename(folder.with_name("moved"))
    elif end == "its folder is another's":
        make_home(folder, B)
    else:
        identity = Identity("another", identity.pid, identity.start_ticks)
    assert Holdings(B, "/b").other(identity) is None
    assert Holdings(B, "/b").hold(identity, "chat")


def test_what_is_told_of_processes_that_are_gone_is_dropped(
    spawn: Spawn, host: Host, folder: Path, place: Path
) -> None:
    first, second = spawn("sleep", "600"), spawn("sleep", "600")
    holdings = Holdings(A, str(folder))
    assert holdings.hold(identity_of(host, first.pid), "one")
    other = identity_of(host, second.pid)
    first.kill()
    first.wait()
    assert holdings.hold(other, "two")
    assert [file.name for file in place.iterdir() if file.name[0] != "."] == [f"{other.pid}-{other.start_ticks}"]


@pytest.mark.parametrize("trap", ["open to all", "a link", "a file"])
def test_a_place_that_somebody_else_could_have_made_is_not_believed(
    folder: Path, place: Path, tmp_path: Path, trap: str
) -> None:
    identity = Identity("boot", os.getpid(), 1)
    if trap == "a file":
        place.write_text("")
    else:
        there = tmp_path / "theirs"
        there.mkdir()
        if trap == "a link":
            place.symlink_to(there)
        else:
            there.rename(place)
            place.chmod(0o777)
        (place / f"{identity.pid}-1").write_text(f"boot\n{A}\n{folder}\nchat")
    assert Holdings(B, "/b").other(identity) is None
    assert Holdings(B, "/b").hold(identity, "chat")


def adopted(identity: Identity, uid: str = "u1", *, by_hand: bool = True) -> Instance:
    stamp = Stamp(identity.boot, 1.0, 2.0)
    return Instance(uid, "chat", "1:abc", 1, 8001, stamp, Trigger.ADOPTED, identity=identity, adopted=by_hand)


def test_the_row_of_one_that_another_installation_has_by_now_is_not_watched(
    spawn: Spawn, host: Host, folder: Path, tmp_path: Path
) -> None:
    marks = {INSTALLATION: B, FOLDER: str(tmp_path / "b"), SERVER: "chat", UID: "u2"}
    stranger, marked = spawn("sleep", "600"), spawn("sleep", "600", **marks)
    identities = [identity_of(host, child.pid) for child in (stranger, marked)]
    rows = [adopted(identities[0]), adopted(identities[1], "u2", by_hand=False)]
    for held in (False, True):
        if held:
            assert all(Holdings(A, str(folder)).hold(identity, "chat") for identity in identities)
        logs = Logs(tmp_path / "logs", keep=1, most_bytes=1 << 20)
        runtime = LocalRuntime(host, B, logs, lambda: None, folder=str(tmp_path / "b"))
        if held:
            runtime.keep_watch(rows)
            assert runtime.observe(fresh=True) == {}
        else:
            runtime.keep_watch(rows[1:])
            assert len(runtime.observe(fresh=True)["chat"]) == 1
        runtime.close()


def test_a_lost_word_is_given_again(spawn: Spawn, host: Host, folder: Path, tmp_path: Path, place: Path) -> None:
    row = adopted(identity_of(host, spawn("sleep", "600").pid))
    runtime = LocalRuntime(host, A, Logs(tmp_path / "l", keep=1, most_bytes=1 << 20), lambda: None, folder=str(folder))
    runtime.keep_watch([row])
    assert [file for file in place.iterdir() if file.name[0] != "."]
    runtime.close()


# ---------------------------------------------------------------- folders, and whose they are


def test_who_lives_in_a_folder(folder: Path, tmp_path: Path) -> None:
    assert is_at_home(A, str(folder))
    assert not is_at_home(B, str(folder))
    assert not is_at_home(A, str(tmp_path / "none"))
    (folder / "installation").unlink()
    assert not is_at_home(A, str(folder))
    (folder / "state.db").touch()
    assert is_at_home(A, str(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace, which root may make")
def test_a_folder_is_seen_as_the_process_sees_it(spawn: Spawn, host: Host, folder: Path) -> None:
    if host.polls:
        pytest.skip("without /proc there is no other view")
    script = f"mount -t tmpfs none {folder} && echo {B} > {folder}/installation && echo && exec sleep 600"
    marks = {INSTALLATION: A, FOLDER: str(folder)}
    child = spawn("unshare", "--mount", "sh", "-c", script, **marks)
    assert child.stdout is not None
    if not child.stdout.readline():
        pytest.skip("mounting is not allowed here")
    assert is_at_home(B, str(folder), child.pid)
    assert not is_at_home(A, str(folder), child.pid)
    assert is_at_home(A, str(folder))
    claims = Claims(host)
    assert claims.installations_over(str(folder)) == set()
    assert claims.is_elsewhere(A, str(folder))
    assert not claims.is_elsewhere(B, str(folder))


def test_who_was_taken_over_tells_no_more_whose_the_folder_is(spawn: Spawn, host: Host, folder: Path) -> None:
    old = str(folder.with_name("old"))
    identity = identity_of(host, spawn("sleep", "600", **{INSTALLATION: B, FOLDER: old}).pid)
    claims = Claims(host)
    assert claims.installations_over(old) == {B}
    assert Holdings(A, str(folder)).hold(identity, "chat")
    assert claims.installations_over(old) == set()
    assert not claims.is_elsewhere(B, old)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_marks_that_another_user_could_have_set_count_for_nothing(spawn: Spawn, host: Host, folder: Path) -> None:
    program = "import os, time; os.setresuid(65534, 0, 0); print(flush=True); time.sleep(600)"
    child = spawn("python3", "-c", program, **{INSTALLATION: B, FOLDER: str(folder)})
    assert child.stdout is not None
    child.stdout.readline()
    assert Claims(host).installations_over(str(folder)) == set()


def test_a_process_lives_as_long_as_its_pid_is_its_own(spawn: Spawn, host: Host) -> None:
    child = spawn("sleep", "600")
    identity = identity_of(host, child.pid)
    claims = Claims(host)
    assert claims.lives(identity)
    assert not claims.lives(Identity("another", identity.pid, identity.start_ticks))
    assert not claims.lives(Identity(identity.boot, identity.pid, identity.start_ticks - 1))
    child.kill()
    child.wait()
    assert not claims.lives(identity)


def test_what_ended_is_not_known_for_ever(
    spawn: Spawn, host: Host, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.runtimes.local.MOST_HELD", 1)
    runtime = LocalRuntime(host, A, Logs(tmp_path, keep=1, most_bytes=1000), lambda: None, folder=str(folder))
    child, stays = spawn("sleep", "600"), identity_of(host, spawn("sleep", "600").pid)
    ends = identity_of(host, child.pid)
    runtime.keep_watch([adopted(ends, "u1"), adopted(stays, "u2")])
    runtime.forget_ended({"u1", "u2"})
    assert runtime._held == {ends, stays}
    child.kill()
    child.wait()
    eventually(lambda: not all(one.alive for found in runtime.observe(fresh=True).values() for one in found))
    runtime.forget_ended({"u2"})
    assert runtime._held == {stays}
    runtime.close()
