"""The environment of a llama-server: what a manifest may set of it, and what is passed on from the controller's."""

import re
from collections.abc import Mapping

from reconciler.core.spec import EnvValue
from reconciler.engines.flags import Refusal, is_below_errors
from reconciler.engines.known_flags import words

FIELD_OF_VARIABLE: Mapping[str, str] = {
    "LLAMA_ARG_MODEL": "model",
    "LLAMA_ARG_MODEL_URL": "model",
    "LLAMA_ARG_DOCKER_REPO": "model",
    "LLAMA_ARG_HF_REPO": "model",
    "LLAMA_ARG_HF_FILE": "model",
    "LLAMA_ARG_CTX_SIZE": "ctx",
    "LLAMA_ARG_N_PARALLEL": "parallel",
    "LLAMA_ARG_N_GPU_LAYERS": "gpuLayers",
    "LLAMA_ARG_THREADS": "threads",
    "LLAMA_ARG_HOST": "host",
    "LLAMA_ARG_PORT": "port",
    "LLAMA_ARG_API_KEY_FILE": "apiKeyFile",
}
"""Variables of llama-server that say what a field of the spec says."""

_FLAG_OF_VARIABLE: Mapping[str, str] = {
    "LLAMA_ARG_API_PREFIX": "api-prefix",
    "LLAMA_ARG_SSL_KEY_FILE": "ssl-key-file",
    "LLAMA_ARG_SSL_CERT_FILE": "ssl-cert-file",
}
"""Variables that decide where the server is asked for its health, which is read from the flags."""

_BLINDING = frozenset({"LLAMA_ARG_LOG_FILE", "LLAMA_LOG_FILE"})
_VERBOSITY = frozenset({"LLAMA_ARG_LOG_VERBOSITY", "LLAMA_LOG_VERBOSITY"})
_SECRET = re.compile(r"TOKEN(?!S|IZ)|SECRET|PASSWORD|PASSWD|API_?KEY")
_NAMES_A_PLACE = re.compile(r"_(FILE|PATH|DIR|URL)$")

INHERITED: frozenset[str] = words(
    """
    PATH HOME USER LOGNAME LANG LANGUAGE TZ TMPDIR LD_LIBRARY_PATH DYLD_LIBRARY_PATH
    XDG_CACHE_HOME HF_HOME HF_HUB_CACHE HF_ENDPOINT MODEL_ENDPOINT LLAMA_CACHE SSL_CERT_FILE SSL_CERT_DIR
    http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
    """
)
"""Variables of the controller that a server gets."""
INHERITED_PREFIXES = (
    *("LC_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "ROCM_", "HSA_", "GGML_", "VK_", "SYCL_", "ONEAPI_", "ZE_"),
    *("OMP_", "GOMP_", "KMP_"),
)
"""Families of them, by the beginnings of their names."""


def inherits(name: str) -> bool:
    """Whether a server gets this variable of the controller.

    Never `LLAMA_ARG_*`, which would silently fill options that the manifest leaves unset, nor keys and tokens.
    """
    return name in INHERITED or (name.startswith(INHERITED_PREFIXES) and not looks_secret(name))


def check_environment(env: Mapping[str, EnvValue]) -> list[Refusal]:
    """What cannot be accepted of a spec's `env`."""
    found = ((name, _refuse_name(name) or _refuse_value(name, value)) for name, value in env.items())
    return [(("env", name), message) for name, message in found if message]


def _refuse_name(name: str) -> str:
    if field := FIELD_OF_VARIABLE.get(name):
        return f"the field `{field}` decides this; write it there and leave the variable out"
    if flag := _FLAG_OF_VARIABLE.get(name):
        return f"the health of the server would be asked for at the wrong place; write it under `flags`: `{flag}: …`"
    if name in _BLINDING:
        return "the cause of a crash is read from the log, which is kept already (`reconciler logs`); leave it out"
    if name == "LLAMA_SERVER_ROUTER_PORT":
        return "it makes llama-server the child of a router, which is not there; leave it out"
    if name.startswith("RECONCILER_"):
        return "names that begin with RECONCILER_ carry the mark by which servers are known again; choose another"
    return ""


def _refuse_value(name: str, value: EnvValue) -> str:
    if not isinstance(value, str):
        return ""
    if name in _VERBOSITY and is_below_errors(value):
        return "below 1 llama-server does not log its errors, and no crash could be explained; write 1 or more"
    if value and looks_secret(name):
        return (
            "the manifest and the database would hold the secret; "
            f"write `{name}: {{fromFile: <path>}}` or `{name}: {{fromEnv: <variable>}}`"
        )
    return ""


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that its value must not be shown."""
    upper = name.upper()
    return bool(_SECRET.search(upper)) and not _NAMES_A_PLACE.search(upper)
