"""A Git source behind a password or ssh: secrets are read by git alone, and mistakes end when they are mended."""

from pathlib import Path

import psutil
import pytest

from tests.e2e.following import Following, settings
from tests.e2e.installation import Installation
from tests.gitops.remotes import BareRemote, http_remote
from tests.gitops.ssh_remote import ssh_remote

pytestmark = pytest.mark.real
TOKEN = "token-that-nobody-may-see"


@pytest.fixture
def following(installation: Installation, tmp_path: Path) -> Following:
    (tmp_path / "remotes").mkdir()
    return Following(installation, BareRemote(tmp_path / "remotes" / "models.git"))


def leaks(installation: Installation, secret: str) -> list[str]:
    """Where a secret can be read that ought to be in one file alone."""
    found = [
        str(path) for path in installation.state.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    found += ["the controller's log"] if secret in installation.log() else []
    for process in psutil.process_iter():
        try:
            if secret in "\0".join([*process.cmdline(), *process.environ().values()]):
                found.append(f"pid {process.pid}")
        except (psutil.Error, OSError):
            continue
    return found


def test_a_token_that_is_wrong_missing_and_right(following: Following, tmp_path: Path) -> None:
    installation, token = following.of, tmp_path / "token"
    following.push({"a": {}})
    with http_remote(tmp_path / "remotes", TOKEN) as http:
        settings(installation, http.url("models.git"), f'[source.git.auth]\ntoken_file = "{token}"\n')
        token.write_text("another\n")
        installation.start()
        installation.wait_for("the refusal", lambda: following.events("AuthenticationFailed"))
        assert "[source.git.auth]" in following.source()["lastError"]
        token.unlink()
        told = following.sync(code=1)
        assert str(token) in told
        token.write_text(f"{TOKEN}\n")
        before = installation.wait_ready("a")
        following.push({"a": {}, "b": {}})
        following.sync()
        assert installation.wait_ready("a", "b")["a"] == before["a"]
        assert leaks(installation, TOKEN) == []
    installation.wait_for("the loss", lambda: following.events("RemoteUnreachable"))
    assert installation.pids().keys() == {"a", "b"}


def test_ssh_with_a_known_host(following: Following, tmp_path: Path) -> None:
    installation, known = following.of, tmp_path / "no_hosts"
    following.push({"a": {}})
    known.write_text("")
    with ssh_remote(tmp_path) as ssh:
        auth = f'[source.git.auth]\nssh_key_file = "{ssh.key_file}"\nknown_hosts_file = "{known}"\n'
        settings(installation, ssh.url(following.remote.folder), auth)
        installation.start()
        installation.wait_for("the host to be unknown", lambda: following.events("HostKeyUnknown"))
        known.write_text(ssh.known_hosts_file.read_text())
        installation.wait_ready("a")
        assert leaks(installation, ssh.key_file.read_text().splitlines()[1]) == []
