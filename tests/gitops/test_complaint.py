"""What git said, as people are told it."""

import signal

import pytest

from reconciler.gitops.complaint import last_words, refusal, shortened
from reconciler.gitops.git import Ended

URL = "https://example.invalid/certificate/redirect.git"

SAID = {
    "fatal: unable to access '{url}/': Could not resolve host: example.invalid": "RemoteUnreachable",
    "fatal: unable to access '{url}/': Failed to connect to x port 443: Connection refused": "RemoteUnreachable",
    "fatal: unable to access '{url}/': SSL certificate problem: self signed certificate": "RemoteUnreachable",
    "fatal: unable to access '{url}/': The requested URL returned error: 503": "RemoteUnreachable",
    "fatal: unable to access '{url}/': The requested URL returned error: 403": "AuthenticationFailed",
    "remote: Invalid credentials\nfatal: Authentication failed for '{url}/'": "AuthenticationFailed",
    "fatal: could not read Username for '{url}': terminal prompts disabled": "AuthenticationFailed",
    "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease make sure you "
    "have the correct access rights\nand the repository exists.": "AuthenticationFailed",
    "ssh: connect to host x port 22: Connection timed out\nfatal: Could not read from remote repository.": (
        "RemoteUnreachable"
    ),
    "sh: 1: ssh: not found\nfatal: Could not read from remote repository.": "GitMissing",
    "kex_exchange_identification: Connection closed by remote host\nfatal: Could not read from": "RemoteUnreachable",
    "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!   @\nHost key verification failed.": "HostKeyUnknown",
    "remote: Repository not found.\nfatal: repository '{url}/' not found": "RepositoryMissing",
    "ERROR: Repository not found.\nfatal: Could not read from remote repository.": "RepositoryMissing",
    "remote: The project you were looking for could not be found or you do not have permission.\n"
    "fatal: repository '{url}/' not found": "RepositoryMissing",
    "fatal: '/x' does not appear to be a git repository": "RepositoryMissing",
    "fatal: unable to update url base from redirection:\n asked for: a\n redirect: b": "RepositoryMissing",
    "fatal: detected dubious ownership in repository at '/srv/x.git'": "RepositoryMissing",
    "fatal: couldn't find remote ref refs/heads/main": "RefMissing",
    "fatal: remote error: upload-pack: not our ref 1111": "RevisionMissing",
    "error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: fetch-pack: invalid index-pack output": (
        "RemoteUnreachable"
    ),
    "fatal: write error: No space left on device": "GitFailed",
    "fatal: Unable to create '/s/cache.git/shallow.lock': File exists.": "CacheBroken",
    "error: refs/x does not point to a valid object!\nfatal: bad object refs/x": "CacheBroken",
    "fatal: index-pack died of signal 25": "TooLarge",
    "fatal: something that nobody has seen": "GitFailed",
    "": "GitFailed",
}


@pytest.mark.parametrize(("said", "reason"), SAID.items())
def test_each_complaint_has_a_reason_and_a_line(said: str, reason: str) -> None:
    error = refusal(Ended(128, b"", said.format(url=URL)), URL, 120)
    assert error.reason == reason, str(error)
    assert str(error).isprintable()
    if reason not in ("TooLarge", "CacheBroken"):
        assert any(
            word in str(error) for word in ("check", "next look", "add it", "push", "set ", "chown", "install")
        ), str(error)


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        (
            "fatal: could not read Username for '{url}': terminal prompts disabled",
            "AuthenticationFailed",
            'the remote asks for a password: put it into a file, and set token_file = "/etc/reconciler/token" under',
        ),
        ("fatal: unable to access '{url}/': Could not resolve host: x", "RemoteUnreachable", "check the name in url"),
        (
            "fatal: unable to access '{url}/': error:0A00010B:SSL routines::wrong version number",
            "RemoteUnreachable",
            "that port speaks no TLS: check url under [source.git]",
        ),
        (
            "fatal: unable to access '{url}/': gnutls_handshake() failed: An unexpected TLS packet was received.",
            "RemoteUnreachable",
            "that port speaks no TLS: check url under [source.git]",
        ),
        (
            "fatal: unable to access '{url}/': SSL: no alternative certificate subject name matches target host 'x'",
            "RemoteUnreachable",
            "the certificate is another host's: check url under [source.git]",
        ),
    ],
)
def test_what_to_do_fits_the_cause(said: str, reason: str, told: str) -> None:
    error = refusal(Ended(128, b"", said.format(url=URL)), URL, 120)
    assert error.reason == reason
    assert told in str(error)
    assert "terminal prompts" not in str(error)
    assert "mended" not in str(error)


def test_the_line_that_says_most_is_taken() -> None:
    ssh = (
        "Warning: x\nssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository."
    )
    assert last_words(ssh) == "ssh: connect to host x port 22: Connection refused"
    assert last_words("error: one\nfatal: two\nfatal: three\nhint: four\n") == "two"
    assert last_words("remote: \x1b[31mred\x07\rover\n") == "[31mred"
    assert last_words("") == ""
    assert shortened("a\x00b\n\tc\u202e") == "a b c"
    assert shortened("x" * 400) == "x" * 299 + "…"


@pytest.mark.parametrize("said", ["fatal: s3cret!", "fatal: write error s3cret: No space left on device", "s3cret"])
def test_a_secret_is_told_nowhere(said: str) -> None:
    told = str(refusal(Ended(128, b"", said), URL, 1, "s3cret"))
    assert "s3cret" not in told
    assert "***" in told


@pytest.mark.parametrize("said", ["No space left on device", "File too large", "Out of memory", "bad object x"])
@pytest.mark.parametrize("prefix", ["remote: ", "remote: fatal: ", "fatal: remote error: "])
def test_what_the_remote_says_is_not_taken_for_our_own_trouble(prefix: str, said: str) -> None:
    error = refusal(Ended(128, b"", f"{prefix}{said}\nfatal: early EOF"), URL, 1)
    assert error.reason == "RemoteUnreachable", str(error)
    assert "make room" not in str(error)


def test_ends_that_say_nothing() -> None:
    assert refusal(Ended(0, b"", "", timed_out=True), URL, 1.5).reason == "TimedOut"
    assert refusal(Ended(-signal.SIGXFSZ, b"", ""), URL, 1).reason == "TooLarge"
    assert refusal(Ended(127, b"", ""), URL, 1).reason == "GitMissing"
    assert refusal(Ended(-signal.SIGKILL, b"", ""), URL, 1).reason == "GitFailed"
