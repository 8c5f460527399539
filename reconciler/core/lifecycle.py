"""One server's part of the plan: what its rows and processes mean, and what it asks for next.

Ports and load slots are shared between servers: what a server wants of them is left in `claim` for the planner.
"""

from dataclasses import replace

from reconciler.core.actions import SaveServer
from reconciler.core.ends import adopt, end_what_died
from reconciler.core.fallback import off_the_ladder
from reconciler.core.first_starts import is_first_start
from reconciler.core.history import Trigger
from reconciler.core.idle import plan_idle
from reconciler.core.model import Wanted
from reconciler.core.running import plan_running
from reconciler.core.server import Server
from reconciler.core.spec import dump_spec
from reconciler.core.strangers import ignore_adopt_request


def settle(server: Server) -> None:
    """Plan all that this server decides alone, and leave a claim for the rest."""
    end_what_died(server)
    adopt(server)
    _note_generation(server)
    if server.instance is not None:
        ignore_adopt_request(server, "it runs already")
        plan_running(server)
    else:
        plan_idle(server)


def _note_generation(server: Server) -> None:
    """A new generation clears what earlier ones earned."""
    record, wanted = server.record, server.wanted
    if wanted is None or wanted.document.generation == record.generation:
        return
    keeps_trigger = record.generation == 0 or (server.instance is None and is_first_start(record))
    if not _stays_on_its_step(server, wanted):
        record = replace(off_the_ladder(record), starved=None, starved_times=0)
    server.record = replace(
        record,
        generation=wanted.document.generation,
        n=record.n if server.instance else 0,
        ended=None,
        delay=0.0,
        failed=None,
        completed=False,
        next_trigger=record.next_trigger if keeps_trigger else Trigger.SPEC_CHANGED,
    )


def _stays_on_its_step(server: Server, wanted: Wanted) -> bool:
    """Whether its ladder is what it was, as where only labels changed. What runs on a step is told by the old one."""
    instance = server.instance
    if instance is None:
        return False
    return bool(instance.step) or dict(instance.spec) == dump_spec(wanted.spec)


def finish(server: Server) -> None:
    """Commit what is remembered, if it changed."""
    if not server.forgotten and server.record != server.saved:
        server.actions.append(SaveServer(server.record))
