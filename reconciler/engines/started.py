"""The way back: from the command line of a llama-server that runs to what it was started with."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from reconciler.core.clean import clean
from reconciler.core.observed import Started
from reconciler.core.spec import Scalar
from reconciler.engines.flags import long_name
from reconciler.engines.known_flags import BARE, FIELD_OF, PRESET, TWO_VALUES

MOST_COMMAND = 300
"""Characters that are shown of a command line."""
HIDDEN = "***"
_SECRET = re.compile(r"(^|[-_.])(keys?|tokens?|secrets?|passw(or)?ds?|pass|pwd|credentials?)$", re.IGNORECASE)
_ASSIGNED = re.compile(r"(?P<name>-{0,2}[\w.-]+)=(?P<value>.+)", re.DOTALL)
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_OF_ENVIRONMENT: Mapping[str, str] = {
    "LLAMA_ARG_MODEL": "model",
    "LLAMA_ARG_HF_REPO": "hf-repo",
    "LLAMA_ARG_HF_FILE": "hf-file",
    "LLAMA_ARG_DOCKER_REPO": "docker-repo",
    "LLAMA_ARG_MODELS_DIR": "models-dir",
    "LLAMA_ARG_MODELS_PRESET": "models-preset",
    "LLAMA_ARG_MODEL_URL": "model-url",
    "LLAMA_ARG_CTX_SIZE": "ctx-size",
    "LLAMA_ARG_N_PARALLEL": "parallel",
    "LLAMA_ARG_N_GPU_LAYERS": "n-gpu-layers",
    "LLAMA_ARG_THREADS": "threads",
    "LLAMA_ARG_API_PREFIX": "api-prefix",
    "LLAMA_ARG_SSL_KEY_FILE": "ssl-key-file",
    "LLAMA_ARG_SSL_CERT_FILE": "ssl-cert-file",
}
"""Variables by which llama-server fills what its command line leaves open, as far as they matter here."""
_UNITED = frozenset({"server", "serve"})
"""Subcommands of the one `llama` program that are llama-server."""

_INTERPRETER = re.compile(r"(ba|da|a|z|k|mk|fi)?sh|busybox|env|(python|perl|ruby|node)[\d.]*|ld([-.].*)?\.so(\..*)?")
"""Programs whose first argument is the program that they run, as far as people know it."""
_OTHER_MODEL = frozenset({"model-url", "docker-repo", "hf-file", "models-dir", "models-preset"})
"""Flags by which the model is another than the path or the repository says."""

Value = Scalar | tuple[Scalar, ...]


def is_llama_server(executable: str, argv: Sequence[str]) -> bool:
    """Whether a program is a llama-server by its name, or that of the script that it is run as."""
    names = [path.rpartition("/")[2] for path in (executable, *argv[:1]) if path]
    if len(argv) > 1 and all(_INTERPRETER.fullmatch(name) for name in names):
        return argv[1].rpartition("/")[2].startswith("llama-server")
    if any(name.startswith("llama-server") for name in names):
        return True
    return bool(names) and names[0] == "llama" and len(argv) > 1 and argv[1] in _UNITED


def is_of_llama_server(headers: Mapping[str, str]) -> bool:
    """Whether an answer, of whatever status, comes from llama.cpp's server."""
    return any(name.lower() == "server" and "llama.cpp" in value.lower() for name, value in headers.items())


def read_started(argv: Sequence[str], environment: Mapping[str, str]) -> Started:
    """What a llama-server was started with. Paths are as given; secrets are left out."""
    found: dict[str, list[str | bool]] = {
        name: [environment[variable]] for variable, name in _OF_ENVIRONMENT.items() if environment.get(variable)
    }
    told: set[str] = set()
    for name, value in _flags(argv):
        if name not in told:
            told.add(name)
            found[name] = []  # the command line goes before the environment
        found[name].append(value)
    last = {name: values[-1] for name, values in found.items()}
    is_other = any(name in _OTHER_MODEL or PRESET.fullmatch(name) for name in last)
    ctx = _text(last, "ctx-size")
    return Started(
        model="" if is_other else _text(last, "model"),
        hf="" if is_other else _text(last, "hf-repo"),
        ctx=_count(last, "ctx-size") or None,  # 0: what the model was trained with, as if it were not given
        ctx_unread=ctx if ctx and _count(last, "ctx-size") is None else "",
        parallel=_positive(last, "parallel"),
        gpu_layers=_text(last, "n-gpu-layers", "gpu-layers"),
        threads=_positive(last, "threads"),
        api_key_file=_text(last, "api-key-file"),
        flags=dict(_others(found)),
    )


def _flags(argv: Sequence[str]) -> Iterator[tuple[str, str | bool]]:
    """Flags by long name, each with its value; one without a value is true, a negated one false."""
    rest = list(argv[1:])
    while rest:
        word = rest.pop(0)
        if not _is_flag(word):
            continue
        name = long_name(word)
        if name in BARE or not rest or _is_flag(rest[0]):
            yield (name.removeprefix("no-"), False) if name.startswith("no-") and name != "no-host" else (name, True)
        elif name in TWO_VALUES and len(rest) > 1:
            yield from ((name, rest.pop(0)), (name, rest.pop(0)))
        else:
            yield name, rest.pop(0)


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NUMBER.fullmatch(word)


def _others(found: Mapping[str, Sequence[str | bool]]) -> Iterator[tuple[str, Value]]:
    """What no field of a manifest owns, in the form of `spec.flags`."""
    for name, values in found.items():
        if name in FIELD_OF or is_secret(name) or not re.fullmatch(r"[a-z][a-z0-9-]{0,99}", name):
            continue
        scalars = tuple(value if isinstance(value, bool) else _scalar(value) for value in values)
        yield name, scalars[0] if len(scalars) == 1 else scalars


def _scalar(text: str) -> Scalar:
    """As YAML would read it, where that writes the same again."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text:
            return value
    return clean(text)


def _text(last: Mapping[str, str | bool], *names: str) -> str:
    return next((value for name in names if isinstance(value := last.get(name), str)), "")


def _count(last: Mapping[str, str | bool], name: str) -> int | None:
    """As llama-server reads it, which of `8k` would take the 8: that is left to it."""
    text = _text(last, name).strip()
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) else None


def _positive(last: Mapping[str, str | bool], name: str) -> int | None:
    count = _count(last, name)
    return count if count is not None and count > 0 else None


# ---------------------------------------------------------------- for people


def is_secret(name: str) -> bool:
    """Whether the value of a flag or variable of this name may be a secret; a path to one is none."""
    return bool(_SECRET.search(name.strip("-")))


def shown_command(argv: Sequence[str]) -> str:
    """A command line in one line of at most 300 characters, with `***` in place of what may be a secret."""
    line = clean(shlex.join(_without_secrets(argv)))
    return line if len(line) <= MOST_COMMAND else line[: MOST_COMMAND - 1] + "…"


def _without_secrets(argv: Sequence[str]) -> Iterator[str]:
    hides = False
    for word in argv:
        assigned = _ASSIGNED.fullmatch(word)
        if hides and not _is_flag(word):
            yield HIDDEN
            hides = False
        elif assigned and is_secret(assigned["name"]):
            yield f"{assigned['name']}={HIDDEN}"
            hides = False
        else:
            hides = word.startswith("-") and is_secret(long_name(word))
            yield re.sub(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)", HIDDEN, word)
