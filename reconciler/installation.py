"""Where installations are: finding a state folder, its controller's socket, and those used on this machine before."""

import json
import os
import shlex
import socket
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

DATABASE = "state.db"
CONFIG = "reconciler.toml"
STATE = "state"
LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7)): `sun_path` has 108 with the closing zero."""
CONNECT_TIMEOUT = 1.0
"""Seconds in which a live controller accepts a connection."""
_HIDDEN = "\0"
"""An abstract socket's name begins with it: it lives in no folder (unix(7), Linux)."""


class NotFoundError(Exception):
    """No installation was found; the text says which are known and what to type."""


def find_state(cwd: Path, environ: Mapping[str, str], flag: str | None, config: str | None) -> Path:
    """The state folder meant: `--state`, RECONCILER_STATE, the settings' `state`, or `state/` here or above.

    Raises NotFoundError when the folder has no database, or when nothing is named and none is found.
    """
    named = named_state(cwd, environ, flag, config)
    if named is None:
        found = search_upward(cwd)
        if found is not None:
            return found
        raise NotFoundError(_nothing_found(f"no '{STATE}/{DATABASE}' in {cwd} or in a folder above it"))
    folder, origin = named
    if not holds_one(folder):
        raise NotFoundError(_nothing_found(f"{folder} holds no {DATABASE} (named by {origin})"))
    return folder


def search_upward(cwd: Path) -> Path | None:
    """The nearest `state/` with a database in it, from this folder upward."""
    return next((folder / STATE for folder in (cwd, *cwd.parents) if holds_one(folder / STATE)), None)


def holds_one(state: Path) -> bool:
    """Whether a folder is an installation's; one that may not be looked into is, and one whose controller runs."""
    try:
        return stat.S_ISREG(os.stat(state / DATABASE).st_mode)  # noqa: PTH116 - a Path hides which error it was
    except PermissionError:
        return True
    except (OSError, ValueError):
        return is_controller_running(state)


def named_state(cwd: Path, environ: Mapping[str, str], flag: str | None, config: str | None) -> tuple[Path, str] | None:
    """The folder that somebody named, and where."""
    for value, origin in ((flag, "--state"), (environ.get("RECONCILER_STATE"), "RECONCILER_STATE")):
        if value:
            return Path(os.path.normpath(cwd / Path(value).expanduser())), origin
    path = cwd / Path(config).expanduser() if config else cwd / CONFIG
    if not config and not path.exists():
        return None
    try:
        value = tomllib.loads(path.read_text()).get("state")
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}; correct --config") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise NotFoundError(f"{path} is not valid TOML: {error}; correct it, or name the folder with --state") from None
    if not isinstance(value, str):
        return None
    return Path(os.path.normpath(path.parent / Path(value).expanduser())), str(path)


def _nothing_found(what: str) -> str:
    folders = known()
    if not folders:
        return f"no installation found: {what}\nbegin one with: reconciler run"
    lines = [f"  reconciler --state {shlex.quote(str(folder))} get servers" for folder in folders]
    return "\n".join(
        [f"no installation found: {what}", "these were used on this machine:", *lines, "or begin one: reconciler run"]
    )


def socket_path(state: Path) -> Path | str:
    """Where the controller of a state folder listens; a text that begins with a zero is an abstract name.

    It follows from the folder's real path alone, so that all who know the folder find it.
    """
    path = Path(os.path.realpath(state)) / "controller.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    import hashlib  # noqa: PLC0415 - slow to import, and seldom needed

    name = f"reconciler-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"
    # A shell and a service of one user must agree, and only the shell may have the variable.
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    shorter = Path(runtime, f"{name}.sock")
    if Path(runtime).is_dir() and len(os.fsencode(shorter)) <= LONGEST_SOCKET_PATH:
        return shorter
    return _HIDDEN + name


def is_controller_running(state: Path) -> bool:
    """Whether somebody accepts connections on the folder's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_TIMEOUT)
        try:
            client.connect(str(socket_path(state)))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def remember(state: Path) -> None:
    """Note a state folder as used on this machine; a registry that cannot be written is no error."""
    folder = Path(os.path.realpath(state))
    with suppress(OSError, ValueError, RuntimeError):
        folders = [folder, *(other for other in known() if other != folder)]
        path = _registry()
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps({"installations": [str(one) for one in folders]}, indent=2) + "\n")
        draft.replace(path)


def known() -> list[Path]:
    """State folders used on this machine, the newest first; those that are gone are left out."""
    try:
        entries = json.loads(_registry().read_text())["installations"]
        return [Path(entry) for entry in entries if Path(entry, DATABASE).is_file()]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return []


def _registry() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return Path(base or Path.home() / ".local" / "state", "reconciler", "installations.json")
