"""`run`: the controller in the foreground."""

import signal
from pathlib import Path

import click

from reconciler.cli.failure import Failure, database_trouble
from reconciler.cli.invocation import Invocation, Verb, pass_invocation


@click.command(
    cls=Verb,
    short_help="Run the controller in the foreground.",
    examples=[
        ("reconciler run", "with ./manifests and ./state; Ctrl-C leaves the servers running"),
        ("reconciler run --on-exit stop", "in a container: the servers end with it"),
        ("reconciler run --config /etc/reconciler.toml --log-format json", "as a service"),
    ],
    exit_codes={
        0: "ended by SIGTERM or Ctrl-C",
        1: "it could not begin, or not go on",
        2: "the command line or the settings have errors",
    },
)
@click.option(
    "--on-exit",
    type=click.Choice(["leave", "stop"]),
    help="What becomes of the servers when the controller ends.  [env: RECONCILER_ON_EXIT; default: leave]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How decisions are logged.",
)
@pass_invocation
def run(invocation: Invocation, on_exit: str | None, log_format: str) -> int:
    """Run the controller in the foreground: watch the manifests, and keep the servers as they say.

    SIGTERM and Ctrl-C end it and leave the servers running; the next run takes them over.
    """
    # Its default is to kill: whoever asks for a new look (`systemctl reload`) may come before there is anything to do.
    signal.signal(signal.SIGHUP, lambda *_: None)
    settings = invocation.settings()
    from reconciler.controller import foreground  # noqa: PLC0415 - a controller's imports take a while
    from reconciler.store.opening import NewerDatabaseError  # noqa: PLC0415

    try:
        with database_trouble(Path(settings.state)):
            return foreground.run(settings, on_exit=on_exit or settings.on_exit, log_format=log_format)
    except NewerDatabaseError as error:
        raise Failure(str(error)) from None
