"""What a manifest would have this machine do, held against the rules. Pure: paths come resolved."""

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.core.clean import escaped
from reconciler.core.loaders import loads_code
from reconciler.core.reach import FOLDERS, PATHS, Reach
from reconciler.core.rules import ANY, Rules, port_range

HARMLESS_ENV = (
    *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    *("GGML_VK_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR", "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES"),
    *("LANG", "LC_*"),
)
"""Variables that choose devices, threads and language, and may always be set."""
Places = Mapping[str, Sequence[str]]
"""The paths that these settings allow, as they lie on this machine."""
_WRITTEN = 1000
"""Most characters of a setting that is shown as it must be written."""
_SHOWN = 120
"""Most characters of a manifest's text in a message."""
_COUNTED = 50
"""Refusals of one document that are counted."""


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a document is refused."""

    rule: str
    """The setting that refuses it, such as `policy.git.flags`."""
    message: str
    """The rule, what is refused, and which setting would allow it."""
    path: tuple[str | int, ...] = ()
    """The place in the manifest, such as `("spec", "port")`; empty where it is not a field that is refused."""


def judge(found: Iterable[Reach], rules: Rules, places: Places, origin: str) -> Iterator[Denial]:
    """The refusals. All paths are absolute and without symbolic links; `places` has those of the rules."""
    after = rules
    for reach in found:
        why = _why_path(reach, places) if reach.setting in PATHS else _why(reach, rules)
        if why:
            rule = f"policy.{origin}.{reach.setting}"
            after = _with(reach, after, origin)
            yield Denial(rule, f"{rule}: {reach.subject} {why}{_remedy(reach, after, origin)}", path_of(reach.subject))


def together(found: Iterable[Denial]) -> Denial | None:
    """The first of some refusals, which says how many more there are."""
    refusals = iter(found)
    first = next(refusals, None)
    more = sum(1 for _ in zip(refusals, range(_COUNTED), strict=False))
    if first is None or not more:
        return first
    return replace(first, message=f"{first.message} (and {'at least ' if more == _COUNTED else ''}{more} more)")


def is_inside(path: str, folders: Sequence[str]) -> bool:
    """Whether a path is one of the folders or below one; all of them absolute and resolved."""
    return ANY in folders or any(path == folder or path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


# ---------------------------------------------------------------- why something is refused


def _why_path(reach: Reach, places: Places) -> str:
    allowed = places[reach.setting]
    if reach.setting in FOLDERS:
        outside = f"names {shown(reach.value)}, which is outside the allowed folders"
        return "" if is_inside(reach.value, allowed) else outside
    return "" if ANY in allowed or reach.value in allowed else f"names {shown(reach.value)}, which may not be run"


def _why(reach: Reach, rules: Rules) -> str:  # noqa: PLR0911 - one line for each setting
    value = shown(reach.value)
    match reach.setting:
        case "from_env":
            return "" if _matches((reach.value,), rules.from_env) else f"asks for the controller's variable {value}"
        case "flags":
            return _why_flag(reach, rules)
        case "env":
            return _why_variable(reach, rules)
        case "hosts":
            return "" if _may_listen(reach.value, rules.hosts) else f"is {value}, which other machines may reach"
        case "ports":
            return "" if _is_port_allowed(reach.value, rules.ports) else f"is {value}, which is not among the ports"
        case "hf":
            return "" if rules.hf else "has llama-server download files"
        case _:
            return _why_size(reach, getattr(rules, reach.setting))


def _why_flag(reach: Reach, rules: Rules) -> str:
    if not reach.value:
        return "" if _is_unbound(rules) else reach.why
    names = (reach.value, *reach.aliases)
    if _matches(names, rules.deny_flags):
        return "is denied by deny_flags"
    return "" if _matches(names, rules.flags) else reach.why


def _is_unbound(rules: Rules) -> bool:
    """Whether any flag may be set to anything."""
    allowed = ANY in rules.flags and ANY in rules.models and rules.hf
    return allowed and not (rules.deny_flags or rules.max_ctx or rules.max_parallel)


def _why_variable(reach: Reach, rules: Rules) -> str:
    if loads_code(reach.value):
        return "decides which code a server loads, or where it writes"
    if _matches((reach.value,), rules.deny_env):
        return "is denied by deny_env"
    allowed = _matches((reach.value,), rules.env) or _matches((reach.value,), HARMLESS_ENV)
    return "" if allowed else "is a variable that may not be set"


def _why_size(reach: Reach, most: int) -> str:
    if not most or (reach.value and int(reach.value) <= most):
        return ""
    return f"is {reach.value}, above {most}" if reach.value else f"is not written, and must be at most {most}"


def _matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether a name fits a pattern, in which only `*` is special."""
    wanted = [re.compile(".*".join(map(re.escape, pattern.split(ANY))), re.DOTALL) for pattern in patterns]
    return any(pattern.fullmatch(name) for name in names for pattern in wanted)


def _may_listen(host: str, hosts: Sequence[str]) -> bool:
    if ANY in hosts or host in hosts or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # What follows `%` may hold anything, a comma and a second address too.
    if "%" in host:
        return False
    networks = (ipaddress.ip_network(network) for network in hosts if "/" in network)
    return address.is_loopback or any(address in network for network in networks)


def _is_port_allowed(port: str, ports: Sequence[str]) -> bool:
    ranges = [found for one in ports if (found := port_range(one))]
    return not ports or ANY in ports or any(low <= int(port) <= high for low, high in ranges)


# ---------------------------------------------------------------- what would allow it


def _with(reach: Reach, rules: Rules, origin: str) -> Rules:
    """Rules with the setting written so that it allows this too, where adding to a list does."""
    listed = getattr(rules, reach.setting)
    if not isinstance(listed, tuple) or _remedy_in_manifest(reach, rules, origin):
        return rules
    # The folder that would have to be allowed; `/` itself for what lies in it.
    value = reach.value.rpartition("/")[0] or "/" if reach.setting in FOLDERS else reach.value
    return rules if value in listed else rules.model_copy(update={reach.setting: (*listed, value)})


def _remedy(reach: Reach, rules: Rules, origin: str) -> str:
    """What to do about a refusal, to be put behind it; `rules`: those that would allow it."""
    if way_out := _remedy_in_manifest(reach, rules, origin):
        return f"; {way_out}"
    match reach.setting:
        case "hf":
            return f"; put the file into the models folder and name it, or {to_write(origin, 'hf', True)}"
        case "max_ctx" | "max_parallel" as setting:
            instead = "write a smaller one" if reach.value else f"write {reach.subject}"
            return f"; {instead}, or {to_write(origin, setting, int(reach.value or 0))}"
        case setting:
            instead = "put it into the models folder, or" if setting == "models" else "to allow it,"
            return f"; {instead} {to_write(origin, setting, getattr(rules, setting))}"


def _remedy_in_manifest(reach: Reach, rules: Rules, origin: str) -> str:
    """What to do where adding to a setting does not help; empty where it does."""
    names = (reach.value, *reach.aliases)
    if reach.setting == "env" and loads_code(reach.value):
        if reach.inherited:
            return "take it out; set it where the controller is started, which hands it on to its servers"
        allowed = f"name that in spec.binary, and in binaries under [policy.{origin}] in reconciler.toml"
        return f"take it out; a server that needs it is started by a program of this machine that sets it: {allowed}"
    if reach.setting == "flags" and not reach.value:
        return "write the flag under `flags` instead"
    for setting, denied in (("flags", "deny_flags"), ("env", "deny_env")):
        if reach.setting == setting and _matches(names, getattr(rules, denied)):
            return f"take it out, or take its name out of {denied} under [policy.{origin}] in reconciler.toml"
    return ""


def path_of(subject: str) -> tuple[str | int, ...]:
    """Where in a manifest it stands."""
    if step := re.fullmatch(r"(.*) of spec\.fallback\.steps\.(\d+)", subject, re.DOTALL):
        return ("spec", "fallback", "steps", int(step[2]), *path_of(step[1])[1:])
    name = re.fullmatch("flag `(.*)`", subject, re.DOTALL)
    return ("spec", "flags", name[1]) if name else tuple(subject.split(".", 2))


def to_write(origin: str, setting: str, value: object) -> str:
    """The setting as it must be written."""
    plain = json.dumps(value, ensure_ascii=False)
    text = "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in plain)
    written = f"write {setting} = {text}" if len(text) <= _WRITTEN else f"add it to {setting}"
    return f"{written} under [policy.{origin}] in reconciler.toml and run the controller again"


def shown(text: str) -> str:
    """A manifest's text on one line, of bounded length."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return escaped(short)
