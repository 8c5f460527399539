"""`ui`: open the dashboard, with a code by which it may act."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from reconciler.cli.controller import connected
from reconciler.cli.failure import Failure
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.output import say
from reconciler.installation import is_controller_running

PATIENCE = 5.0
"""Seconds for a controller that has just begun to serve the dashboard."""
LOOK = 0.1
_DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
"""Variables by which a browser with windows can be had, elsewhere than on macOS."""
_OF_TERMINALS = ("www-browser", "lynx", "w3m", "links", "links2", "elinks")


@click.command(
    cls=Verb,
    short_help="Open the dashboard.",
    examples=[
        ("reconciler ui", "in a browser, where there is one; its address is printed too"),
        ("reconciler ui --no-open", "only say where it is, for a browser on another machine"),
        ("reconciler ui --print", "print the address, and nothing besides"),
    ],
    exit_codes={0: "done", 1: "there is no controller, or it serves no dashboard", 2: "the command line has errors"},
)
@click.option("--no-open", is_flag=True, help="Open no browser.")
@click.option("--print", "only_prints", is_flag=True, help="Print the address alone, and open no browser.")
@pass_invocation
def ui(invocation: Invocation, no_open: bool, only_prints: bool) -> None:
    """Open the dashboard of the controller that runs.

    The address that is printed holds a code: whoever opens it first, within a minute, may act for twelve hours.
    """
    url = _address(invocation.state_folder("ui --print"))
    click.echo(url)
    if only_prints:
        return
    if no_open or not _has_browser():
        say("open it in a browser within a minute: its code is good once")
        if os.environ.get("SSH_CONNECTION"):
            _tell_of_tunnel(url)
    elif not _open(url):
        say("no browser could be started: open it in one within a minute; its code is good once")


def _address(state: Path) -> str:
    """Raises Failure."""
    if not is_controller_running(state):
        raise Failure(f"no controller runs over {state}", "begin one: reconciler run")
    until = time.monotonic() + PATIENCE
    while True:
        answer = _asked(state)
        if answer["url"]:
            return f"{answer['url']}/#code={answer['code']}"
        if answer["problem"] or time.monotonic() > until:
            break
        time.sleep(LOOK)
    problem = answer["problem"] or "the controller does not serve the dashboard yet"
    raise Failure(problem, answer.get("remedy") or "once that is mended, ask again: reconciler ui")


def _asked(state: Path) -> Mapping[str, Any]:
    with connected(state) as controller:
        try:
            return controller.ui_code()
        except Failure as error:
            if "/ui-code" not in error.message:
                raise
            remedy = "start it anew; its servers run on meanwhile"
            raise Failure("the controller that runs is of an older version, without a dashboard", remedy) from None


def _has_browser() -> bool:
    """One with windows: one in the terminal would show nothing of it."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in _DISPLAYS)


def _open(url: str) -> bool:
    import webbrowser  # noqa: PLC0415 - only here

    try:
        browser = webbrowser.get()
        # `webbrowser.open` would go on to one that takes the terminal, and show it nothing there.
        return os.path.basename(getattr(browser, "name", "")) not in _OF_TERMINALS and browser.open(url)  # noqa: PTH119
    except (webbrowser.Error, OSError):
        return False


def _tell_of_tunnel(url: str) -> None:
    """Nobody else reaches a loopback address of this machine."""
    place = url.removeprefix("http://").partition("/")[0]
    if place.startswith(("127.", "[::1]")):
        port = place.rpartition(":")[2]
        say(f"from where you sit: ssh -L {port}:{place} {os.uname().nodename}")
