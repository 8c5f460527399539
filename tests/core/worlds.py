"""A machine in memory: processes, rows and files, and a controller that may die between any two of its steps.

Plans are carried out as the executor does it: commit the intents, do the deeds, commit what came of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reconciler.core.accept import Acceptance, Seen, accept
from reconciler.core.actions import (
    Event,
    FinishRequest,
    Forget,
    Kill,
    Plan,
    SaveInstance,
    SaveServer,
    Start,
    Terminate,
    Withdraw,
)
from reconciler.core.fallback import is_as_declared
from reconciler.core.fingerprint import fingerprint
from reconciler.core.history import History, Instance, Requests, ServerRecord, Stamp, Status
from reconciler.core.model import (
    Desired,
    Document,
    Effective,
    Exit,
    GateFacts,
    Health,
    HealthState,
    Identity,
    Limits,
    Now,
    Phase,
    Problem,
    Process,
    Wanted,
)
from reconciler.core.observed import Listener, Observed, Started, Stranger
from reconciler.core.plan import plan
from reconciler.core.ports import hosts_overlap
from reconciler.core.pruning import Memory
from reconciler.core.spec import ServerSpec, dump_spec
from reconciler.runtimes.host import ResourceError

NOW = Now(monotonic=1000.0, wall=1_700_000_000.0, boot="boot-1")
OPEN = GateFacts(identity="binary-1 model-1")
MOST_PASSES = 12
"""Passes at one moment after which the controller is said to run in circles."""
Action = Start | SaveInstance | Withdraw | SaveServer | Forget | FinishRequest | Terminate | Kill


class ControllerDied(BaseException):
    """The controller was killed between two of its steps."""


def spec_of(**fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "m.gguf", **fields})


def document_of(name: str, *, file: str = "", labels: dict[str, str] | None = None, **fields: Any) -> Document:
    return Document("LlamaServer", name, file or f"{name}.yaml", spec_of(**fields), labels or {}, line=1)


def fingerprint_of(spec: ServerSpec) -> str:
    return fingerprint(spec, [str(spec.model), spec.host, str(spec.port), str(spec.ctx)])


def health_of(state: HealthState = HealthState.OK, **fields: Any) -> Health:
    return Health(state, **{"verified": True, **fields})


@dataclass
class Simulated:
    """A process that bears our mark."""

    uid: str
    server: str
    identity: Identity
    fingerprint: str = ""
    port: int = 0
    host: str = "127.0.0.1"
    leader: bool = True
    alive: bool = True
    exit: Exit | None = None
    health: Health = field(default_factory=Health)
    ready_at: float = float("inf")
    """Monotonic time from which it answers 200."""
    exits_at: float = float("inf")
    exits_as: Exit = field(default_factory=lambda: Exit(code=1))
    obeys: bool = True
    """SIGTERM ends it."""
    killable: bool = True
    """SIGKILL ends it; not so in the kernel's uninterruptible sleep."""
    is_launched: bool = True
    diagnosis: str = ""
    """The named cause of its end."""
    evidence: str = ""
    step: int = 0
    step_told: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    hides_gpus: bool = False
    busy_slots: int | None = None
    effective: Effective | None = None
    """What it tells of its settings once it is Ready."""
    answers: HealthState = HealthState.OK
    """What it answers once it has been verified."""
    asked_at: float = 0.0

    def __repr__(self) -> str:
        return f"{self.server}/{self.uid}/{self.identity.pid}"

    def end(self, exit_: Exit, diagnosis: str = "") -> None:
        self.alive, self.exit = False, exit_
        self.diagnosis = diagnosis or self.diagnosis

    def seen(self) -> Process:
        log = "" if self.alive else "a line\nthe last line"
        return Process(
            self.uid,
            self.server,
            self.identity,
            self.leader,
            self.alive,
            self.fingerprint,
            self.port,
            self.exit,
            log,
            "" if self.alive else self.diagnosis,
            "" if self.alive else self.evidence,
            step=self.step,
            step_told=self.step_told,
            changes=self.changes,
            hides_gpus=self.hides_gpus,
            health=self.health if self.alive else Health(),
            is_launched=self.is_launched,
        )


@dataclass
class World:
    """All that a controller sees and keeps, and what it did."""

    now: Now = NOW
    files: dict[str, Document] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    folder_failed: str = ""
    limits: Limits = field(default_factory=Limits)
    scope: frozenset[str] | None = None
    profile: frozenset[str] | None = None
    """Servers that the active profile selects; None: there is none, and all are wanted."""
    switch: Literal["StopFirst", "StartFirst"] = "StopFirst"
    gates: dict[str, GateFacts] = field(default_factory=dict)
    strangers: list[Listener] = field(default_factory=list)
    by_hand: list[tuple[Stranger, "Simulated"]] = field(default_factory=list)
    """What somebody runs without us: what can be seen of it, and the process."""
    sharers: dict[str, Stranger] = field(default_factory=dict)
    on_spawn: Callable[[Simulated], None] = lambda _: None
    """Decides how a new process will behave. An OSError is a spawn that fails."""

    documents: dict[str, Document] = field(default_factory=dict)
    records: dict[str, ServerRecord] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    ended: list[Instance] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    requests: dict[str, dict[str, int]] = field(
        default_factory=lambda: {kind: {} for kind in ("stop", "restart", "adopt", "primary", "prune")}
    )

    processes: list[Simulated] = field(default_factory=list)
    seen_processes: list[Simulated] = field(default_factory=list)
    """All that ever were."""
    events: list[Event] = field(default_factory=list)
    sent: list[tuple[str, Identity]] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    last: Plan = field(default_factory=Plan)
    memory: Memory = field(default_factory=Memory)
    acceptance: Acceptance = field(default_factory=lambda: Acceptance({}))
    spawned: int = 0
    asked: int = 0
    steps_left: int | None = None
    """Steps of the executor until the controller dies."""

    # -- what people and the machine do

    def declare(self, name: str, **fields: Any) -> Document:
        self.files[name] = document_of(name, **fields)
        return self.files[name]

    def ask(self, kind: str, name: str) -> int:
        self.asked += 1
        return self.requests[kind].setdefault(name, self.asked)

    def advance(self, seconds: float) -> None:
        self.now = replace(self.now, monotonic=self.now.monotonic + seconds, wall=self.now.wall + seconds)

    def add_process(self, server: str, uid: str, **fields: Any) -> Simulated:
        self.spawned += 1
        ticks = round(self.now.monotonic * 100) + self.spawned
        process = Simulated(uid, server, Identity(self.now.boot, 100 + self.spawned, ticks), **fields)
        process.health = Health(last_progress=self.now.monotonic)
        self.processes.append(process)
        self.seen_processes.append(process)
        return process

    def run_by_hand(self, port: int, **fields: Any) -> Simulated:
        """Somebody starts a llama-server; `fields` are those of the stranger that we see."""
        process = self.add_process("", "", port=port)
        self.processes.remove(process)
        started = Started(model="/m/m.gguf", ctx=256)
        seen = {"name": "llama-server", "command": f"llama-server --port {port}", "user": "anna", "is_same_user": True}
        known = {"started": started, "answers": True, **seen, **fields}
        self.by_hand.append((Stranger(process.identity, known.pop("address", "127.0.0.1"), port, **known), process))
        return process

    def keep_watch(self) -> None:
        """As the runtime does it: an adopted process bears no mark, and is known by its row."""
        for instance in self.instances.values():
            for _, process in self.by_hand:
                if instance.adopted and process.identity == instance.identity and process not in self.processes:
                    process.uid, process.server = instance.uid, instance.server
                    self.processes.append(process)

    def use(self, *names: str, switch: Literal["StopFirst", "StartFirst"] = "StopFirst") -> None:
        """A profile of these is active now."""
        self.profile, self.switch = frozenset(names), switch

    def parked(self, name: str) -> str:
        wanted = self.profile is None or name in self.profile
        return "" if wanted else "the active profile 'night' leaves it out"

    def reboot(self, boot: str) -> None:
        self.processes.clear()
        self.by_hand.clear()
        self.now = Now(5.0, self.now.wall + 60.0, boot)
        self.new_controller()

    def new_controller(self) -> None:
        """What the old one knew by heart is lost: how processes ended, and what it had asked them."""
        self.memory = Memory()
        self.processes = [process for process in self.processes if process.alive]
        for process in self.processes:
            instance = self.instances.get(process.server)
            known = instance is not None and instance.uid == process.uid and instance.first_ready is not None
            process.health = Health(verified=known, last_progress=self.now.monotonic)

    # -- what a test asks

    def process(self, name: str) -> Simulated:
        """The live process of a server that has one."""
        [process] = [process for process in self.processes if process.server == name and process.alive]
        return process

    def alive(self, name: str) -> list[Simulated]:
        return [process for process in self.processes if process.server == name and process.alive]

    def status(self, name: str) -> Status:
        status = self.records[name].status
        assert status is not None
        return status

    def phase(self, name: str) -> Phase:
        return self.status(name).phase

    def reason(self, name: str, condition: str = "Ready") -> str:
        return next(found.reason for found in self.status(name).conditions if found.type == condition)

    def told(self, reason: str) -> list[str]:
        return [event.message for event in self.events if event.reason == reason]

    # -- a pass of the controller

    def inputs(self) -> tuple[Desired, Observed, History, Requests, Now]:
        seen = Seen(tuple(self.files.values()), self.problems, self.folder_failed)
        confirmed = frozenset(self.requests["prune"])
        self.acceptance = accept(self.documents, seen, self.memory, self.now.monotonic, confirmed)
        self.memory, self.documents = self.acceptance.memory, dict(self.acceptance.documents)
        for name in self.acceptance.removed:
            self.requests["prune"].pop(name, None)
        history = History(dict(self.records), dict(self.instances), dict(self.ports))
        requests = Requests(*(dict(self.requests[kind]) for kind in ("stop", "restart", "adopt", "primary")))
        return self._desired(), self._observed(requests), history, requests, self.now

    def _desired(self) -> Desired:
        accepted = self.acceptance
        servers = {
            name: Wanted(
                document,
                fingerprint_of(document.spec),
                accepted.problems.get(name, ()),
                accepted.held.get(name, ""),
                self.parked(name),
            )
            for name, document in accepted.documents.items()
        }
        invalid = {name: found for name, found in accepted.problems.items() if name not in servers}
        return Desired(
            servers,
            invalid,
            bool(accepted.general or accepted.folder_problem),
            self.limits,
            self.scope,
            "" if self.profile is None else "night",
            self.switch,
            frozenset(invalid if self.profile is None else invalid.keys() & self.profile),
        )

    def _observed(self, requests: Requests) -> Observed:
        self.keep_watch()
        processes: dict[str, tuple[Process, ...]] = {}
        for process in self.processes:
            processes[process.server] = (*processes.get(process.server, ()), process.seen())
        due = [name for name in self.documents if self._may_start(name, requests)]
        gates = {name: self.gates.get(name, OPEN) for name in due}
        strangers = tuple(seen for seen, one in self.by_hand if one.alive and one not in self.processes)
        models = dict.fromkeys(due, "/m/m.gguf")
        listeners = (*self.strangers, *self._listeners())
        resting = [document for name, document in self.documents.items() if name not in {*due, *self.instances}]
        squatters = {d.name: one for d in resting for one in strangers if one.port == d.spec.port}
        return Observed(processes, gates, listeners, strangers, models, dict(self.sharers), squatters)

    def _may_start(self, name: str, requests: Requests) -> bool:
        spec, instance = self.documents[name].spec, self.instances.get(name)
        if spec.suspend or self.parked(name) or name in requests.stop:
            return False
        if instance is None or not any(p.alive and p.uid == instance.uid for p in self.processes):
            return True
        if name in requests.restart or name in requests.primary:
            return True
        wanted = Wanted(self.documents[name], fingerprint_of(spec))
        goes_back = instance.step > 0 and spec.restart.retry_primary_after > 0
        return goes_back or not is_as_declared(instance, wanted, self.limits)

    def _listeners(self) -> Iterable[Listener]:
        for process in self.processes:
            if process.alive and process.leader and process.port:
                uid = "" if any(process is one for _, one in self.by_hand) else process.uid
                yield Listener(process.host, process.port, process.identity.pid, "llama-server", uid)
        for seen, process in self.by_hand:
            if process.alive and process not in self.processes:
                yield Listener(seen.address, seen.port, process.identity.pid, seen.name)

    def run(self) -> Plan:
        """One pass."""
        inputs = self.inputs()
        self.last = plan(*inputs)
        self.execute(self.last, inputs[0])
        open_uids = {instance.uid for instance in self.instances.values()}
        self.processes = [process for process in self.processes if process.alive or process.uid in open_uids]
        return self.last

    def settle(self) -> Plan:
        """Passes until nothing is left to do at this moment."""
        for _ in range(MOST_PASSES):
            if not self.run().actions:
                return self.last
        raise AssertionError(f"still busy after {MOST_PASSES} passes at one moment: {self.last.actions}")

    # -- the executor

    def execute(self, decided: Plan, desired: Desired) -> None:
        starts = [action for action in decided.actions if isinstance(action, Start)]
        self._step()
        self.events.extend(decided.events)
        for action in decided.actions:
            self.record(action)
        intents = [self._intend(start, desired.servers[start.server]) for start in starts]
        for action in decided.actions:
            if isinstance(action, Terminate | Kill):
                self._step()
                self.signal(action)
        outcomes = [self._spawn(intent) for intent in intents]
        self._step()
        self.instances.update({outcome.server: outcome for outcome in outcomes})

    def _step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = None
                raise ControllerDied

    def record(self, action: Action) -> None:
        match action:
            case SaveInstance(instance):
                self.save_instance(instance)
            case Withdraw(instance):
                if self.instances.get(instance.server, instance).uid == instance.uid:
                    self.instances.pop(instance.server, None)
            case SaveServer(record):
                self.records[record.name] = record
            case Forget(server):
                tables: list[dict[str, Any]] = [self.records, self.instances, self.ports, *self.requests.values()]
                for table in tables:
                    table.pop(server, None)
            case FinishRequest(request):
                for pending in self.requests.values():
                    for name in [name for name, number in pending.items() if number == request]:
                        del pending[name]

    def save_instance(self, instance: Instance) -> None:
        if instance.ended is None:
            self.instances[instance.server] = instance
            return
        self.ended.append(instance)
        if self.instances.get(instance.server, instance).uid == instance.uid:
            self.instances.pop(instance.server, None)

    def signal(self, action: Terminate | Kill) -> None:
        self.sent.append((type(action).__name__, action.identity))
        for process in self.processes:
            if process.identity == action.identity and process.alive:
                if isinstance(action, Terminate) and process.obeys:
                    process.end(Exit(code=0))
                elif isinstance(action, Kill) and process.killable:
                    process.end(Exit(signal=9))

    def _intend(self, start: Start, wanted: Wanted) -> Instance:
        self.starts.append(start)
        self.spawned += 1
        intent = Instance(
            uid=f"uid-{self.spawned}",
            server=start.server,
            fingerprint=wanted.fingerprint,
            generation=wanted.document.generation,
            port=start.port,
            intent=Stamp.of(self.now),
            trigger=start.trigger,
            attempt=start.attempt,
            delay=start.delay,
            spec=dump_spec(wanted.spec),
            step=start.step.number,
            step_told=start.step.told,
            changes=start.step.changes,
            hides_gpus=start.step.hides_gpus,
        )
        self.ports[start.server] = start.port
        self.instances[start.server] = intent
        return intent

    def _spawn(self, intent: Instance) -> Instance:
        self._step()
        process = self.add_process(
            intent.server,
            intent.uid,
            fingerprint=intent.fingerprint,
            port=intent.port,
            host=host_of(intent),
            step=intent.step,
            step_told=intent.step_told,
            changes=intent.changes,
            hides_gpus=intent.hides_gpus,
        )
        try:
            self.on_spawn(process)
        except OSError as error:
            self.processes.remove(process)
            diagnosis = error.reason if isinstance(error, ResourceError) else process.diagnosis or "SpawnFailed"
            return replace(intent, diagnosis=diagnosis, evidence=str(error))
        return replace(intent, identity=process.identity)

    # -- what happens by itself

    def let_happen(self) -> None:
        """Exits that are due, and what the probes of this moment say."""
        for process in self.processes:
            if process.alive and self.now.monotonic >= process.exits_at:
                process.end(process.exits_as)
            elif process.alive:
                self._probe(process)

    def _probe(self, process: Simulated) -> None:
        now, health = self.now.monotonic, process.health
        instance = self.instances.get(process.server)
        if instance is None or instance.uid != process.uid:
            process.health = Health()
        elif not health.verified:
            ready = now >= process.ready_at and process.answers is HealthState.OK
            since = now if health.last_progress is None else health.last_progress
            known = health_of(busy_slots=process.busy_slots, effective=process.effective)
            process.health = known if ready else Health(HealthState.LOADING, last_progress=since)
        elif process.answers is not HealthState.FAILING:
            fields = {"busy_slots": process.busy_slots, "effective": process.effective}
            process.health = health_of(process.answers, **fields)
        elif now >= process.asked_at + self.period(process):
            process.asked_at = now
            process.health = health_of(HealthState.FAILING, failures=health.failures + 1, message="no answer")

    def period(self, process: Simulated) -> float:
        document = self.documents.get(process.server)
        return document.spec.probes.liveness.period if document else 5.0

    def next_happening(self) -> float:
        """Monotonic time of the next exit or health change."""
        times = [float("inf")]
        for process in self.processes:
            if process.alive:
                hangs = process.health.verified and process.answers is HealthState.FAILING
                times.append(process.exits_at)
                times.append(process.asked_at + self.period(process) if hangs else float("inf"))
                times.append(process.ready_at if not process.health.verified else float("inf"))
        return min(at for at in times if at > self.now.monotonic or at == float("inf"))

    def follow(self) -> bool:
        """Settle, then let time pass until the plan wants to look or something happens; False when neither comes."""
        self.let_happen()
        self.settle()
        wakes = [at for at in (self.last.wake_at, self.acceptance.wake_at) if at is not None]
        at = min([*wakes, self.next_happening()])
        if at == float("inf"):
            return False
        self.advance(max(at - self.now.monotonic, 0.001))
        return True


def host_of(instance: Instance) -> str:
    return str(instance.spec.get("host", "127.0.0.1"))


def collide(one: Simulated, other: Simulated) -> bool:
    return bool(one.port) and one.port == other.port and hosts_overlap(one.host, other.host)
