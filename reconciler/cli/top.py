"""`top`: what the servers take of the machine, and what they give for it."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.asked import shown_phase
from reconciler.cli.chosen import Chosen
from reconciler.cli.failure import Failure
from reconciler.cli.folding import fold_behind
from reconciler.cli.invocation import Invocation, Verb, pass_invocation
from reconciler.cli.names import SERVER_NAME, without_kind
from reconciler.cli.output import list_of, print_json, print_yaml, say, show
from reconciler.cli.selecting import selector_option
from reconciler.cli.servers import NOTHING, paint_phase
from reconciler.cli.standing import opened
from reconciler.cli.tables import Table
from reconciler.cli.terminal import is_terminal, width
from reconciler.cli.waiting import Duration
from reconciler.core.label_selector import LabelSelector
from reconciler.installation import is_controller_running
from reconciler.store import read

if TYPE_CHECKING:
    from reconciler.cli.usage import Looker, Shown
    from reconciler.controller.usage import Look

FIRST = 0.5
"""Most seconds between the two looks that the first table needs."""
LEAST = 0.1
KINDS = ("name", "cpu", "memory", "gpu", "tokens", "slots")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@click.command(
    cls=Verb,
    short_help="Show what servers take of the machine, and how much they serve.",
    examples=[
        ("reconciler top", "all servers; on a terminal again and again, until Ctrl-C"),
        ("reconciler top --sort-by memory", "the largest first"),
        ("reconciler top -l tier=prod --interval 5s", "those with a label, each 5 seconds"),
        ("reconciler top --once -o json", "for programs"),
    ],
    exit_codes={0: "shown", 1: "there is no such server, or no installation", 130: "ended by Ctrl-C"},
)
@click.argument("names", metavar="[NAME]…", nargs=-1, type=SERVER_NAME, callback=without_kind)
@selector_option
@click.option("--once", is_flag=True, help="Show one table, on a terminal too.")
@click.option("--interval", type=Duration(), default="2s", show_default=True, metavar="DURATION", help="Time between.")
@click.option("--sort-by", "order", type=click.Choice(KINDS), default="name", help="What comes first: the most of it.")
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print it once, as data.")
@pass_invocation
def top(  # noqa: PLR0913 - a function has as many arguments as its verb has options
    invocation: Invocation,
    *,
    names: tuple[str, ...],
    labels: LabelSelector | None,
    once: bool,
    interval: float,
    order: str,
    output: str | None,
) -> None:
    """Show CPU, memory and GPU memory of servers, the tokens that they generate, and their slots in use.

    100 % of CPU is one core. A dash stands for what nobody tells: a server that does not answer within a second, one
    that may sleep (a look at its slots would wake it; with `metrics: true` in spec.flags it tells its tokens all the
    same). Without metrics, requests that end between two looks count less.
    """
    if interval < LEAST:
        raise click.UsageError("--interval must be 100ms or longer")
    state = invocation.state_folder()
    chosen = Chosen(names, labels)
    try:
        with opened(state, warns=True) as db:
            chosen.refuse_unknown(db)
        # Not before it is known that there is something to be looked at: this is slow to import.
        from reconciler.cli.usage import Looker  # noqa: PLC0415

        looks = _Looks(state, chosen, order, Looker(lambda: invocation.settings_of(state)))
        if is_terminal() and not once and output is None:
            _redraw(looks, interval)
        else:
            _print(looks, min(interval, FIRST), output)
    except read.ReadError as error:
        raise Failure(str(error)) from None


class _Looks:
    """Looks at the servers that were asked for."""

    def __init__(self, state: Path, chosen: Chosen, order: str, looker: "Looker") -> None:
        self._state = state
        self._chosen = chosen
        self._order = order
        self.looker = looker

    def each(self, first: float, interval: float) -> Iterator[list["Shown"]]:
        """What came between each two looks; `interval` and the `first` pause are in seconds."""
        from reconciler.cli.usage import shown_between  # noqa: PLC0415 - see above

        before: Mapping[str, Look] | None = None
        while True:
            items, after = self._look()
            if before is not None:
                yield self._sorted([shown_between(item, before.get(name), after[name]) for name, item in items.items()])
            time.sleep(first if before is None else interval)
            before = after

    def _look(self) -> tuple[dict[str, Any], dict[str, "Look"]]:
        with opened(self._state) as db:
            identities, controller = read.identities(db), is_controller_running(self._state)
            found = read.servers(db, self._chosen.of(db), now=time.time(), controller=controller)
        return {item["metadata"]["name"]: item for item in found}, self.looker.look(found, identities)

    def _sorted(self, usages: list["Shown"]) -> list["Shown"]:
        """Those of which nothing is known come last."""
        if self._order == "name":
            return usages
        of = "busy" if self._order == "slots" else self._order
        return sorted(usages, key=lambda one: -1 if (most := getattr(one, of)) is None else most, reverse=True)


def _print(looks: _Looks, pause: float, output: str | None) -> None:
    usages = next(looks.each(pause, pause))
    if output == "json":
        print_json(list_of("ServerUsageList", [_object(usage) for usage in usages]))
    elif output == "yaml":
        print_yaml(list_of("ServerUsageList", [_object(usage) for usage in usages]))
    elif usages:
        show("\n".join(_lines(usages, gpus=looks.looker.sees_gpus)))
    else:
        say("no servers to be looked at; see which there are with: reconciler get servers", err=True)


def _redraw(looks: _Looks, interval: float) -> None:
    from rich.console import Console  # noqa: PLC0415 - slow to import, and of use on terminals only
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        for usages in looks.each(min(interval, FIRST), interval):
            # What is longer than the terminal could not be drawn over.
            most = max(1, shutil.get_terminal_size().lines - 4)
            lines = _lines(usages, gpus=looks.looker.sees_gpus, most=most)
            live.update(Text.from_ansi("\n".join(lines), no_wrap=True), refresh=True)


def _lines(usages: Sequence["Shown"], *, gpus: bool, most: int | None = None) -> list[str]:
    """The table, with what all of them take together below; of more than `most` servers only the first."""
    headers = ["NAME", "PHASE", "CPU", "MEMORY", *(["GPU"] if gpus else []), "TOKENS/S", "SLOTS", "WAITING"]
    table = Table(headers, width=width(), gives_way=(("NAME", 8),))
    lines = table.lines([_row(usage, gpus=gpus) for usage in usages[:most]], paint_phase)
    left_out = len(usages) - len(usages[:most])
    last = fold_behind("", _together(usages, gpus=gpus), width())
    return [*lines, *([f"{left_out} more"] if left_out else []), *last]


def _row(usage: "Shown", *, gpus: bool) -> list[str]:
    return [
        usage.item["metadata"]["name"],
        shown_phase(usage.item),
        _told(usage.cpu, _percent),
        _told(usage.memory, size_words),
        *([_told(usage.gpu, size_words)] if gpus else []),
        _told(usage.tokens, _rate),
        NOTHING if usage.busy is None else f"{usage.busy}/{NOTHING if usage.slots is None else usage.slots}",
        _told(usage.waiting, str),
    ]


def _told(value: Any, words: Callable[[Any], str]) -> str:
    return NOTHING if value is None else words(value)


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 10 else f"{value:.1f} %"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def size_words(size: float) -> str:
    """Bytes as people read them: `812 MiB`, `4.2 GiB`."""
    unit = 0
    while size >= 1023.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if size < 10 and unit > 1 else f"{size:.0f} {_UNITS[unit]}"


def _together(usages: Sequence["Shown"], *, gpus: bool) -> str:
    def total(values: Sequence[float | None]) -> float:
        return sum(value for value in values if value is not None)

    parts = [
        f"{len(usages)} total",
        f"{_percent(total([usage.cpu for usage in usages]))} CPU",
        f"{size_words(total([usage.memory for usage in usages]))} memory",
        *([f"{size_words(total([usage.gpu for usage in usages]))} GPU"] if gpus else []),
        f"{_rate(total([usage.tokens for usage in usages]))} tokens/s",
    ]
    return ", ".join(parts)


def _object(usage: "Shown") -> dict[str, Any]:
    """As JSON; what is not known is null."""
    return {
        "metadata": {"name": usage.item["metadata"]["name"]},
        "status": {"phase": usage.item["status"]["phase"]},
        "usage": usage.data,
    }
