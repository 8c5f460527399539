"""The `reconciler` command. A verb's module is imported when it is used: imports decide the command line's speed."""

import errno
import gc
import importlib
import os
import shlex
import signal
import sys
from typing import NoReturn

import click

from reconciler.cli.failure import BAD_INPUT, FAILED, INTERRUPTED, did_you_mean, say_error
from reconciler.cli.habits import ELSEWHERE, elsewhere
from reconciler.cli.invocation import Invocation, global_options, version_option
from reconciler.core.clean import clean_lines

VERBS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run the controller in the foreground."),
    "apply": ("apply", "Bring the servers to what the manifests say, and wait until they are."),
    "diff": ("diff", "Show what apply would change."),
    "sync": ("sync", "Ask the Git source's remote now."),
    "get": ("get", "List servers, profiles, events and more."),
    "wait": ("wait", "Wait until servers are Ready, or as else is asked."),
    "ensure": ("ensure", "Have a server Ready, and print where it answers."),
    "describe": ("describe", "Show all that is known of a server, a profile, defaults or a source."),
    "logs": ("logs", "Print the logs of servers."),
    "top": ("top", "Show what servers take of the machine, and how much they serve."),
    "ui": ("ui", "Open the dashboard."),
    "restart": ("requests", "Restart servers."),
    "stop": ("requests", "Stop servers until they are started again."),
    "start": ("requests", "Start servers that were stopped by request."),
    "adopt": ("requests", "Take over a llama-server that somebody started by hand."),
    "create": ("create", "Write a manifest for a new server."),
    "edit": ("edit", "Edit a manifest in your editor."),
    "set": ("set", "Set fields of a manifest."),
    "unset": ("set", "Take fields out of a manifest."),
    "delete": ("delete", "Remove servers and their documents."),
    "profile": ("profile", "Choose which servers run."),
    "suspend": ("suspending", "Suspend servers in their manifests, or what is followed of a source."),
    "resume": ("suspending", "Take a suspension back, of servers or of a source."),
    "events": ("events", "Show what happened."),
    "rollout": ("rollout", "Show what was changed, and when."),
    "rollback": ("rollback", "Put an earlier version of a manifest back."),
    "explain": ("explain", "Explain fields of manifests, and reasons."),
    "models": ("models", "List the models of the models folder."),
    "validate": ("validate", "Check manifests without touching anything."),
    "doctor": ("doctor", "Check this machine for all that servers need."),
    "install": ("install", "Install the controller as a service of systemd."),
    "uninstall": ("install", "Take the service of the controller away."),
    "completion": ("completion", "Print the completion of a shell."),
    "version": ("version", "Print the version."),
}
"""Each verb's module and its line in the help."""
COMPLETION = "_RECONCILER_COMPLETE"
"""Set by a shell that asks how a word goes on (click's shell completion)."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GARBAGE = 50_000
"""New objects between two collections of the youngest: imports make many, and hardly a cycle. Python's own number, 700,
takes a tenth of the time of a start."""
SIGPIPE_EXIT = 141
"""128 + SIGPIPE: what a shell sees of a program whose reader went away."""


class Verbs(click.Group):
    """The verbs, known by name and imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, from its module."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"reconciler.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A misspelt verb is answered with the one that was meant."""
        name = args[0]
        if name not in VERBS:
            meant = elsewhere(ELSEWHERE, args) or did_you_mean(name, VERBS)
            raise click.UsageError(f"no such command '{name}'{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


cli = Verbs(
    "reconciler",
    help="Keep the llama-servers of this machine as the manifests say.",
    epilog="Begin with: reconciler run",
    params=[*global_options(), version_option()],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main() -> NoReturn:
    """Run the command line, and end the process with the exit code."""
    if sys.platform == "win32":
        say_error("reconciler supervises processes on Linux and macOS alone", "on Windows, run it inside WSL 2")
        sys.exit(FAILED)
    gc.set_threshold(GARBAGE)
    # A terminal that cannot show a character shows another, instead of a traceback.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as it is where a shell closed it
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    if COMPLETION in os.environ:
        from reconciler.cli.shells import answer  # noqa: PLC0415 - for shells alone

        answer()
    code = invoke(sys.argv[1:])
    _be_deaf()
    sys.exit(code)


def _be_deaf() -> None:
    """Where a controller has ended, a further signal changes nothing: Python puts its handlers back on its way out."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if callable(handler := signal.getsignal(number)) and handler is not signal.default_int_handler:
            signal.signal(number, signal.SIG_IGN)


def invoke(arguments: list[str]) -> int:
    """Run one command line; its exit code. Every error is worded on stderr."""
    invocation = Invocation()
    try:
        code = _call(arguments, invocation)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_stdout()
        return SIGPIPE_EXIT
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where an error can be worded for people
        if isinstance(error, OSError) and (trouble := _trouble_of_stdout()):
            _let_go_of_stdout()
            say_error(f"the output cannot be written: {trouble}", "have it written where that is possible")
            return FAILED
        return _explain(error, invocation, arguments)
    return code if isinstance(code, int) else 0


def _call(arguments: list[str], invocation: Invocation) -> object:
    """Click's own way of running a command would end at once, with code 1, where a reader has gone away."""
    try:
        with cli.make_context("reconciler", arguments, obj=invocation) as context:
            return cli.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code


def _trouble_of_stdout() -> str:
    """Why it cannot be written; empty when it can. What could not be written is still there, and is tried again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _let_go_of_stdout() -> None:
    """Python's own end would try to write the rest, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception, invocation: Invocation, arguments: list[str]) -> int:
    if invocation.debug or os.environ.get("RECONCILER_DEBUG", "0") not in ("", "0"):
        import traceback  # noqa: PLC0415 - only for debugging

        click.echo(clean_lines("".join(traceback.format_exception(error))), err=True, nl=False)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return BAD_INPUT
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "reconciler"
        say_error(error.format_message(), f"see: {path} --help")
        return BAD_INPUT
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    again = shlex.join(["reconciler", "--debug", *arguments])
    if isinstance(error, OSError) and error.filename:
        say_error(f"{error.filename}: {error.strerror}", f"see the traceback with: {again}")
        return FAILED
    if isinstance(error, OSError) and error.errno in _FULL:
        say_error(
            f"cannot write: {error.strerror}", "make room where the output, the state and the manifests go: df -h"
        )
        return FAILED
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    say_error(f"unexpected: {what}", f"this is a fault of reconciler; show where with: {again}")
    return FAILED
