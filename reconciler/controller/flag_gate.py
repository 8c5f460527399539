"""The gate's part about flags: they are held against `--help` of the very binary, and fitted to it."""

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from reconciler.core.clean import clean
from reconciler.core.model import Document, GateFacts, Now
from reconciler.core.server import NOT_LOOKED
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.engines.flags import Refusal
from reconciler.engines.help import Help, read_help
from reconciler.runtimes.binary_help import LOADER, TIMEOUT, BinaryHelps, Heard

FOLDER = "helps"
"""In the state folder."""
INVALID_FLAG = "InvalidFlag"
FRESH = 60.0
"""Seconds for which a refusal may rest on what a binary told: what its wrapper or library takes can have changed."""
MOST_VERDICTS = 1024
MOST_TOLD = 4


def helps_in(
    state: Path | str, on_answer: Callable[[], None] = lambda: None, *, keeps: bool = True
) -> BinaryHelps[Help]:
    """What binaries take, remembered in a state folder; without `keeps` nothing is written there."""
    return BinaryHelps(read_help, Path(state, FOLDER), on_answer, keeps=keeps)


def told(refusals: list[Refusal]) -> str:
    """What is wrong, in one line."""
    named = [f"spec.{'.'.join(str(part) for part in place)}: {message}" for place, message in refusals[:MOST_TOLD]]
    more = len(refusals) - MOST_TOLD
    return "; ".join([*named, f"and {more} more: reconciler validate"] if more > 0 else named)


def asking(spec: ServerSpec, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a binary is asked for its help: a launch's, but for all that may be secret."""
    own = {name: value for name, value in spec.env.items() if name in LOADER and isinstance(value, str)}
    return {**inherited, **own}


class FlagGate:
    """Judges specs by the helps of binaries; without them nothing is refused."""

    def __init__(self, helps: BinaryHelps[Help] | None) -> None:
        self._helps = helps
        self._verdicts: dict[str, tuple[ServerSpec, Help, list[Refusal]]] = {}

    def begin(self, binary: str, environment: Mapping[str, str]) -> None:
        """Ask a binary that is likely to be needed."""
        if self._helps is not None:
            self._helps.look(binary, environment)

    def look(
        self, document: Document, binary: str, environment: Mapping[str, str], now: Now, facts: GateFacts
    ) -> GateFacts:
        """The facts, with the gate shut where the binary would not take the flags."""
        if self._helps is None or facts.reason:
            return facts
        heard = self._helps.look(binary, environment)
        refusals = self._judge(document, heard)
        if heard.table is not None and refusals and heard.at < now.monotonic - FRESH:
            heard = self._helps.look(binary, environment, now.monotonic - FRESH)
        if heard.waits_until is not None and now.monotonic < heard.waits_until and (refusals or heard.table is None):
            message = f"its flags are being held against: {shlex.quote(binary)} --help"
            shut = replace(NOT_LOOKED, message=clean(message), retry_at=heard.waits_until)
            return replace(shut, identity=facts.identity, trained=facts.trained, layers=facts.layers)
        if not refusals:
            return facts
        message = f"{told(refusals)} (all that it takes: {shlex.quote(binary)} --help)"
        return replace(facts, reason=INVALID_FLAG, message=clean(message))

    def fitted(self, spec: ServerSpec, binary: str, environment: Mapping[str, str]) -> ServerSpec:
        """The spec as the binary wants it written, as far as that is known by now."""
        table = self._helps.look(binary, environment).table if self._helps is not None else None
        return spec if table is None else engine_of(spec).fitted(spec, table)

    def refusals(self, spec: ServerSpec, binary: str, environment: Mapping[str, str]) -> list[Refusal] | None:
        """What the binary would not take; waits for its answer, and is None where there is none."""
        if self._helps is None:
            return None
        for fresher_than in (float("-inf"), time.monotonic() - FRESH):
            self._helps.look(binary, environment, fresher_than)
            self._helps.settle(TIMEOUT)
            table = self._helps.look(binary, environment).table
            found = None if table is None else engine_of(spec).judge_flags(spec, table)
            if not found:
                break
        return found

    def settle(self) -> None:
        """Wait for the answers that are on their way."""
        if self._helps is not None:
            self._helps.settle()

    def close(self) -> None:
        """Ask nothing any more."""
        if self._helps is not None:
            self._helps.close()

    @property
    def asked(self) -> int:
        """How many times a binary was asked."""
        return self._helps.asked if self._helps is not None else 0

    async def has_answers(self, before: int) -> bool:
        """Whether nothing was asked since a count of `asked`; otherwise once the answers are there."""
        if self._helps is None or (self._helps.asked == before and not self._helps.is_waiting):
            return True
        import asyncio  # noqa: PLC0415 - `validate` has no use for it

        await asyncio.to_thread(self._helps.settle)
        return False

    def _judge(self, document: Document, heard: Heard[Help]) -> list[Refusal]:
        """Kept by document, which is looked at in every pass."""
        if heard.table is None:
            return []
        before = self._verdicts.get(document.name)
        if before is not None and before[0] is document.spec and before[1] is heard.table:
            return before[2]
        judged = engine_of(document.spec).judge_flags(document.spec, heard.table)
        # What a step gets wrong, `validate` tells; it keeps nobody from running as asked for.
        found = [refusal for refusal in judged if refusal[0][:1] != ("fallback",)]
        if len(self._verdicts) >= MOST_VERDICTS:
            self._verdicts.clear()
        self._verdicts[document.name] = (document.spec, heard.table, found)
        return found
