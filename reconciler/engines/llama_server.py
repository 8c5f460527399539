"""The engine `llama-server`: from a spec to a command line. What it answers and why it ends is read beside."""

from collections.abc import Sequence

from reconciler.core import fingerprint as fingerprints
from reconciler.core.spec import DEFAULT_HOST, HfModel, ServerSpec
from reconciler.core.written_steps import says, written_steps
from reconciler.engines.answers import (
    health_path,
    models_path,
    props_path,
    read_health,
    read_log_head,
    read_models,
    read_props,
    scheme,
    slots_path,
)
from reconciler.engines.bounds import check_bounds
from reconciler.engines.environment import INHERITED, check_environment, inherits
from reconciler.engines.files import named_files
from reconciler.engines.flags import Refusal, as_written, check_flags, flag_arguments, inside
from reconciler.engines.gpus import without_gpus
from reconciler.engines.later import diagnose, fitted, judge_flags, read_live, tell_live
from reconciler.engines.reach import reach
from reconciler.engines.throughput import metrics_path, read_metrics, read_slots, shows_metrics
from reconciler.engines.work import check_work, is_asleep, may_sleep, read_trial, read_work, trial

__all__ = [
    "INHERITED",
    "Argv",
    "check",
    "diagnose",
    "fingerprint",
    "fitted",
    "health_path",
    "inherits",
    "is_asleep",
    "judge_flags",
    "may_sleep",
    "metrics_path",
    "models_path",
    "named_files",
    "props_path",
    "reach",
    "read_health",
    "read_live",
    "read_log_head",
    "read_metrics",
    "read_models",
    "read_props",
    "read_slots",
    "read_trial",
    "read_work",
    "render",
    "scheme",
    "shows_metrics",
    "slots_path",
    "symbolic_argv",
    "tell_live",
    "trial",
    "without_gpus",
]

Argv = tuple[str, ...]


def check(spec: ServerSpec) -> list[Refusal]:
    """What cannot be accepted of a spec, with its place and what to write instead."""
    return _check(spec) + [
        ((*at, *place), message)
        for at, step, on_step in written_steps(spec)
        for place, message in _check(on_step)
        if says(step, place)
    ]


def _check(spec: ServerSpec) -> list[Refusal]:
    where_and_how = _check_host(spec) + check_flags(spec.flags) + check_environment(spec.env)
    return where_and_how + check_bounds(spec) + check_work(spec)


def _check_host(spec: ServerSpec) -> list[Refusal]:
    if not spec.host.endswith(".sock"):
        return []
    return [(("host",), "llama-server takes this for a Unix socket, which cannot be watched; write an IP address")]


def fingerprint(spec: ServerSpec) -> str:
    """The fingerprint of a spec: a change of it restarts the server."""
    return fingerprints.fingerprint(spec, symbolic_argv(spec))


def symbolic_argv(spec: ServerSpec) -> Argv:
    """The arguments exactly as the spec writes them, without the binary: paths unresolved, port `auto` as it is.

    It feeds the fingerprint: a change of its form restarts every server of every user.
    """
    model = _hf_arguments(spec.model) if isinstance(spec.model, HfModel) else ["--model", spec.model]
    host = [] if spec.host == DEFAULT_HOST else ["--host", spec.host]
    key = _option("--api-key-file", spec.api_key_file)
    return (*model, *host, "--port", str(spec.port), *_sizes(spec), *key, *flag_arguments(spec.flags, as_written))


def render(  # noqa: PLR0913 - what differs between two instances, each by its name
    spec: ServerSpec,
    *,
    binary: str,
    model: str | None,
    port: int,
    models_dir: str,
    api_key_file: str | None,
    home: str = "",
) -> Argv:
    """The command line of one instance. All paths given are absolute; `model` is None for one of Hugging Face.

    Host and port are always in it, for llama-server's defaults move. Raises ValueError for a path as `spec.model`
    that was not resolved.
    """
    key = _option("--api-key-file", api_key_file)
    flags = flag_arguments(spec.flags, inside(models_dir, home))
    address = ["--host", spec.host, "--port", str(port)]
    return (binary, *_model_arguments(spec, model), *address, *_sizes(spec), *key, *flags)


def _model_arguments(spec: ServerSpec, model: str | None) -> Sequence[str]:
    if isinstance(spec.model, HfModel):
        return _hf_arguments(spec.model)
    if model is None:
        raise ValueError(f"the model's path {spec.model} was not resolved")
    return ["--model", model]


def _hf_arguments(model: HfModel) -> Sequence[str]:
    return ["--hf-repo", model.hf]


def _sizes(spec: ServerSpec) -> Sequence[str]:
    return [
        *_option("--ctx-size", spec.ctx),
        *_option("--parallel", spec.parallel),
        *_option("--n-gpu-layers", spec.gpu_layers),
        *_option("--threads", spec.threads),
    ]


def _option(flag: str, value: int | str | None) -> Sequence[str]:
    return [] if value is None else [flag, str(value)]
