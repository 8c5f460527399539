"""llama-server's flags: which a manifest may set, and how they become arguments."""

import math
import re
from collections.abc import Callable, Iterator, Mapping

from reconciler.core.spec import Scalar
from reconciler.engines.known_flags import (
    BARE,
    BLINDING,
    EXITING,
    FIELD_OF,
    PATH_LISTS,
    PATHS,
    PRESET,
    SHORT,
    TWO_VALUES,
)

Value = Scalar | tuple[Scalar, ...]
Refusal = tuple[tuple[str | int, ...], str]
"""Location in the spec as written, and why it is refused with what to write instead."""
Resolve = Callable[[str, str], str]
"""(flag, value as text) → the value to pass on."""

LONG_NAME = re.compile(r"[a-z][a-z0-9-]*")
_PAIR = 2
_NEEDS_TWO = "`{}` takes a list of two values"


def check_flags(flags: Mapping[str, Value]) -> list[Refusal]:
    """What cannot be accepted of a spec's flags."""
    return [refusal for name, value in flags.items() for refusal in _check_flag(name, value)]


def _check_flag(written: str, value: Value) -> Iterator[Refusal]:
    if message := _refuse_name(written, value):
        yield ("flags", written), message
        return
    for location, message in _check_value(written, value):
        yield ("flags", written, *location), message


def _refuse_name(written: str, value: Value) -> str:
    name = long_name(written)
    if message := _refuse_use(name) or _refuse_negation(name, value):
        return message
    if not LONG_NAME.fullmatch(name):
        return "not a flag's name; write the long name without dashes, such as `flash-attn`"
    return f"write the flag's long name without dashes: `{name}`" if name != written else ""


def long_name(written: str) -> str:
    """The long name that a spelling means: `-ngl`, `--n_gpu_layers=99` → `n-gpu-layers`."""
    name = written.strip().lstrip("-").partition("=")[0].strip()
    return SHORT.get(name, name).replace("_", "-").lower()


_READABLE = "every user of this machine can read a command line; "
_EXITS = "with this flag llama-server prints something and exits; leave it out"
_BLINDS = "the cause of a crash is read from the log, which is kept already (`reconciler logs`); leave it out"
_REFUSED: Mapping[str, str] = {
    **{
        name: f"the field `{field}` decides this; write it there and leave the flag out"
        for name, field in FIELD_OF.items()
    },
    **dict.fromkeys(EXITING, _EXITS),
    **dict.fromkeys(BLINDING, _BLINDS),
    "api-key": _READABLE + "write the keys to a file and name it in `apiKeyFile`",
    "hf-token": _READABLE + "write it under `env`: `HF_TOKEN: {fromFile: <path>}`",
}


def _refuse_use(name: str) -> str:
    if PRESET.fullmatch(name):
        return "this flag chooses a model, port and context of its own; name the model with `model: {hf: user/repo}`"
    return _REFUSED.get(name, "")


def _refuse_negation(name: str, value: Value) -> str:
    # `--no-host` is no negation of `--host`: it bypasses the host buffer.
    if name == "no-host":
        return "leave the flag out in place of `false`" if value is False else ""
    if not name.startswith("no-"):
        return ""
    return f"write `{name.removeprefix('no-')}: {'true' if value is False else 'false'}`"


def _check_value(name: str, value: Value) -> Iterator[Refusal]:
    if isinstance(value, tuple):
        yield from _check_list(name, value)
    elif name in TWO_VALUES:
        yield (), _NEEDS_TWO.format(name)
    elif not _is_finite(value):
        yield (), f"llama-server cannot read {value} as a number"
    elif value is False and name in BARE:
        yield (), f"llama-server has no `--no-{name}`; leave the flag out"
    elif name in ("verbosity", "log-verbosity") and is_below_errors(value):
        yield (), "below 1 llama-server does not log its errors, and no crash could be explained; write 1 or more"
    elif name == "api-prefix" and not _is_prefix(value):
        yield (), "llama-server serves nothing under such a prefix; begin it with `/` and end it without: `/chat`"


def _check_list(name: str, values: tuple[Scalar, ...]) -> Iterator[Refusal]:
    if name in TWO_VALUES and len(values) != _PAIR:
        yield (), _NEEDS_TWO.format(name)
    if name in ("api-prefix", "verbosity", "log-verbosity"):
        yield (), f"`{name}` takes one value, not a list"
    for index, value in enumerate(values):
        if isinstance(value, bool):
            yield (index,), "a list repeats the flag with values; true and false stand alone"
        elif not _is_finite(value):
            yield (index,), f"llama-server cannot read {value} as a number"


def _is_finite(value: Scalar) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def is_below_errors(value: Scalar) -> bool:
    """Whether a verbosity hides llama-server's errors."""
    try:
        return int(value) < 1
    except ValueError:
        return False


def _is_prefix(value: Scalar) -> bool:
    return value == "" or (isinstance(value, str) and value.startswith("/") and not value.endswith("/"))


def as_written(_name: str, value: str) -> str:
    """The `Resolve` that changes nothing."""
    return value


def inside(folder: str, home: str = "") -> Resolve:
    """The `Resolve` that makes relative paths absolute; `~/` needs `home`.

    A value with quotes, by which llama-server escapes commas, is left alone.
    """

    def resolve(name: str, value: str) -> str:
        if name not in PATHS or not value or '"' in value:
            return value
        paths = value.split(",") if name in PATH_LISTS else [value]
        return ",".join(_absolute(path, folder, home) for path in paths)

    return resolve


def _absolute(path: str, folder: str, home: str) -> str:
    if home and (path == "~" or path.startswith("~/")):
        return home + path[1:]
    return path if not path or path.startswith("/") else f"{folder.rstrip('/')}/{path.removeprefix('./')}"


def flag_arguments(flags: Mapping[str, Value], resolve: Resolve = as_written) -> list[str]:
    """The arguments of a spec's flags.

    Sorted by name, for the order in YAML means nothing; those without a value first, for older builds accept
    `--chat-template-file` only after `--jinja`. The order within a list is kept.
    """
    ordered = sorted(flags.items(), key=lambda item: (not isinstance(item[1], bool), item[0]))
    return [argument for name, value in ordered for argument in _arguments(name, value, resolve)]


def _arguments(name: str, value: Value, resolve: Resolve) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    texts = [resolve(name, text_of(each)) for each in (value if isinstance(value, tuple) else (value,))]
    if name in TWO_VALUES:
        return [f"--{name}", *texts]
    return [argument for text in texts for argument in (f"--{name}", text)]


def text_of(value: Scalar) -> str:
    """A value as an argument: `1.0` stays `1.0`, as it was written."""
    return repr(value) if isinstance(value, float) else str(value)
