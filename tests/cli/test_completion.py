"""What an unfinished command line is answered with."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest

from reconciler.cli import completing_fields, top, wait
from reconciler.cli.command_lines import at_once, completed_verbs
from reconciler.cli.completing_fields import choices_of, fields_of
from reconciler.cli.completions import ARGUMENTS, FLAGS, OPTIONS
from reconciler.cli.invocation import Verb
from reconciler.cli.main import VERBS, cli
from reconciler.manifests.expected import schemas
from reconciler.manifests.parse import KINDS
from tests.cli.conftest import Call
from tests.cli.filling import Filling

FREE = {
    "run": "no arguments",
}
"""Verbs whose arguments nobody can know."""


def answer(line: str, shell: str = "fish", **environ: str) -> list[str]:
    """What the program itself answers a shell."""
    done = subprocess.run(
        [sys.executable, "-m", "reconciler"],
        env={**os.environ, **environ, "COMP_LINE": line, "_RECONCILER_COMPLETE": f"{shell}_complete"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def words(line: str) -> list[str]:
    return [each.split("\t")[1] for each in answer(line)]


def _verbs(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from _verbs(below, f"{path} {name}".strip())
    else:
        yield path, command


ALL = dict(_verbs(cli))


# ---------------------------------------------------------------- the tables


def test_every_argument_is_completed() -> None:
    known = {*ARGUMENTS, *FREE}
    missing = {
        path
        for path, command in ALL.items()
        if path not in known and any(isinstance(param, click.Argument) for param in command.params)
    }
    assert missing == set(), "say in completions.ARGUMENTS what these arguments are"


def test_nothing_is_completed_that_does_not_exist() -> None:
    assert ARGUMENTS.keys() <= ALL.keys()
    options = {option for command in ALL.values() for param in command.params for option in param.opts}
    for key in OPTIONS:
        path, _, option = key.rpartition(" ")
        assert option in ([each for param in ALL[path].params for each in param.opts] if path else options), key


def test_a_flag_takes_no_value_and_an_option_takes_one_whatever_the_verb() -> None:
    for path, command in ALL.items():
        for param in command.params:
            takes_value = not (isinstance(param, click.Option) and param.is_flag)
            for option in (*param.opts, *param.secondary_opts):
                assert not (option in FLAGS and takes_value), f"{path} {option}"
                assert not (option in OPTIONS and not takes_value), f"{path} {option}"


@pytest.mark.parametrize("kind", KINDS)
def test_choices_are_those_of_the_schema(kind: str) -> None:
    """They are read off the words for people."""
    found = fields_of(kind)
    assert {"metadata.labels.", "metadata.annotations."} < found.keys()
    for path, field in found.items():
        nodes = schemas(KINDS[kind], field.path)
        expected = [str(choice) for node in nodes for choice in node.get("enum", [node.get("const")]) if choice]
        expected += ["true", "false"] if any(node.get("type") == "boolean" for node in nodes) else []
        assert choices_of(field) == ([] if field.is_free else expected), path


def test_the_conditions_are_those_that_can_be_waited_for() -> None:
    assert completing_fields.CONDITIONS == wait.CONDITIONS


# ---------------------------------------------------------------- answers


@pytest.fixture
def filled(filling: Filling, root: Path) -> Filling:
    """An installation with three servers, models and manifests."""
    filling.ready("coder", ctx=4096, env={"TOKEN": "hush"}, flags={"mlock": True})
    filling.failed("chat")
    filling.stopped("embed")
    filling.source()
    (root / "models").mkdir()
    (root / "manifests").mkdir()
    for name in ("tiny.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf"):
        (root / "models" / name).touch()
    return filling


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("reconciler roll", ["rollout", "rollback"]),
        ("reconciler create ", ["server"]),
        ("reconciler logs ", ["chat", "coder", "embed"]),
        ("reconciler logs coder ", ["chat", "embed"]),
        ("reconciler logs server/c", ["server/chat", "server/coder"]),
        ("reconciler logs --tail 5 co", ["coder"]),
        ("reconciler logs -l tier=demo co", ["coder"]),
        ("reconciler ensure coder ", []),
        ("reconciler rollout history c", ["chat", "coder"]),
        ("reconciler stop coder --al", ["--all"]),
        ("reconciler suspend ", ["chat", "coder", "embed", "source"]),
        ("reconciler suspend source ", ["git"]),
        ("reconciler describe so", ["source"]),
        ("reconciler describe de", ["default"]),
        ("reconciler describe co", ["coder"]),
        ("reconciler describe server/co", ["server/coder"]),
        ("reconciler describe coder ", ["chat", "embed"]),
        ("reconciler top --sort-by ", ["name", "cpu", "memory", "gpu", "tokens", "slots"]),
        ("reconciler restart -l tier=", ["tier=demo"]),
        ("reconciler stop server co", ["coder"]),
        ("reconciler describe server co", ["coder"]),
        ("reconciler describe source ", ["git"]),
        ("reconciler get servers,e", ["servers,events"]),
        ("reconciler get events co", ["coder"]),
        ("reconciler get srv co", ["coder"]),
        ("reconciler get source/", ["source/git"]),
        ("reconciler get servers -l ", ["tier="]),
        ("reconciler get servers -l tier!=", ["tier!=demo"]),
        ("reconciler get servers -l tier=demo,ti", ["tier=demo,tier="]),
        ("reconciler get servers --selector=tier=", ["--selector=tier=demo"]),
        ("reconciler get servers --field-selector spec.model=", ["spec.model=tiny.gguf"]),
        ("reconciler get servers --field-selector phase!=Fai", ["phase!=Failed"]),
        ("reconciler get servers --field-selector status.pho", []),
        ("reconciler get servers --sort-by u", ["uptime"]),
        ("reconciler get servers --sort-by -u", ["-uptime"]),
        ("reconciler get servers -o js", ["json"]),
        ("reconciler wait coder --for=condition=Rec", ["--for=condition=Reconciled"]),
        ("reconciler events --for ch", ["chat"]),
        ("reconciler events --for server/co", ["server/coder"]),
        ("reconciler events --for sou", ["source/git"]),
        ("reconciler set co", ["coder"]),
        ("reconciler set server/co", ["server/coder"]),
        ("reconciler set server coder ct", ["ctx="]),
        ("reconciler set coder parallel=2 ct", ["ctx="]),
        ("reconciler set coder ctx=", ["ctx=4096"]),
        ("reconciler set coder spec.adopt=", ["spec.adopt=IfMatching", "spec.adopt=Never"]),
        ("reconciler set coder flags.ubat", ["flags.ubatch-size="]),
        ("reconciler set coder flags.mlock=", ["flags.mlock=true"]),
        ("reconciler set coder model=t", ["model=tiny.gguf"]),
        ("reconciler set profile/day spec.sw", ["spec.switch="]),
        ("reconciler unset coder ", ["model", "ctx", "flags.mlock", "env.TOKEN", "metadata.labels.tier"]),
        ("reconciler unset coder spec.c", ["spec.ctx"]),
        ("reconciler create server x --model b", ["big-00001-of-00002.gguf"]),
        ("reconciler create server x --set restart.pol", ["restart.policy="]),
        ("reconciler explain restart.pol", ["restart.policy"]),
        ("reconciler explain GpuO", ["GpuOutOfMemory"]),
        ("reconciler explain profile.spec.sw", ["profile.spec.switch"]),
        ("reconciler -q --state state logs co", ["coder"]),
        ("reconciler --state=nowhere logs co", []),
        ("reconciler nonsense ", []),
        ("reconciler logs 'co", ["coder"]),
    ],
)
def test_a_line_goes_on(filled: Filling, line: str, expected: list[str]) -> None:
    del filled
    assert words(line) == expected


def test_names_of_other_kinds(filled: Filling) -> None:
    with closing(sqlite3.connect(filled.state / "state.db")) as db, db:
        columns = [row[1] for row in db.execute("pragma table_info(documents)")]
        for kind, name in (("Profile", "day"), ("LlamaServerDefaults", "base")):
            chosen = ", ".join({"kind": f"'{kind}'", "name": f"'{name}'"}.get(one, one) for one in columns)
            db.execute(f"insert into documents select {chosen} from documents where name = 'coder'")
    assert words("reconciler profile use ") == ["day"]
    assert words("reconciler get profiles ") == ["day"]
    assert words("reconciler edit profile/") == ["profile/day"]
    assert words("reconciler set ") == ["chat", "coder", "embed", "profile/day", "defaults/base"]
    assert words("reconciler delete defaults ") == ["base"]
    assert words("reconciler describe profile ") == ["day"]


def test_what_top_is_ordered_by_is_what_it_takes() -> None:
    assert completing_fields.USAGE_KEYS == top.KINDS


def test_reasons_that_happened_and_generations_to_go_back_to(filled: Filling) -> None:
    filled.event("coder", "Crashed", "signal 9")
    filled.event("coder", "Ready", "again")
    assert words("reconciler events --reason ") == ["Crashed", "Ready"]
    assert words("reconciler events --reason=Cr") == ["--reason=Crashed"]
    filled.document("coder", generation=2, ctx=2048)
    filled.document("coder", generation=3, ctx=1024)
    assert words("reconciler rollback coder --to ") == ["2", "1"]
    assert words("reconciler rollback server/coder --to ") == ["2", "1"]
    assert words("reconciler rollback --to ") == []


def test_a_secret_is_not_shown(filled: Filling) -> None:
    del filled
    assert not any("hush" in line for line in answer("reconciler unset coder "))


def test_names_come_with_their_phases(filled: Filling) -> None:
    del filled
    # Nobody runs that could tell how they are; one that failed stays so.
    assert answer("reconciler stop ch") == ["plain\tchat\tFailed"]
    assert answer("reconciler stop co", "zsh") == ["plain\tcoder:Unknown"]


@pytest.mark.parametrize(
    ("line", "breaks", "expected"),
    [
        ("reconciler wait --for=phase=Rea", "=:", ["plain\tReady"]),
        ("reconciler wait --for=phase=Rea", "", ["plain\t--for=phase=Ready"]),
        ("reconciler set coder 'ctx=", "=:", ["plain\tctx=4096"]),
        ("reconciler create server x --model sp", "=:", ["plain\tspace\\ and\\ \\$dollar.gguf"]),
    ],
)
def test_bash_is_given_what_is_behind_its_break_quoted(
    filled: Filling, root: Path, line: str, breaks: str, expected: list[str]
) -> None:
    del filled
    (root / "models" / "space and $dollar.gguf").touch()
    assert answer(line, "bash", COMP_BREAKS=breaks) == expected


def test_what_a_terminal_would_obey_is_left_out(filled: Filling, root: Path) -> None:
    del filled
    (root / "models" / "x\x1b[2Jy.gguf").touch()
    (root / "models" / "x\ny.gguf").touch()
    assert answer("reconciler create server x --model x") == []


@pytest.mark.parametrize(
    "line", ["reconciler logs c", "reconciler set ", "reconciler logs --tail 5 c", "", "reconciler 'x"]
)
@pytest.mark.parametrize("trouble", ["damaged", "missing", "newer"])
def test_trouble_is_no_answer_and_no_noise(filled: Filling, line: str, trouble: str) -> None:
    filled.store.close()
    database = filled.state / "state.db"
    if trouble == "missing":
        database.unlink()
    elif trouble == "damaged":
        database.write_bytes(b"nothing of ours" * 999)
    else:
        database.chmod(0)
        database.unlink()
        database.mkdir()
    assert answer(line) == [] or not line


def test_a_shell_is_not_kept_waiting(filled: Filling, root: Path) -> None:
    """A settings file that is a pipe nobody writes into is read for ever."""
    del filled
    os.mkfifo(root / "reconciler.toml")
    begun = time.monotonic()
    assert answer("reconciler logs c") == []
    assert time.monotonic() - begun < 15


def test_verbs_that_are_slow_to_import_are_not(filled: Filling, root: Path) -> None:
    del filled, root
    probe = (
        "import sys; from reconciler.cli.command_lines import at_once; "
        "found = at_once(['set', 'coder'], 'ct'), at_once(['create', 'server', '--from-model'], 't'), "
        "at_once(['apply'], 'c'), at_once(['get', 'servers', '-l'], ''); "
        "print(all(found), *[name for name in ('pydantic', 'ruamel', 'httpx', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]


def test_both_ways_lead_to_the_same(filled: Filling) -> None:
    """Without the verb's own command line, and with it."""
    del filled
    verbs = completed_verbs()
    for args, begun in (
        (["logs"], "co"),
        (["describe", "server"], "c"),
        (["set", "coder"], "restart.p"),
        (["get"], "s"),
    ):
        quick = at_once(args, begun)
        assert quick
        context = verbs.make_context("reconciler", [*args], resilient_parsing=True)
        command = verbs.get_command(context, args[0])
        assert isinstance(command, Verb)
        below = command.make_context(args[0], args[1:], parent=context, resilient_parsing=True)
        arguments = [param for param in command.params if isinstance(param, click.Argument)]
        param = arguments[min(len(args) - 1, len(arguments) - 1)]
        assert [item.value for item in param.shell_complete(below, begun)] == [item.value for item in quick]


# ---------------------------------------------------------------- the verb


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_program_and_nothing_of_this_machine(call: Call, shell: str) -> None:
    shown = call("completion", shell)
    assert (shown.code, shown.err) == (0, "")
    assert f"_RECONCILER_COMPLETE={shell}_complete" in shown.out
    assert sys.prefix not in shown.out


def test_another_shell_is_refused(call: Call) -> None:
    refused = call("completion", "tcsh")
    assert refused.code == 2
    assert "bash" in refused.err


def test_every_verb_is_offered(root: Path) -> None:
    del root
    assert words("reconciler ") == list(VERBS)
