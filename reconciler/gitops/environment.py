"""What a git command is told: nothing of the user or the machine that could run code or ask questions."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PASSED_ON = ("PATH", "TMPDIR", *(f"{name}_proxy" for name in ("http", "https", "all", "no")))
_PASSED_ON_TOO = tuple(name.upper() for name in _PASSED_ON if name.endswith("_proxy"))
_CERTIFICATES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}
"""Under the second name git hands it to curl, whatever TLS library that was built with."""
_FIXED = {
    "LC_ALL": "C",
    "HOME": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
}
_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.askPass", ""),
    ("core.alternateRefsCommand", ""),
    ("core.bigFileThreshold", "8m"),
    ("credential.helper", ""),
    ("fetch.fsckObjects", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("gc.auto", "0"),
    ("http.followRedirects", "false"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
    ("transfer.bundleURI", "false"),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What a command is given to reach a remote."""

    variables: Mapping[str, str] = field(default_factory=dict)
    config: tuple[tuple[str, str], ...] = ()


NO_ACCESS = Access()
"""For commands that stay on this machine: no protocol is allowed."""


def environment(environ: Mapping[str, str], folder: Path | None, access: Access) -> dict[str, str]:
    """The variables of a command; `environ` is the caller's, of which only the path, proxies and certificates go on."""
    known = {name: environ[name] for name in (*_PASSED_ON, *_PASSED_ON_TOO) if environ.get(name)}
    known |= {theirs: environ[ours] for ours, theirs in _CERTIFICATES.items() if environ.get(ours)}
    config = (*_CONFIG, *access.config)
    counted = {"GIT_CONFIG_COUNT": str(len(config))}
    for number, (key, value) in enumerate(config):
        counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    where = {"GIT_DIR": os.path.abspath(folder) if folder else "/dev/null"}
    return {"PATH": os.defpath, **known, **_FIXED, **where, **counted, **access.variables}
