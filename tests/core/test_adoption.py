"""Processes that bear our mark and are not in the rows, or not alone; and documents that cannot be read over them."""

from dataclasses import replace

import pytest

from reconciler.core.history import Status, Trigger
from reconciler.core.model import Exit, Phase, Problem
from tests.core.states import STATES, crash, ready, running
from tests.core.worlds import Simulated, World, fingerprint_of, health_of, spec_of

JUNK = Problem("junk.yaml", "this is not YAML", 1, 1)
BROKEN = Problem("a.yaml", "expected a number", 6, 9, "spec.ctx", "a")


def found(world: World, uid: str = "found", *, ticks: int = 0, fits: bool = True, leader: bool = True) -> Simulated:
    """A process of server `a`, as a controller without its rows sees it."""
    mark = fingerprint_of(spec_of()) if fits else "1:other"
    process = world.add_process("a", uid, fingerprint=mark, port=8001, leader=leader)
    process.identity = replace(process.identity, start_ticks=process.identity.start_ticks + ticks)
    return process


def passes(world: World, count: int = 5) -> None:
    for _ in range(count):
        world.settle()
        world.advance(10.0)


# ---------------------------------------------------------------- one without a row


def test_a_server_found_running_is_taken_over() -> None:
    world = World()
    world.declare("a")
    process = found(world)
    world.settle()
    instance = world.instances["a"]
    assert (instance.uid, instance.trigger, instance.identity) == ("found", Trigger.ADOPTED, process.identity)
    assert (instance.port, instance.generation, instance.fingerprint) == (8001, 1, process.fingerprint)
    assert world.told("Adopted") == [f"found running as pid {process.identity.pid}, instance found"]
    assert (world.starts, world.sent, world.phase("a")) == ([], [], Phase.STARTING)
    ready(world)
    assert world.phase("a") is Phase.READY


def test_one_that_is_not_as_declared_is_taken_over_and_replaced() -> None:
    world = World()
    world.declare("a")
    found(world, fits=False)
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]
    assert world.starts[-1].trigger is Trigger.SPEC_CHANGED


def test_one_whose_document_is_gone_is_stopped_gracefully() -> None:
    world = World()
    found(world)
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]
    assert (world.records, world.told("Removed")) == ({}, [])


@pytest.mark.parametrize("state", ["Failed", "Completed"])
def test_an_adopted_server_counts_anew(state: str) -> None:
    world = STATES[state]()
    process = found(world)
    world.declare("a")
    world.settle()
    record = world.records["a"]
    assert (world.phase("a"), record.failed, record.completed) == (Phase.STARTING, None, False)
    process.end(Exit(code=1))
    world.records["a"] = replace(world.records["a"], n=0)
    world.settle()
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 1)


# ---------------------------------------------------------------- several


def test_beside_the_instance_a_second_one_is_killed() -> None:
    world = running()
    second = found(world)
    world.settle()
    assert world.sent == [("Kill", second.identity)]
    assert world.told("Superfluous") == [f"pid {second.identity.pid} is a second instance: killed"]
    assert world.phase("a") is Phase.READY


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [((0, True), (5, False), "one"), ((0, False), (5, True), "other"), ((5, True), (0, True), "one")],
    ids=["the fitting", "the fitting though younger", "the younger"],
)
def test_of_two_without_a_row_one_is_kept(one: tuple[int, bool], other: tuple[int, bool], kept: str) -> None:
    world = World()
    world.declare("a")
    processes = {
        name: found(world, name, ticks=ticks * 100, fits=fits)
        for name, (ticks, fits) in {"one": one, "other": other}.items()
    }
    world.settle()
    assert world.instances["a"].uid == kept
    assert [name for name, process in processes.items() if process.alive] == [kept]


def test_a_second_one_that_sleeps_through_sigkill_is_sent_another_each_second() -> None:
    world = running()
    found(world).killable = False
    for number in range(1, 4):
        assert world.settle().wake_at == world.now.monotonic + 1.0
        assert [kind for kind, _ in world.sent] == ["Kill"] * number
        world.advance(1.0)


# ---------------------------------------------------------------- leftovers and children


def test_leftovers_are_gone_before_the_next_start() -> None:
    world = running()
    helper = found(world, world.process("a").uid, leader=False)
    helper.killable = False
    world.processes[-2].end(Exit(signal=9))
    world.settle()
    pid = helper.identity.pid
    assert (world.phase("a"), world.reason("a")) == (Phase.PENDING, "WaitingForLeftovers")
    assert world.status("a").message == f"waiting for leftover processes to end (pid {pid})"
    assert world.sent == [("Kill", helper.identity)]
    for _ in range(3):
        world.advance(60.0)
        world.settle()
        assert world.status("a").message == (
            f"waiting for leftover processes to end (pid {pid}): SIGKILL does not end them; "
            f"see what they wait for: ps -o pid,stat,wchan:32,args -p {pid}"
        )
    assert len(world.starts) == 2
    helper.killable = True
    world.advance(1.0)
    world.settle()
    assert (world.phase("a"), helper.alive) == (Phase.STARTING, False)


def test_whether_a_leftover_resists_is_remembered_not_read_from_a_message() -> None:
    world = running()
    helper = found(world, world.process("a").uid, leader=False)
    helper.killable = False
    world.processes[-2].end(Exit(signal=9))
    world.settle()
    world.records["a"] = replace(world.records["a"], status=Status(Phase.PENDING, "SIGKILL does not end them"))
    world.settle()
    assert "SIGKILL" not in world.status("a").message
    world.advance(1.0)
    world.records["a"] = replace(world.records["a"], status=Status(Phase.PENDING, "in other words"))
    world.settle()
    assert "SIGKILL does not end them" in world.status("a").message


def test_who_is_swept_is_told_of_once() -> None:
    world = running()
    helpers = [found(world, "an-earlier-one", leader=False) for _ in range(2)]
    helpers[0].killable = False
    for _ in range(3):
        world.settle()
        world.advance(1.0)
    (told,) = world.told("Swept")
    assert all(f"pid {helper.identity.pid}" in told for helper in helpers)
    assert world.records["a"].swept_pids == (helpers[0].identity.pid,)
    helpers[0].killable = True
    world.advance(1.0)
    world.settle()
    assert [*world.records["a"].swept_pids] == []


def test_what_is_no_server_by_its_command_line_is_a_leftover_where_no_row_tells() -> None:
    """A helper of a server that has ended, when the database that knew that is lost."""
    world = World()
    world.declare("a")
    helper = found(world, "an-earlier-one")
    helper.is_launched = False
    world.settle()
    assert (world.sent, world.told("Adopted"), len(world.told("Swept"))) == ([("Kill", helper.identity)], [], 1)
    assert len(world.starts) == 1


def test_a_leftover_that_is_found_beside_the_next_instance_is_killed() -> None:
    world = running()
    helper = found(world, "an-earlier-one", leader=False)
    world.settle()
    assert (world.sent, helper.alive, world.told("Superfluous")) == ([("Kill", helper.identity)], False, [])
    assert world.phase("a") is Phase.READY


def test_a_second_one_that_does_not_die_is_told_of_once_for_each_sigkill() -> None:
    world = running()
    found(world).killable = False
    for number in range(1, 4):
        world.settle()
        world.settle()
        assert len(world.told("Superfluous")) == number
        world.advance(1.0)


def test_helpers_of_a_running_instance_are_let_be() -> None:
    world = running()
    helper = found(world, world.process("a").uid, leader=False)
    passes(world)
    assert (helper.alive, world.sent) == (True, [])


def test_a_child_that_leads_its_own_session_is_not_taken_for_the_instance() -> None:
    world = running()
    parent = world.process("a")
    child = found(world, parent.uid)
    world.processes.remove(child)
    world.processes.insert(0, child)
    passes(world)
    assert (world.sent, child.alive) == ([], True)
    parent.end(Exit(code=1))
    world.settle()
    assert (world.ended[-1].exit, world.sent) == (Exit(code=1), [("Kill", child.identity)])
    assert world.told("Adopted") == []


def test_a_child_that_outlives_its_instance_is_not_adopted_however_long_it_takes_to_die() -> None:
    world = running()
    parent = world.process("a")
    child = found(world, parent.uid, ticks=100)
    child.killable = False
    parent.end(Exit(code=1))
    for _ in range(5):
        world.settle()
        assert (world.phase("a"), world.reason("a")) == (Phase.PENDING, "WaitingForLeftovers")
        world.advance(30.0)
    world.new_controller()
    world.settle()
    assert (world.told("Adopted"), len(world.starts), "a" in world.instances) == ([], 2, False)
    assert {identity for _, identity in world.sent} == {child.identity}
    child.killable = True
    world.advance(1.0)
    world.settle()
    assert (world.phase("a"), world.process("a").uid != parent.uid) == (Phase.STARTING, True)


def test_a_child_is_not_the_instance_when_nobody_saw_that_one_die() -> None:
    world = running()
    parent = world.process("a")
    child = found(world, parent.uid, ticks=100)
    world.processes.remove(parent)
    world.new_controller()
    world.settle()
    assert (world.ended[-1].uid, world.ended[-1].exit, world.ended[-1].diagnosis) == (parent.uid, Exit(), "Unknown")
    assert world.sent == [("Kill", child.identity)]
    assert world.told("Adopted") == []


def test_without_proc_a_recorded_process_is_known_by_its_pid_when_start_times_have_moved() -> None:
    world = running()
    process = world.process("a")
    process.identity = replace(process.identity, start_ticks=process.identity.start_ticks + 3_600_00)
    world.new_controller()
    passes(world)
    assert (process.alive, world.sent, len(world.starts)) == (True, [], 2)


def test_of_a_family_found_without_a_row_the_parent_is_the_instance() -> None:
    world = World()
    world.declare("a")
    parent = found(world)
    child = found(world, ticks=100)
    world.settle()
    world.settle()
    assert (world.instances["a"].identity, child.alive, world.sent) == (parent.identity, True, [])


def test_a_spawn_that_was_not_recorded_is_recognised_by_its_mark() -> None:
    world = running()
    instance = world.instances["a"]
    world.instances["a"] = replace(instance, identity=None)
    world.settle()
    assert world.instances["a"].identity == instance.identity
    assert (world.starts[2:], world.told("Adopted")) == ([], [])


def test_an_end_that_nobody_saw_is_an_end() -> None:
    world = running()
    world.processes.remove(world.process("a"))
    world.settle()
    assert (world.ended[-1].exit, world.ended[-1].diagnosis) == (Exit(), "Unknown")
    assert (world.phase("a"), world.records["a"].n) == (Phase.BACKOFF, 1)


# ---------------------------------------------------------------- law 5: bad input stops nothing that runs


def test_a_new_controller_with_all_its_rows_changes_nothing() -> None:
    world = running()
    world.new_controller()
    passes(world)
    assert (world.sent, len(world.starts)) == ([], 2)


def test_an_unknown_server_goes_on_while_some_manifest_cannot_be_read() -> None:
    world = World(problems=(JUNK,))
    process = found(world)
    passes(world)
    assert (process.alive, world.sent) == (True, [])
    assert (world.phase("a"), world.status("a").message) == (
        Phase.INVALID,
        "it runs on while some manifest cannot be read: its document may be there; see: reconciler validate",
    )
    world.problems = ()
    world.settle()
    assert not process.alive
    assert world.records == {}


def test_an_unknown_server_goes_on_while_the_folder_cannot_be_read() -> None:
    world = World(folder_failed="manifests/ may not be read")
    process = found(world)
    passes(world)
    assert (process.alive, world.sent) == (True, [])


def test_an_unknown_server_goes_on_while_its_own_document_is_broken() -> None:
    world = World(problems=(BROKEN,))
    process = found(world)
    passes(world)
    assert (process.alive, world.phase("a")) == (True, Phase.INVALID)
    assert world.status("a").message == str(BROKEN)
    assert world.reason("a", "Reconciled") == "InvalidManifest"
    process.end(Exit(code=1))
    world.settle()
    assert (world.phase("a"), world.starts) == (Phase.INVALID, [])
    world.problems = ()
    world.declare("a")
    world.settle()
    assert world.phase("a") is Phase.STARTING


@pytest.mark.parametrize("problem", [JUNK, BROKEN])
def test_an_unknown_server_is_stopped_when_somebody_asks_for_it(problem: Problem) -> None:
    world = World(problems=(problem,))
    process = found(world)
    world.settle()
    world.ask("stop", "a")
    world.settle()
    assert [kind for kind, _ in world.sent] == ["Terminate"]
    assert not process.alive


def test_a_broken_document_lets_its_server_go_on_and_be_restarted() -> None:
    world = running(ctx=256)
    del world.files["a"]
    world.problems = (BROKEN,)
    passes(world)
    assert (world.sent, world.phase("a")) == ([], Phase.READY)
    assert world.status("a").message == f"{BROKEN}; the last accepted spec stays in force"
    assert world.told("InvalidManifest") == [f"{BROKEN}; the last accepted spec stays in force"]
    crash(world)
    world.advance(0.5)
    world.settle()
    assert (world.phase("a"), world.instances["a"].spec["ctx"]) == (Phase.STARTING, 256)


def test_several_errors_are_counted() -> None:
    world = World(problems=(BROKEN, replace(BROKEN, line=7)))
    world.settle()
    condition = next(c for c in world.status("a").conditions if c.type == "Reconciled")
    assert condition.message == f"{BROKEN} (and 1 more)"


def test_a_server_held_by_the_prune_guard_goes_on_and_says_so() -> None:
    world = World()
    world.declare("a")
    world.settle()
    world.process("a").health = health_of()
    world.settle()
    world.files.clear()
    passes(world)
    assert (world.sent, world.reason("a", "Reconciled")) == ([], "PruneHeld")
    assert world.status("a").message.endswith("confirm it with: reconciler apply --prune")
    world.ask("prune", "a")
    world.settle()
    assert (world.records, world.documents, world.requests["prune"]) == ({}, {}, {})
