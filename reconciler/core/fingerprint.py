"""The hash that alone decides whether a change of a manifest restarts its server."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.core.spec import ServerSpec

VERSION = 1
"""Written into each fingerprint; a new algorithm must go on reading the old one's."""


def fingerprint(spec: ServerSpec, argv: Sequence[str]) -> str:
    """The fingerprint of a spec and its symbolic argv (paths as written, port `auto` unresolved).

    Not in it: probes, policies, secret values, resolved paths, and defaults that nobody wrote.
    """
    environment: Mapping[str, Any] = {
        name: value if isinstance(value, str) else value.model_dump() for name, value in spec.env.items()
    }
    content = json.dumps([list(argv), environment, spec.binary], sort_keys=True, separators=(",", ":"))
    return f"{VERSION}:{hashlib.sha256(content.encode()).hexdigest()[:24]}"
