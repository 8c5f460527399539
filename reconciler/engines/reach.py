"""What a llama-server would use of this machine by its flags and variables. The policy judges it."""

import re
from collections.abc import Iterator

from reconciler.core.reach import Reach
from reconciler.core.spec import Scalar, ServerSpec
from reconciler.engines.flag_reach import KNOWN, Flag, Takes
from reconciler.engines.flags import LONG_NAME, Value, long_name, text_of
from reconciler.engines.known_flags import PATH_LISTS, PRESET

_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_SCALED = frozenset({"lora-scaled", "control-vector-scaled"})
_DOWNLOADS = re.compile(r"(HF|HUGGING_?FACE)_|MODEL_ENDPOINT$")
_FLAG_VARIABLE = "LLAMA_ARG_"


def reach(spec: ServerSpec) -> Iterator[Reach]:
    """What flags and variables would use."""
    for name, value in spec.flags.items():
        yield from _reach_flag(name, value)
    for name in spec.env:
        if _DOWNLOADS.match(name):
            yield Reach("hf", f"spec.env.{name}")
        if name.startswith(_FLAG_VARIABLE):
            yield Reach("flags", f"spec.env.{name}", why="sets a flag unseen by the policy")


def _reach_flag(name: str, value: Value) -> Iterator[Reach]:
    flag = KNOWN.get(name)
    subject = f"flag `{name}`"
    if PRESET.fullmatch(name):
        yield Reach("hf", subject)
    elif flag is None or not LONG_NAME.fullmatch(name):
        meant = long_name(name)
        aliases = KNOWN[meant].aliases if meant in KNOWN else (meant,)
        yield Reach("flags", subject, name, "is not known here, so nobody can tell what it reaches", aliases)
    else:
        yield Reach("flags", subject, name, flag.why or _misuse(flag, value), flag.aliases)
        yield from _reach_values(name, flag, value)


def _misuse(flag: Flag, value: Value) -> str:
    """What is wrong with a value: by all of these the next argument could be taken for another flag, or hide one."""
    values = value if isinstance(value, tuple) else (value,)
    if any(_looks_like_a_flag(each) for each in values):
        return "has a value that begins with a dash"
    if flag.takes is Takes.NOTHING:
        return "" if isinstance(value, bool) else "takes no value"
    if value is True or any(isinstance(each, bool) for each in values[1:]):
        return "needs a value"
    if flag.takes is Takes.FILE and any('"' in text_of(each) for each in values):
        return "has quotes in its value"
    return ""


def _looks_like_a_flag(value: Scalar) -> bool:
    text = text_of(value)
    return text.startswith("-") and not _NUMBER.fullmatch(text)


def _reach_values(name: str, flag: Flag, value: Value) -> Iterator[Reach]:
    if flag.takes is Takes.DOWNLOAD:
        yield Reach("hf", f"flag `{name}`")
    if flag.takes is not Takes.FILE or isinstance(value, bool):
        return
    for text in (text_of(each) for each in (value if isinstance(value, tuple) else (value,))):
        for path in text.split(",") if name in PATH_LISTS else [text]:
            # `path:scale`; llama-server refuses a second colon.
            file = path.partition(":")[0] if name in _SCALED else path
            yield Reach("models", f"flag `{name}`", file)
