"""Where logs go: bytes as they come, or line by line."""

import codecs
import sys
from dataclasses import dataclass
from typing import Protocol

from reconciler.cli.output import show
from reconciler.cli.prefixes import Form
from reconciler.cli.terminal import clean_lines, is_terminal
from reconciler.runtimes.tailing import Clock, Keep, Log


class Sink(Protocol):
    """Where one server's log goes."""

    def write(self, log: Log, content: bytes) -> None:
        """Take what is new."""
        ...

    def finish(self) -> None:
        """The instance has ended."""
        ...


class Raw:
    """Bytes of one server's log as they come: as they are to programs, cleaned to terminals."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace") if is_terminal() else None
        self._held = ""

    def write(self, log: Log, content: bytes) -> None:
        """On a terminal an unfinished line waits, so that no escape sequence is split."""
        del log
        if self._decoder is None:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return
        text = self._held + self._decoder.decode(content)
        whole, newline, self._held = text.rpartition("\n")
        sys.stdout.write(clean_lines(whole) + newline)
        sys.stdout.flush()

    def finish(self) -> None:
        """Write what waited."""
        if self._held:
            print(clean_lines(self._held), flush=True)
            self._held = ""


@dataclass
class Lines:
    """Bytes of one server's log as they come, shown line by line: those that are kept."""

    form: Form
    keep: Keep | None = None
    _log: Log | None = None
    _clock: Clock | None = None
    _held: bytes = b""

    def write(self, log: Log, content: bytes) -> None:
        """A line that has not ended waits for its end, or for that of its instance."""
        if log != self._log:
            self.finish()
            self._log, self._clock = log, log.clock()
        *whole, self._held = (self._held + content).split(b"\n")
        for line in whole:
            self._show(line)

    def finish(self) -> None:
        """Show what waited."""
        if self._held:
            self._show(self._held)
            self._held = b""

    def _show(self, content: bytes) -> None:
        assert self._log is not None
        assert self._clock is not None
        if self.keep is None or self.keep(content):
            show(self.form(self._log, self._clock.read(content)))
