"""Documents of other kinds are edited as servers are."""

from pathlib import Path

import pytest

from reconciler.core.kinds import ProfileDocument, ProfileSpec
from reconciler.core.model import Now
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, START, Filling
from tests.cli.test_diff_and_validate import answer, change
from tests.cli.test_set import TEXT

OTHERS = """\
apiVersion: llama.reconciler/v1alpha1
kind: Profile
metadata: {name: day}
spec:
  servers: [coder]   # only that
---
apiVersion: llama.reconciler/v1alpha1
kind: LlamaServerDefaults
metadata: {name: base}
spec:
  template:
    parallel: 2
    suspend: true
"""


@pytest.fixture
def others(root: Path) -> Path:
    path = root / "manifests" / "others.yaml"
    path.parent.mkdir()
    path.write_text(OTHERS)
    (path.parent / "coder.yaml").write_text(TEXT)
    return path


def test_a_profile(others: Path, call: Call) -> None:
    assert call("set", "profile/day", "active=true", "switch=StartFirst").code == 0
    assert others.read_text() == OTHERS.replace("# only that\n", "# only that\n  active: true\n  switch: StartFirst\n")
    assert call("unset", "profile", "day", "active", "switch").code == 0
    assert others.read_text() == OTHERS
    called = call("set", "profile/day", "servers=[coder, nobody]")
    assert called.code == 2
    assert called.err.startswith("manifests/others.yaml:")
    assert "'nobody'" in called.err


def test_a_server_that_has_a_profiles_name_has_nothing_to_do_with_it(
    others: Path, controller: FakeController, call: Call
) -> None:
    (others.parent / "day.yaml").write_text(TEXT.replace("name: coder", "name: day"))
    controller.on("/preview", answer(change("day", "unchanged"), change("coder", "unchanged")))
    out = call("set", "profile/day", "metadata.labels.x=y", "--dry-run").out
    assert out == "  profile/day  no server changes\ndry run: nothing was written\n"


def test_fields_of_other_kinds_that_nobody_has(others: Path, call: Call) -> None:
    told = "error: no field 'spec.activ', did you mean 'spec.active'?\n"
    hint = "hint: see which there are with: reconciler explain profile.spec\n"
    assert call("unset", "profile/day", "activ") == (2, "", told + hint)
    code, _, err = call("set", "defaults/base", "template.parallel", "4")
    assert code == 2
    assert "reconciler set defaults/base template.parallel=4\n" in err


def test_defaults_tell_what_becomes_of_the_servers(others: Path, call: Call) -> None:
    code, out, _ = call("set", "defaults/base", "template.flags.mlock=true")
    assert code == 0
    assert "spec.flags.mlock: (unset) → true   (from LlamaServerDefaults base)" in out
    assert "    flags:\n      mlock: true\n" in others.read_text()
    assert "did you mean 'ctx'?" in call("set", "defaults/base", "template.cxt=1").err


def test_a_server_that_the_defaults_suspend_is_resumed_in_its_own_manifest(others: Path, call: Call) -> None:
    coder = others.parent / "coder.yaml"
    assert call("resume", "coder").code == 0
    assert coder.read_text() == TEXT + "  suspend: false\n"
    assert others.read_text() == OTHERS


def test_what_a_profile_names_is_not_deleted_from_under_it(others: Path, call: Call) -> None:
    code, out, err = call("delete", "coder")
    assert (code, out) == (2, "")
    assert "no manifest declares 'coder'" in err
    assert (others.parent / "coder.yaml").exists()
    assert call("delete", "profile", "day").out.startswith("- profile/day  removed\n")
    assert call("delete", "coder", "defaults/base").code == 0
    assert not list(others.parent.glob("*.yaml"))


def test_a_server_and_a_profile_may_have_one_name(others: Path, call: Call) -> None:
    (others.parent / "day.yaml").write_text(TEXT.replace("coder", "day"))
    assert call("set", "day", "ctx=1").code == 0
    assert call("delete", "server", "day").code == 0
    assert others.read_text() == OTHERS


def test_a_profile_from_git_is_edited_there(filling: Filling, root: Path, call: Call) -> None:
    (root / "manifests").mkdir()
    filling.source()
    document = ProfileDocument(
        name="day", file="git:prod/day.yaml", origin="git", generation=1, spec=ProfileSpec(servers=("coder",))
    )
    with filling.store.transaction():
        filling.store.save_other(document, Now(0, START, BOOT))
    for verb in (("set", "profile/day", "active=true"), ("delete", "profile", "day"), ("edit", "profile/day")):
        code, out, err = call(*verb)
        assert (code, out) == (2, "")
        assert err.startswith("error: profile 'day' comes from Git; change it there: prod/day.yaml\n")
    assert call("set", "profile/dya", "active=true").err == (
        "error: no profile 'dya', did you mean 'day'?\nhint: see which there are with: reconciler get profiles\n"
    )


def test_a_profile_may_name_servers_that_come_from_git(filling: Filling, others: Path, call: Call) -> None:
    (others.parent / "coder.yaml").unlink()
    filling.ready("coder", origin="git", file="git:prod/coder.yaml")
    assert call("set", "profile/day", "switch=StartFirst").code == 0
    assert call("set", "profile/day", "servers=[coder, nobody]").code == 2
