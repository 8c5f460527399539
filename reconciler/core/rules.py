"""`[policy]`: what manifests may have this machine do. Stricter for those of a Git repository than for local ones."""

import ipaddress
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from reconciler.core.loaders import loads_code
from reconciler.core.source import LOCAL

ANY = "*"
"""In a list: everything."""
_PORTS = re.compile(r"(?P<low>\d{1,5})(?:-(?P<high>\d{1,5}))?", re.ASCII)

Names = tuple[Annotated[str, Field(min_length=1)], ...]
Most = Annotated[int, Field(ge=0)]


class Rules(BaseModel):
    """`[policy.git]`: what a Git repository may have this machine do. In a list, `*` stands for anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    binaries: Names = ()
    """Programs that `spec.binary` may name, besides the llama-server that runs anyway."""
    models: Names = ()
    """Folders, besides the models folder, in which models and other files that flags name may lie."""
    secrets: Names = ()
    """Folders from which `fromFile` and `apiKeyFile` may read."""
    from_env: Names = ()
    """Variables of the controller that `fromEnv` may hand on; patterns with `*`."""
    flags: Names = ()
    """Flags allowed although they are denied by default; patterns with `*`."""
    deny_flags: Names = ()
    """Flags denied although they are allowed; patterns with `*`."""
    env: Names = ()
    """Variables that may be set, besides those of devices and language; patterns with `*`. None that loads code."""
    deny_env: Names = ()
    """Environment variables denied although they are allowed; patterns with `*`."""
    hosts: Names = ()
    """Where servers may listen, besides loopback addresses: addresses, networks such as `192.168.1.0/24`, names."""
    ports: Names = ("8001-8999",)
    """Ports that `spec.port` may name, such as `8080` or `8001-8999`; empty: any. `auto` always may."""
    hf: bool = False
    """Whether llama-server may download models."""
    max_servers: Most = 64
    """Most servers; those that run come first. 0: no limit."""
    max_ctx: Most = 0
    """Largest context of a server, in tokens over all slots, which `spec.ctx` must then say. 0: no limit."""
    max_parallel: Most = 0
    """Most slots of a server, which `spec.parallel` must then say. 0: no limit."""

    @field_validator("env")
    @classmethod
    def _no_loaders(cls, names: Names) -> Names:
        for name in names:
            if name != ANY and loads_code(name.replace("*", "X")):
                raise ValueError(f"{name} decides which code a server loads, and no manifest may set it; take it out")
        return names

    @field_validator("hosts")
    @classmethod
    def _addresses(cls, hosts: Names) -> Names:
        for host in hosts:
            if "/" in host:
                ipaddress.ip_network(host)  # raises ValueError, and says why
        return hosts

    @field_validator("ports")
    @classmethod
    def _ranges(cls, ports: Names) -> Names:
        for one in ports:
            if one != ANY and port_range(one) is None:
                raise ValueError(f"{one!r} is neither a port nor a range; write them like 8080 or 8001-8999")
        return ports


class LocalRules(Rules):
    """`[policy.local]`: what the manifests folder may have this machine do. Its owner may do nearly everything."""

    binaries: Names = ()
    """Programs that `spec.binary` may name, besides the llama-server that runs anyway and those of `binaries`."""
    models: Names = (ANY,)
    """Folders, besides the models folder, in which models and other files that flags name may lie."""
    secrets: Names = (ANY,)
    """Folders from which `fromFile` and `apiKeyFile` may read."""
    from_env: Names = (ANY,)
    """Variables of the controller that `fromEnv` may hand on; patterns with `*`."""
    flags: Names = (ANY,)
    """Flags that are allowed although they reach far; patterns with `*`."""
    env: Names = (ANY,)
    """Variables that may be set, besides those of devices and language; patterns with `*`. None that loads code."""
    hosts: Names = (ANY,)
    """Where servers may listen, besides loopback addresses: addresses, networks such as `192.168.1.0/24`, names."""
    ports: Names = ()
    """Ports that `spec.port` may name, such as `8080` or `8001-8999`; empty: any. `auto` always may."""
    hf: bool = True
    """Whether llama-server may download models."""
    max_servers: Most = 0
    """Most servers; those that run come first. 0: no limit."""


class Policy(BaseModel):
    """`[policy]`: what manifests may have this machine do, by where they come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    local: LocalRules = LocalRules()
    """For documents of the manifests folder."""
    git: Rules = Rules()
    """For documents of the Git repository."""

    def of(self, origin: str) -> Rules:
        """The rules for documents of an origin; the stricter ones for an origin that nobody knows."""
        return self.local if origin == LOCAL else self.git


def port_range(text: str) -> tuple[int, int] | None:
    """Lowest and highest port of `8080` or `8001-8999`; None when it is neither."""
    found = _PORTS.fullmatch(text)
    if found is None:
        return None
    low, high = int(found["low"]), int(found["high"] or found["low"])
    return (low, high) if 1 <= low <= high <= 65535 else None
