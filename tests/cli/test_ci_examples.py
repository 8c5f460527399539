"""The examples in deploy/ci are run as their runners would run them, on a clone with a change in it."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cli.pasted import parse
from tests.cli.test_diff_and_validate import manifest
from tests.cli.test_strict import WRITES, git

EXAMPLES = Path(__file__).parents[2] / "deploy" / "ci"


def load(example: str) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(EXAMPLES / example)
    return loaded


def github() -> tuple[list[str], dict[str, str]]:
    """The shell steps, and the environment as GitHub would fill it in."""
    workflow = load("github/validate.yml")
    steps = workflow["jobs"]["validate"]["steps"]
    expressions = {value for step in steps for value in step.get("env", {}).values()}
    assert expressions == {"${{ github.base_ref }}"}, (
        "what a pull request says reaches a shell as a variable, or not at all"
    )
    return [step["run"] for step in steps if "run" in step], {**workflow["env"], "BASE": "main"}


def gitlab() -> tuple[list[str], dict[str, str]]:
    """The same of GitLab's job."""
    pipeline = load("gitlab/.gitlab-ci.yml")
    job = pipeline["manifests"]
    variables = {**pipeline["variables"], **job["variables"]}
    assert variables.pop("BASE") == "$CI_MERGE_REQUEST_DIFF_BASE_SHA"
    return [*job["before_script"], *job["script"]], variables


JOBS = {"github": github, "gitlab": gitlab}


@pytest.fixture
def clone(root: Path) -> Path:
    """A clone of a repository whose servers `same` and `changed` are merged."""
    upstream, clone = root / "upstream", root / "clone"
    (upstream / "servers").mkdir(parents=True)
    git(upstream, "init", "--quiet", "--initial-branch", "main")
    for name in ("same", "changed"):
        (upstream / "servers" / f"{name}.yaml").write_text(manifest(name))
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "--message", "two")
    git(root, "clone", "--quiet", str(upstream), str(clone))
    (clone / "servers" / "changed.yaml").write_text(manifest("changed", "ctx: 256"))
    return clone


def run(name: str, clone: Path, tmp: Path) -> tuple[int, str]:
    """What the example's shell does in the clone, but for installing; its exit code and output."""
    lines, variables = JOBS[name]()
    env = {**os.environ, **variables, "RUNNER_TEMP": str(tmp), "SETTINGS": str(tmp / "reconciler.toml")}
    env["BASE"] = "main" if name == "github" else git(clone, "rev-parse", "origin/main")
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = ""
    for line in lines[1:]:
        ended = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", line], cwd=clone, env=env, text=True, capture_output=True, check=False
        )
        said += ended.stdout + ended.stderr
        if ended.returncode:
            return ended.returncode, said
    return 0, said


@pytest.mark.parametrize("name", JOBS)
def test_its_commands_are_understood(name: str) -> None:
    lines, _ = JOBS[name]()
    assert "install" in lines[0]
    (command,) = [shlex.split(line) for line in lines if line.startswith("reconciler ")]
    parse(command[1:])
    assert {"--strict", "--against"} <= set(command)


@pytest.mark.parametrize("name", JOBS)
def test_a_good_change_is_told(name: str, clone: Path, tmp_path: Path) -> None:
    code, said = run(name, clone, tmp_path)
    assert code == 0, said
    assert "restart" in said
    assert "2 manifests, 2 servers: ok" in said


@pytest.mark.parametrize("name", JOBS)
def test_a_change_does_not_allow_itself_what_the_policy_refuses(name: str, clone: Path, tmp_path: Path) -> None:
    (clone / "servers" / "bad.yaml").write_text(manifest("bad", WRITES))
    (clone / "reconciler.toml").write_text('[policy.git]\nflags = ["slot-save-path"]\n')
    code, said = run(name, clone, tmp_path)
    assert (code, "policy.git.flags" in said) == (2, True), said


@pytest.mark.parametrize("name", JOBS)
def test_what_was_merged_decides(name: str, clone: Path, tmp_path: Path) -> None:
    upstream = clone.parent / "upstream"
    (upstream / "reconciler.toml").write_text('[policy.git]\nflags = ["slot-save-path"]\n')
    git(upstream, "add", ".")
    git(upstream, "commit", "--quiet", "--message", "allow slots")
    git(clone, "fetch", "--quiet")
    (clone / "servers" / "bad.yaml").write_text(manifest("bad", WRITES))
    code, said = run(name, clone, tmp_path)
    assert code == 0, said
