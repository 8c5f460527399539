"""A terminal with a command in it, as somebody sees it: its screen is what an emulator makes of the output."""

import re
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pexpect
import pyte

from tests.e2e.installation import PATIENCE, Installation

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
PAINT = re.compile(r"\x1b\[(?!0?m)([0-9;]+)m(.*?)\x1b\[0?m", re.DOTALL)


class Terminal:
    """Runs `reconciler …` in a pseudo-terminal of so many columns."""

    def __init__(
        self, installation: Installation, *arguments: str, columns: int = 80, rows: int = 30, **environ: str
    ) -> None:
        inherited = {name: value for name, value in installation.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        environment: dict[str, Any] = {**inherited, "TERM": "xterm-256color", **environ}
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)
        self.output = ""
        """All that came, with the terminal's commands in it."""
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "reconciler", *arguments],
            cwd=str(installation.root),
            env=environment,
            dimensions=(rows, columns),
            encoding="utf-8",
            timeout=PATIENCE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.child.close(force=True)

    def read(self, seconds: float = 0.05) -> bool:
        """Take what comes; whether there may be more."""
        try:
            text = self.child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.output += text
        self._stream.feed(text)
        return True

    @property
    def screen(self) -> list[str]:
        """The lines that stand there now, without blanks at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """All of them."""
        return "\n".join(self.screen).rstrip()

    @property
    def lines(self) -> list[str]:
        """All lines that ever came, without colours."""
        return ESCAPES.sub("", self.output).replace("\r\n", "\n").split("\n")

    @property
    def painted(self) -> list[str]:
        """The texts that were given a colour or a weight."""
        return [found[2] for found in PAINT.finditer(self.output)]

    def wait_for(self, is_so: str | Callable[[str], object]) -> str:
        """Look until the screen shows it; what it shows then."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            goes_on = self.read()
            if (is_so in self.text) if isinstance(is_so, str) else is_so(self.text):
                return self.text
            assert goes_on, f"it ended, and never showed {is_so}:\n{self.text}"
        raise AssertionError(f"waited for {is_so}:\n{self.text}")

    def send(self, keys: str) -> None:
        """Press keys."""
        self.child.send(keys)

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait for the end; its exit code."""
        self.child.sendintr()
        return self.end()

    def end(self) -> int:
        """Wait for the end; its exit code."""
        while self.read():
            pass
        self.child.wait()
        assert self.child.exitstatus is not None, f"it was killed by {self.child.signalstatus}"
        return int(self.child.exitstatus)
