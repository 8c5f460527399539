"""Where one failure is provoked: an installation of one server, and the means to trouble it."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from chaos.memory_group import MemoryGroup, memory_group
from reconciler.demo.models import write_model
from tests.e2e.installation import Installation, installed

NAME = "subject"
LARGE: dict[str, Any] = {"model": "long.gguf", "ctx": 65536, "parallel": 1}
"""Its context takes 256 MiB."""
FAST = {"liveness": {"period": "100ms", "timeout": "300ms", "failureThreshold": 2}}
SOON = {"gracePeriod": "500ms"}
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups -- " if os.geteuid() == 0 else ""
"""What a shell says before a program that is not to be root."""
_PIDFD_GETFD = 438
"""The system call's number; the standard library does not know it."""


class Stage:
    """One installation, in which `subject` is to fail."""

    def __init__(self, installation: Installation, exits: ExitStack) -> None:
        self.house = installation
        self.real = installation.environ["LLAMA_SERVER"]
        self.port = installation.ports.stop + 1
        """Free, and not of the range that ports are given from."""
        self._exits = exits

    # -- before

    def program(self, text: str, *, mode: int = 0o755, head: str = "#!/bin/sh\n") -> Path:
        """A script in the place of llama-server; `$REAL` is the real one."""
        path = self.house.root / "llama-server"
        path.write_text(head + text.replace("$REAL", self.real))
        path.chmod(mode)
        self.house.environ["LLAMA_SERVER"] = str(path)
        return path

    def at_first(self, text: str) -> None:
        """A script that does this at the first start; later ones are as they should be."""
        mark = self.house.root / "first"
        self.program(f'{_ASKED}if mkdir {mark} 2>/dev/null; then\n{text}\nfi\nexec $REAL "$@"\n')

    def limited(self, limit: str) -> None:
        """A script that sets a limit first."""
        self.program(f'{limit}\nexec $REAL "$@"\n')

    def write(self, name: str, content: bytes) -> Path:
        """A file among the models, old enough to be used at once."""
        path = self.house.models / name
        path.write_bytes(content)
        os.utime(path, (0, 0))
        return path

    def group(self, limit: int) -> MemoryGroup:
        """A memory cgroup until the end of this stage."""
        return self._exits.enter_context(memory_group(self.house.root.name, limit))

    def listen(self, port: int) -> None:
        """A stranger that listens until the end of this stage."""
        program = "import socket,sys,time; s=socket.create_server(('127.0.0.1',int(sys.argv[1]))); print(flush=True); "
        stranger = subprocess.Popen(
            [sys.executable, "-c", program + "time.sleep(600)", str(port)], stdout=subprocess.PIPE
        )
        self._exits.callback(_end, stranger)
        assert stranger.stdout is not None
        stranger.stdout.readline()

    # -- while it runs

    @property
    def pid(self) -> int:
        """The subject's."""
        return self.house.pids()[NAME]

    def signal(self, number: signal.Signals) -> None:
        """Send it to the subject."""
        os.kill(self.pid, number)

    def url(self, path: str) -> str:
        """Of the subject's newest instance."""
        return f"http://127.0.0.1:{self.house.instances(NAME)[-1]['port']}{path}"

    def ask(self, tokens: int = 4, predict: int = 4, seconds: float = 60.0) -> None:
        """A completion; whatever becomes of it."""
        body = {"prompt": [100 + number % 200 for number in range(tokens)], "n_predict": predict, "ignore_eos": True}
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(self.url("/completion"), json=body, timeout=seconds)

    def busy(self) -> None:
        """A completion that goes on, once it is seen to be at work."""
        threading.Thread(target=self.ask, args=(4, 60000), daemon=True).start()
        self.house.wait_for("work", lambda: httpx.get(self.url("/slots"), timeout=30).json()[0]["is_processing"])

    def wait_ended(self, pid: int) -> None:
        """Until this process is gone."""
        self.house.wait_for("its end", lambda: pid not in self.house.pids().values())

    def shut_listener(self) -> None:
        """Its listening socket is shut, as if the program had done so."""
        pidfd, system = os.pidfd_open(self.pid), ctypes.CDLL(None, use_errno=True)
        try:
            for link in Path(f"/proc/{self.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()).startswith("socket:"):
                        _shut_if_listening(system.syscall(_PIDFD_GETFD, pidfd, int(link.name), 0))
        finally:
            os.close(pidfd)

    def eat_memory(self, group: MemoryGroup) -> None:
        """Another program of the group fills it until the subject is gone."""
        program = "import os,sys,time\nkept=[]\n"
        program += "while os.path.exists('/proc/'+sys.argv[1]): kept.append(bytearray(os.urandom(1<<20)))\n"
        command = f'{group.joining}; exec {sys.executable} -c "{program}" {self.pid}'
        eater = subprocess.Popen(["sh", "-c", command])
        self._exits.callback(_end, eater)


_ASKED = 'case " $* " in *" --port "*) ;; *) exec $REAL "$@" ;; esac\n'
"""Questions such as `--help` are the real one's to answer, and no start."""


def _shut_if_listening(descriptor: int) -> None:
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=descriptor) as found:
        if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.shutdown(socket.SHUT_RDWR)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@contextmanager
def staged(root: Path, llama_server: str, models: Path, ports: range) -> Iterator[Stage]:
    """A stage that leaves nothing behind; `models` holds tiny.gguf, long.gguf and fat.gguf (see write_models)."""
    root.mkdir(mode=0o755)
    with ExitStack() as exits:
        house = exits.enter_context(installed(root, llama_server, models / "tiny.gguf", ports))
        for name in ("long.gguf", "fat.gguf"):
            os.link(models / name, house.models / name)
        yield Stage(house, exits)
    shutil.rmtree(root, ignore_errors=True)


def write_models(folder: Path) -> None:
    """The sound ones: a tiny one, one that was trained for a long context, and one of 300 MiB."""
    write_model(folder / "tiny.gguf")
    write_model(folder / "long.gguf", context=65536, width=512)
    write_model(folder / "fat.gguf", pad_bytes=300 << 20)


Before = Callable[[Stage], dict[str, Any]]
"""Prepares a stage; the fields of the subject's spec."""
After = Callable[[Stage], None]
"""What is done once the subject is Ready."""
