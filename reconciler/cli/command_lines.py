"""What an unfinished command line asks for: at once where the verb need not be known, else by the rules of click."""

from collections.abc import Sequence
from copy import copy

import click
from click.shell_completion import CompletionItem

from reconciler.cli.completing import Asked, Completer
from reconciler.cli.completions import ARGUMENTS, FLAGS, OPTIONS
from reconciler.cli.invocation import Invocation, global_options, version_option
from reconciler.cli.main import VERBS, Verbs
from reconciler.core.clean import clean

PROGRAM = "reconciler"
_LEFT_TO_THE_SHELL = ("file", "dir")


class _Known(click.ParamType[str]):
    """The type of a parameter whose values are known; it is only asked for them."""

    name = "known"

    def __init__(self, completer: Completer, given: str = "") -> None:
        """`given`: the parameter whose values stand before."""
        self._completer = completer
        self._given = given

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Those that go on as what was typed."""
        del param
        given = ctx.params.get(self._given) if self._given else ()
        words = [given] if isinstance(given, str) else [str(each) for each in given or ()]
        return _items(self._completer, Asked(words, incomplete, ctx.find_object(Invocation) or Invocation()))


def _items(completer: Completer, asked: Asked) -> list[CompletionItem[str]]:
    """Those that go on as what was typed; without names that no line can hold."""
    words = (word for word in completer(asked) if word.kind in _LEFT_TO_THE_SHELL or word.text.startswith(asked.begun))
    found = [word for word in words if word.text.isprintable()]
    return [CompletionItem(word.text, type=word.kind, help=clean(word.about) or None) for word in found]


class _Verbs(Verbs):
    """The verbs, each with what completes it."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; its parameters know their values."""
        command = super().get_command(ctx, cmd_name)
        return None if command is None else _attached(command, cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The verbs, without importing them."""
        found = [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]
        return found if incomplete[:1].isalnum() else [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def completed_verbs() -> click.Group:
    """The whole command line, each part of it with what completes it."""
    verbs = _Verbs(PROGRAM, params=[*global_options(), version_option()])
    for param in verbs.params:
        for option in param.opts:
            if completer := OPTIONS.get(option):
                param.type = _Known(completer)
    return verbs


def _attached(command: click.Command, path: str) -> click.Command:
    """A copy of a command whose parameters know their values, and take any: the command itself still checks them."""
    command = copy(command)
    if isinstance(command, click.Group):
        command.commands = {name: _attached(below, f"{path} {name}") for name, below in command.commands.items()}
        return command
    command.params = [copy(param) for param in command.params]
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    for param in command.params:
        if isinstance(param, click.Argument) and path in ARGUMENTS:
            # All arguments so far count, wherever click puts them.
            param.type = _Known(ARGUMENTS[path], (arguments[0].name or "") if param is arguments[-1] else "")
        for option in param.opts:
            if completer := OPTIONS.get(f"{path} {option}") or OPTIONS.get(option):
                param.type = _Known(completer)
    return command


def _completer_of(plain: Sequence[str], option: str) -> Completer | None:
    """What completes the value of an option of the verb that was named; None for one that may take none."""
    paths = (" ".join(plain[:size]) for size in (2, 1))
    own = (OPTIONS[key] for path in paths if (key := f"{path} {option}") in OPTIONS)
    return next(own, OPTIONS.get(option))


def _parted(words: Sequence[str]) -> tuple[list[str], Invocation, str] | None:
    """The words that are no options, the global options, and the option whose value is due; None: unclear."""
    plain: list[str] = []
    invocation, due = Invocation(), ""
    for word in words:
        if due:
            _note(invocation, due, word)
            due = ""
        elif not word.startswith("-") or word == "-":
            plain.append(word)
        elif word not in FLAGS:
            option, equals, value = word.partition("=")
            if _completer_of(plain, option) is None:
                return None
            due = "" if equals else option
            _note(invocation, option, value)
    return plain, invocation, due


def _note(invocation: Invocation, option: str, value: str) -> None:
    if option.removeprefix("--") in ("config", "state", "manifests", "models"):
        setattr(invocation, option.removeprefix("--"), value or None)


def at_once(words: Sequence[str], begun: str) -> list[CompletionItem[str]] | None:
    """The answer where it needs no verb to be imported, which takes long for some; None where it does."""
    parted = _parted(words)
    if parted is None or not parted[0]:
        return None
    plain, invocation, due = parted
    option, equals, value = begun.partition("=")
    if due or (equals and option.startswith("--")):
        completer = _completer_of(plain, due or option)
        return _items(completer, Asked(plain[1:], begun if due else value, invocation)) if completer else None
    for size in (2, 1):
        path = " ".join(plain[:size])
        if path in ARGUMENTS and not begun.startswith("-"):
            return _items(ARGUMENTS[path], Asked(plain[size:], begun, invocation))
    below = [path.split()[1] for path in ARGUMENTS if path.startswith(f"{plain[0]} ")]
    is_group = len(plain) == 1 and below and not begun.startswith("-")
    return [CompletionItem(name) for name in below if name.startswith(begun)] if is_group else None
