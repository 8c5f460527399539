"""Where installations are: finding a state folder, its controller's socket, and those used on this machine before."""

import json
import os
import pwd
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
SYSTEM_CONFIG = Path("/etc/reconciler", CONFIG)
"""The settings of the machine's own installation, as `install --system` writes them."""
_HIDDEN = "\0"
"""An abstract socket's name begins with it: it lives in no folder (unix(7), Linux)."""


class NotFoundError(Exception):
    """No installation was found; the text says which are known and what to type."""


def find_state(cwd: Path, environ: Mapping[str, str], flag: str | None, config: str | None) -> Path:
    """The state folder meant: `--state`, RECONCILER_STATE, the settings' `state`, or `state/` here or above.

    Elsewhere than in a folder of manifests it is the one that `install` set up. Raises NotFoundError when the folder
    has no database, or when nothing is named and none is found.
    """
    named = named_state(cwd, environ, flag, config)
    if named is None:
        found = search_upward(cwd) or (None if is_project(cwd) else _installed(environ))
        if found is not None:
            return found
        raise NotFoundError(_nothing_found(f"no '{STATE}/{DATABASE}' in {cwd} or in a folder above it"))
    folder, origin = named
    if not holds_one(folder):
        raise NotFoundError(_nothing_found(f"{folder} holds no {DATABASE} (named by {origin})"))
    return folder


def search_upward(cwd: Path) -> Path | None:
    """The nearest `state/` with a database in it, from this folder upward."""
    # What lies in a folder that is closed to us is nobody's installation: that would be known by its own folder.
    open_to_us = (folder for folder in (cwd, *cwd.parents) if os.access(folder, os.X_OK))
    return next((folder / STATE for folder in open_to_us if holds_one(folder / STATE)), None)


def is_project(folder: Path) -> bool:
    """Whether a folder is the root of an installation, or about to be one."""
    return os.path.isdir(folder / "manifests") or _exists(folder / CONFIG)  # noqa: PTH112 - a Path may raise


def _exists(path: Path) -> bool:
    """Also where we may not look: then it does not."""
    return os.path.exists(path)  # noqa: PTH110 - a Path may raise


def user_config(environ: Mapping[str, str]) -> Path:
    """The settings of a user's own installation, as `install --user` writes them. Raises RuntimeError: no home."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "reconciler", CONFIG)


def installed_configs(environ: Mapping[str, str]) -> list[Path]:
    """Where `install` writes settings: this user's, then the machine's."""
    with suppress(RuntimeError):
        return [user_config(environ), SYSTEM_CONFIG]
    return [SYSTEM_CONFIG]


def _installed(environ: Mapping[str, str]) -> Path | None:
    for config in installed_configs(environ):
        with suppress(NotFoundError):
            named = named_state(config.parent, {}, None, str(config)) if _exists(config) else None
            if named and holds_one(named[0]):
                return named[0]
    return None


def owner_elsewhere(state: Path) -> str:
    """Whose a state folder is that does not let this user in, as `sudo -u` takes it; empty where it does."""
    database = state / DATABASE
    try:
        os.stat(database)  # noqa: PTH116 - a Path hides which error it was
        is_open = os.access(database, os.R_OK)
    except PermissionError:
        is_open = False
    except OSError:
        return ""
    uid = os.geteuid() if is_open else _seen_owner(state)
    return "" if uid == os.geteuid() else name_of(uid)


def _seen_owner(path: Path) -> int:
    """Whose it is, or the nearest folder above it that can be seen."""
    for one in (path, *path.parents):
        with suppress(OSError):
            return os.stat(one).st_uid  # noqa: PTH116 - as above
    return os.geteuid()


def name_of(uid: int) -> str:
    """A user's name, else the number as `sudo -u` takes it."""
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"#{uid}"


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
    if not config and not _exists(path):
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
