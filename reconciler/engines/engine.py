"""What an engine owes the house: everything that is peculiar to a kind of server, without I/O."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from reconciler.core.causes import Diagnosis, Ending
from reconciler.core.gate import NamedFile
from reconciler.core.model import Effective, HealthState
from reconciler.core.reach import Reach
from reconciler.core.spec import ServerSpec
from reconciler.engines.flags import Refusal
from reconciler.engines.throughput import Metrics, Slots
from reconciler.engines.work import Trial, Work

if TYPE_CHECKING:
    from reconciler.engines.help import Help
    from reconciler.engines.live import TooLarge


class Engine(Protocol):
    """A kind of server: how it is launched, asked, and what its end means. Modules are engines (see llama_server)."""

    # ------------------------------------------------------------ launch

    def check(self, spec: ServerSpec) -> list[tuple[tuple[str | int, ...], str]]:
        """What cannot be accepted of a spec, with its place and what to write instead."""

    def reach(self, spec: ServerSpec) -> Iterator[Reach]:
        """What a spec's flags and variables would use of this machine, for the policy to judge."""

    def fingerprint(self, spec: ServerSpec) -> str:
        """The fingerprint of a spec: a change of it restarts the server."""

    def symbolic_argv(self, spec: ServerSpec) -> tuple[str, ...]:
        """The arguments exactly as the spec writes them."""

    def render(  # noqa: PLR0913 - what differs between two instances, each by its name
        self,
        spec: ServerSpec,
        *,
        binary: str,
        model: str | None,
        port: int,
        models_dir: str,
        api_key_file: str | None,
        home: str = "",
    ) -> tuple[str, ...]:
        """The command line of one instance."""

    def without_gpus(self, spec: ServerSpec) -> ServerSpec:
        """The spec of the same server on the CPU alone, with the GPUs hidden from it."""

    def judge_flags(self, spec: ServerSpec, known: "Help", *, lists_all: bool = True) -> list[Refusal]:
        """What a binary with this help would not take of a spec: each with its place and what to write instead.

        Without `lists_all` the binary may take flags that its help lacks.
        """

    def fitted(self, spec: ServerSpec, known: "Help") -> ServerSpec:
        """The spec with its flags written as a binary with this help wants them."""

    def named_files(self, spec: ServerSpec, folder: str, home: str) -> Iterator[NamedFile]:
        """The files beside the model that must be there for a start; `folder` is that of models."""

    def inherits(self, name: str) -> bool:
        """Whether a server gets this variable of the controller's environment."""

    # ------------------------------------------------------------ answers

    def scheme(self, spec: ServerSpec) -> str:
        """`http` or `https`."""

    def health_path(self, spec: ServerSpec) -> str:
        """Where the server says that it is up."""

    def props_path(self, spec: ServerSpec) -> str:
        """Where the server reports its settings."""

    def models_path(self, spec: ServerSpec) -> str:
        """Where the server describes its model."""

    def slots_path(self, spec: ServerSpec) -> str:
        """Where the server shows its slots."""

    def read_health(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[HealthState, str]:
        """What an answer on `health_path` means."""

    def read_props(self, body: bytes, *, model_path: str | None) -> tuple[Effective | None, str]:
        """The settings in effect, or None and why this is not the server that was started."""

    def read_models(self, body: bytes) -> tuple[Mapping[str, Any], ...]:
        """The served models."""

    def read_work(self, body: bytes) -> Work | None:
        """What the slots are at, when told."""

    def metrics_path(self, spec: ServerSpec) -> str:
        """Where the server shows its counters."""

    def shows_metrics(self, spec: ServerSpec) -> bool:
        """Whether it was told to show them."""

    def read_slots(self, body: bytes) -> Slots | None:
        """How many slots there are, and how far those are that serve."""

    def read_metrics(self, body: bytes) -> Metrics | None:
        """What the counters say."""

    def may_sleep(self, spec: ServerSpec) -> bool:
        """Whether a look at the slots could wake the server."""

    def is_asleep(self, body: bytes) -> bool:
        """Whether the properties of one that may sleep say that it does."""

    def trial(self, spec: ServerSpec) -> Trial:
        """The smallest piece of its work, to be asked for."""

    def read_trial(self, status: int, body: bytes) -> tuple[bool | None, str]:
        """Whether that went well, and why not; None when it was not even tried."""

    def read_log_head(self, log: str) -> Effective:
        """The settings that the log's beginning tells."""

    # ------------------------------------------------------------ what a live log tells

    def read_live(self, text: str, effective: Effective | None = None) -> "TooLarge | None":
        """The largest request that whole lines of the log tell to have been refused for its size.

        `effective`: what the server runs with, as far as it is known; what does not fit that is not believed.
        """

    def tell_live(
        self, found: "TooLarge", spec: ServerSpec, effective: Effective | None, server: str, *, eased: str = ""
    ) -> str:
        """What happened to it and what can be done, in one sentence; `eased`: the fallback step that runs."""

    # ------------------------------------------------------------ ends

    def diagnose(self, ending: Ending) -> Diagnosis:
        """The named cause of an end nobody asked for, and the evidence for it."""
