"""What is put together of an end, from files and the kernel, before the engine names it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.controller.diagnosing import Diagnoser
from reconciler.controller.launching import Launcher
from reconciler.controller.secrets import Secrets
from reconciler.core.history import Instance, Stamp, Trigger
from reconciler.core.model import Exit, Identity, Now, Process
from reconciler.core.spec import FromFile, ServerSpec
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

    def look(self, pids: set[int], *, fresh: bool, children: dict[int, int]) -> None:
        self.asked.append((pids, fresh, children))

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


def test_the_kernel_is_told_who_belongs_to_whom(models: Path) -> None:
    kernel = Kernel()
    diagnoser = Diagnoser(Launcher(Settings(models=str(models)), {}), kernel)  # type: ignore[arg-type]
    shell = Process("u1", "chat", Identity("b", 7, 7), leader=True, alive=True)
    child = replace(shell, identity=Identity("b", 8, 8), leader=False)
    dead = replace(shell, identity=Identity("b", 9, 9), alive=False)
    left = replace(child, uid="u2", identity=Identity("b", 10, 10))
    diagnoser.look([shell, child, dead, left], fresh=True)
    assert kernel.asked == [({7, 8, 10}, True, {8: 7})]


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
    [(START.wall + 30, "ModelFileChanged"), (START.wall - 30, "Crashed"), (None, "Crashed")],
)
def test_sigbus_is_a_changed_file_where_it_is_younger_than_the_start(
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
def test_a_start_whose_time_tells_nothing_leaves_it_open(
    models: Path, changed_at: dict[str, float], instance: Instance | None
) -> None:
    changed_at["a.gguf"] = START.wall + 30
    assert named(models, BUS, instance) == ("Crashed", "SIGBUS: whether a file in use was changed cannot be told")


def test_any_part_of_a_split_model_may_have_changed(models: Path, changed_at: dict[str, float]) -> None:
    changed_at.update({"s-00001-of-00002.gguf": START.wall - 30, "s-00002-of-00002.gguf": START.wall + 30})
    spec = SPEC.model_copy(update={"model": "s-00001-of-00002.gguf"})
    assert named(models, BUS, spec=spec)[0] == "ModelFileChanged"


def test_a_model_that_is_gone_is_missing_though_the_log_calls_it_broken(models: Path) -> None:
    (models / "a.gguf").unlink()
    told = replace(INSTANCE, first_ready=None)
    assert named(models, Exit(code=1), told, log="gguf_init: invalid magic characters: ''")[0] == "ModelMissing"
    downloaded = ServerSpec.model_validate({"model": {"hf": "a/b"}})
    assert (
        named(models, Exit(code=1), told, log="gguf_init: invalid magic characters: ''", spec=downloaded)[0]
        == "ModelBroken"
    )


def test_the_path_of_an_adopted_ones_model_tells_nothing(models: Path) -> None:
    (models / "a.gguf").unlink()
    adopted = replace(INSTANCE, first_ready=None, adopted=True)
    assert named(models, Exit(code=1), adopted, log="gguf_init: invalid magic characters: ''")[0] == "ModelBroken"
    assert named(models, Exit(code=1), adopted)[0] == "Unknown"


# ---------------------------------------------------------------- what the engine is told


def test_whether_it_had_served_decides_what_is_looked_for(models: Path) -> None:
    log = "llama_init_from_model: failed to initialize the context: std::bad_alloc"
    fresh = replace(INSTANCE, first_ready=None)
    assert named(models, Exit(code=1), fresh, log=log)[0] == "ContextTooLarge"
    assert named(models, Exit(code=1), None, log=log)[0] == "ContextTooLarge"
    assert named(models, Exit(code=1), INSTANCE, log=log)[0] == "Unknown"


def test_evidence_is_one_line_with_the_settings(models: Path) -> None:
    log = "alloc: failed to allocate CPU buffer of size 1073741824\nkv: failed to allocate buffer for kv cache"
    _, evidence = named(models, Exit(code=1), None, log=log)
    assert evidence == (
        "out of memory, allocating 1.0 GiB for the KV cache (ctx 65536); kv: failed to allocate buffer for kv cache"
    )


# ---------------------------------------------------------------- secrets


def redacted(
    models: Path, log: str, *, instance: Instance | None = None, environ: dict[str, str] | None = None, **spec: object
) -> Process:
    """The process of one that ended with that log, as it is stored."""
    diagnoser = Diagnoser(Launcher(Settings(models=str(models)), environ or {}), Kernel())  # type: ignore[arg-type]
    process = Process("u1", "chat", Identity("b", 7, 7), leader=True, alive=False, exit=Exit(code=1), log_tail=log)
    asked = ServerSpec.model_validate({"model": "a.gguf", **spec})
    found = diagnoser.diagnosed(process, instance, asked, NOW)
    assert found.log_tail == diagnoser.without_secrets(process, instance, asked).log_tail
    return found


VARIABLE = 'error while handling environment variable "A": Unsupported cache type: {}'


@pytest.mark.parametrize(
    ("secret", "log", "told"),
    [
        ("hf_s3cretvalue", VARIABLE.format("hf_s3cretvalue"), VARIABLE.partition(" Un")[0] + " (hidden)"),
        ("abc", VARIABLE.format("abc"), VARIABLE.partition(" Un")[0] + " (hidden)"),
        ("hf_s3cretvalue", "what came: hf_s3cretvalue!", "what came: (hidden)!"),
        ('q"uo\\te', '{"type":"log","msg":"q\\"uo\\\\te"}', '{"type":"log","msg":"(hidden)"}'),
        ("-- one\nsecond line", "why second line", "why (hidden)"),
        ("abc", "the abc of it", "the abc of it"),
    ],
)
@pytest.mark.parametrize("source", ["file", "environment"])
def test_secrets_are_neither_told_nor_stored(models: Path, secret: str, log: str, told: str, source: str) -> None:
    (models / "key").write_text(f"{secret}\n")
    env = {"A": {"fromFile": "key"} if source == "file" else {"fromEnv": "KEY"}}
    found = redacted(models, log, environ={"KEY": secret}, env=env)
    assert found.log_tail == told
    assert found.evidence == (told if not told.startswith("{") else "(hidden)")


def test_api_keys_are_taken_out_too_and_those_of_what_it_was_started_with(models: Path) -> None:
    (models / "keys").write_text("first-key\nsecond-key\n")
    assert redacted(models, "it says second-key", apiKeyFile="keys").log_tail == "it says (hidden)"
    started_with = replace(INSTANCE, spec={"model": "a.gguf", "apiKeyFile": "keys"})
    assert redacted(models, "it says first-key", instance=started_with).evidence == "it says (hidden)"
    assert redacted(models, "x", instance=replace(INSTANCE, spec={"model": 7, "old": 1})).log_tail == "x"


def test_the_value_of_the_launch_is_known_once_the_file_has_changed(models: Path) -> None:
    (models / "key").write_text("older-value")
    secrets = Secrets({}, lambda path: str(models / path))
    asked = ServerSpec.model_validate({"model": "a.gguf", "env": {"A": {"fromFile": "key"}}})
    assert secrets.value("A", FromFile.model_validate({"fromFile": "key"})) == "older-value"
    (models / "key").write_text("newer-value")
    assert secrets.without("older-value newer-value", asked) == "(hidden) (hidden)"
    (models / "key").unlink()
    assert secrets.without("older-value", asked) == "(hidden)"
    assert secrets.without("older-value", SPEC) == "older-value", "what another was given"


def test_who_runs_is_not_judged_and_the_kernel_is_let_go(models: Path) -> None:
    kernel = Kernel()
    diagnoser = Diagnoser(Launcher(Settings(models=str(models)), {}), kernel)  # type: ignore[arg-type]
    process = Process("u1", "chat", Identity("b", 7, 7), leader=True, alive=True)
    assert diagnoser.diagnosed(process, None, SPEC, NOW) is process
    diagnoser.close()
    assert kernel.asked == ["closed"]
