"""What git says on its standard error, as one line for people and a reason in one word."""

import re
import signal
from dataclasses import replace
from urllib.parse import urlsplit

from reconciler.gitops.git import Ended, GitError

_LONGEST = 300
_LIMIT = "raise max_mib under [source.git] in reconciler.toml, or keep manifests in a repository of their own"
_NETWORK = "the next look tries again; what runs goes on"
_SECTION = "under [source.git] in reconciler.toml"
_ASKED = re.compile(r"could not read (username|password) for .*terminal prompts disabled", re.IGNORECASE)
_OURS = re.compile(
    r"\.lock': file exists|bad (object|tree|index|signature|revision)|missing (blob|tree|commit)|corrupt|loose object"
    r"|unable to (read|create|write|open|find|unpack|parse|mmap)|could not (parse|read) [0-9a-f]{40}|packfile /"
    r"|did not send all necessary|shallow (file|info)|not a git repository: '/|bad config"
    r"|cannot (open|read|lock)|failed to (read|write)|object database|unresolved deltas|non-?existing object",
    re.IGNORECASE,
)
"""What git says of the repository at this end."""
_NO_ROOM = re.compile(r"no space left|disk quota|read-only file system", re.IGNORECASE)
_KNOWN: tuple[tuple[str, str, str], ...] = (
    # pattern, reason, what to do
    (
        r"dubious ownership",
        "RepositoryMissing",
        "the repository belongs to another user, so git does not read it: chown it to the controller's, or use ssh",
    ),
    (
        r"host key verification failed|remote host identification has changed|no .* host key is known",
        "HostKeyUnknown",
        "its key is not in the file known_hosts_file: compare the fingerprint, then add it (ssh-keyscan HOST)",
    ),
    (r"ssh: (command )?not found|cannot run ssh", "GitMissing", "install an SSH client (apt install openssh-client)"),
    (r"bad permissions|unprotected private key", "AuthenticationFailed", "others may read the key file: chmod 600 it"),
    (
        r"could not read (username|password)|terminal prompts disabled",
        "AuthenticationFailed",
        'put it into a file, and set token_file = "/etc/reconciler/token" under [source.git.auth] in reconciler.toml',
    ),
    (
        (
            r"authentication failed|permission denied \(|invalid credentials|returned error: 40[13]"
            r"|invalid format|error in libcrypto"
        ),
        "AuthenticationFailed",
        "check the files under [source.git.auth] in reconciler.toml, and that they give access to this repository",
    ),
    (
        r"redirect|returned error: 30\d",
        "RepositoryMissing",
        "the remote names another address, which is not followed: set url under [source.git] in reconciler.toml",
    ),
    (
        r"wrong version number|packet length too long|unexpected tls packet|non-properly terminated",
        "RemoteUnreachable",
        f"that port speaks no TLS: check url {_SECTION}",
    ),
    (
        r"(certificate|subject name).* (does )?not match|no alternative certificate",
        "RemoteUnreachable",
        f"the certificate is another host's: check url {_SECTION}",
    ),
    (
        r"certificate|ssl_error|tls",
        "RemoteUnreachable",
        "have its certificate mended, or set SSL_CERT_FILE for the controller to one that is trusted",
    ),
    (
        (
            r"does not appear to be a git repository|is this a git repository|returned error: 404"
            r"|(repository|project) .*not found"
        ),
        "RepositoryMissing",
        "check url under [source.git] in reconciler.toml, and that the repository is there",
    ),
    (
        r"dumb http",
        "RepositoryMissing",
        f"the server gives out files alone, which has no limits: serve it with git http-backend, or set url {_SECTION}",
    ),
    (r"couldn't find remote ref", "RefMissing", "push it, or set branch or tag under [source.git] in reconciler.toml"),
    (r"not our ref|unadvertised object", "RevisionMissing", f"the remote does not give it out; {_NETWORK}"),
    (r"could not resolve", "RemoteUnreachable", f"check the name in url {_SECTION}, and the network; {_NETWORK}"),
    (
        (
            r"unable to access|failed to connect|couldn't connect|unable to connect|unreachable"
            r"|connection (refused|timed out|reset|closed)|no route to host|hung up|early eof"
            r"|could not read from remote|unexpected disconnect|timed out|rpc failed|broken pipe|unable to look up"
        ),
        "RemoteUnreachable",
        _NETWORK,
    ),
)
_NOISE = ("warning:", "hint:", "debug", "remote: counting", "remote: compressing", "remote: enumerating")
_EMPTY_WORDS = re.compile(
    r"could not read from remote repository|make sure you have the correct|and the repository exists|hung up unexp|@@@",
    re.IGNORECASE,
)
"""What git adds below the cause that ssh told."""
_VERDICTS = ("fatal:", "error:", "remote:")


def shortened(text: str, longest: int = _LONGEST) -> str:
    """One line without control characters, of bounded length."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def refusal(ended: Ended, url: str, timeout: float, secret: str = "") -> GitError:
    """Why a command that asked a remote failed."""
    slow = f"{url} took longer than {timeout:g} s: {_NETWORK} (or raise timeout under [source.git] in reconciler.toml)"
    if secret:
        ended = replace(ended, complaint=ended.complaint.replace(secret, "***"))
    if general := _general(ended, slow):
        return general
    said = last_words(ended.complaint) or f"exit status {ended.code}"
    where = urlsplit(url).path or url
    told = ended.complaint.replace(url, "").replace(where, "") if len(where) > 1 else ended.complaint
    if _OURS.search(replace(ended, complaint=told).own_words):
        return GitError("CacheBroken", f"{url}: {said}")
    for pattern, reason, remedy in _KNOWN:
        if re.search(pattern, told, re.IGNORECASE):
            return GitError(reason, f"{url}: {said}: {remedy}")
    return GitError("GitFailed", f"{url}: {said}; {_NETWORK}")


def breakage(ended: Ended, name: str, remedy: str) -> GitError:
    """Why a command that stays on this machine failed."""
    said = last_words(ended.complaint) or f"exit status {ended.code}"
    slow = f"reading {name} took too long: {_NETWORK} (or raise timeout under [source.git] in reconciler.toml)"
    return _general(ended, slow) or GitError("CacheBroken", f"{name} cannot be read: {said}; {remedy}")


def last_words(complaint: str) -> str:
    """The line of a complaint that says most."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", complaint)]
    lines = [line for line in lines if line and not line.lower().startswith(_NOISE)]
    telling = [line for line in lines if not _EMPTY_WORDS.search(line)] or lines
    verdicts = [line for line in telling if line.lower().startswith(_VERDICTS)]
    said = next((line for line in verdicts if line.lower().startswith("fatal:")), (verdicts or telling or [""])[-1])
    said = _ASKED.sub("the remote asks for a password", said)
    return shortened(re.sub(r"^(fatal|error|remote): *", "", said, flags=re.IGNORECASE)).rstrip(".:")


def _general(ended: Ended, slow: str) -> GitError | None:
    if ended.timed_out:
        return GitError("TimedOut", slow)
    if ended.outgrown:
        return too_large()
    if ended.code == 127:
        return GitError(
            "GitMissing", "there is no `git` command on the controller's PATH: install it (apt install git)"
        )
    if ended.code == -signal.SIGKILL:
        return GitError("GitFailed", f"git was killed, perhaps for memory: {_NETWORK}")
    if _NO_ROOM.search(ended.own_words):
        return GitError("GitFailed", f"{last_words(ended.complaint)}: make room where the state folder is; {_NETWORK}")
    return None


def too_large() -> GitError:
    """The repository has outgrown the limit."""
    return GitError("TooLarge", f"the repository is too large: {_LIMIT}")
