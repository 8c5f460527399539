"""What most verbs need nothing of, imported with its first use: to compile what it reads takes longer than they do."""

from typing import TYPE_CHECKING

from reconciler.core.causes import Diagnosis, Ending
from reconciler.core.model import Effective
from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import Refusal

if TYPE_CHECKING:
    from reconciler.engines.help import Help
    from reconciler.engines.live import TooLarge


def diagnose(ending: Ending) -> Diagnosis:
    """See diagnosis."""
    from reconciler.engines import diagnosis  # noqa: PLC0415 - see above

    return diagnosis.diagnose(ending)


def judge_flags(spec: ServerSpec, known: "Help", *, lists_all: bool = True) -> list[Refusal]:
    """See judging_flags."""
    from reconciler.engines import judging_flags  # noqa: PLC0415 - see above

    return judging_flags.judge_flags(spec, known, lists_all=lists_all)


def fitted(spec: ServerSpec, known: "Help") -> ServerSpec:
    """See judging_flags."""
    from reconciler.engines import judging_flags  # noqa: PLC0415 - see above

    return judging_flags.fitted(spec, known)


def read_live(text: str, effective: Effective | None = None) -> "TooLarge | None":
    """See live."""
    from reconciler.engines import live  # noqa: PLC0415 - see above

    return live.read_live(text, effective)


def tell_live(found: "TooLarge", spec: ServerSpec, effective: Effective | None, server: str, *, eased: str = "") -> str:
    """See live."""
    from reconciler.engines import live  # noqa: PLC0415 - see above

    return live.tell_live(found, spec, effective, server, eased=eased)
