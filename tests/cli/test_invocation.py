import json
import os
from pathlib import Path

import pytest

from reconciler.cli.failure import Failure
from reconciler.cli.invocation import Invocation
from tests.cli.filling import Filling


@pytest.fixture
def elsewhere(root: Path) -> Path:
    """The working folder is another project's."""
    folder = root / "another"
    (folder / "manifests").mkdir(parents=True)
    os.chdir(folder)
    return folder


def test_an_installation_keeps_its_own_folders(filling: Filling, root: Path, elsewhere: Path) -> None:
    settings = Invocation(state=str(filling.state)).settings_of(filling.state)
    assert (settings.state, settings.manifests) == (str(filling.state), str(root / "manifests"))
    assert settings.models == str(root / "models")


def test_the_folder_that_its_controller_used_is_remembered(filling: Filling, elsewhere: Path) -> None:
    filling.meta("manifests", json.dumps({"folder": "/srv/manifests"}))
    filling.meta("controller", json.dumps({"pid": 1}))
    assert Invocation().settings_of(filling.state).manifests == "/srv/manifests"


def test_what_is_named_wins(filling: Filling, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filling.meta("manifests", json.dumps({"folder": "/srv/manifests"}))
    assert Invocation(manifests="/flag").settings_of(filling.state).manifests == "/flag"
    monkeypatch.setenv("RECONCILER_MANIFESTS", str(elsewhere / "manifests"))
    assert Invocation().settings_of(filling.state).manifests == str(elsewhere / "manifests")


def test_its_settings_file_lies_beside_it(filling: Filling, root: Path) -> None:
    (root / "reconciler.toml").write_text('manifests = "mine"\nloads = 7')
    deep = root / "deep"
    deep.mkdir()
    os.chdir(deep)
    settings = Invocation().settings_of(filling.state)
    assert (settings.manifests, settings.loads) == (str(root / "mine"), 7)


def test_another_projects_settings_do_not_decide_about_it(filling: Filling, root: Path, elsewhere: Path) -> None:
    """Neither which repository is followed, nor what the policy allows."""
    (elsewhere / "reconciler.toml").write_text('[source.git]\nurl = "file:///theirs"\n[policy.git]\nhf = true\n')
    own = root / "own.toml"
    own.write_text('[source.git]\nurl = "file:///ours"\n')
    filling.meta("controller", json.dumps({"pid": 1, "settings": str(own)}))
    settings = Invocation(state=str(filling.state)).settings_of(filling.state)
    assert settings.source.git
    assert (settings.source.git.url, settings.policy.git.hf) == ("file:///ours", False)
    assert settings.file == str(own)
    filling.meta("controller", json.dumps({"pid": 1, "settings": os.devnull}))
    assert Invocation(state=str(filling.state)).settings_of(filling.state).source.git is None


def test_the_settings_of_the_folder_that_means_it_count(filling: Filling, root: Path, elsewhere: Path) -> None:
    (elsewhere / "reconciler.toml").write_text(f'state = "{filling.state}"\nloads = 7\n')
    filling.meta("controller", json.dumps({"pid": 1, "settings": os.devnull}))
    assert Invocation().settings_of(filling.state).loads == 7


def test_a_project_of_its_own_is_not_the_installation_above(filling: Filling, elsewhere: Path) -> None:
    assert Invocation().existing_or_new().state == str(elsewhere / "state")


def test_a_plain_folder_below_is(filling: Filling, root: Path) -> None:
    deep = root / "deep"
    deep.mkdir()
    os.chdir(deep)
    settings = Invocation().existing_or_new()
    assert (settings.state, settings.manifests) == (str(filling.state), str(root / "manifests"))


def test_settings_that_are_wrong_are_bad_input(root: Path) -> None:
    (root / "reconciler.toml").write_text("lods = 7")
    with pytest.raises(Failure, match="lods: unknown setting; did you mean 'loads'") as failure:
        Invocation().settings()
    assert failure.value.exit_code == 2
