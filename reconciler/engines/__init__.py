"""The kinds of servers: pure knowledge of how each is launched, asked for its health, and why it ends."""

from collections.abc import Mapping

from reconciler.core.spec import ServerSpec
from reconciler.engines import llama_server
from reconciler.engines.engine import Engine

__all__ = ["ENGINES", "REFUSED", "Engine", "engine_of"]

ENGINES: Mapping[str, Engine] = {"llama-server": llama_server}

REFUSED: Mapping[str, str] = {
    "vllm": "vLLM is not supported yet; write `engine: llama-server` or leave the field out",
    "ollama": "Ollama has its own service, which loads, stops and restarts models by itself; "
    "write `engine: llama-server` or leave the field out",
}
"""Engines that people may ask for, and why they are not here."""


def engine_of(spec: ServerSpec) -> Engine:
    """The engine that a spec names."""
    return ENGINES[spec.engine]
