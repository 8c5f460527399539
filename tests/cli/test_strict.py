"""`validate` as a check of pull requests: the policy for Git, another revision, and GitHub's annotations."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.annotations import command
from tests.cli.conftest import Call
from tests.cli.test_diff_and_validate import manifest

WRITES = "flags: {slot-save-path: /tmp/slots}"


def git(folder: Path, *arguments: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def servers(root: Path) -> Path:
    """A folder of a clone in which a change is being made: `same` and `old` are committed, as `main`."""
    folder = root / "fleet" / "servers"
    folder.mkdir(parents=True)
    for name in ("changed", "old", "same"):
        (folder / f"{name}.yaml").write_text(manifest(name))
    (folder / "README.md").write_text("no manifest\n")
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "fleet")
    git(root, "commit", "--quiet", "--message", "three, all good")
    return folder


@pytest.fixture
def changed(servers: Path) -> Path:
    """The change: one restarts, one is gone, one is new."""
    (servers / "changed.yaml").write_text(manifest("changed", "ctx: 256"))
    (servers / "old.yaml").unlink()
    (servers / "new.yaml").write_text(manifest("new"))
    return servers


# ---------------------------------------------------------------- the policy


def test_what_a_machine_would_refuse_is_refused(servers: Path, call: Call) -> None:
    (servers / "bad.yaml").write_text(f"# a comment first\n{manifest('bad', WRITES)}")
    assert call("validate", "fleet/servers").code == 0
    code, out, err = call("validate", "--strict", "fleet/servers")
    first, last = err.splitlines()
    assert (code, out) == (2, "")
    assert first.startswith("fleet/servers/bad.yaml:5:34: bad: policy.git.flags: ")
    assert "[policy.git] in reconciler.toml" in first
    assert last == "error: 1 error in 4 manifests"


DENIED = """\
---
# another one
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServer
metadata: {name: bad}
spec:
  model: tiny.gguf
  port: 80
  flags:
    slot-save-path: /tmp
    path: /
"""


def test_every_refusal_is_told_with_its_place(servers: Path, call: Call, root: Path) -> None:
    (servers / "bad.yaml").write_text(f"# first\n{manifest('ok')}{DENIED}")
    (root / "reconciler.toml").write_text("[policy.git]\nmax_servers = 1\n")
    *told, last = call("validate", "--strict", "fleet/servers/bad.yaml").err.splitlines()
    assert [re.findall(r"bad\.yaml:(.*?): policy\.git\.(\w+): ", line) for line in told] == [
        [("2:1: ok", "max_servers")],
        [("15:5: bad", "flags")],
        [("16:5: bad", "flags")],
        [("13:3: bad", "ports")],
    ]
    assert last == "error: 4 errors in 1 manifest"


def test_the_settings_decide(servers: Path, call: Call, root: Path) -> None:
    (servers / "bad.yaml").write_text(manifest("bad", WRITES))
    (root / "reconciler.toml").write_text('[policy.git]\nflags = ["slot-save-path"]\n')
    assert call("validate", "--strict", "fleet").out == "4 manifests, 4 servers: ok\n"
    (root / "other.toml").write_text("[policy.git]\nmax_servers = 3\n")
    code, _, err = call("validate", "--strict", "fleet", "--config", "other.toml")
    assert (code, "policy.git.flags" in err, "policy.git.max_servers" in err) == (2, True, True)


def test_servers_that_run_already_find_room_first(servers: Path, call: Call, root: Path) -> None:
    (servers / "aaa.yaml").write_text(manifest("aaa"))
    (root / "reconciler.toml").write_text("[policy.git]\nmax_servers = 3\n")
    assert "same.yaml:1:1: same: policy.git.max_servers" in call("validate", "--strict", "fleet").err
    assert "aaa.yaml:1:1: aaa: policy.git.max_servers" in call("validate", "--strict", "--against", "main", "fleet").err


@pytest.mark.parametrize("make", ["file", "folder"])
def test_no_link_is_followed_as_from_git(servers: Path, call: Call, root: Path, make: str) -> None:
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "linked.yaml").write_text(manifest("linked"))
    if make == "file":
        (servers / "linked.yaml").symlink_to(root / "elsewhere" / "linked.yaml")
    else:
        (servers / "link").symlink_to(root / "elsewhere")
    assert call("validate", "fleet").code == 0
    called = call("validate", "--strict", "fleet")
    assert called.code == 2
    assert re.match(r"fleet/servers/(link/)?linked\.yaml: a symbolic link leads here, and from Git none", called.err)


def test_a_path_is_as_long_as_git_may_have_it(servers: Path, call: Call) -> None:
    deep = servers.joinpath(*["d" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "deep.yaml").write_text(manifest("deep"))
    assert call("validate", "fleet").code == 0
    called = call("validate", "--strict", "fleet")
    assert called.code == 2
    assert "the name is too long (255 bytes, 1024 with its folders): rename it" in called.err


def test_what_is_hidden_from_git_is_hidden_here(servers: Path, call: Call) -> None:
    (servers / ".GIT").mkdir()
    (servers / ".GIT" / "hidden.yaml").write_text("no: manifest")
    assert call("validate", "--strict", "fleet").code == 0


def test_a_folder_that_is_itself_a_link_is_read(servers: Path, call: Call, root: Path) -> None:
    (root / "link").symlink_to(servers)
    assert call("validate", "--strict", "link").code == 0


# ---------------------------------------------------------------- another revision


def test_what_would_change_is_told(changed: Path, call: Call) -> None:
    code, out, err = call("validate", "--strict", "--against", "main", "fleet")
    first, *changes, last = out.splitlines()
    assert (code, err) == (0, "")
    assert re.fullmatch(r"against [0-9a-f]{8} \(three, all good\):", first)
    assert changes == [
        "~ changed  restart: ctx changed",
        "    spec.ctx: 128 → 256",
        "+ new  start: new",
        "    spec.ctx: (unset) → 128",
        "    spec.model: (unset) → tiny.gguf",
        "- old  stop: its document is gone",
        "1 start, 1 restart, 1 stop, 1 unchanged",
    ]
    assert last == "3 manifests, 3 servers: ok"


@pytest.mark.parametrize("given", [("fleet/servers",), ("./fleet",), (".",), ()])
def test_any_folder_of_the_clone_can_be_compared(
    changed: Path, call: Call, given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_MANIFESTS", "fleet")
    assert "1 start, 1 restart, 1 stop, 1 unchanged\n" in call("validate", "--against", "HEAD", *given).out


def test_nothing_changes_in_a_clone_as_committed(servers: Path, call: Call) -> None:
    lines = call("validate", "--against", "main", "fleet").out.splitlines()
    assert lines[1:] == ["no changes: 3 servers as declared", "3 manifests, 3 servers: ok"]


def test_the_work_of_others_is_not_blamed_on_a_branch(changed: Path, call: Call, root: Path) -> None:
    git(root, "checkout", "--quiet", "-b", "change")
    git(root, "commit", "--quiet", "--all", "--message", "mine")
    git(root, "checkout", "--quiet", "main")
    (changed / "others.yaml").write_text(manifest("others"))
    git(root, "add", "fleet/servers/others.yaml")
    git(root, "commit", "--quiet", "--message", "theirs")
    git(root, "checkout", "--quiet", "change")
    first, *rest = call("validate", "--against", "main", "fleet").out.splitlines()
    assert re.fullmatch(r"against [0-9a-f]{8} \(three, all good\), where this branch left main:", first)
    assert not any("others" in line for line in rest)
    assert call("validate", "--against", "", "fleet").err.startswith("error: --against names no revision")


def test_what_the_policy_refuses_is_blocked(changed: Path, call: Call) -> None:
    (changed / "new.yaml").write_text(manifest("new", WRITES))
    code, out, _ = call("validate", "--strict", "--against", "main", "fleet")
    assert code == 2
    assert "    blocked: policy.git.flags: " in out


def test_with_an_error_nothing_would_change(changed: Path, call: Call) -> None:
    (changed / "same.yaml").write_text(manifest("same", "ctz: 1"))
    code, out, err = call("validate", "--against", "main", "fleet")
    assert (code, out) == (2, "")
    assert err.startswith("fleet/servers/same.yaml:4:")


def test_errors_of_the_other_revision_are_a_warning(servers: Path, call: Call, root: Path) -> None:
    (servers / "same.yaml").write_text(manifest("same", "ctz: 1"))
    git(root, "commit", "--quiet", "--all", "--message", "bad")
    (servers / "same.yaml").write_text(manifest("same"))
    code, out, err = call("validate", "--against", "main", "fleet")
    assert code == 0
    assert re.fullmatch(r"warning: [0-9a-f]{8}:servers/same\.yaml:4:\d+: spec\.ctz: .*\n", err)
    assert "+ same  start: new" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--against", "v9", "fleet"), "has no revision 'v9'"),
        (("--against", "--upload-pack=touch x", "fleet"), "has no revision '--upload-pack=touch x'"),
        (("--against", "main", "fleet/servers/same.yaml"), "--against takes one folder"),
        (("--against", "main", "fleet", "fleet"), "--against takes one folder"),
        (("--against", "main", "-"), "--against takes one folder"),
    ],
)
def test_what_cannot_be_compared_is_told(servers: Path, call: Call, arguments: tuple[str, ...], words: str) -> None:
    called = call("validate", *arguments)
    assert (called.code, called.out) == (2, "")
    assert words in called.err


def test_a_folder_outside_of_a_clone_is_told(root: Path, call: Call) -> None:
    (root / "alone").mkdir()
    (root / "alone" / "a.yaml").write_text(manifest("a"))
    called = call("validate", "--against", "main", "alone")
    assert called.code == 2
    assert "lies in no Git repository" in called.err


# ---------------------------------------------------------------- formats


def test_github_shows_it_beside_the_lines(changed: Path, call: Call) -> None:
    (changed / "new.yaml").write_text(manifest("new", WRITES))
    code, out, err = call("validate", "--strict", "--against", "main", "-o", "github", "fleet")
    refusal, stop, restart, start, last = out.splitlines()
    assert (code, err) == (2, "")
    assert refusal.startswith(
        "::error file=fleet/servers/new.yaml,line=4,col=34,title=new%3A refused by the policy::policy.git.flags: "
    )
    assert stop == "::notice title=stop old::its document is gone"
    assert restart == "::notice file=fleet/servers/changed.yaml,line=1,title=restart changed::ctx changed"
    assert start == "::notice file=fleet/servers/new.yaml,line=1,title=start new::new"
    assert last == "1 error in 3 manifests"


def test_errors_have_their_lines_at_github(servers: Path, call: Call) -> None:
    (servers / "same.yaml").write_text(manifest("same", "ctz: 1"))
    first, *_ = call("validate", "-o", "github", "fleet").out.splitlines()
    place = "file=fleet/servers/same.yaml,line=4,col=26,title=invalid manifest"
    assert first == f"::error {place}::spec.ctz: unknown field, did you mean 'ctx'?"


@pytest.mark.parametrize(
    "name",
    ["a\n::add-mask::x.yaml", "::stop-commands::x.yaml", "a##[add-mask]x.yaml", "a,line=9::x.yaml", "50%0A.yaml"],
)
def test_no_manifest_gives_github_a_command(servers: Path, call: Call, name: str) -> None:
    text = "apiVersion: ##[add-mask]a\nkind: '::add-mask::b'\nmetadata: {name: \"c\\n::add-mask::c\"}\n"
    (servers / name.replace("/", "")).write_text(text)
    called = call("validate", "--strict", "-o", "github", "fleet")
    *commands, last = called.out.splitlines()
    assert commands
    assert all(re.match(r"::error file=[^,:]*(,line=\d+,col=\d+)?,title=[^,:]*::", line) for line in commands)
    assert (last, called.err) == (f"{len(commands)} errors in 4 manifests", "")


@pytest.mark.parametrize(
    ("message", "title", "line"),
    [
        ("plain", "t", "::error title=t::plain"),
        ("a, b: 100%", "a, b: 100%", "::error title=a%2C b%3A 100%25::a, b: 100%25"),
        ("two\nlines\r", "x\r\ny", "::error title=x y::two lines"),
        ("\x1b[2J\u2028", "\x00", "::error title=\ufffd::\ufffd[2J"),
    ],
)
def test_what_github_takes_for_its_own_is_escaped(message: str, title: str, line: str) -> None:
    assert command("error", message, title) == line


def test_all_of_it_for_programs(changed: Path, call: Call, root: Path) -> None:
    (changed / "new.yaml").write_text(manifest("new", WRITES))
    code, out, err = call("validate", "--strict", "--against", "main", "-o", "json", "fleet")
    found: dict[str, Any] = json.loads(out)
    assert (code, err) == (2, "")
    assert found["against"] == {"commit": git(root, "rev-parse", "main"), "subject": "three, all good", "problems": []}
    (refusal,) = found["refusals"]
    assert (refusal["server"], refusal["rule"], refusal["line"]) == ("new", "policy.git.flags", 4)
    told = {change["server"]: (change["action"], bool(change["blocked"])) for change in found["changes"]}
    assert told == {
        "changed": ("restart", False),
        "new": ("start", True),
        "old": ("stop", False),
        "same": ("unchanged", False),
    }


def test_what_was_not_asked_for_is_left_out(servers: Path, call: Call) -> None:
    assert set(json.loads(call("validate", "fleet", "-o", "json").out)) == {
        "manifests",
        "servers",
        "others",
        "problems",
        "warnings",
    }
