"""How much one manifest may ask for: what is beyond this costs the controller or the machine more than it is worth."""

import re
from collections.abc import Iterator

from reconciler.core.durations import format_duration
from reconciler.core.spec import FromFile, ServerSpec
from reconciler.engines.flags import Refusal, Value, text_of
from reconciler.engines.known_flags import PATH_LISTS, PATHS

MOST_ENTRIES = 256
"""Flags, variables, and values of one flag."""
LONGEST_PATH = 4096
"""Characters, as in Linux's PATH_MAX."""
MOST_FILES = 32
"""Files that one manifest names."""
MOST_PARTS = 256
"""Folders and names in the paths of all of them together: each is looked up before a start."""
MOST_REQUESTS = 512
"""Slots and threads that answer: llama-server has a thread for each slot, and no more than 256 slots."""
MOST_THREADS = 4096
"""Threads that compute, as in `spec.threads`."""
LEAST_PERIOD = 0.05
"""Seconds between two looks at a server."""
LEAST_TIMEOUT = 0.01
"""Seconds for one look at a server that starts."""
LEAST_PATIENCE = 0.1
"""Seconds for one look at a Ready one: within less nobody can tell whether it computes (controller.progress)."""
LEAST_LIMIT = 1.0
"""Seconds until a start has failed, and until one that computes is no longer busy."""
LEAST_RETRY = 1.0
"""Seconds until a Failed server is tried again."""
LEAST_STALL = 1.0
"""Seconds of standing still that are told from work between two looks, and between two completions."""
_COMPUTING = re.compile(r"(spec-draft-)?threads(-batch)?(-draft)?")
_NUMBER = re.compile(r"\s*\+?(\d+)")


def check_bounds(spec: ServerSpec) -> list[Refusal]:
    """What of a spec is too many, too long or too often."""
    return [*_check_numbers(spec), *_check_paths(spec), *_check_threads(spec), *_check_times(spec)]


def _check_numbers(spec: ServerSpec) -> Iterator[Refusal]:
    for place, entries in (("flags", spec.flags), ("env", spec.env)):
        if len(entries) > MOST_ENTRIES:
            yield (place,), f"{len(entries)} entries, and {MOST_ENTRIES} may be; leave some out"
    for name, value in spec.flags.items():
        if isinstance(value, tuple) and len(value) > MOST_ENTRIES:
            yield ("flags", name), f"{len(value)} values, and {MOST_ENTRIES} may be; leave some out"


def _check_paths(spec: ServerSpec) -> Iterator[Refusal]:
    files, parts = 0, 0
    for place, path in _paths(spec):
        files, parts = files + 1, parts + path.count("/") + 1
        if len(path) > LONGEST_PATH:
            yield place, f"a path of {len(path)} characters, and {LONGEST_PATH} may be; write a shorter one"
            return
        if files > MOST_FILES or parts > MOST_PARTS:
            most = f"{MOST_FILES} files, or paths of more than {MOST_PARTS} folders and names together"
            yield place, f"more than {most}, are named up to here; name fewer, or in a folder that is less deep"
            return


def _paths(spec: ServerSpec) -> Iterator[tuple[tuple[str | int, ...], str]]:
    fields = (("model", spec.model), ("apiKeyFile", spec.api_key_file), ("binary", spec.binary))
    yield from (((field,), path) for field, path in fields if isinstance(path, str))
    for name, variable in spec.env.items():
        if isinstance(variable, FromFile):
            yield ("env", name), variable.from_file
    for name, value in spec.flags.items():
        for text in _texts(value) if name in PATHS else ():
            yield from ((("flags", name), path) for path in (text.split(",") if name in PATH_LISTS else [text]))


def _check_threads(spec: ServerSpec) -> Iterator[Refusal]:
    if spec.parallel and spec.parallel > MOST_REQUESTS:
        yield ("parallel",), f"above {MOST_REQUESTS}, which llama-server cannot serve; write a smaller number"
    for name, value in spec.flags.items():
        most = MOST_REQUESTS if name == "threads-http" else MOST_THREADS if _COMPUTING.fullmatch(name) else 0
        # llama-server reads the digits at the beginning, whatever comes behind them.
        numbers = [match[1] for text in _texts(value) if most and (match := _NUMBER.match(text))]
        if any(len(each) > 9 or int(each) > most for each in numbers):
            yield ("flags", name), f"starts more than {most} threads; write a smaller number"


def _texts(value: Value) -> list[str]:
    return [text_of(each) for each in (value if isinstance(value, tuple) else (value,))]


def _check_times(spec: ServerSpec) -> Iterator[Refusal]:
    startup, liveness, restart = spec.probes.startup, spec.probes.liveness, spec.restart
    for place, seconds, least in (
        (("probes", "startup", "initialPeriod"), startup.initial_period, LEAST_PERIOD),
        (("probes", "startup", "maxPeriod"), startup.max_period, LEAST_PERIOD),
        (("probes", "startup", "timeout"), startup.timeout, LEAST_TIMEOUT),
        (("probes", "liveness", "period"), liveness.period, LEAST_PERIOD),
        (("probes", "startup", "deadline"), startup.deadline, LEAST_LIMIT),
        (("probes", "liveness", "timeout"), liveness.timeout, LEAST_PATIENCE),
        (("probes", "liveness", "busyLimit"), liveness.busy_limit, LEAST_LIMIT),
        (("probes", "liveness", "stall"), liveness.stall or LEAST_STALL, LEAST_STALL),
        (("probes", "liveness", "completionPeriod"), liveness.completion_period, LEAST_STALL),
        (("restart", "retryFailedAfter"), restart.retry_failed_after or LEAST_RETRY, LEAST_RETRY),
    ):
        if seconds < least:
            yield place, f"must be {format_duration(least)} or longer"
