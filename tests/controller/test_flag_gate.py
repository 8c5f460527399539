"""When the gate shuts for flags: never for what is not known, never on what is only remembered."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.controller import flag_gate
from reconciler.controller.flag_gate import FlagGate, asking, helps_in
from reconciler.controller.launching import Launcher
from reconciler.core.model import Document, GateFacts, Now
from reconciler.core.server import NOT_LOOKED
from reconciler.core.spec import ServerSpec
from reconciler.settings import Settings

HELP = (Path(__file__).parents[1] / "engines" / "helps" / "table.txt").read_text()
WITHOUT_MLOCK = "\n".join(line for line in HELP.splitlines() if "--mlock" not in line)
OPEN = GateFacts(identity="i", trained=512, layers=2)
ENVIRONMENT = {"PATH": os.environ["PATH"]}


class Binary:
    """A program whose help is what a file holds, as soon as that is there: a script around another."""

    def __init__(self, folder: Path, text: str | None = HELP) -> None:
        self.path, self.said = str(folder / "llama-server"), folder / "said"
        wait = f"while [ ! -e {self.said} ]; do sleep 0.01; done"
        Path(self.path).write_text(f"#!/bin/sh\necho x >> {folder}/asked\n{wait}\ncat {self.said}\n")
        Path(self.path).chmod(0o755)
        self.asked = folder / "asked"
        if text is not None:
            self.say(text)

    def say(self, text: str) -> None:
        draft = self.said.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.said)

    @property
    def times(self) -> int:
        return len(self.asked.read_text().split()) if self.asked.exists() else 0


@pytest.fixture(autouse=True)
def is_native(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Have the scripts of these tests count as machine code, but for those that are about scripts."""
    if "script" not in request.node.name:
        monkeypatch.setattr("reconciler.runtimes.binary_help.is_machine_code", lambda _binary: True)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[FlagGate]:
    made = FlagGate(helps_in(tmp_path))
    yield made
    made.close()


def document(**fields: Any) -> Document:
    spec = ServerSpec.model_validate({"model": "a.gguf", **fields})
    return Document("LlamaServer", "chat", "chat.yaml", spec)


def now() -> Now:
    return Now(time.monotonic(), time.time(), "b")


def look(gate: FlagGate, binary: Binary, wanted: Document, facts: GateFacts = OPEN) -> GateFacts:
    return gate.look(wanted, binary.path, ENVIRONMENT, now(), facts)


def settled(gate: FlagGate, binary: Binary, wanted: Document) -> GateFacts:
    look(gate, binary, wanted)
    gate.settle()
    return look(gate, binary, wanted)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


BAD = document(flags={"load-mode": "mlock"})
GOOD = document(flags={"mlock": True})


def test_flags_that_are_executed_otherwise_are_other_files(gate: FlagGate, tmp_path: Path) -> None:
    """So that one that failed with them as written is tried once more."""
    said = HELP.replace("--flash-attn                     enable", "--flash-attn [on|off|auto]       enable")
    binary = Binary(tmp_path, said)
    found = {on: settled(gate, binary, document(flags={"flash-attn": on})).identity for on in ("on", True, False)}
    assert found["on"] == settled(gate, binary, GOOD).identity == "i"
    assert len(set(found.values())) == 3
    assert found[True].startswith("i ")


def test_a_first_start_waits_for_a_moment_and_no_longer(gate: FlagGate, tmp_path: Path) -> None:
    binary = Binary(tmp_path, None)
    shut = look(gate, binary, BAD)
    assert (shut.reason, shut.identity, shut.trained, shut.layers) == (NOT_LOOKED.reason, "i", 512, 2)
    assert shut.retry_at is not None
    assert 0 < shut.retry_at - time.monotonic() <= 2.0
    assert shut.message.endswith(f"{binary.path} --help")
    later = Now(shut.retry_at, 0.0, "b")
    assert gate.look(BAD, binary.path, ENVIRONMENT, later, OPEN) == OPEN


def test_what_it_would_not_take_shuts_the_gate(gate: FlagGate, tmp_path: Path) -> None:
    found = settled(gate, Binary(tmp_path), BAD)
    assert (found.reason, found.retry_at, found.identity) == ("InvalidFlag", None, "i")
    assert found.message.startswith("spec.flags.load-mode: this llama-server has no such flag; write `mlock: true` (")


def test_of_many_only_some_are_named(gate: FlagGate, tmp_path: Path) -> None:
    found = settled(gate, Binary(tmp_path), document(flags={f"odd-{number}": 1 for number in range(6)}))
    assert found.message.count("no such flag") == 4
    assert "; and 2 more: reconciler validate (all that it takes: " in found.message


def test_what_it_takes_leaves_the_gate_as_it_was(gate: FlagGate, tmp_path: Path) -> None:
    assert settled(gate, Binary(tmp_path), GOOD) is OPEN


def test_another_reason_goes_before_and_nobody_is_asked(gate: FlagGate, tmp_path: Path) -> None:
    binary, facts = Binary(tmp_path), GateFacts("ModelMissing", "no file")
    assert look(gate, binary, BAD, facts) is facts
    gate.settle()
    assert binary.times == 0


def test_without_helps_nothing_is_refused(tmp_path: Path) -> None:
    assert look(FlagGate(None), Binary(tmp_path), BAD) is OPEN


def test_what_is_remembered_refuses_nobody_before_it_was_asked_again(gate: FlagGate, tmp_path: Path) -> None:
    """The script is the same, and what it runs is not."""
    binary = Binary(tmp_path, WITHOUT_MLOCK)
    assert settled(gate, binary, GOOD).reason == "InvalidFlag"
    wait_until(lambda: list((tmp_path / "helps").glob("*.json")))
    binary.say(HELP)
    later = FlagGate(helps_in(tmp_path))
    assert look(later, binary, GOOD).reason == NOT_LOOKED.reason
    assert settled(later, binary, GOOD) is OPEN
    assert binary.times == 2
    later.close()


def test_what_is_remembered_is_enough_to_start(gate: FlagGate, tmp_path: Path) -> None:
    binary = Binary(tmp_path)
    settled(gate, binary, GOOD)
    wait_until(lambda: list((tmp_path / "helps").glob("*.json")))
    later = FlagGate(helps_in(tmp_path))
    assert look(later, binary, GOOD) is OPEN
    assert binary.times == 1


def test_a_refusal_is_held_until_a_later_answer_ends_it(
    gate: FlagGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = Binary(tmp_path, WITHOUT_MLOCK)
    assert settled(gate, binary, GOOD).reason == "InvalidFlag"
    assert [look(gate, binary, GOOD).reason for _ in range(5)] == ["InvalidFlag"] * 5
    assert binary.times == 1
    monkeypatch.setattr(flag_gate, "FRESH", 0.0)
    binary.say(HELP)
    assert look(gate, binary, GOOD).reason == "InvalidFlag"
    gate.settle()
    assert look(gate, binary, GOOD) is OPEN


def test_another_spec_of_the_same_name_is_judged_anew(gate: FlagGate, tmp_path: Path) -> None:
    binary = Binary(tmp_path)
    assert [settled(gate, binary, one).reason for one in (GOOD, BAD, GOOD)] == ["", "InvalidFlag", ""]


@pytest.mark.parametrize(
    ("env", "for_native", "for_other"),
    [
        ({"LD_LIBRARY_PATH": "/opt/cuda"}, {"LD_LIBRARY_PATH": "/opt/cuda"}, {"LD_LIBRARY_PATH": "/opt/cuda"}),
        ({"TOKENS": "1", "LLAMA_ARG_FIT": "on"}, {}, {"TOKENS": "1"}),
        ({"MY_API_KEY": "hush", "HF_TOKEN": ""}, {}, {}),
        ({"LD_LIBRARY_PATH": {"fromEnv": "X"}, "BUILD": {"fromFile": "x"}}, {}, {}),
    ],
)
def test_a_binary_is_asked_without_secrets(
    env: dict[str, Any], for_native: Mapping[str, str], for_other: Mapping[str, str]
) -> None:
    spec = ServerSpec.model_validate({"model": "a.gguf", "env": env})
    assert asking(spec, {"PATH": "/bin"}, is_script=False) == {"PATH": "/bin", **for_native}
    assert asking(spec, {"PATH": "/bin"}, is_script=True) == {"PATH": "/bin", **for_other}


# ---------------------------------------------------------------- scripts around llama-servers


def test_a_script_may_take_flags_that_its_help_lacks(gate: FlagGate, tmp_path: Path) -> None:
    binary = Binary(tmp_path)
    assert settled(gate, binary, document(flags={"fast": True, "load-mode": "mlock"})) is OPEN
    found = settled(gate, binary, document(flags={"fast": True, "cache-type-k": "q9"}))
    assert found.reason == "InvalidFlag"
    assert found.message.startswith("spec.flags.cache-type-k: it takes one of these: ")


def test_a_script_is_asked_with_what_picks_its_build(gate: FlagGate, tmp_path: Path) -> None:
    binary, other = Binary(tmp_path), tmp_path / "other"
    other.write_text(HELP.replace("f32, f16,", "f32, turbo3, f16,"))
    Path(binary.path).write_text(f'#!/bin/sh\ntest "$BUILD" = other && exec cat {other}\nexec cat {binary.said}\n')
    flags = {"cache-type-k": "turbo3"}
    assert settled(gate, binary, document(flags=flags)).reason == "InvalidFlag"
    assert settled(gate, binary, document(flags=flags, env={"BUILD": "other"})) is OPEN


def test_a_script_that_tells_nothing_is_not_held_to_anything(gate: FlagGate, tmp_path: Path) -> None:
    binary = Binary(tmp_path)
    Path(binary.path).write_text('#!/bin/sh\n[ "$1" = --help ] && exit\n')
    assert settled(gate, binary, document(flags={"cache-type-k": "q9"})) is OPEN


def test_the_launch_is_written_as_the_binary_wants_it(tmp_path: Path) -> None:
    switching = HELP.replace("-fa,   --flash-attn              ", "-fa,   --flash-attn [on|off|auto]")
    binary = Binary(tmp_path, switching)
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    os.utime(tmp_path / "a.gguf", (0, 0))
    settings = Settings(models=str(tmp_path), llama_server=binary.path, state=str(tmp_path))
    launcher = Launcher(settings, ENVIRONMENT, helps_in(tmp_path))
    wanted = document(flags={"flash-attn": True, "metrics": True})
    assert "on" not in launcher.launch(wanted, 8001).argv  # nothing is known yet, and nobody waits here
    launcher.flags.settle()
    argv = launcher.launch(wanted, 8001).argv
    assert argv[argv.index("--flash-attn") + 1] == "on"
    assert launcher.look(wanted, now()).reason == ""
    assert launcher.look(document(flags={"flash-attn": "maybe"}), now()).reason == "InvalidFlag"
    launcher.flags.close()
