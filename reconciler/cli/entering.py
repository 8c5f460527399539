"""Whether this user may look into an installation at all."""

import os
import shlex
from pathlib import Path

from reconciler import installation
from reconciler.cli.failure import Failure


def require_entry(state: Path, example: str) -> None:
    """Raise Failure where an installation is another user's; `example` is what that one types."""
    if not (owner := installation.owner_elsewhere(state)):
        return
    from reconciler.cli.services import program  # noqa: PLC0415 - seldom needed

    message = f"{state} is {owner}'s, and closed to {installation.name_of(os.geteuid())}"
    as_owner = shlex.join(["sudo", "-u", owner, *program(), "--state", str(state)])
    raise Failure(message, f"as that user: {as_owner} {example}")
