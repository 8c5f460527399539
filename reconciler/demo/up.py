"""`make up`: a llama-server, the demo's models, and `reconciler run` over `manifests/` in the foreground."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from reconciler.demo.banner import in_background, show_when_settled
from reconciler.demo.binary import NoLlamaServerError, ensure_llama_server, say
from reconciler.demo.limits import SETTINGS, allow, write_limited_program
from reconciler.demo.models import DemoNotInstalledError, write_demo_models


def main() -> NoReturn:
    """Prepare everything, then become the controller: Ctrl-C reaches it without a middleman."""
    try:
        binary = _prepare()
    except (NoLlamaServerError, DemoNotInstalledError) as error:
        sys.exit(f"error: {error}")
    command = [sys.executable, "-m", "reconciler", "run"]
    say("starting the controller: reconciler run\n")
    controller = os.getpid()
    in_background(lambda: show_when_settled(controller))
    os.execve(command[0], command, {**os.environ, "LLAMA_SERVER": binary})  # noqa: S606 - no shell is wanted


def _prepare() -> str:
    if not Path(os.environ.get("RECONCILER_MANIFESTS") or "manifests").is_dir():
        sys.exit(f"error: no manifests/ in {Path.cwd()}: run `make up` in a checkout of reconciler")
    binary, origin = ensure_llama_server(os.environ)
    say(f"llama-server: {binary} (from {origin})")
    models = Path(os.environ.get("RECONCILER_MODELS") or "models")
    for path in write_demo_models(models):
        say(f"model: wrote {path} ({path.stat().st_size / 1e6:.1f} MB, random weights: it talks gibberish)")
    program = write_limited_program(models, binary)
    settings = Path(SETTINGS)
    if allow(program, settings):
        say(f"settings: wrote {settings}, which allows the program {program}")
    return binary


if __name__ == "__main__":
    main()
