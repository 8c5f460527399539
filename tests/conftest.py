"""What all tests share: a llama-server, a model, ports, and how hard Hypothesis tries."""

import itertools
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from reconciler.demo.models import write_model
from reconciler.discovery import find_llama_server

# No deadline: a shared machine is slow at random, and slowness is the benchmarks' business.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
# A shell that starts this beside itself has both ignored, which every process started from here would inherit.
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begun last, a long one would be waited for by all the others of a parallel run."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("early", "long")))


@pytest.fixture(scope="session")
def llama_server() -> str:
    """Absolute path of a real llama-server. Its tests fail, and are not skipped, where there is none."""
    found = find_llama_server(os.environ)
    if found is None:
        pytest.fail("no llama-server: `make test` builds one, or set LLAMA_SERVER to yours")
    return found[0]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model of 0.5 MB with a trained context of 512 tokens. Not to be changed: the whole session shares it."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def _ports() -> Iterator[int]:
    # Below what the kernel hands to outgoing connections, and elsewhere for each process of a parallel run.
    first = 12000 + os.getpid() % 180 * 100
    return itertools.cycle(range(first, first + 100))


@pytest.fixture
def free_port(_ports: Iterator[int]) -> int:
    """A port nobody listens on, another one for each test."""
    return next(port for port in itertools.islice(_ports, 100) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
