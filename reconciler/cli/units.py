"""Units of systemd for the controller, as `install` writes them and as they lie in deploy/systemd."""

import re
import shlex
from dataclasses import dataclass

NAME = "reconciler.service"
SERVICE_USER = "reconciler"
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)

_HEAD = """\
# {title}
# {made}
[Unit]
Description=reconciler, keeps llama-server processes as their manifests declare them
{after}# A controller that cannot start (a broken setting) is tried again for ever, never given up on.
StartLimitIntervalSec=0

[Service]
# It says when its first pass is over, how the servers are (`systemctl status`), when it looks anew and when it ends.
Type=notify
NotifyAccess=main
# It is silent when its passes do not go on; systemd then starts another one, and the servers run on.
WatchdogSec=60s
"""
_SYSTEM = """\
# The servers run as this user too: it must be able to read the models and open the GPU's devices.
User={user}
{groups}# Makes /var/lib/reconciler and gives it to the user.
StateDirectory=reconciler
"""
_FOLDER = """\
WorkingDirectory={folder}
"""
SYSTEM_FOLDER = "/var/lib/reconciler"
_TAIL = """\
ExecStart={command}
# SIGHUP: look at everything again, now.
ExecReload=/bin/kill -HUP $MAINPID
# Signal the controller alone. The default (control-group) would kill every server with each restart or upgrade of
# the controller; so they go on, and the next controller adopts them. To stop them: `reconciler stop --all`.
KillMode=process
# The default (stop) would end all servers when the kernel kills one for memory; the controller restarts that one.
OOMPolicy=continue
# A controller must always be there; after a clean exit too.
Restart=always
RestartSec=1s
# A large database that is brought up to date takes its time.
TimeoutStartSec=5min
# It ends within a second and leaves the servers running; with `on_exit = "stop"` it says when it needs longer.
TimeoutStopSec=15s
# A hundred servers have thousands of threads: the default limit is 15 % of the system's.
TasksMax=infinity
{more}# What neither the controller nor a llama-server needs, on a GPU or without. It is the servers' too.
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=~@mount @reboot @swap @module @raw-io @cpu-emulation @obsolete
SystemCallErrorNumber=EPERM
# No PrivateTmp, ProtectSystem or the like: each restart would make a new namespace, which the servers that
# outlive the controller do not share. No PrivateDevices and no MemoryDenyWriteExecute: GPUs need both.

[Install]
WantedBy={target}
"""
_AFTER = """\
# Manifests may name addresses of this machine and models on network mounts.
After=network.target remote-fs.target
"""
_LOCKED = """\
# For models that are locked into memory (`load-mode: mlock`).
LimitMEMLOCK=infinity
"""
_POWERLESS = """\
# No capabilities. For ports below 1024 put both lines, with CAP_NET_BIND_SERVICE, into a drop-in: systemctl edit.
CapabilityBoundingSet=
AmbientCapabilities=
"""
_MADE = "Made by `reconciler install`: it is written anew when that is called again. Changes of yours: systemctl edit."


@dataclass(frozen=True, slots=True)
class Unit:
    """A service of the system, or of one user."""

    command: tuple[str, ...]
    """The program with its arguments."""
    folder: str = ""
    """The working folder; empty: that of a service of the system."""
    user: str = ""
    """Whom a service of the system runs as; empty: it is a user's own."""
    groups: tuple[str, ...] = ()
    """Groups that user gets besides, for a GPU's devices."""

    def text(self) -> str:
        """The unit file."""
        is_system = bool(self.user)
        title = "reconciler as a service of the system" if is_system else "reconciler as a service of one user"
        groups = f"SupplementaryGroups={' '.join(self.groups)}\n" if self.groups else ""
        return "".join(
            (
                _HEAD.format(title=title, made=_MADE, after=_AFTER if is_system else ""),
                _SYSTEM.format(user=self.user, groups=groups) if is_system else "",
                _FOLDER.format(folder=_path(self.folder or SYSTEM_FOLDER)),
                _TAIL.format(
                    command=" ".join(map(quoted, self.command)),
                    more=_LOCKED * is_system + _POWERLESS * (self.user not in ("", "root")),
                    target="multi-user.target" if is_system else "default.target",
                ),
            )
        )


def quoted(word: str) -> str:
    """A word of a command line as systemd reads it (systemd.service(5)): `%` and `$` stand for something there."""
    plain = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(plain):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _path(path: str) -> str:
    return path.replace("%", "%%")


def written(text: str) -> tuple[tuple[str, ...], str]:
    """The command of a unit file, and whom it runs as. Raises ValueError where there is no command."""
    found = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
    user = re.search(r"^User=(\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("it has no ExecStart")
    words = (word.replace("%%", "%").replace("$$", "$") for word in shlex.split(found[1]))
    return tuple(words), user[1] if user else ""
