import ast
import copy
from pathlib import Path

import pytest

import reconciler.core.plan
from reconciler.core.model import Exit, GateFacts, HealthState
from reconciler.core.plan import plan
from tests.core.worlds import World

CORE = Path(reconciler.core.plan.__file__).parent
ALLOWED = frozenset(
    {
        *("collections", "dataclasses", "difflib", "enum", "hashlib", "ipaddress", "json", "math", "pydantic", "re"),
        *("shlex", "typing", "urllib.parse"),
        # For values alone: ruff forbids the clock, and nobody here sends a signal.
        *("datetime", "signal"),
    }
)
"""All that the pure room needs. Whoever adds a module here has looked that it sees neither clock nor machine."""


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_core_imports_nothing_that_sees_the_world(path: Path) -> None:
    foreign = {name for name in imported(path) if not name.startswith("reconciler.core.")}
    assert {name if name in ALLOWED else name.partition(".")[0] for name in foreign} <= ALLOWED


@pytest.mark.parametrize("path", sorted(CORE.glob("*.py")), ids=lambda path: path.stem)
def test_core_opens_prints_and_imports_nothing_by_name(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    assert not names & {"open", "print", "input", "exec", "eval", "__import__", "id", "hash"}


def busy_world() -> World:
    """One server in each of many states."""
    world = World()
    for name in ("ready", "crashed", "changed", "removed", "double", "blocked", "asked", "stopped"):
        world.declare(name)
    world.settle()
    for process in world.processes:
        process.ready_at = 0.0
    world.let_happen()
    world.settle()
    world.process("crashed").end(Exit(signal=9))
    world.process("blocked").end(Exit(code=1))
    world.process("ready").answers = HealthState.FAILING
    world.declare("changed", ctx=512)
    del world.files["removed"]
    world.add_process("double", "other")
    world.gates["blocked"] = GateFacts("ModelMissing", "no file")
    world.ask("restart", "asked")
    world.ask("stop", "stopped")
    world.run()
    world.advance(2.0)
    world.let_happen()
    return world


def test_a_plan_changes_nothing_it_was_given_and_is_always_the_same() -> None:
    inputs = busy_world().inputs()
    before = copy.deepcopy(inputs)
    plans = [plan(*inputs) for _ in range(3)]
    assert len({type(action) for action in plans[0].actions}) >= 4
    assert plans == [plans[0]] * 3
    assert inputs == before


def test_the_order_of_mappings_is_of_no_matter() -> None:
    desired, observed, history, requests, now = busy_world().inputs()
    turned = type(desired)(dict(reversed(list(desired.servers.items()))), desired.invalid, limits=desired.limits)
    assert plan(turned, observed, history, requests, now) == plan(desired, observed, history, requests, now)
