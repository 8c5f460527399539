"""What llama-server answers: where to ask, and what the answers mean."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from reconciler.core.clean import clean
from reconciler.core.model import Effective, HealthState
from reconciler.core.spec import ServerSpec

MOST_NAME = 500
"""Characters that are kept of a model's name."""
_OFFLOADED = re.compile(r"offloaded (\d+/\d+) layers to GPU")
_BUFFER = re.compile(r"(?<!\S)(\S{1,40}) model buffer size = +(\d{1,9}(?:\.\d{1,9})?)")
_NO_GPU = re.compile(r"^warning: no usable GPU found, --gpu-layers option will be ignored", re.MULTILINE)
_CAPPED = re.compile(r"exceeds the training context of the model \(\d+\) - capping")


def scheme(spec: ServerSpec) -> str:
    """`https` when the server is given a certificate and its key, else `http`."""
    return "https" if {"ssl-key-file", "ssl-cert-file"} <= spec.flags.keys() else "http"


def health_path(spec: ServerSpec) -> str:
    """Where the server says that it is up; no key is needed."""
    return _prefix(spec) + "/health"


def props_path(spec: ServerSpec) -> str:
    """Where the server reports its settings; needs the key when there is one."""
    return _prefix(spec) + "/props"


def models_path(spec: ServerSpec) -> str:
    """Where the server describes its model; needs the key when there is one."""
    return _prefix(spec) + "/v1/models"


def slots_path(spec: ServerSpec) -> str:
    """Where the server shows its slots; needs the key when there is one."""
    return _prefix(spec) + "/slots"


def _prefix(spec: ServerSpec) -> str:
    value = spec.flags.get("api-prefix", "")
    return value if isinstance(value, str) else ""


def read_health(status: int, headers: Mapping[str, str], body: bytes) -> tuple[HealthState, str]:
    """What an answer on `health_path` means, with a message unless it is Ok."""
    server = next((value for name, value in headers.items() if name.lower() == "server"), "")
    if server and "llama.cpp" not in server.lower():
        return HealthState.STRANGER, f"{server[:60]!r} answers on the port, not llama-server"
    answer = _object(body)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return HealthState.LOADING, _error(answer) or "answers 503"
    if status != HTTPStatus.OK:
        return HealthState.FAILING, f"/health answers {status}: {_error(answer) or 'without a reason'}"
    if answer.get("status") != "ok":
        return HealthState.STRANGER, 'answers 200 on /health, but not with llama-server\'s {"status":"ok"}'
    return HealthState.OK, ""


def read_props(body: bytes, *, model_path: str | None) -> tuple[Effective | None, str]:
    """The settings in effect. None, with the reason, only when it serves another model than `model_path`.

    llama-server repeats the path as it was given, so it must have been absolute. An answer without settings
    gives an `Effective` that says so in `unverified`.
    """
    answer = _object(body)
    served = answer.get("model_path")
    if model_path is not None and isinstance(served, str) and served != model_path:
        return None, clean(f"the server on the port serves {served[:200]}, not {model_path}")
    defaults = answer.get("default_generation_settings")
    per_slot = _count(defaults.get("n_ctx")) if isinstance(defaults, dict) else None
    slots = _count(answer.get("total_slots"))
    if per_slot is None and slots is None:
        reason = _error(answer) or "no settings in it"
        return Effective(unverified=f"/props does not tell: {reason}"), ""
    return Effective(ctx_per_slot=per_slot, slots=slots, model=_served(answer)), ""


def _served(answer: Mapping[str, Any]) -> str:
    """The model's path, or the name it was given where no path is told."""
    named = next((value for key in ("model_path", "model_alias") if isinstance(value := answer.get(key), str)), "")
    return clean(named[:MOST_NAME])


def read_models(body: bytes) -> tuple[Mapping[str, Any], ...]:
    """The served models: `id`, and where told `size` (bytes), `parameters`, `trainedContext` (tokens)."""
    listed = _object(body).get("data")
    items = listed if isinstance(listed, list) else []
    return tuple(_model(item) for item in items if isinstance(item, dict))


def _model(item: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = item.get("meta")
    told = meta if isinstance(meta, dict) else {}
    sources = {"size": "size", "parameters": "n_params", "trainedContext": "n_ctx_train"}
    counts = {name: count for name, source in sources.items() if (count := _count(told.get(source))) is not None}
    return {"id": clean(str(item.get("id", ""))[:MOST_NAME]), **counts}


def read_log_head(log: str) -> Effective:
    """The settings that only the log tells, as it does of most of them at a higher verbosity alone.

    Layers on the GPU of all layers, where the model is kept, and whether the context was cut to what it was trained
    with.
    """
    offloaded = _OFFLOADED.findall(log)
    return Effective(
        gpu_layers=str(offloaded[-1]) if offloaded else None,
        device="CPU" if _NO_GPU.search(log) else _device(log),
        is_capped=_CAPPED.search(log) is not None,
    )


def _device(log: str) -> str:
    """The devices that have a part of the model, such as `CUDA0,CUDA1`; `CPU` when none has."""
    names = dict.fromkeys(name for name, size in _BUFFER.findall(log) if float(size) > 0)
    gpus = [name.removesuffix("_Mapped") for name in names if not name.startswith("CPU") and not name.endswith("_Host")]
    return ",".join(dict.fromkeys(gpus)) or ("CPU" if names else "")


def _object(body: bytes) -> Mapping[str, Any]:
    value = _json(body)
    return value if isinstance(value, dict) else {}


def _json(body: bytes) -> Any:
    # A deeply nested text ends in RecursionError: whoever answers there may be anybody.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    message = error.get("message") if isinstance(error, dict) else answer.get("status")
    return clean(message[:200]) if isinstance(message, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
