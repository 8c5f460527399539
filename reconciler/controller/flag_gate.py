"""The gate's part about flags: they are held against `--help` of the very binary, and fitted to it."""

import hashlib
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.core.clean import clean
from reconciler.core.model import Document, GateFacts, Now
from reconciler.core.server import NOT_LOOKED
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.engines.environment import looks_secret
from reconciler.engines.flags import Refusal
from reconciler.engines.help import Help, read_help
from reconciler.runtimes.binary_help import LOADER, TIMEOUT, BinaryHelps, Heard

FOLDER = "helps"
"""In the state folder."""
INVALID_FLAG = "InvalidFlag"
FRESH = 60.0
"""Seconds for which a refusal may rest on what a binary told: what its wrapper or library takes can have changed."""
_FLAGS = "LLAMA_ARG_"
"""How variables begin that stand for flags."""
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


def asking(spec: ServerSpec, inherited: Mapping[str, str], *, is_script: bool) -> dict[str, str]:
    """The environment in which a binary is asked for its help: a launch's, but for all that may be secret.

    Values of flags are left out too: a bad one would have it print no help. What is no script is another program by
    its libraries alone.
    """
    return {**inherited, **{name: str(spec.env[name]) for name in _told(spec) if is_script or name in LOADER}}


def _told(spec: ServerSpec) -> list[str]:
    """The variables that a spec sets in the open."""
    return [
        name
        for name, value in spec.env.items()
        if isinstance(value, str) and not looks_secret(name) and not name.startswith(_FLAGS)
    ]


@dataclass(frozen=True, slots=True)
class Judged:
    """What speaks against flags."""

    refused: Sequence[Refusal] = ()
    """What the binary would not take."""
    doubted: Sequence[Refusal] = ()
    """What it may take all the same: it is a script."""


class FlagGate:
    """Judges specs by the helps of binaries; without them nothing is refused."""

    def __init__(self, helps: BinaryHelps[Help] | None) -> None:
        self._helps = helps
        self._verdicts: dict[str, tuple[ServerSpec, Help, list[Refusal]]] = {}

    def begin(self, binary: str, inherited: Mapping[str, str]) -> None:
        """Ask a binary that is likely to be needed."""
        if self._helps is not None:
            self._helps.look(binary, inherited)

    def look(
        self, document: Document, binary: str, inherited: Mapping[str, str], now: Now, facts: GateFacts
    ) -> GateFacts:
        """The facts, with the gate shut where the binary would not take the flags. It was allowed to be run."""
        if self._helps is None or facts.reason:
            return facts
        is_script = self._helps.is_script(binary)
        environment = asking(document.spec, inherited, is_script=is_script)
        heard = self._helps.look(binary, environment)
        refusals = self._judge(document, heard, lists_all=not is_script)
        if heard.table is not None and refusals and heard.at < now.monotonic - FRESH:
            heard = self._helps.look(binary, environment, now.monotonic - FRESH)
        if heard.waits_until is not None and now.monotonic < heard.waits_until and (refusals or heard.table is None):
            message = f"its flags are being held against: {shlex.quote(binary)} --help"
            shut = replace(NOT_LOOKED, message=clean(message), retry_at=heard.waits_until)
            return replace(shut, identity=facts.identity, trained=facts.trained, layers=facts.layers)
        if not refusals:
            other = _other_flags(document.spec, heard)
            return replace(facts, identity=facts.identity + other) if other else facts
        message = f"{told(refusals)} (all that it takes: {shlex.quote(binary)} --help)"
        return replace(facts, reason=INVALID_FLAG, message=clean(message))

    def fitted(self, spec: ServerSpec, binary: str, inherited: Mapping[str, str]) -> ServerSpec:
        """The spec as the binary wants it written, as far as that is known by now."""
        if self._helps is None:
            return spec
        environment = asking(spec, inherited, is_script=self._helps.is_script(binary))
        table = self._helps.look(binary, environment).table
        return spec if table is None else engine_of(spec).fitted(spec, table)

    def judged(self, spec: ServerSpec, binary: str, inherited: Mapping[str, str]) -> Judged | None:
        """What the binary would not take; waits for its answer, and is None where there is none.

        Nothing that the spec sets reaches the binary: it may be anybody's word.
        """
        if self._helps is None:
            return None
        for fresher_than in (float("-inf"), time.monotonic() - FRESH):
            self._helps.look(binary, inherited, fresher_than)
            self._helps.settle(TIMEOUT)
            table = self._helps.look(binary, inherited).table
            found = None if table is None else engine_of(spec).judge_flags(spec, table)
            if not found or table is None:
                break
        if found is None or table is None:
            return None
        if not self._helps.is_script(binary):
            return Judged(found)
        # By a variable it may run another build, whose help this is not.
        sure = [] if _told(spec) else engine_of(spec).judge_flags(spec, table, lists_all=False)
        return Judged(sure, [one for one in found if one not in sure])

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

    def _judge(self, document: Document, heard: Heard[Help], *, lists_all: bool) -> list[Refusal]:
        """Kept by document, which is looked at in every pass."""
        if heard.table is None:
            return []
        before = self._verdicts.get(document.name)
        if before is not None and before[0] is document.spec and before[1] is heard.table:
            return before[2]
        judged = engine_of(document.spec).judge_flags(document.spec, heard.table, lists_all=lists_all)
        # What a step gets wrong, `validate` tells; it keeps nobody from running as asked for.
        found = [refusal for refusal in judged if refusal[0][:1] != ("fallback",)]
        if len(self._verdicts) >= MOST_VERDICTS:
            self._verdicts.clear()
        self._verdicts[document.name] = (document.spec, heard.table, found)
        return found


def _other_flags(spec: ServerSpec, heard: Heard[Help]) -> str:
    """What stands for flags that are executed otherwise than written, among the files that a start needs.

    Who failed with them as written, under an earlier version or another binary, is then tried once more.
    """
    fitted = spec if heard.table is None or not spec.flags else engine_of(spec).fitted(spec, heard.table)
    if fitted is spec:
        return ""
    return " " + hashlib.sha256(repr(sorted(fitted.flags.items())).encode(errors="replace")).hexdigest()[:12]
