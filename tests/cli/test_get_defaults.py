"""`get defaults`: what servers share, and which servers do."""

import json
from typing import Any

import pytest

from reconciler.core.kinds import DEFAULTS, other_document
from reconciler.core.model import Now
from tests.cli.conftest import Call
from tests.cli.fake_controller import FakeController
from tests.cli.filling import BOOT, START, Filling
from tests.docs.pages import ROOT, blocks


def declare(filling: Filling, name: str, template: dict[str, Any], labels: dict[str, str] | None = None) -> None:
    selector = {} if labels is None else {"selector": {"matchLabels": labels}}
    document = other_document(
        DEFAULTS,
        json.dumps({**selector, "template": template}),
        name=name,
        file="manifests/defaults.yaml",
        line=1,
        generation=2,
    )
    with filling.store.transaction():
        filling.store.save_other(document, Now(0, START, BOOT))


@pytest.fixture
def two(filling: Filling, controller: FakeController) -> None:
    filling.ready("coder")
    filling.ready("chat")
    declare(filling, "small", {"parallel": 1, "threads": 2}, {"tier": "demo"})
    declare(filling, "big", {"ctx": 8192}, {"tier": "prod"})
    declare(filling, "all", {"gpuLayers": "auto"})


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_table(two: None, call: Call) -> None:
    code, out, err = call("get", "def")
    assert (code, err) == (0, "")
    assert rows(out) == [
        ["NAME", "SELECTOR", "SERVERS", "SETS", "MESSAGE"],
        ["all", "all", "servers", "2", "gpuLayers"],
        ["big", "tier=prod", "0", "ctx"],
        ["small", "tier=demo", "2", "parallel,threads"],
    ]


def test_more_of_it(two: None, call: Call) -> None:
    assert rows(call("get", "defaults", "small", "-o", "wide").out)[1][4:] == [
        "2",
        "manifests/defaults.yaml:1",
        "chat,coder",
    ]
    assert call("get", "defaults", "-o", "name").out.split() == ["default/all", "default/big", "default/small"]
    assert call("get", "default/big", "llamaserverdefaults/all", "-o", "name").out.split() == [
        "default/all",
        "default/big",
    ]
    assert "default/small" in call("get", "all", "-o", "name").out


def test_a_misspelt_one(two: None, call: Call) -> None:
    called = call("get", "default/smal")
    assert called.code == 1
    assert called.err == (
        "error: no default 'smal', did you mean 'small'?\nhint: see which there are with: reconciler get defaults\n"
    )


def test_none(filling: Filling, controller: FakeController, call: Call) -> None:
    called = call("get", "defaults")
    assert (called.code, called.out) == (0, "")
    assert called.err.startswith("no LlamaServerDefaults are declared")


def test_the_data_is_as_documented(two: None, call: Call) -> None:
    found = json.loads(call("get", "defaults", "small", "-o", "json").out)
    (told,) = (
        json.loads(block.text)
        for block in blocks("json", ROOT / "docs" / "reference" / "json.md")
        if block.heading == "Defaults"
    )
    assert found == told
