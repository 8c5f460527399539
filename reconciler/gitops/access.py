"""How git and ssh are told the credentials: by the name of a file, never by what is in it."""

import shlex
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.core.git_url import scheme_of
from reconciler.gitops.environment import Access
from reconciler.gitops.git import GitError, Remote

MOST_TOKEN = 64 * 1024
"""Bytes of a file that may hold a token."""
_SSH = (
    "BatchMode=yes",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ProxyCommand=none",
    "ControlPath=none",
)


def access(remote: Remote) -> Access:
    """What a git command is given to reach a remote. Raises GitError when a file that it needs cannot be used."""
    scheme = scheme_of(remote.url)
    variables = {"GIT_ALLOW_PROTOCOL": scheme}
    if scheme == "ssh":
        return Access(variables | {"GIT_SSH_COMMAND": _ssh(remote), "GIT_SSH_VARIANT": "ssh"})
    if scheme in ("https", "http") and remote.token_file:
        read_token(remote.token_file)
        parts = urlsplit(remote.url)
        user = "".join(filter(str.isprintable, remote.username))
        helper = _helper(shlex.quote(remote.token_file), shlex.quote(user))
        return Access(variables, ((f"credential.{scheme}://{parts.netloc}.helper", helper),))
    return Access(variables)


def _helper(file: str, user: str) -> str:
    """What git has a shell run to be told the token: it reads the file itself, with nothing but its own words."""
    first_line = '"${token%"$(printf \'\\r\')"}"'
    read = f'IFS= read -r token <{file} || test -n "$token" || exit 1'
    tell = f"printf 'username=%s\\npassword=%s\\n' {user} {first_line}"
    return f'!f() {{ test "$1" = get || exit 0; {read}; {tell}; }}; f'


def read_token(path: str) -> str:
    """The token in a file. Raises GitError, without a word of it, when there is none."""
    try:
        with Path(path).open("rb") as file:
            token = file.read(MOST_TOKEN).decode("utf-8", "replace").split("\n", 1)[0].rstrip("\r")
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({_why(error)})"
    else:
        if token.strip():
            return token
        reason = "is empty in its first line"
    raise GitError(
        "AuthenticationFailed",
        f"the token file {path} {reason}: put the token there (install -m 600 /dev/stdin {shlex.quote(path)}), "
        "or name another file: source.git.auth.token_file in reconciler.toml",
    )


def _ssh(remote: Remote) -> str:
    for path, setting, reason, what in (
        (remote.ssh_key_file, "ssh_key_file", "AuthenticationFailed", "the private key"),
        (remote.known_hosts_file, "known_hosts_file", "HostKeyUnknown", "the trusted host keys"),
    ):
        if not path:
            raise GitError(reason, f"ssh needs {what}: name the file: source.git.auth.{setting} in reconciler.toml")
        try:
            Path(path).open("rb").close()
        except (OSError, ValueError) as error:
            advice = f"put {what} there, or name another file: source.git.auth.{setting} in reconciler.toml"
            raise GitError(reason, f"{path} cannot be read ({_why(error)}): {advice}") from None
    options = (
        *_SSH,
        f"IdentityFile={_ssh_quoted(remote.ssh_key_file)}",
        f"UserKnownHostsFile={_ssh_quoted(remote.known_hosts_file)}",
    )
    return shlex.join(["ssh", "-F", "/dev/null", *(word for option in options for word in ("-o", option))])


def _why(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _ssh_quoted(path: str) -> str:
    """As ssh reads a value of its configuration: words, quotes and `%` mean something there (ssh_config(5))."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
