"""Makes the logs of the corpus anew with the real llama-server: `python -m tests.engines.provoke [NAME…]`.

Without names all are made. It tells those that ended in another way than the corpus says; a new build of llama.cpp may
word something anew, and `git diff tests/engines/logs` shows it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from reconciler.demo.models import write_model
from reconciler.discovery import find_llama_server
from tests.engines.corpus import LATER, LOGS, PROVOKED

PATIENCE = 30.0
MOST_TRIES = 50
LONGEST = 8192
"""Characters at the end of a log that are kept."""
PORT = 8951
LIGHT = ("-np", "1", "-t", "1", "--no-warmup")
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
"""A server that is not root; only root can start one so, and everybody else is not root anyway."""


@dataclass
class Live:
    """A server that listens."""

    process: subprocess.Popen[bytes]
    models: Path
    log: Path
    clients: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(self, tokens: int, predict: int, seconds: float = 10.0) -> None:
        """A completion; whatever becomes of it."""
        body = {"prompt": [100 + number % 200 for number in range(tokens)], "n_predict": predict, "ignore_eos": True}
        with suppress(httpx.HTTPError):
            httpx.post(f"http://127.0.0.1:{PORT}/completion", json=body, timeout=seconds)

    def begin(self, predict: int = 60000, *, wait: bool = True) -> None:
        """A completion whose client waits, and, where that is waited for, that its log tells of."""
        program = "import httpx,sys; httpx.post(sys.argv[1], json={'prompt': 'a', 'n_predict': int(sys.argv[2]), "
        program += "'ignore_eos': True}, timeout=60)"
        url = f"http://127.0.0.1:{PORT}/completion"
        command = [sys.executable, "-c", program, url, str(predict)]
        self.clients.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        if wait:
            self.wait_for("processing task")

    def wait_for(self, line: str) -> None:
        """Until its log says so."""
        deadline = time.monotonic() + PATIENCE
        while line not in self.log.read_text(errors="replace"):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TimeoutError(f"{line!r} is not in:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.01)


def signalled(*numbers: signal.Signals) -> Callable[[Live], None]:
    """Sends them, one after another."""

    def act(live: Live) -> None:
        for number in numbers:
            live.process.send_signal(number)
            time.sleep(0.2)

    return act


def in_request(*numbers: signal.Signals) -> Callable[[Live], None]:
    """Sends them while it works on a request."""

    def act(live: Live) -> None:
        live.begin()
        signalled(*numbers)(live)

    return act


def _crash_unseen(live: Live) -> None:
    """SIGSEGV during a completion, though its log may tell of none."""

    def slots() -> list[dict[str, object]]:
        return list(httpx.get(f"http://127.0.0.1:{PORT}/slots", timeout=10).json())

    _until(lambda: httpx.get(f"http://127.0.0.1:{PORT}/health", timeout=10).status_code == 200)
    live.begin(wait=False)
    _until(lambda: slots()[0]["is_processing"] is True)
    live.process.send_signal(signal.SIGSEGV)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if is_so():
                return
        time.sleep(0.02)
    raise TimeoutError


def _after_a_request(live: Live) -> None:
    live.ask(8, 4)
    live.process.send_signal(signal.SIGSEGV)


def _after_a_cancelled_request(live: Live) -> None:
    live.ask(8, 60000, seconds=0.5)
    live.wait_for("cancel task")
    time.sleep(0.3)
    live.process.send_signal(signal.SIGSEGV)


def _forge(live: Live) -> None:
    """A client's grammar that looks like causes: it is logged as it is, at the usual verbosity."""
    lines = ("root ::= CUDA error: out of memory", "CUDA error: out of memory", "  what():  std::bad_alloc", "")
    forged = "\n".join((*lines, "0.00.000.001 E CUDA error: out of memory", "/x/ggml-cuda.cu:98: CUDA error"))
    httpx.post(f"http://127.0.0.1:{PORT}/completion", json={"prompt": "a", "grammar": forged}, timeout=10)
    live.wait_for("stop: cancel task")
    live.process.send_signal(signal.SIGSEGV)


def _too_large(live: Live) -> None:
    live.ask(300, 4)
    live.process.terminate()


def _overwrite(live: Live) -> None:
    os.truncate(live.models / "tiny.gguf", 0)
    live.ask(8, 4)


@dataclass(frozen=True)
class Provocation:
    """How one log is made."""

    flags: tuple[str, ...] = ()
    model: str = "tiny.gguf"
    prefix: tuple[str, ...] = ()
    """The program before it, such as one that takes rights away."""
    limits: str = ""
    """What a shell says before it, such as `ulimit -v 300000`."""
    act: Callable[[Live], None] | None = None
    """What is done once its log says `until`; without it, it ends by itself."""
    until: str = "listening on http"
    env: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    """What its log is to say, where chance decides how it ends: it is tried until it does."""
    binary: str = ""
    """Another program than llama-server, in the models' folder."""


_CTX = ("-c", "256")
_LONG = ("-c", "65536")
_MANNERS = {
    "jsonl": ("--log-jsonl",),
    "verbose": ("--log-verbosity", "5"),
    "coloured": ("--log-colors", "on"),
    "terse": ("--log-verbosity", "1"),
    "silent": ("--log-disable",),
}
"""Flags by which people change what is logged."""
_HOLDER = (
    f"{sys.executable} -c 'import socket, time; s = socket.create_server((\"127.0.0.1\", {PORT})); time.sleep(60)'"
)
PROVOCATIONS: Mapping[str, Provocation] = {
    "model-missing": Provocation(model="none.gguf"),
    "model-missing-jsonl": Provocation(("--log-jsonl",), model="none.gguf"),
    "draft-missing": Provocation(("--spec-draft-model", "absent")),
    "projector-missing": Provocation(("--mmproj", "absent")),
    "lora-missing": Provocation(("--lora", "absent")),
    "model-junk": Provocation(model="junk.gguf"),
    "model-empty": Provocation(model="empty.gguf"),
    "model-zeros": Provocation(model="zeros.gguf"),
    "model-truncated": Provocation(model="truncated.gguf"),
    "model-architecture": Provocation(model="arch.gguf"),
    "lora-junk": Provocation(("--lora", "junk.gguf")),
    "lora-is-a-model": Provocation(("--lora", "tiny.gguf")),
    "projector-junk": Provocation(("--mmproj", "junk.gguf")),
    "model-unreadable": Provocation(model="secret.gguf", prefix=NOBODY),
    "lora-unreadable": Provocation(("--lora", "secret.gguf"), prefix=NOBODY),
    "model-overwritten": Provocation(_CTX, act=_overwrite),
    "port-taken": Provocation(limits=f'{_HOLDER} & sleep 0.5; "$@"; code=$?; kill $!; exit $code'),
    "host-unknown": Provocation(("--host", "models.invalid")),
    "host-elsewhere": Provocation(("--host", "192.0.2.1")),
    "port-privileged": Provocation(("--port", "80"), prefix=NOBODY),
    "flag-unknown": Provocation(("--no-such-flag",)),
    "flag-value": Provocation(("--flash-attn", "maybe")),
    "flag-number": Provocation(("--ctx-size", "abc")),
    "flag-without-value": Provocation(("--ctx-size",)),
    "flag-swallowed": Provocation(("--flash-attn", "--metrics")),
    "flag-removed": Provocation(("--draft", "16")),
    "template-missing": Provocation(("--chat-template-file", "absent")),
    "grammar-missing": Provocation(("--grammar-file", "absent")),
    "slots-folder-missing": Provocation(("--slot-save-path", "absent")),
    "certificate": Provocation(("--ssl-cert-file", "absent", "--ssl-key-file", "absent")),
    "environment-value": Provocation(env={"LLAMA_ARG_CTX_SIZE": "abc"}),
    "cache-needs-flash-attention": Provocation(("--cache-type-v", "q8_0", "--flash-attn", "off")),
    "context-too-large": Provocation(("-c", "2000000000"), limits="ulimit -v 300000"),
    "context-buffer": Provocation(("-c", "65536"), model="long.gguf", limits="ulimit -v 300000"),
    "weights-mapped": Provocation(_CTX, model="fat.gguf", limits="ulimit -v 300000"),
    "weights-read": Provocation((*_CTX, "--load-mode", "none"), model="fat.gguf", limits="ulimit -v 300000"),
    "shared-library-missing": Provocation(binary="llama-server"),
    "device-unknown": Provocation(("--device", "CUDA0")),
    "download-offline": Provocation(("--hf-repo", "nosuch/repo", "--offline"), model=""),
    "download-no-https": Provocation(
        ("--hf-repo", "user/repo:Q4_0"), model="", env={"MODEL_ENDPOINT": "https://127.0.0.1:1/"}
    ),
    "loading": Provocation(
        ("--load-mode", "none"), model="fat.gguf", act=signalled(signal.SIGKILL), until="loading model"
    ),
    "killed": Provocation(_CTX, act=signalled(signal.SIGKILL)),
    "terminated": Provocation(_CTX, act=signalled(signal.SIGTERM)),
    "interrupted": Provocation(_CTX, act=signalled(signal.SIGINT)),
    "interrupted-twice": Provocation(("-c", "65536"), model="long.gguf", act=in_request(signal.SIGINT, signal.SIGINT)),
    "aborted": Provocation(_CTX, act=signalled(signal.SIGABRT)),
    "request-done": Provocation(_CTX, act=_after_a_request),
    "request-cancelled": Provocation(("-c", "65536"), model="long.gguf", act=_after_a_cancelled_request),
    "request-at-work": Provocation(("-c", "65536"), model="long.gguf", act=in_request(signal.SIGSEGV)),
    "request-aborted": Provocation(("-c", "65536"), model="long.gguf", act=in_request(signal.SIGABRT)),
    "grammar-forged": Provocation(_CTX, act=_forge),
    "request-too-large": Provocation(_CTX, act=_too_large),
    "host-memory": Provocation(("-c", "512"), limits="ulimit -v 170000", says="insufficient memory (attempted"),
    "said-nothing": Provocation(limits="exit 3"),
    "no-more-threads": Provocation(("-t", "4"), prefix=("prlimit", "--nproc=1", "--", *NOBODY)),
    "too-many-threads": Provocation(("-t", "100000", *_CTX)),
    "draft-beyond-memory": Provocation(
        (*_CTX, "--spec-draft-model", "fat.gguf", "--spec-type", "draft-simple"), limits="ulimit -v 300000"
    ),
    **{
        f"{name}-{manner}": Provocation((*_LONG, *flags), model="long.gguf", limits=limit, act=act, until=until)
        for manner, flags in _MANNERS.items()
        for name, limit, act, until in (
            ("context-buffer", "ulimit -v 300000", None, ""),
            ("request-at-work", "", _crash_unseen, ""),
        )
        if (name, manner) != ("request-at-work", "verbose")
    },
    "no-more-descriptors": Provocation(_CTX, limits="ulimit -n 5"),
}


def write_models(folder: Path) -> None:
    """All files that a provocation names, sound and broken ones; again after one that has overwritten some."""
    whole = write_model(folder / "tiny.gguf").read_bytes()
    if not (folder / "long.gguf").exists():
        write_model(folder / "long.gguf", context=65536, width=512)
        write_model(folder / "fat.gguf", pad_bytes=300 << 20)
    contents = {
        "junk.gguf": b"this is no model\n" * 100,
        "empty.gguf": b"",
        "zeros.gguf": b"GGUF" + bytes(4096),
        "truncated.gguf": whole[: len(whole) // 2],
        "arch.gguf": whole.replace(b"llama", b"lxama"),
        "secret.gguf": whole,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "secret.gguf").chmod(0)


@contextmanager
def _running(it: Provocation, binary: str, scratch: Path) -> Iterator[Live]:
    models, log = scratch / "models", scratch / "log"
    program = str(models / it.binary) if it.binary else binary
    flags = (*(("-m", it.model) if it.model else ()), *LIGHT, "--port", str(PORT), *it.flags)
    prefix = it.prefix if os.geteuid() == 0 else ()
    shell = ("sh", "-c", f'{it.limits}\nexec "$@"', "sh") if it.limits else ()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_")}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*prefix, *shell, program, *flags], cwd=models, env={**kept, **it.env}, stdout=file, stderr=file
        )
    live = Live(process, models, log)
    try:
        yield live
    finally:
        for one in (process, *live.clients):
            one.kill()
            one.wait()


def provoke(it: Provocation, binary: str, scratch: Path) -> tuple[int, str]:
    """The exit code (negative: the signal) and the log of one, with the places of files replaced."""
    with _running(it, binary, scratch) as live:
        if it.act is not None:
            live.wait_for(it.until)
            it.act(live)
        code = live.process.wait(2.0 if it.says else PATIENCE)
    text = live.log.read_text(errors="replace").replace(str(Path(binary).parent), "/opt/llama")
    text = re.sub(r"(?m)(^|\s)/\S*/llama\.cpp/", r"\1/build/llama.cpp/", text).replace(f"{live.models}/", "/models/")
    for name in ("absent", *(path.name for path in live.models.iterdir()), "none.gguf"):
        text = re.sub(rf"(?<=[ '(]){re.escape(name)}(?=['\n ]|$)", f"/models/{name}", text)
    return code, text[-LONGEST:].partition("\n")[2] if len(text) > LONGEST else text


def _provoke_until_said(it: Provocation, binary: str, scratch: Path) -> tuple[int, str]:
    if not it.says:
        return provoke(it, binary, scratch)
    for _ in range(MOST_TRIES):
        with suppress(subprocess.TimeoutExpired):
            code, text = provoke(it, binary, scratch)
            if it.says in text:
                return code, text
    sys.exit(f"error: in {MOST_TRIES} tries none said {it.says!r}")


def main() -> None:
    """Write the logs."""
    found = find_llama_server(os.environ)
    if found is None:
        sys.exit("error: no llama-server: set LLAMA_SERVER to yours")
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        (scratch / "models").mkdir()
        shutil.copy2(found[0], scratch / "models" / "llama-server")
        for name in sys.argv[1:] or PROVOCATIONS:
            write_models(scratch / "models")
            code, text = _provoke_until_said(PROVOCATIONS[name], found[0], scratch)
            (LOGS / f"{name}.log").write_text(text)
            sys.stdout.write(f"{name}: {code}{_remark(name, code)}\n")


def _remark(name: str, code: int) -> str:
    wanted = {
        sample.exit.code if sample.exit.signal is None else -sample.exit.signal
        for sample in (*PROVOKED, *LATER)
        if sample.log == name
    }
    return f", and the corpus says {', '.join(map(str, wanted))}" if wanted and code not in wanted else ""


if __name__ == "__main__":
    main()
