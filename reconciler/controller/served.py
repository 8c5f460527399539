"""What a server says that it serves: looked at before it is Ready, and again now and then."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11

from reconciler.controller.http_get import Conversation, conversation
from reconciler.controller.progress import LoopStoodStillError, within
from reconciler.controller.target import Target
from reconciler.core.model import Effective
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.runtimes.local import LocalRuntime

if TYPE_CHECKING:
    from collections.abc import Mapping

AGAIN = 60.0
"""Seconds between two looks at the settings of a server that is well."""
MOST_WAIT = 5.0
"""Seconds for such a look: `/health` is to be asked again soon."""
REMOTE = "rpc"
"""The flag by which a model is computed by other machines."""


class Served:
    """One server's settings and models."""

    def __init__(self, runtime: LocalRuntime) -> None:
        self.effective: Effective | None = None
        """None: it was Ready before this controller, and what was found then still counts."""
        self.models: tuple[Mapping[str, Any], ...] = ()
        self.misfit = ""
        """Why it is not the server that was started."""
        self.failures = 0
        """Looks in a row that found that."""
        self._runtime = runtime
        self._due = asyncio.get_running_loop().time() + AGAIN

    def is_doubtful(self) -> None:
        """It was away, and answers again: perhaps somebody else does."""
        self._due = 0.0

    async def look(self, target: Target, talk: Conversation) -> None:
        """Everything that it tells."""
        self._due = asyncio.get_running_loop().time() + AGAIN
        await self._look_at_settings(target, talk)
        if self.misfit:
            return
        engine = engine_of(target.spec)
        answer = await talk.get(engine.models_path(target.spec), target.api_key)
        self.models = engine.read_models(answer.body) if answer.status == HTTPStatus.OK else ()
        trained = self.models[0].get("trainedContext") if self.models else None
        told = self._told_by_the_machine(target)
        known = self.effective or Effective()
        self.effective = replace(
            known, trained=trained, gpu_layers=told.gpu_layers, device=told.device, is_capped=told.is_capped
        )

    async def look_again(self, target: Target) -> None:
        """Only the settings, when it is time to. Silence says nothing here: `/health` tells of that."""
        now, engine = asyncio.get_running_loop().time(), engine_of(target.spec)
        if now < self._due and not self.misfit:
            return
        self._due = now + AGAIN
        is_tls = engine.scheme(target.spec) == "https"
        timeout = min(MOST_WAIT, target.spec.probes.liveness.timeout)
        try:
            async with conversation(target.spec.host, target.port, tls=is_tls) as talk, within(timeout, talk):
                if self.effective is None:
                    await self.look(target, talk)
                else:
                    await self._look_at_settings(target, talk)
        except (LoopStoodStillError, OSError, TimeoutError, h11.RemoteProtocolError, ValueError):
            return

    async def _look_at_settings(self, target: Target, talk: Conversation) -> None:
        engine = engine_of(target.spec)
        path = engine.props_path(target.spec)
        answer = await talk.get(path, target.api_key)
        if answer.status != HTTPStatus.OK:
            self.effective = self.effective or Effective(unverified=f"{path} answers {answer.status}")
            return
        found, self.misfit = engine.read_props(answer.body, model_path=target.model_path)
        self.failures = self.failures + 1 if self.misfit else 0
        if found is None or (found.unverified and self.effective is not None):
            return
        known = self.effective or found
        self.effective = replace(
            known, ctx_per_slot=found.ctx_per_slot, slots=found.slots, model=found.model, unverified=found.unverified
        )

    def _told_by_the_machine(self, target: Target) -> Effective:
        """What its log tells, and its open devices where the log does not: most logs do not, at the usual verbosity."""
        told = engine_of(target.spec).read_log_head(self._runtime.log_head(target.server, target.uid))
        if told.device or is_remote(target.spec) or self._runtime.uses_devices(target.pid) is not False:
            return told
        return replace(told, device="CPU")


def is_remote(spec: ServerSpec) -> bool:
    """Whether other machines compute for it, so that its own devices say nothing."""
    return REMOTE in spec.flags or "LLAMA_ARG_RPC" in spec.env
