"""What is put together of an end, from files and the kernel, before the engine names it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.diagnosing import Diagnoser
from reconciler.controller.launching import Launcher
from reconciler.core.history import Instance, Stamp, Trigger
from reconciler.core.model import Exit, Identity, Now, Process
from reconciler.core.spec import ServerSpec
from reconciler.settings import Settings

START = Now(monotonic=1000.0, wall=1_700_000_000.0, boot="b")
NOW = Now(monotonic=1060.0, wall=1_700_000_060.0, boot="b")
SPEC = ServerSpec.model_validate({"model": "a.gguf", "ctx": 65536})
KILLED = Exit(signal=signal.SIGKILL)
BUS = Exit(signal=signal.SIGBUS)
INSTANCE = Instance("u1", "chat", "fp", 1, 8001, Stamp.of(START), first_ready=Stamp.of(START))


class Kernel:
    """Says what a test has it say, and remembers what it was asked."""

    def __init__(self, says: str | None = None, names: str | None = None) -> None:
        self.says = says
        self.names = names
        self.asked: list[object] = []

    def named(self, pid: int) -> str | None:
        self.asked.append(("named", pid))
        return self.names

    def evidence(self, pid: int, *, is_itself: bool = True) -> str | None:
        self.asked.append(("evidence", pid, is_itself))
        return self.says

    def close(self) -> None:
        self.asked.append("closed")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    return tmp_path


@pytest.fixture
def changed_at(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The times at which files were last changed, by name: ctime cannot be set."""
    times: dict[str, float] = {}
    monkeypatch.setattr(
        "reconciler.controller.diagnosing._changed_at",
        lambda path: times.get(os.path.basename(path)),  # noqa: PTH119
    )
    return times


def named(
    models: Path,
    end: Exit,
    instance: Instance | None = INSTANCE,
    *,
    kernel: Kernel | None = None,
    log: str = "",
    spec: ServerSpec = SPEC,
    now: Now = NOW,
) -> tuple[str, str]:
    """Diagnosis and evidence."""
    diagnoser = Diagnoser(Launcher(Settings(models=str(models)), {}), kernel or Kernel())  # type: ignore[arg-type]
    process = Process("u1", "chat", Identity("b", 7, 7), leader=True, alive=False, exit=end, log_tail=log)
    found = diagnoser.diagnosed(process, instance, spec, now)
    return found.diagnosis, found.evidence


# ---------------------------------------------------------------- the kernel


def test_the_kernel_is_asked_about_sigkill(models: Path) -> None:
    kernel = Kernel("the kernel killed it")
    assert named(models, KILLED, kernel=kernel) == ("OomKilled", "the kernel killed it")
    assert kernel.asked == [("evidence", 7, True)]
    assert named(models, KILLED, kernel=Kernel(""))[0] == "KilledByUser"
    assert named(models, KILLED, kernel=Kernel(None))[0] == "Unknown"


def test_a_shell_around_it_is_not_the_one_that_was_killed(models: Path) -> None:
    kernel = Kernel("the kernel killed it")
    assert named(models, Exit(code=137), kernel=kernel)[0] == "OomKilled"
    assert kernel.asked == [("evidence", 7, False)]


def test_where_nobody_knows_how_it_ended_the_kernel_must_name_it(models: Path) -> None:
    kernel = Kernel("somebody was killed", names=None)
    assert named(models, Exit(), kernel=kernel)[0] == "Unknown"
    assert kernel.asked == [("named", 7)]
    assert named(models, Exit(), kernel=Kernel(names="the kernel killed it"))[0] == "OomKilled"


@pytest.mark.parametrize("end", [Exit(code=1), Exit(code=0), Exit(signal=signal.SIGSEGV), Exit(signal=signal.SIGTERM)])
def test_the_kernel_is_not_asked_about_other_ends(models: Path, end: Exit) -> None:
    kernel = Kernel("x")
    named(models, end, kernel=kernel)
    assert kernel.asked == []


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("changed", "cause"),
    [(START.wall + 30, "ModelFileChanged"), (START.wall - 30, "Crashed"), (None, "ModelFileChanged")],
)
def test_sigbus_is_a_changed_file_unless_it_is_older_than_the_start(
    models: Path, changed_at: dict[str, float], changed: float | None, cause: str
) -> None:
    if changed is not None:
        changed_at["a.gguf"] = changed
    assert named(models, BUS)[0] == cause


@pytest.mark.parametrize(
    "instance",
    [
        None,
        replace(INSTANCE, adopted=True),
        replace(INSTANCE, trigger=Trigger.ADOPTED),
        replace(INSTANCE, intent=replace(Stamp.of(START), boot="another")),
        replace(INSTANCE, intent=replace(Stamp.of(START), wall=START.wall + 3600)),
    ],
)
def test_a_start_whose_time_tells_nothing_leaves_the_file_under_suspicion(
    models: Path, changed_at: dict[str, float], instance: Instance | None
) -> None:
    changed_at["a.gguf"] = START.wall - 30
    assert named(models, BUS, instance)[0] == "ModelFileChanged"


def test_any_part_of_a_split_model_may_have_changed(models: Path, changed_at: dict[str, float]) -> None:
    changed_at.update({"s-00001-of-00002.gguf": START.wall - 30, "s-00002-of-00002.gguf": START.wall + 30})
    spec = SPEC.model_copy(update={"model": "s-00001-of-00002.gguf"})
    assert named(models, BUS, spec=spec)[0] == "ModelFileChanged"


def test_a_model_that_is_gone_is_missing_though_the_log_calls_it_broken(models: Path) -> None:
    (models / "a.gguf").unlink()
    told = replace(INSTANCE, first_ready=None)
    assert named(models, Exit(code=1), told, log="invalid magic characters: ''")[0] == "ModelMissing"
    downloaded = ServerSpec.model_validate({"model": {"hf": "a/b"}})
    assert named(models, Exit(code=1), told, log="invalid magic characters: ''", spec=downloaded)[0] == "ModelBroken"


def test_the_path_of_an_adopted_ones_model_tells_nothing(models: Path) -> None:
    (models / "a.gguf").unlink()
    adopted = replace(INSTANCE, first_ready=None, adopted=True)
    assert named(models, Exit(code=1), adopted, log="invalid magic characters: ''")[0] == "ModelBroken"
    assert named(models, Exit(code=1), adopted)[0] == "Unknown"


# ---------------------------------------------------------------- what the engine is told


def test_whether_it_had_served_decides_what_is_looked_for(models: Path) -> None:
    log = "failed to initialize the context: std::bad_alloc"
    fresh = replace(INSTANCE, first_ready=None)
    assert named(models, Exit(code=1), fresh, log=log)[0] == "ContextTooLarge"
    assert named(models, Exit(code=1), None, log=log)[0] == "ContextTooLarge"
    assert named(models, Exit(code=1), INSTANCE, log=log)[0] == "HostOutOfMemory"


def test_evidence_is_one_line_with_the_settings(models: Path) -> None:
    log = "failed to allocate CPU buffer of size 1073741824\nfailed to allocate buffer for kv cache"
    _, evidence = named(models, Exit(code=1), None, log=log)
    assert evidence == (
        "out of memory, allocating 1.0 GiB for the KV cache (ctx 65536); failed to allocate buffer for kv cache"
    )


def test_who_runs_is_not_judged_and_the_kernel_is_let_go(models: Path) -> None:
    kernel = Kernel()
    diagnoser = Diagnoser(Launcher(Settings(models=str(models)), {}), kernel)  # type: ignore[arg-type]
    process = Process("u1", "chat", Identity("b", 7, 7), leader=True, alive=True)
    assert diagnoser.diagnosed(process, None, SPEC, NOW) is process
    diagnoser.close()
    assert kernel.asked == ["closed"]
