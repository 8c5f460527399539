"""Profiles and defaults on the command line: checked with all the rest, written, and told of."""

import json
from pathlib import Path

import pytest

from reconciler.cli.documents import Source, check_together
from reconciler.core.spec import dump_spec
from tests.cli.conftest import Call
from tests.cli.test_diff_and_validate import manifest

HEAD = "apiVersion: llama.reconciler/v1alpha1\n"


def other(kind: str, name: str, spec: str) -> str:
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


@pytest.fixture
def manifests(root: Path) -> Path:
    folder = root / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(manifest("a", "port: 8001"))
    (folder / "b.yaml").write_text(manifest("b", "port: 8001"))
    return folder


def sources(folder: Path) -> list[Source]:
    return [Source(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def test_servers_are_checked_with_what_they_take_over(manifests: Path) -> None:
    (manifests / "b.yaml").unlink()
    (manifests / "d.yaml").write_text(other("LlamaServerDefaults", "d", "{template: {ctx: 9}}"))
    checked = check_together(sources(manifests))
    assert [dump_spec(one.spec)["ctx"] for one in checked.documents] == [9]
    assert [one.key for one in checked.others] == ["LlamaServerDefaults/d"]
    given = [Source("-", other("LlamaServerDefaults", "d", "{template: {ctx: 8}}").encode())]
    checked = check_together(given, sources(manifests))
    assert [dump_spec(one.spec)["ctx"] for one in checked.documents] == [8]
    assert (checked.problems, len(checked.others)) == ((), 1)


def test_ports_are_compared_among_servers_that_run_at_once(manifests: Path, call: Call) -> None:
    code, _, err = call("validate")
    assert (code, err.count("wants port 8001 too")) == (2, 2)
    (manifests / "p.yaml").write_text(other("Profile", "day", "{servers: [a], active: true}"))
    code, out, err = call("validate")
    assert (code, out) == (0, "3 manifests, 2 servers, 1 other document: ok\n")
    assert err == (
        "warning: manifests/p.yaml:4:30: spec.active: were no profile active, servers 'a' (manifests/a.yaml:1) and 'b' "
        "(manifests/b.yaml:1) would both want port 8001; give one of them another port, or port: auto\n"
    )
    (manifests / "q.yaml").write_text(other("Profile", "both", "{servers: [a, b]}"))
    data = json.loads(call("validate", "-o", "json").out)
    assert [warning["server"] for warning in data["warnings"]] == ["day", "both"]
    assert "::warning file=manifests/q.yaml" in call("validate", "-o", "github").out


def test_errors_of_other_kinds_are_told_like_those_of_servers(manifests: Path, call: Call) -> None:
    (manifests / "p.yaml").write_text(other("Profile", "day", "{servers: [x], active: true}"))
    (manifests / "q.yaml").write_text(other("Profile", "night", "{servers: [a], actve: true}"))
    code, _, err = call("validate")
    assert code == 2
    assert "manifests/p.yaml:4:17: spec.servers: no manifest declares 'x'" in err
    assert "manifests/q.yaml:4:22: spec.actve: unknown field, did you mean 'active'?" in err


def test_what_is_declared_elsewhere_may_be_named(manifests: Path) -> None:
    given = [Source("-", other("Profile", "day", "{servers: [far]}").encode())]
    assert len(check_together(given, sources(manifests)[:1]).problems) == 1
    assert check_together(given, sources(manifests)[:1], ["far"]).problems == ()
