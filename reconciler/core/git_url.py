"""Which addresses of Git repositories are taken, and names of branches and tags. Nothing here reaches the network."""

import ipaddress
import re
from urllib.parse import urlsplit

_SCP = re.compile(r"(?P<user>[A-Za-z0-9_][\w.-]*@)?(?P<host>[A-Za-z0-9][\w.-]*):(?P<path>[^:/\s-].*|/[^/\s].*)")
"""`git@host:path`, as ssh and scp have it (git-clone(1), "GIT URLS")."""
_SCHEMES = frozenset({"https", "http", "ssh", "git", "file", "ftp", "ext"})
"""`file:models` is a slip for `file:///models`, and no host called `file`."""
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[/.-]|/\.|\.lock(/|$)|[/.]$|^@$")
"""What git-check-ref-format(1) refuses; a leading dash too, as it would be taken for an option."""
EXPECTED = "expected https://host/path, ssh://user@host/path, user@host:path or file:///path"


def checked_url(url: str) -> str:
    """The address, unchanged. Raises ValueError, with what to write instead, for one that is not taken."""
    if not _PRINTABLE.fullmatch(url):
        raise ValueError(f"{EXPECTED}, without spaces")
    scheme = scheme_of(url)
    if scheme not in ("https", "http", "ssh", "file"):
        raise ValueError(EXPECTED)
    if scheme == "ssh" and "://" not in url:
        return url
    parts = urlsplit(url)
    _refuse_credentials(scheme, parts.username, parts.password)
    if scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("a file URL has three slashes: file:///path/to/repository.git")
    if scheme != "file" and (not parts.hostname or parts.hostname.startswith("-")):
        raise ValueError(EXPECTED)
    if parts.query or parts.fragment:
        raise ValueError("leave out what follows `?` or `#`; branch, tag and path have settings of their own")
    if scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise ValueError("http would carry manifests and token in the clear; write https")
    _ = parts.port  # raises ValueError when it is none
    return url


def _refuse_credentials(scheme: str, username: str | None, password: str | None) -> None:
    if password is not None or (username is not None and scheme != "ssh"):
        raise ValueError("leave user and password out; name a file that holds the token: source.git.auth.token_file")
    if username is not None and (not username or username.startswith("-")):
        raise ValueError(EXPECTED)


def scheme_of(url: str) -> str:
    """`https`, `http`, `ssh`, `file`, or another one; empty when it is no address."""
    if "://" in url:
        return url.partition("://")[0]
    found = _SCP.fullmatch(url)
    return "ssh" if found and found["host"] not in _SCHEMES else ""


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_ref_name(name: str) -> bool:
    """Whether a branch or tag may have this name."""
    return bool(name) and len(name) <= 250 and not _BAD_REF.search(name)
