"""Why a llama-server ended: from its exit and its log's last lines to a named cause.

llama-server exits with 1 for every failure of a start, so only the log tells them apart. Precision before recall:
`Unknown` with the end of the log is better than a wrong name.
"""

import re
import signal
from collections.abc import Iterable, Sequence

from reconciler.core.causes import CAUSES, Diagnosis, Ending
from reconciler.core.clean import clean
from reconciler.core.model import Exit
from reconciler.engines.last_words import causes_at_the_end, crash_at_the_end, last_words
from reconciler.engines.log_causes import causes_in, crash_in, last, support_for
from reconciler.engines.log_lines import LONGEST, Line, has_open_request, lines_of, since_overcome
from reconciler.engines.sizes_in_logs import shortfall

MOST_EVIDENCE = 3
CLOSING = 1000
"""Characters at the end of a log in which its last words are looked for."""
_CRASHES = frozenset(
    {signal.SIGABRT, signal.SIGSEGV, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS, signal.SIGBUS}
)
_WISHES = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
"""By which people, shells and service managers end a process."""
_CLEAN_END = re.compile(r"cleaning up before exit")
_GAVE_UP = re.compile(r"exiting due to|failed to load model")
_LOADED = re.compile(r"\bmodel loaded\b")
_SECOND_SIGNAL = re.compile(r"^Received second interrupt")
_OF_MEMORY = frozenset(cause.name for cause in CAUSES.values() if cause.eases) - {"GpuUnavailable"}
_CANNOT_EXECUTE, _NOT_FOUND = 126, 127
_OF_SHELLS = (
    (_CANNOT_EXECUTE, "PermissionDenied", re.compile(r"[Pp]ermission denied")),
    (_NOT_FOUND, "BinaryMissing", re.compile(r"not found|No such file or directory")),
)
"""How a shell script in llama-server's place tells that there is none: exit code, cause, words."""


def diagnose(ending: Ending) -> Diagnosis:
    """Name of the cause of an end nobody asked for, and the evidence for it.

    The failures of a start are not looked for in one that ever served.
    """
    number = _signal(ending.exit)
    if found := _by_status(ending, number, lines_of(ending.log_tail[-CLOSING:])):
        return found
    lines = lines_of(ending.log_tail)
    found = _by_log(ending, since_overcome(lines))
    if found is None and number == signal.SIGILL and _is_foreign(ending, lines):
        return _named("WrongArchitecture", "SIGILL: the program was built for another processor than this machine's")
    if found is None and number is not None:
        found = _crashed(ending, number, lines)
    return found or _unknown(ending, since_overcome(lines))


def _by_status(ending: Ending, number: int | None, lines: Sequence[Line]) -> Diagnosis | None:
    """The cause where the log has no say: it may tell of older, survived troubles."""
    if ending.killed_for_memory and (number == signal.SIGKILL or ending.exit == Exit()):
        return _named("OomKilled", ending.killed_for_memory)
    gave_up = ending.exit == Exit() and _says(_GAVE_UP, lines)
    if ending.exit.code in (0, None) and number is None and not gave_up and _says(_CLEAN_END, lines[-1:]):
        return _named("KilledByUser", "it was told to end, which nobody here did", *_texts(lines[-1:]))
    if ending.exit.code == 0:
        return _named("Exited", "exit code 0, which nobody here asked for", *_texts(lines[-1:]))
    if ending.exit.code == 1 and _says(_SECOND_SIGNAL, lines[-3:]):
        return _named("KilledByUser", "it was told to end twice, which nobody here did", *_texts(lines[-1:]))
    return _by_signal(ending, number) or _by_shell(ending.exit, lines)


def _by_signal(ending: Ending, number: int | None) -> Diagnosis | None:
    if number == signal.SIGBUS and ending.model_changed:
        return _named("ModelFileChanged", "SIGBUS: a file in use was overwritten or cut short")
    if number in _WISHES:
        return _named("KilledByUser", f"{_name(number)}, not sent from here")
    if number == signal.SIGKILL and ending.killed_for_memory is not None:
        return _named("KilledByUser", "SIGKILL, not sent from here; the kernel killed nobody for memory")
    if number is not None and number not in _CRASHES:
        unread = "; whether the kernel did it for want of memory cannot be read" if number == signal.SIGKILL else ""
        return _named("Unknown", f"{_name(number)}, not sent from here{unread}")
    return None


def _by_shell(exit_: Exit, lines: Sequence[Line]) -> Diagnosis | None:
    for code, cause, pattern in _OF_SHELLS:
        text = last(line.text for line in lines if pattern.search(line.text))
        if exit_.code == code and text and "shared librar" not in text:
            return _named(cause, text)
    return None


def _is_foreign(ending: Ending, lines: Sequence[Line]) -> bool:
    """Whether it met an instruction unknown to this machine: an abort may end in SIGILL too, but says so."""
    return ending.phase == "Starting" and not crash_in(lines) and not _says(_LOADED, lines)


def _by_log(ending: Ending, lines: Sequence[Line]) -> Diagnosis | None:
    lines = lines if ending.phase == "Starting" else last_words(lines)
    found = list(causes_in(lines) if ending.phase == "Starting" else causes_at_the_end(lines))
    if not found:
        missing = ending.model_missing and ending.phase == "Starting"
        return _named("ModelMissing", *_texts(lines[-1:])) if missing else None
    cause, text = found[0]
    if cause == "ModelBroken" and ending.model_missing:
        cause = "ModelMissing"
    if cause == "PortInUse" and ending.may_not_listen:
        return _named("PermissionDenied", "only root may listen on a port that low", text)
    same = [other for name, other in found if name == cause]
    words = shortfall(lines, ending.spec, of_gpu=cause == "GpuOutOfMemory") if cause in _OF_MEMORY else ""
    return _named(cause, words, support_for(cause, lines), text, *same)


def _crashed(ending: Ending, number: int, lines: Sequence[Line]) -> Diagnosis:
    newest = since_overcome(lines)
    # How far a start came tells something; the last word of one that served mostly does not, or is a client's.
    text = crash_in(newest) if ending.phase == "Starting" else crash_at_the_end(newest)
    if not text and number == signal.SIGBUS and ending.model_changed is None:
        text = "whether a file in use was changed cannot be told"
    elif not text and ending.phase == "Starting":
        text = last(_texts(newest))
    evidence = f"{_name(number)}: {text}" if text else _name(number)
    if ending.phase == "Ready" and has_open_request(lines):
        return _named("CrashedInRequest", evidence, "a request was being processed")
    return _named("Crashed", evidence)


def _unknown(ending: Ending, lines: Sequence[Line]) -> Diagnosis:
    """With the first error of a start, from which the others follow, and how the log ends."""
    errors = [] if ending.phase == "Ready" else [line.text for line in lines if line.is_error]
    newest = _texts([line for line in lines if not line.is_debug][-1:])
    return _named("Unknown", *(errors[:1] or newest or [str(ending.exit)]), *newest)


def _named(cause: str, *evidence: str) -> Diagnosis:
    told = dict.fromkeys(clean(text)[:LONGEST] for text in evidence if text)
    return Diagnosis(cause, tuple(told)[:MOST_EVIDENCE])


def _says(pattern: re.Pattern[str], lines: Iterable[Line]) -> bool:
    return any(pattern.search(line.text) for line in lines)


def _texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


def _signal(exit_: Exit) -> int | None:
    """The signal, also when a shell script around llama-server reports it as 128 + n."""
    if exit_.signal is not None:
        return exit_.signal
    number = (exit_.code or 0) - 128
    return number if number in signal.valid_signals() else None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
