"""What is seen of the machine: who listens on ports, strangers among them, and all of it together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.core.model import GateFacts, Identity, Process


@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody listens on a port."""

    address: str
    port: int
    pid: int | None = None
    program: str = ""
    uid: str = ""
    """The instance's uid when it is one of ours."""


@dataclass(frozen=True, slots=True)
class Started:
    """How a llama-server that somebody else runs was started, by its command line and environment."""

    model: str = ""
    """The path as given; once it was looked for, the real one."""
    hf: str = ""
    """`user/repo:quant` of a model that it downloads."""
    ctx: int | None = None
    parallel: int | None = None
    gpu_layers: str = ""
    threads: int | None = None
    api_key_file: str = ""
    flags: Mapping[str, Any] = field(default_factory=dict)
    """The others by long name, as a manifest writes them; none that holds a secret."""
    ctx_unread: str = ""
    """What was given for `ctx`, where that is no number."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A process that is not ours and listens on a port that a server of ours wants, or has."""

    identity: Identity
    address: str
    port: int
    name: str
    command: str = ""
    """Its command line in one line, without secrets."""
    user: str = ""
    is_same_user: bool = False
    installation: str = ""
    """The id of the other installation whose mark it bears, or that has taken it over."""
    folder: str = ""
    """That one's state folder."""
    is_at_home: bool = False
    """That installation is in its folder still, as far as can be seen."""
    is_contained: bool = False
    """Its paths are those of a container."""
    unit: str = ""
    """The systemd service that started it, with `--user` before one of a user's: it may start it again."""
    server: str = ""
    """Its name there."""
    started: Started | None = None
    """None for a program that is no llama-server by its name."""
    answers: bool | None = None
    """Whether llama.cpp answers on the port; None while it was not heard yet."""
    output: str = ""
    """The file that its messages go to, if they go to one."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is."""

    processes: Mapping[str, tuple[Process, ...]] = field(default_factory=dict)
    """By server name."""
    gates: Mapping[str, GateFacts] = field(default_factory=dict)
    """By server name, for those whose start may be due."""
    listeners: tuple[Listener, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    """Those of the listeners that are not ours, as far as something is known of them."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Real paths of the models of servers whose port a stranger has, by server name."""
    sharers: Mapping[str, Stranger] = field(default_factory=dict)
    """Who listens on the port of a running server beside it, by that server's name."""
    squatters: Mapping[str, Stranger] = field(default_factory=dict)
    """Who listens on the port of a server that is to rest, by that server's name."""
    state_trouble: str = ""
    """Why the state cannot be written now, so that no intent can be kept; empty when it can."""
