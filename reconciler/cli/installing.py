"""What `install` writes and calls."""

import grp
import json
import os
import pwd
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from reconciler.cli.failure import BAD_INPUT, Failure
from reconciler.cli.invocation import Invocation
from reconciler.cli.output import say
from reconciler.cli.services import Place, Step, call, carry_out, place_of, program, require_systemd, write
from reconciler.cli.units import NAME, SERVICE_USER, SYSTEM_FOLDER, Unit
from reconciler.discovery import find_llama_server

OF_GPUS = ("video", "render")
"""Groups that may open the devices of GPUs."""
SYSUSERS = Path("/usr/lib/sysusers.d/reconciler.conf")
"""Where an image is told of the user that its service runs as."""


def install_service(
    invocation: Invocation, *, scope: str | None, root: str | None, dry_run: bool, start: bool, user: str | None
) -> int:
    """Install it; the exit code. Raises Failure."""
    place = place_of(scope, root)
    config = Path(invocation.config).absolute() if invocation.config else place.config
    place = _as_asked(place, config, invocation)
    if place.within(config).exists():
        # One that cannot be used is told now, and not by a service that begins again and again.
        Invocation(config=str(place.within(config))).settings()
    elif invocation.config:
        raise Failure(f"there are no settings at {config}", "name a file that is there", exit_code=BAD_INPUT)
    if not dry_run:
        require_systemd(place, config)
    user = (user or SERVICE_USER) if place.scope == "system" else ""
    carry_out([*_files(place, config, user), *_calls(place, start=start)], dry_run=dry_run)
    if not dry_run and root:
        _tell_of_image(place, user)
    elif not dry_run:
        _tell(place, config, user, started=start)
    return 0


def _as_asked(place: Place, config: Path, invocation: Invocation) -> Place:
    """With the folders that were named, for new settings. Raises UsageError where the settings are there already."""
    flags = {"manifests": invocation.manifests, "state": invocation.state, "models": invocation.models}
    given = [f"--{name}" for name, value in flags.items() if value]
    if given and (invocation.config or place.within(config).exists()):
        raise click.UsageError(f"{given[0]} goes with new settings: {config} are used as they are; set it there")

    def folder(name: str, usual: Path) -> Path:
        named = flags[name] or os.environ.get(f"RECONCILER_{name.upper()}")
        return Path(named).expanduser().absolute() if named else usual

    manifests, state, models = (folder(name, getattr(place, name)) for name in flags)
    return replace(place, manifests=manifests, state=state, models=models)


def _files(place: Place, config: Path, user: str) -> Iterator[Step]:
    if user and not place.root and not _exists(user):
        yield call(["useradd", "--system", "--home-dir", SYSTEM_FOLDER, "--shell", "/usr/sbin/nologin", user])
    if user and place.root:
        yield write(place.within(SYSUSERS), sysusers_text(user))
    if config == place.config and not place.within(config).exists():
        folders = [place.manifests, *([] if user else [place.models, place.state.parent])]
        for one in folders:
            if not place.within(one).is_dir():
                yield _folder(place.within(one))
        yield write(place.within(config), settings_text(place))
    command = (*program(), "run", "--config", str(config))
    folder = SYSTEM_FOLDER if user and config == place.config else str(config.parent)
    unit = Unit(command, folder, user, _groups() if user and not place.root else ())
    yield write(place.within(place.unit), unit.text())


def _calls(place: Place, *, start: bool) -> Iterator[Step]:
    if place.root:
        yield call(place.systemctl("enable", NAME))
        return
    yield call(place.systemctl("daemon-reload"))
    yield call(place.systemctl("enable", NAME))
    if start:
        journal = f"journalctl {'--user ' if place.scope == 'user' else ''}-u reconciler -n 20 --no-pager"
        # One that runs already takes over what its servers are, as it does after an upgrade.
        yield call(place.systemctl("restart", NAME), f"see why: {journal}")


def _folder(path: Path) -> Step:
    return Step(f"make {path}", lambda: path.mkdir(parents=True, exist_ok=True))


def settings_text(place: Place) -> str:
    """The first settings; the llama-server that is found from here stands in them, for a service has another PATH."""
    folders = {"manifests": place.manifests, "state": place.state, "models": place.models}
    lines = ["# The settings of reconciler; each is explained in docs/settings.md."]
    lines += [f"{name} = {_toml(str(path))}" for name, path in folders.items()]
    found = find_llama_server(os.environ)
    # In an image it is the image's own that counts.
    if found and place.within(Path(found[0])).exists():
        lines.append(f"llama_server = {_toml(found[0])}")
    else:
        lines.append("# None was found when this was written: name yours here, then restart the service.")
        lines.append('# llama_server = "/usr/local/bin/llama-server"')
    return "\n".join(lines) + "\n"


def sysusers_text(user: str) -> str:
    """The user of an image's service, and its groups, as sysusers.d(5) has them."""
    lines = ["# Whom the controller and its servers run as; the groups may open the devices of GPUs."]
    lines.append(f'u {user} - "reconciler" {SYSTEM_FOLDER}')
    lines += [f"m {user} {group}" for group in OF_GPUS]
    return "\n".join(lines) + "\n"


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _exists(user: str) -> bool:
    with suppress(KeyError):
        pwd.getpwnam(user)
        return True
    return False


def _groups() -> tuple[str, ...]:
    """Those of them that this machine has: a unit that names another does not start."""
    there = {one.gr_name for one in grp.getgrall()}
    return tuple(name for name in OF_GPUS if name in there)


def _tell_of_image(place: Place, user: str) -> None:
    """What only the image's maker can do."""
    if user != "root":
        say(f"the image needs the user {user}; make it with: systemd-sysusers --root={shlex.quote(place.root)}")
    needed = Path(program()[0])
    if not place.within(needed).exists():
        say(f"the unit calls {needed}: have it at that path in the image, too")


def _tell(place: Place, config: Path, user: str, *, started: bool) -> None:
    scope = "--user " if place.scope == "user" else ""
    as_user = ["sudo", "-u", user] if user not in ("", "root") else []
    shown = shlex.join([*as_user, *program(), "--config", str(config)])
    if started:
        click.echo(f"the controller runs; see how it is: systemctl {scope}status reconciler")
        say(f"its log: journalctl {scope}-u reconciler -f")
        say(f"its servers: {shown} get servers")
        say(f"its dashboard: {shown} ui{' --print' if as_user else ''}")
    else:
        say(f"start it with: systemctl {scope}start reconciler")
    if scope and not _lingers():
        say("it begins with your login, and all ends with your last one; to have it run always: loginctl enable-linger")


def _lingers() -> bool:
    return Path("/var/lib/systemd/linger", pwd.getpwuid(os.getuid()).pw_name).exists()
