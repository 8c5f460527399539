"""What `make up` prints once the servers are up: where they answer, what to try, how to stop them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds until the servers' state is told as it is."""
_FIRST_PAUSE = 1.0
"""Time for the controller to take over: until then the state is that of its predecessor."""
_PAUSE = 0.3
_SETTLED = {"Ready", "Failed", "Blocked", "Stopped", "Invalid"}
_PASSING = "ModelGrowing"
"""The reason of a Blocked server that waits for nobody."""

Item = dict[str, Any]


def in_background(work: Callable[[], None]) -> None:
    """Do the work in a grandchild, so that whatever this process becomes has no child it does not know of."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            work()
            sys.stdout.flush()
    except (KeyboardInterrupt, OSError):
        pass  # Ctrl-C, or the terminal has gone: nobody is left to read a banner
    finally:
        os._exit(0)


def show_when_settled(controller: int) -> None:
    """Print the banner once no server is on its way, or patience ends; nothing if the controller ends first."""
    deadline = time.monotonic() + PATIENCE
    time.sleep(_FIRST_PAUSE)
    while _alive(controller):
        items = _servers()
        settled = bool(items) and all(_is_settled(item) for item in items)
        if settled or time.monotonic() > deadline:
            print(banner(items, command_path()), flush=True)
            return
        time.sleep(_PAUSE)


def phase(item: Item) -> str:
    """The phase of a server in `reconciler get servers -o json`; empty when there is none yet."""
    return str(item.get("status", {}).get("phase", ""))


def _is_settled(item: Item) -> bool:
    reasons = {condition["type"]: condition["reason"] for condition in item["status"].get("conditions", ())}
    return phase(item) in _SETTLED and reasons.get("Ready") != _PASSING


def banner(items: Sequence[Item], command: str) -> str:
    """The text for these servers; all its commands work when pasted where `make up` was called."""
    ready = [item for item in items if phase(item) == "Ready"]
    lines = ["", "-" * 78]
    lines += [_where(item, command) for item in items] or [f"no server yet; look again: {command} get servers"]
    lines += [
        "",
        "Try, in another terminal:",
        f"  {command} get servers -w",
        f"  {command} ui   # all of it in a browser",
    ]
    for item in ready:
        lines += [f"  {_request(item)}"]
    lines += [
        "  sed -i.bak 's/ctx: 1024/ctx: 2048/' manifests/chat.yaml   # an edit restarts that server, and no other",
        *[f"  kill -9 {item['status']['instance']['pid']}   # {_name(item)} is back at once" for item in ready[:1]],
        f"  {command} describe server chat",
        "",
        f"Ctrl-C ends the controller and leaves the servers running. To stop them: {command} stop --all",
        f"(that holds until: {command} start --all)",
        "-" * 78,
    ]
    return "\n".join(lines)


def command_path() -> str:
    """The `reconciler` command beside this Python, as short as it works from the working folder."""
    command = Path(sys.executable).with_name("reconciler")
    return os.path.relpath(command) if command.is_relative_to(Path.cwd()) else str(command)


def _name(item: Item) -> str:
    return str(item["metadata"]["name"])


def _address(item: Item) -> str:
    host = item["spec"].get("host", "127.0.0.1")
    return f"http://{f'[{host}]' if ':' in host else host}:{item['status']['instance']['port']}"


def _where(item: Item, command: str) -> str:
    if phase(item) == "Ready":
        fallback = item["status"].get("fallback") or {}
        less = f", with {fallback['told']}: {command} describe server {_name(item)}" if fallback.get("step") else ""
        return f"{_name(item):<10} answers at {_address(item)}{less}"
    hint = f"start {_name(item)}" if phase(item) == "Stopped" else f"describe server {_name(item)}"
    return f"{_name(item):<10} {phase(item)}: {command} {hint}"


def _request(item: Item) -> str:
    if "embeddings" in item["spec"].get("flags", {}):
        return f"""curl -s {_address(item)}/v1/embeddings -d '{{"input": "Hello"}}'"""
    body = '{"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}'
    return f"curl -s {_address(item)}/v1/chat/completions -d '{body}'"


def _servers() -> list[Item]:
    """What `reconciler get servers` says; nothing while there is no database to ask yet."""
    command = [sys.executable, "-m", "reconciler", "get", "servers", "-o", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    try:
        return list(json.loads(ended.stdout)["items"])
    except (ValueError, KeyError):
        return []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
