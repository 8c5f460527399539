"""A real controller that can be killed at any boundary: `python -m chaos.injected FUSE run [ARGUMENT…]`."""

import sys
from pathlib import Path
from typing import NoReturn

from chaos.fuse import Fused
from reconciler.cli.main import main


def run_injected(fuse: Path, arguments: list[str]) -> NoReturn:
    """The `reconciler` command, to its end or to the boundary at which the fuse burns out."""
    Fused(fuse).wrap()
    sys.argv = ["reconciler", *arguments]
    main()


if __name__ == "__main__":
    run_injected(Path(sys.argv[1]), sys.argv[2:])
