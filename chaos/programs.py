"""Programs in the place of llama-server that cannot run, never get ready, or say what one with a GPU would say."""

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chaos.stage import SOON, Before, Stage
from tests.e2e.hung_loader import SCRIPT as HUNG

LATE: dict[str, Any] = {"probes": {"startup": {"deadline": "1s"}}, "stop": SOON}


def not_there(stage: Stage) -> dict[str, Any]:
    """Nothing is where the program should be."""
    stage.house.environ["LLAMA_SERVER"] = str(stage.house.root / "llama-server")
    return {}


def not_executable(stage: Stage) -> dict[str, Any]:
    """It lacks its x."""
    stage.program('exec $REAL "$@"\n', mode=0o644)
    return {}


def headless(stage: Stage) -> dict[str, Any]:
    """A script that does not say what runs it."""
    stage.program('exec $REAL "$@"\n', head="")
    return {}


def without_interpreter(stage: Stage) -> dict[str, Any]:
    """A script that names a program which is not there."""
    stage.program('exec $REAL "$@"\n', head="#!/opt/none/sh\n")
    return {}


def copied(change: Callable[[bytes], bytes]) -> Before:
    """The real one without its libraries, its bytes changed."""

    def before(stage: Stage) -> dict[str, Any]:
        path = Path(stage.house.root, "llama-server")
        shutil.copy2(stage.real, path)
        path.write_bytes(change(path.read_bytes()))
        stage.house.environ["LLAMA_SERVER"] = str(path)
        return {}

    return before


def another_machine(content: bytes) -> bytes:
    """ELF's e_machine, two bytes at 18: 183 is AArch64, 62 x86-64."""
    other = 62 if content[18] == 183 else 183
    return content[:18] + other.to_bytes(2, "little") + content[20:]


def remove_binary(stage: Stage) -> None:
    """It is gone when the next start is due."""
    Path(stage.house.environ["LLAMA_SERVER"]).unlink()
    stage.signal(signal.SIGSEGV)


def hangs_at_first(stage: Stage) -> dict[str, Any]:
    """The first start makes no progress."""
    loader = stage.house.root / "loader"
    loader.write_text(HUNG.format(python=sys.executable))
    loader.chmod(0o755)
    stage.at_first(f'exec {loader} "$@"')
    return LATE


def hangs(stage: Stage) -> dict[str, Any]:
    """No start makes progress."""
    stage.program(HUNG.format(python=sys.executable).partition("\n")[2], head=f"#!{sys.executable} -IS\n")
    return LATE


# ---------------------------------------------------------------- what only a GPU would say

_WORDS = """
value() { while [ $# -gt 1 ]; do [ "$1" = "$name" ] && found=$2; shift; done; echo "$found"; }
case " $* " in *" --port "*) ;; *) exec $REAL "$@" ;; esac
name=--n-gpu-layers; found=0; layers=$(value "$@")
name=--ctx-size; found=0; ctx=$(value "$@")
name=--device; found=all; device=$(value "$@")
"""
_NO_ROOM = (
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9866.00 MiB on device 0: cudaMalloc failed: out of memory"
)
GPU_WEIGHTS = f"""{_WORDS}
if [ "$layers" -gt 10 ]; then
  echo "{_NO_ROOM}" >&2
  echo "llama_model_load: error loading model: unable to allocate CUDA0 buffer" >&2
  kill -ABRT $$
fi
exec $REAL "$@"
"""
GPU_CONTEXT = f"""{_WORDS}
if [ "$ctx" -gt 8192 ]; then
  echo "{_NO_ROOM}" >&2
  echo "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache" >&2
  exit 1
fi
exec $REAL "$@"
"""
GPU_GONE = f"""{_WORDS}
if [ "$device" != none ]; then
  echo "CUDA error: all CUDA-capable devices are busy or unavailable" >&2
  echo "/build/llama.cpp/ggml/src/ggml-cuda/ggml-cuda.cu:98: CUDA error" >&2
  kill -ABRT $$
fi
exec $REAL "$@"
"""
