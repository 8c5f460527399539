"""Credentials: they open the remote, and stand in no argument, environment, error or file of ours."""

import os
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from reconciler.gitops.cache import Cache
from reconciler.gitops.git import GitError
from tests.gitops.conftest import Following
from tests.gitops.remotes import BareRemote, HttpRemote, http_remote
from tests.gitops.ssh_remote import SshRemote, ssh_remote

TOKEN = "s3cret%n$(id)'\"\\ töken"


@pytest.fixture
def http(remote: BareRemote) -> Iterator[HttpRemote]:
    remote.commit({"a.yaml": "1\n"})
    with http_remote(remote.folder.parent, TOKEN) as served:
        yield served


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """With a name that a shell would make something of."""
    folder = tmp_path / "a b'$(touch pwned);\"&"
    folder.mkdir()
    file = folder / "token"
    file.write_text(TOKEN + "\n")
    return file


def follow(cache: Cache) -> str:
    commit = cache.look()
    cache.fetch(commit)
    assert [blob.path for blob in cache.tree(commit, "").blobs] == ["a.yaml"]
    return commit


def refused(cache: Cache) -> GitError:
    with pytest.raises(GitError) as refusal:
        cache.look()
    said = str(refusal.value)
    assert said.isprintable()
    assert TOKEN not in said
    assert "s3cret" not in said
    return refusal.value


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\nsecond line\n"])
def test_the_token_opens_the_remote(http: HttpRemote, following: Following, token_file: Path, end: str) -> None:
    token_file.write_bytes((TOKEN + end).encode())
    follow(following(url=http.url("remote.git"), token_file=str(token_file)))
    assert ("/remote.git/git-upload-pack", 200) in http.answers


def test_the_user_goes_with_it(remote: BareRemote, following: Following, token_file: Path) -> None:
    remote.commit({"a.yaml": "1\n"})
    with http_remote(remote.folder.parent, TOKEN, user="o'ne two") as http:
        url = http.url("remote.git")
        follow(following(url=url, token_file=str(token_file), username="o'ne two"))
        assert refused(following(url=url, token_file=str(token_file))).reason == "AuthenticationFailed"


def test_a_token_that_is_renewed_is_used_at_once(http: HttpRemote, following: Following, token_file: Path) -> None:
    cache = following(url=http.url("remote.git"), token_file=str(token_file))
    token_file.write_text("old")
    assert refused(cache).reason == "AuthenticationFailed"
    token_file.write_text(TOKEN)
    follow(cache)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("wrong", "check the files under [source.git.auth]"),
        ("", "is empty in its first line: put the token there"),
        ("\n" + TOKEN, "is empty in its first line"),
        (None, "cannot be read (No such file or directory): put the token there"),
    ],
)
def test_a_token_that_does_not_open_it(
    http: HttpRemote, following: Following, token_file: Path, content: str | None, says: str
) -> None:
    if content is None:
        token_file.unlink()
    else:
        token_file.write_text(content)
    error = refused(following(url=http.url("remote.git"), token_file=str(token_file)))
    assert error.reason == "AuthenticationFailed"
    assert says in str(error)


def test_no_token_where_one_is_asked_for(http: HttpRemote, following: Following) -> None:
    assert refused(following(url=http.url("remote.git"))).reason == "AuthenticationFailed"


def test_the_token_is_in_no_argument_environment_or_file(
    http: HttpRemote, following: Following, token_file: Path, tmp_path: Path
) -> None:
    raw, found = b"s3cret", []
    looked = []

    def look_around(request: BaseHTTPRequestHandler) -> bool:
        if request.headers.get("Authorization") == http.authorization:
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        text = (process / name).read_bytes()
                    except OSError:
                        continue
                    looked.append(b"git-upload-pack" in text or b"GIT_TERMINAL_PROMPT" in text)
                    if raw in text:
                        found.append((process, name))
        return False

    http.override = look_around
    follow(following(url=http.url("remote.git"), token_file=str(token_file)))
    assert any(looked)
    assert not found
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or raw not in path.read_bytes(), path
    assert not list(tmp_path.rglob("pwned"))


def test_the_token_goes_to_its_host_alone(remote: BareRemote, following: Following, token_file: Path) -> None:
    remote.commit({"a.yaml": "1\n"})
    with http_remote(remote.folder.parent, TOKEN) as other, http_remote(remote.folder.parent) as http:

        def redirect(request: BaseHTTPRequestHandler) -> bool:
            request.send_response(302)
            request.send_header("Location", f"{other.url('')[:-1]}{request.path}")
            request.end_headers()
            return True

        http.override = redirect
        error = refused(following(url=http.url("remote.git"), token_file=str(token_file)))
        assert not other.answers
    assert error.reason == "RepositoryMissing"
    assert "set url under [source.git]" in str(error)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "AuthenticationFailed"),
        (403, "AuthenticationFailed"),
        (404, "RepositoryMissing"),
        (410, "RemoteUnreachable"),
        (429, "RemoteUnreachable"),
        (500, "RemoteUnreachable"),
        (503, "RemoteUnreachable"),
        (200, "RepositoryMissing"),
    ],
)
def test_what_a_server_answers(
    http: HttpRemote, following: Following, token_file: Path, status: int, reason: str
) -> None:
    """Even a server that says the token aloud does not bring it into the error."""

    def answer(request: BaseHTTPRequestHandler) -> bool:
        text = f"\x1b[31mtoken {TOKEN} is no good\r\nsecond\x07\n".encode() * 50
        request.send_response(status)
        request.send_header("Content-Type", "text/plain")
        request.send_header("WWW-Authenticate", 'Basic realm="git"')
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)
        return True

    http.override = answer
    error = refused(following(url=http.url("remote.git"), token_file=str(token_file)))
    assert error.reason == reason, str(error)
    assert len(str(error)) < 900


def test_nobody_listens(http: HttpRemote, following: Following) -> None:
    from socket import socket

    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = refused(following(url=f"http://127.0.0.1:{taken.getsockname()[1]}/r.git"))
    assert error.reason == "RemoteUnreachable"
    assert "the next look tries again" in str(error)


# -- ssh


@pytest.fixture
def ssh(tmp_path: Path, remote: BareRemote) -> Iterator[SshRemote]:
    remote.commit({"a.yaml": "1\n"})
    folder = tmp_path / 'keys 100%h "x" ~'
    folder.mkdir()
    with ssh_remote(folder) as served:
        yield served


def over_ssh(ssh: SshRemote, remote: BareRemote, **other: str) -> dict[str, str]:
    return {
        "url": ssh.url(remote.folder),
        "ssh_key_file": str(ssh.key_file),
        "known_hosts_file": str(ssh.known_hosts_file),
    } | other


def test_the_right_key_on_a_known_host(ssh: SshRemote, remote: BareRemote, following: Following) -> None:
    cache = following(**over_ssh(ssh, remote))
    follow(cache)
    newer = remote.commit({"a.yaml": "2\n"})
    assert follow(cache) == newer


def test_another_key_is_refused(ssh: SshRemote, remote: BareRemote, following: Following) -> None:
    error = refused(following(**over_ssh(ssh, remote, ssh_key_file=str(ssh.other_key_file))))
    assert error.reason == "AuthenticationFailed"
    assert "Permission denied (publickey)" in str(error)


def test_an_unknown_or_changed_host_is_refused(ssh: SshRemote, remote: BareRemote, following: Following) -> None:
    cache = following(**over_ssh(ssh, remote))
    line = ssh.known_hosts_file.read_text()
    before = f"[127.0.0.1]:{ssh.port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 42}8\n"
    for known in ("", before):
        ssh.known_hosts_file.write_text(known)
        error = refused(cache)
        assert error.reason == "HostKeyUnknown", str(error)
        assert "ssh-keyscan" in str(error)
        assert ssh.known_hosts_file.read_text() == known
    ssh.known_hosts_file.write_text(line)
    follow(cache)


@pytest.mark.parametrize(
    ("field", "reason"), [("ssh_key_file", "AuthenticationFailed"), ("known_hosts_file", "HostKeyUnknown")]
)
def test_a_file_for_ssh_that_is_missing(
    ssh: SshRemote, remote: BareRemote, following: Following, field: str, reason: str
) -> None:
    for value, says in (("", "ssh needs"), ("/nonexistent/file", "/nonexistent/file cannot be read (No such file")):
        error = refused(following(**over_ssh(ssh, remote, **{field: value})))
        assert error.reason == reason
        assert says in str(error)
        assert f"source.git.auth.{field} in reconciler.toml" in str(error)


def test_a_key_that_others_may_read(ssh: SshRemote, remote: BareRemote, following: Following) -> None:
    ssh.key_file.chmod(0o644)
    error = refused(following(**over_ssh(ssh, remote)))
    assert error.reason == "AuthenticationFailed"
    assert "chmod 600" in str(error)
    assert stat.S_IMODE(ssh.key_file.stat().st_mode) == 0o644


def test_a_repository_that_is_missing_behind_ssh(ssh: SshRemote, remote: BareRemote, following: Following) -> None:
    error = refused(following(**over_ssh(ssh, remote, url=ssh.url(remote.folder.with_name("nope.git")))))
    assert error.reason == "RepositoryMissing"


def test_ssh_asks_no_agent_and_reads_no_settings_of_the_user(
    ssh: SshRemote, remote: BareRemote, following: Following, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {marker};")
    monkeypatch.setenv("GIT_SSH", "/nonexistent")
    monkeypatch.setenv("SSH_ASKPASS", f"touch {marker};")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent")
    follow(following(**over_ssh(ssh, remote)))
    assert not marker.exists()
    assert os.environ["GIT_SSH"]
