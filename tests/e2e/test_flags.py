"""Flags are held against `--help` of the very binary before a start, and written as it wants them."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.installation import Installation, document

pytestmark = pytest.mark.real

MLOCK = "spec.flags.mlock: this llama-server has no such flag; write `load-mode: mlock`"


def with_flags(**flags: Any) -> dict[str, Any]:
    return {"warmup": False, **{name.replace("_", "-"): value for name, value in flags.items()}}


def program(path: Path, body: str) -> str:
    """A program that is put in place at once."""
    draft = path.with_suffix(".draft")
    draft.write_text(f"#!/bin/sh\n{body}\n")
    draft.chmod(0o755)
    draft.replace(path)
    return str(path)


def counting(installation: Installation, llama_server: str, on_help: str = "") -> Path:
    """Have all servers run a script around the real one, which writes a line whenever it is asked for its help."""
    asked = installation.root / "asked"
    asked.touch()
    body = f'if [ "$1" = --help ]; then echo $$ >> {asked}; {on_help}\nfi\nexec {llama_server} "$@"'
    installation.environ["LLAMA_SERVER"] = program(installation.root / "wrapper", body)
    return asked


def wait_refused(installation: Installation) -> None:
    installation.wait_phase("chat", "Blocked")
    installation.wait_for("its reason", lambda: installation.reason("chat") == "InvalidFlag")


def message(installation: Installation, name: str) -> str:
    return str(installation.query("select message from servers where name = ?", name)[0][0])


def test_a_flag_that_the_binary_lacks_costs_no_attempt(installation: Installation) -> None:
    installation.declare("chat", flags=with_flags(mlock=True))
    installation.start()
    wait_refused(installation)
    told = message(installation, "chat")
    assert told.startswith(MLOCK)
    assert told.endswith(f"(all that it takes: {installation.environ['LLAMA_SERVER']} --help)")
    assert installation.query("select count(*) from instances") == [(0,)]
    installation.cli("set", "server/chat", "flags.load-mode=mlock")
    installation.cli("unset", "server/chat", "flags.mlock")
    installation.wait_ready("chat")
    assert installation.query("select n, restarts from servers") == [(0, 0)]


def test_what_runs_goes_on_while_its_new_flags_are_wrong(installation: Installation) -> None:
    installation.declare("chat")
    installation.start()
    pids = installation.wait_ready("chat")
    installation.declare("chat", flags=with_flags(draft=4))
    installation.wait_for("the gate", lambda: installation.reason("chat") == "GateShut")
    told = installation.problem("chat")
    assert "spec.flags.draft: it has been removed from this llama-server; write `spec-draft-n-max: 4`" in told
    assert installation.wait_ready("chat") == pids
    installation.declare("chat", flags=with_flags(spec_draft_n_max=4))
    installation.wait_for("another process", lambda: installation.pids().get("chat") not in (None, pids["chat"]))
    installation.wait_ready("chat")


def test_all_servers_of_wrong_defaults_go_on(installation: Installation) -> None:
    def share(**flags: Any) -> None:
        shared = {
            "apiVersion": "llama.reconciler/v1alpha1",
            "kind": "LlamaServerDefaults",
            "metadata": {"name": "all"},
            "spec": {"template": {"flags": flags}},
        }
        installation.write(installation.manifests / "all.yaml", json.dumps(shared))

    names = [f"chat-{number}" for number in range(4)]
    share()
    for name in names:
        installation.declare(name)
    installation.start()
    pids = installation.wait_ready(*names)
    share(mlock=True)
    installation.wait_for("all gates", lambda: {installation.reason(name) for name in names} == {"GateShut"})
    assert installation.wait_ready(*names) == pids
    out = installation.cli("validate", code=2)
    assert f"manifests/all.yaml:1:{_column(installation)}: spec.template.{MLOCK.removeprefix('spec.')}" in out
    share()
    installation.wait_for("no gate", lambda: {installation.reason(name) for name in names} & {"GateShut"} == set())
    assert installation.wait_ready(*names) == pids


def _column(installation: Installation) -> int:
    return (installation.manifests / "all.yaml").read_text().index('"mlock"') + 1


def test_true_is_written_as_the_binary_wants_it_and_is_no_drift(installation: Installation) -> None:
    installation.declare("chat", flags=with_flags(flash_attn=True, fit=False))
    installation.start()
    pids = installation.wait_ready("chat")
    arguments = Path(f"/proc/{pids['chat']}/cmdline").read_bytes().split(b"\0")
    assert arguments[arguments.index(b"--flash-attn") + 1] == b"on"
    assert arguments[arguments.index(b"--fit") + 1] == b"off"
    installation.end(signal.SIGKILL)
    installation.start()
    installation.wait_for("a pass", lambda: installation.is_controlled() and installation.passes() > 1)
    assert installation.wait_ready("chat") == pids
    assert "unchanged" in installation.cli("apply", "--dry-run") or "no changes" in installation.cli("diff", code=0)


def test_a_wrong_flag_of_a_fallback_step_is_told_and_keeps_nobody_from_starting(installation: Installation) -> None:
    installation.declare("chat", fallback={"steps": [{"ctx": 64}, {"flags": {"mlock": True}}]})
    installation.start()
    installation.wait_ready("chat")
    assert "spec.fallback.steps.1.flags.mlock: " in installation.cli("validate", code=2)


# ---------------------------------------------------------------- helps that cannot be had


@pytest.mark.parametrize("on_help", ["exec sleep 1000", "exit 1", "echo no help; exit 0", "kill -9 $$"])
def test_a_help_that_cannot_be_had_keeps_nobody_from_starting(
    installation: Installation, llama_server: str, on_help: str
) -> None:
    asked = counting(installation, llama_server, on_help)
    installation.declare("chat", flags=with_flags(top_k=40))
    began = time.monotonic()
    installation.start()
    installation.wait_ready("chat")
    assert time.monotonic() - began < 10
    assert len(asked.read_text().split()) == 1
    installation.end()


def test_a_controller_that_ends_takes_its_question_back(installation: Installation, llama_server: str) -> None:
    asked = counting(installation, llama_server, "exec sleep 1000")
    installation.start()
    installation.wait_for("the question", asked.read_text)
    pid = int(asked.read_text())
    assert installation.end() == 0
    assert not Path(f"/proc/{pid}").exists()


def test_each_binary_is_asked_once_and_remembered(installation: Installation, llama_server: str) -> None:
    asked = counting(installation, llama_server)
    names = [f"chat-{number}" for number in range(5)]
    for name in names:
        installation.declare(name, flags=with_flags(flash_attn=True))
    installation.start()
    installation.wait_ready(*names)
    installation.end()
    installation.start()
    installation.declare("chat-0", flags=with_flags(flash_attn=False))
    installation.wait_for("it restarts", lambda: len(installation.instances("chat-0")) == 2)
    installation.wait_ready(*names)
    assert len(asked.read_text().split()) == 1


def test_another_binary_is_asked_anew_and_lets_it_start(installation: Installation, llama_server: str) -> None:
    """As when llama-server is upgraded: what the older one lacks the newer one has."""
    help_text = installation.root / "older.txt"
    installation.declare("chat", flags=with_flags(cache_type_k="bf16"))
    older = Path(__file__).parents[1] / "engines" / "helps" / "table.txt"
    help_text.write_text(older.read_text().replace("f16, bf16, ", "f16, "))
    body = f'if [ "$1" = --help ]; then exec cat {help_text}; fi\nexec {llama_server} "$@"'
    installation.environ["LLAMA_SERVER"] = program(installation.root / "llama-server", body)
    installation.start()
    wait_refused(installation)
    assert "it takes one of these: f32, f16, q8_0, q4_0" in message(installation, "chat")
    program(installation.root / "llama-server", f'exec {llama_server} "$@"')
    installation.wait_ready("chat")


BY_BUILD = """\
if [ "$1" = --fast ]; then shift; fi
if [ "$BUILD" != new ]; then if [ "$1" = --help ]; then exec cat {older}; fi; exit 1; fi
exec {real} "$@"
"""


def test_a_script_with_a_flag_of_its_own_and_a_build_by_variable_starts(
    installation: Installation, llama_server: str
) -> None:
    older = Path(__file__).parents[1] / "engines" / "helps" / "table.txt"
    body = 'for one; do shift; [ "$one" = --fast ] || set -- "$@" "$one"; done\n' + BY_BUILD
    wrapper = program(installation.root / "wrapper", body.format(older=older, real=llama_server))
    installation.environ["LLAMA_SERVER"] = wrapper
    installation.declare("chat", flags=with_flags(fast=True, load_mode="none"), env={"BUILD": "new"})
    installation.start()
    installation.wait_ready("chat")
    out = installation.cli("validate", code=0)
    assert f"spec.flags.fast: this llama-server has no such flag; leave it out; or {wrapper} takes it itself" in out


# ---------------------------------------------------------------- asked before


def test_a_dry_run_tells_with_and_without_a_controller(installation: Installation) -> None:
    installation.declare("chat", flags=with_flags(mlock=True))
    without = installation.cli("apply", "--dry-run", code=2)
    assert f"blocked: {MLOCK}" in without
    assert not (installation.state / "helps").exists()
    installation.start()
    wait_refused(installation)
    (installation.root / "other.yaml").write_text(document("other", flags=with_flags(draft=4)))
    with_one = installation.cli("apply", "--dry-run", "-f", "other.yaml", code=2)
    assert "blocked: spec.flags.draft: it has been removed" in with_one
    assert "2 servers with flags that the llama-server does not take: chat, other" in with_one
    installation.declare("plain")
    others = "of the servers that are not named: 1 start (1 blocked)"
    assert others in installation.cli("apply", "--dry-run", "plain", code=0)


def test_apply_without_a_controller_names_the_flag(installation: Installation) -> None:
    installation.declare("chat", flags=with_flags(mlock=True))
    out = installation.cli("apply", code=None)
    assert MLOCK in out
