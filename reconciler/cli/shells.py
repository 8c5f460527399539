"""Completion in bash, zsh and fish, over click's: the shells' scripts, and the answers to them.

What the scripts and the answers look like is agreed in `shell_scripts`.
"""

import os
import re
import signal
import sys
from types import FrameType
from typing import NoReturn

from click.shell_completion import CompletionItem, ShellComplete
from click.shell_completion import split_arg_string as split

from reconciler.cli.command_lines import PROGRAM, at_once, completed_verbs
from reconciler.cli.invocation import Invocation
from reconciler.cli.main import COMPLETION
from reconciler.cli.shell_scripts import BASH, FISH, ZSH

PATIENCE = 2.0
"""Seconds after which nothing is answered: a disk that hangs must not hang the shell."""
_IN_QUOTES = re.compile(r"""(?:^|\s)(?:"[^"]*|'[^']*)$""")
"""A word that began with a quote which is still open."""
_SPECIAL = re.compile(r"([^\w@%+=:,./~-])", re.ASCII)


class _Shell(ShellComplete):
    """What the three have in common."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one at the cursor, and that."""
        line = os.environ["COMP_LINE"]
        words = split(line)
        # Behind a blank a new word begins, unless that is within quotes.
        begins = len(split(f"{line}x")) > len(words)
        return (words[1:], "") if begins else (words[1:-1], words[-1])

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """All that the word may go on as, whole: `--option=` too."""
        found = at_once(args, incomplete)
        if found is None:
            found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if option.startswith("--") and equals:
            for item in found:
                item.value = f"{option}={item.value}" if item.type in ("plain", "open") else item.value
        return found

    def complete(self) -> str:
        """The answer."""
        args, incomplete = self.get_completion_args()
        return "".join(f"{self.line(item, incomplete)}\n" for item in self.get_completions(args, incomplete))

    def line(self, item: CompletionItem[str], begun: str) -> str:
        """One line of it."""
        del begun
        return f"{item.type}\t{item.value}\t{item.help or ''}".rstrip()


class _Bash(_Shell):
    source_template = BASH

    def line(self, item: CompletionItem[str], begun: str) -> str:
        """Only what stands behind the last sign that bash takes for the end of a word, and as it must be quoted."""
        if _IN_QUOTES.search(os.environ["COMP_LINE"]):
            return f"{item.type}\t{item.value}"
        breaks = [sign for sign in "=:" if sign in os.environ.get("COMP_BREAKS", "=:")]
        cut = max((begun.rfind(sign) + 1 for sign in breaks), default=0)
        value = _SPECIAL.sub(r"\\\1", item.value[cut:])
        return f"{item.type}\t{value}"


class _Zsh(_Shell):
    source_template = ZSH

    def line(self, item: CompletionItem[str], begun: str) -> str:
        """`VALUE:ABOUT`, in which a colon of the value is escaped."""
        del begun
        value = item.value.replace("\\", "\\\\").replace(":", "\\:")
        return f"{item.type}\t{value}{f':{item.help}' if item.help else ''}"


class _Fish(_Shell):
    source_template = FISH


_SHELLS: dict[str, type[_Shell]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def script(shell: str) -> str:
    """What a shell has to read to complete the command."""
    return _completion(shell).source().lstrip()


def _completion(shell: str) -> _Shell:
    return _SHELLS[shell](completed_verbs(), {"obj": Invocation()}, PROGRAM, COMPLETION)


def answer() -> NoReturn:
    """Answer the shell that asks, and end. Trouble of any kind is no answer: nothing may disturb who is typing."""
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    shell, _, instruction = os.environ[COMPLETION].partition("_")
    try:
        if shell in _SHELLS:
            text = script(shell) if instruction == "source" else _completion(shell).complete()
            sys.stdout.write(text)
            sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - as said
        os._exit(0)
    os._exit(0)


def _give_up(number: int, frame: FrameType | None) -> None:
    del number, frame
    os._exit(0)
