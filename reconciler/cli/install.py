"""`install` and `uninstall`: the controller as a service of systemd."""

from collections.abc import Callable
from typing import Any

import click

from reconciler.cli.invocation import Invocation, Verb, pass_invocation

EXIT_CODES = {
    0: "done; with --dry-run, told",
    1: "it did not work out: systemd or a file refused",
    2: "the command line or the settings have errors; nothing was changed",
}


def _place(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that both take."""
    options = (
        click.option("--user", "scope", flag_value="user", help="A service of your own.  [default, but for root]"),
        click.option("--system", "scope", flag_value="system", help="A service of the machine; needs root."),
        click.option("--root", metavar="DIR", help="Of --system: below this folder, as for an image; starts nothing."),
        click.option("--dry-run", is_flag=True, help="Only print what would be written and called."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    cls=Verb,
    short_help="Install the controller as a service of systemd.",
    examples=[
        ("reconciler install --user", "for you alone: nothing outside your home is touched"),
        ("sudo /opt/reconciler/bin/reconciler install --system", "for the machine, as the user `reconciler`"),
        ("reconciler install --user --config reconciler.toml", "the installation of this folder"),
        ("reconciler install --system --dry-run", "only show the files and the calls"),
        ("reconciler install --system --root image", "into an image; systemd-sysusers makes the user there"),
    ],
    exit_codes=EXIT_CODES,
)
@_place
@click.option("--start/--no-start", default=True, help="Start it now, or only with the next boot or login.")
@click.option("--as", "user", metavar="USER", help="Whom a service of the machine runs as.  [default: reconciler]")
@pass_invocation
def install(invocation: Invocation, /, **given: Any) -> int:
    """Write a unit, and settings where there are none, and start the controller with the machine or the login.

    With --config these settings are used, in their folder, and none are written; --manifests, --state and --models go
    into new ones. Called again, as after an upgrade, it writes the unit anew and restarts the controller; the servers
    run on.
    """
    if given["user"] and given["scope"] == "user":
        raise click.UsageError("--as goes with --system: a service of your own runs as you")
    from reconciler.cli.installing import install_service  # noqa: PLC0415 - what it needs is slow to import

    return install_service(invocation, **given)


@click.command(
    cls=Verb,
    short_help="Take the service of the controller away.",
    examples=[
        ("reconciler uninstall --user", "the servers run on"),
        ("reconciler uninstall --user --stop-servers", "and stop them before"),
    ],
    exit_codes=EXIT_CODES,
)
@_place
@click.option("--stop-servers", is_flag=True, help="Stop the servers first.  [default: they run on]")
@pass_invocation
def uninstall(invocation: Invocation, /, **given: Any) -> int:
    """End the controller that `install` started, and remove its unit; the servers run on unless told.

    Settings, manifests, models and the state stay where they are.
    """
    from reconciler.cli.uninstalling import uninstall_service  # noqa: PLC0415 - as above

    return uninstall_service(invocation, **given)
