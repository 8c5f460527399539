"""Where what runs falls short of what was asked for: a fallback step, no GPU, less context, or a slow /health."""

from reconciler.core.fallback import led_to, step_of
from reconciler.core.history import Condition, Instance
from reconciler.core.ladder import asked_beside, spec_on
from reconciler.core.model import Effective, Phase
from reconciler.core.server import Server
from reconciler.core.spec import ServerSpec

RUNNING = frozenset({Phase.STARTING, Phase.READY})


def degradation(server: Server) -> tuple[str, str]:
    """Reason and message of why what runs is less than what was asked for; empty when it is not."""
    instance = server.instance
    if instance is None or server.wanted is None or server.phase not in RUNNING:
        return "", ""
    if instance.step:
        return _on_a_step(server, instance)
    effective = instance.effective
    if effective is None or server.phase is not Phase.READY or not _is_asked_for(server, instance):
        return "", ""
    if short := _gpu_layers(server.wanted.spec, instance, effective):
        return "GpuUnavailable", short
    return "", ""


def _on_a_step(server: Server, instance: Instance) -> tuple[str, str]:
    assert server.wanted is not None
    before = led_to(server.record, instance.step)
    told = instance.step_told or f"step {instance.step}"
    why = f", for {before.result}" if before else ""
    does = "running" if server.phase is Phase.READY else "trying"
    back = f"go back with: reconciler restart {server.name} --primary"
    asked = asked_beside(server.wanted.spec, step_of(instance))
    return before.result if before else "Fallback", f"asked for {asked}; {does} {told}{why}; {back}"


def _is_asked_for(server: Server, instance: Instance) -> bool:
    assert server.wanted is not None
    return not instance.adopted and instance.fingerprint == server.wanted.fingerprint


def _gpu_layers(spec: ServerSpec, instance: Instance, effective: Effective) -> str:
    asked = spec.gpu_layers
    if asked in (None, 0, "auto") or instance.hides_gpus:
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
    trained = f"the model was trained with {effective.trained}" if effective.trained else "the model allows no more"
    wanted = f"asked for ctx {asked}; " if asked is not None else ""
    return f"{wanted}running with {effective.ctx_per_slot} in each of {slots} slots: {trained}"
