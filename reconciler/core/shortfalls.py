"""Where what runs falls short of what was asked for: a fallback step, no GPU, less context, or a slow /health."""

from reconciler.core.fallback import led_to, step_of
from reconciler.core.history import Condition, Instance
from reconciler.core.ladder import asked_beside, spec_on
from reconciler.core.model import Effective, Phase
from reconciler.core.server import Server
from reconciler.core.spec import ServerSpec

RUNNING = frozenset({Phase.STARTING, Phase.READY})
CPU_ONLY = "CpuOnly"
NO_LAYERS = (None, 0, "auto")
"""Values of `gpuLayers` that ask for nothing that could be missed."""


def degradation(server: Server) -> tuple[str, str]:
    """Reason and message of why what runs is less than what was asked for; empty when it is not."""
    instance = server.instance
    if instance is None or server.wanted is None or server.phase not in RUNNING:
        return "", ""
    if instance.step:
        return _on_a_step(server, instance)
    if server.phase is not Phase.READY or not _is_asked_for(server, instance):
        return "", ""
    if short := _on_the_cpu(server, instance):
        return CPU_ONLY, short
    short = _gpu_layers(server.wanted.spec, instance.effective) if instance.effective else ""
    return "GpuUnavailable" if short else "", short


def _on_a_step(server: Server, instance: Instance) -> tuple[str, str]:
    assert server.wanted is not None
    before = led_to(server, instance.step)
    told = instance.step_told or f"step {instance.step}"
    if "gpuLayers" not in instance.changes and _on_the_cpu(server, instance):
        told += " on the CPU (cpu_only is set)"
    why = f", for {before.result}" if before else ""
    does = "running" if server.phase is Phase.READY else "trying"
    back = f"{_why_not_by_itself(server)}go back with: reconciler restart {server.name} --primary"
    asked = asked_beside(server.wanted.spec, step_of(instance))
    return before.result if before else "Fallback", f"asked for {asked}; {does} {told}{why}; {back}"


def _why_not_by_itself(server: Server) -> str:
    """Where it is to go back while nobody needs it, and does not tell whether that is so."""
    is_wanted = server.wanted is not None and server.wanted.spec.restart.retry_primary_after > 0
    if server.process is None or not (is_wanted and server.process.health.hides_slots):
        return ""
    return "it does not go back by itself, for it does not tell whether its slots are idle; "


def _on_the_cpu(server: Server, instance: Instance) -> str:
    """The GPUs were hidden from one that asks for layers there."""
    assert server.wanted is not None
    asked = server.wanted.spec.gpu_layers
    if asked in NO_LAYERS or not instance.hides_gpus:
        return ""
    how = "in the settings, or RECONCILER_CPU_ONLY"
    why = f"cpu_only is set ({how})" if server.limits.cpu_only else f"cpu_only was set ({how}) when it was started"
    return f"asked for gpuLayers {asked}; running on the CPU, for {why}"


def not_degraded(server: Server) -> str:
    """The reason for which there is nothing to be told: it runs as asked for, or does not run, or is another yet."""
    if server.instance is None:
        return "NotRunning"
    if server.wanted is not None and server.phase in RUNNING and _is_asked_for(server, server.instance):
        return "AsAsked"
    return server.waiting[0] or ("Adopted" if server.instance.adopted else server.reason)


def _is_asked_for(server: Server, instance: Instance) -> bool:
    assert server.wanted is not None
    return not instance.adopted and instance.fingerprint == server.wanted.fingerprint


def _gpu_layers(spec: ServerSpec, effective: Effective) -> str:
    asked = spec.gpu_layers
    if asked in NO_LAYERS:
        return ""
    offloaded, _, all_ = (effective.gpu_layers or "").partition("/")
    if not (offloaded.isdigit() and all_.isdigit()):
        return f"asked for gpuLayers {asked}; running on the CPU" if effective.device == "CPU" else ""
    wanted = min(asked, int(all_)) if isinstance(asked, int) else int(all_)
    is_short = int(offloaded) < wanted
    return f"asked for gpuLayers {asked}; running with {offloaded} of {all_} layers on the GPU" if is_short else ""


def further(server: Server) -> tuple[Condition, ...]:
    """Conditions that are only there while they are True."""
    instance, process = server.instance, server.process
    if instance is None or process is None or server.wanted is None or server.phase is not Phase.READY:
        return ()
    found = []
    if capped := _capped(server.wanted.spec, instance) if _is_asked_for(server, instance) else "":
        found.append(Condition("ContextCapped", status=True, reason="ContextCapped", message=capped))
    if slow := process.health.slow:
        found.append(Condition("Slow", status=True, reason="Slow", message=f"/health takes {slow:.1f} s lately"))
    return tuple(found)


def _capped(spec: ServerSpec, instance: Instance) -> str:
    """The context of a slot may be more than asked for, for it is rounded up to whole blocks, but not less."""
    effective, asked = instance.effective, spec_on(spec, step_of(instance)).ctx
    if effective is None or effective.ctx_per_slot is None:
        return ""
    slots = effective.slots or spec.parallel or 1
    is_less = asked is not None and effective.ctx_per_slot < asked // slots
    if not (effective.is_capped or is_less):
        return ""
    wanted = f"asked for ctx {asked}; " if asked is not None else ""
    return f"{wanted}running with {effective.ctx_per_slot} in each of {slots} slots{_why_capped(effective)}"


def _why_capped(effective: Effective) -> str:
    """Less may have other reasons than the model's training, and those are not known."""
    if effective.is_capped or effective.ctx_per_slot == effective.trained:
        return (
            f": the model was trained with {effective.trained}" if effective.trained else ": the model allows no more"
        )
    return ""
