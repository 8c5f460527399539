"""Which are meant by labels and fields, in what order, and what cannot be meant."""

import time
from typing import Any

import pytest

from reconciler.cli.failure import Failure
from reconciler.cli.fields import MISSING, Field, texts
from reconciler.cli.kinds import KINDS, asked_for, kind_of
from reconciler.cli.selecting import Choice, comparisons
from reconciler.core.label_selector import label_selector
from tests.cli.conftest import Call
from tests.cli.filling import Filling


def item(name: str, phase: str = "Ready", **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(phase == "Ready"), "reason": phase}]
    status = {"phase": phase, "restarts": 0, "port": 8001, "instance": None, "conditions": conditions}
    return {
        "metadata": {"name": name, "labels": more.pop("labels", {})},
        "spec": {"model": "a.gguf", **more.pop("spec", {})},
        "status": {**status, **more},
    }


# ---------------------------------------------------------------- labels

LABELS = {"tier": "prod", "app.kubernetes.io/name": "chat", "empty": ""}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("tier=prod", True),
        ("tier==prod", True),
        ("tier = prod", True),
        ("tier=dev", False),
        ("tier!=dev", True),
        ("tier!=prod", False),
        ("gone!=x", True),
        ("tier", True),
        ("gone", False),
        ("!gone", True),
        ("!tier", False),
        ("empty=", True),
        ("tier=", False),
        ("tier in (dev, prod)", True),
        ("tier in (dev)", False),
        ("tier notin (dev,stage)", True),
        ("tier notin (prod)", False),
        ("gone notin (prod)", True),
        ("gone in (prod)", False),
        ("app.kubernetes.io/name=chat,tier in (dev,prod),!gone", True),
        ("app.kubernetes.io/name=chat,tier in (dev,stage),!gone", False),
    ],
)
def test_labels_are_those_of_kubernetes(text: str, fits: bool) -> None:
    assert label_selector(text).fits(LABELS) is fits


_MISSPELT = [
    *("", ",", "a=b,", "=b", "a=b=c", "a in b", "a in (b", "a b", "!", "a in (b),,c"),
    *("gen>1", "gen:2", "!tier:prod", "gen<2", "a/b/c", "a~=b", "a>=2"),
]


@pytest.mark.parametrize("text", _MISSPELT)
def test_labels_that_nobody_understands(text: str) -> None:
    with pytest.raises(ValueError, match="is none of key=value"):
        label_selector(text)


@pytest.mark.parametrize("text", ["," * 200_000, "a=" + " " * 200_000 + "(", "a in (b," * 100_000, "a,)" * 100_000])
def test_nobody_waits_for_a_hostile_one(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="is none of"):
        label_selector(text)
    assert time.monotonic() - began < 5


# ---------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("phase", "Failed"),
        ("status.phase", "Failed"),
        (".status.phase", "Failed"),
        ("{.status.phase}", "Failed"),
        ("name", "coder"),
        ("port", 8001),
        ("spec.port", MISSING),
        ("model", "a.gguf"),
        ("spec.flags.lora", ["x", "y"]),
        ("spec.flags.lora.1", "y"),
        ("pid", None),
        ("instance.spec.ctx", None),
        ("Ready.reason", "Failed"),
        ("status.conditions.ready.status", "False"),
        ("metadata.labels.app.kubernetes.io/name", "chat"),
        ("frobnicate", MISSING),
        ("status.phase.deeper", MISSING),
    ],
)
def test_a_field_is_found_by_its_path_or_a_shorter_one(path: str, value: object) -> None:
    one = item("coder", "Failed", labels=LABELS, spec={"flags": {"lora": ["x", "y"]}})
    assert Field(path).of(one) == value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("phase=Failed", ["b"]),
        ("phase=failed", ["b"]),
        ("phase!=Failed", ["a", "c"]),
        ("spec.port!=8001", ["a", "c"]),
        ("spec.port=8001", ["b"]),
        ("port=8001,phase=Ready", ["a", "c"]),
        ("Ready=False", ["b"]),
        ("spec.suspend=true", ["c"]),
        ("spec.flags.lora=y", ["a"]),
        (r"model=odd\,name.gguf", ["c"]),
        ("spec.parallel=", ["a", "b", "c"]),
    ],
)
def test_fields_select(text: str, names: list[str]) -> None:
    items = [
        item("a", spec={"flags": {"lora": ["x", "y"]}}),
        item("b", "Failed", spec={"port": 8001}),
        item("c", spec={"suspend": True, "model": "odd,name.gguf"}),
    ]
    assert [each["metadata"]["name"] for each in Choice(fields=comparisons(text)).of(items)] == names


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("phase=Fialed", "no phase 'Fialed'; there are: Ready, "),
        ("phase", "'phase' is neither field=value nor field!=value"),
        ("", "is neither"),
        ("phase=Ready,", "is neither"),
    ],
)
def test_fields_that_nobody_understands(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        comparisons(text)


@pytest.mark.parametrize(
    ("path", "near"), [("status.phse", "status.phase"), ("spec.modle", "spec.model"), ("prot", "port")]
)
def test_a_field_that_none_can_have_is_refused(path: str, near: str) -> None:
    with pytest.raises(Failure, match=f"no field '{path}', did you mean '{near}'?") as refused:
        Choice(fields=comparisons(f"{path}=1")).refuse_unknown([item("a")], ["servers"])
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "path", ["spec.ctx", "ctx", "spec.flags.mmap", "metadata.labels.x", "spec.probes.liveness.period"]
)
def test_a_field_that_just_nobody_wrote_is_none(path: str) -> None:
    Choice(fields=comparisons(f"{path}=1")).refuse_unknown([item("a")], ["servers"])
    assert Choice(fields=comparisons(f"{path}=1")).of([item("a")]) == []
    assert len(Choice(fields=comparisons(f"{path}!=1")).of([item("a")])) == 1


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["a", "b", "c", "d"]),
        ("-name", ["d", "c", "b", "a"]),
        ("phase", ["b", "d", "a", "c"]),
        ("restarts", ["b", "d", "a", "c"]),
        ("-restarts", ["c", "a", "b", "d"]),
        ("uptime", ["c", "a", "b", "d"]),
        ("-uptime", ["a", "c", "b", "d"]),
        ("{.status.port}", ["a", "b", "c", "d"]),
    ],
)
def test_order(order: str, names: list[str]) -> None:
    items = [
        item("d", "BackOff"),
        item("c", restarts=10, uptimeSeconds=5.0),
        item("a", restarts=9, uptimeSeconds=30.0),
        item("b", "Failed", uptimeSeconds=None),
    ]
    choice = Choice(order=Field(order.removeprefix("-")), is_reversed=order.startswith("-"))
    assert [each["metadata"]["name"] for each in choice.of(items)] == names


@pytest.mark.parametrize(
    ("value", "shown"), [(True, ["true"]), (None, [""]), (8001, ["8001"]), (["a", 1], ["a", "1"]), ({"a": 1}, ["a=1"])]
)
def test_values_as_people_write_them(value: object, shown: list[str]) -> None:
    assert texts(value) == shown


# ---------------------------------------------------------------- kinds


def test_no_name_means_two_kinds() -> None:
    names = [name for kind in KINDS.values() for name in kind.names]
    assert len(names) == len(set(names))
    assert all(kind_of(name.upper()) is kind for kind in KINDS.values() for name in kind.names)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["srv"], {"servers": []}),
        (["servers,ev", "a"], {"servers": ["a"], "events": ["a"]}),
        (["LlamaServer", "server/a", "a"], {"servers": ["a"]}),
        (["ev", "source/git", "server/a"], {"events": ["source/git", "a"]}),
        (["server/a", "src/git", "srv/b"], {"servers": ["a", "b"], "sources": ["git"]}),
        (["event/a/Crashed", "restart/a/uid1"], {"events": ["a"], "restarts": ["a"]}),
        (["event/source/git/Synced"], {"events": ["source/git"]}),
    ],
)
def test_what_is_asked_for(words: list[str], asked: dict[str, list[str]]) -> None:
    assert asked_for(words[0], words[1:]) == asked


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serverz"], "no such list 'serverz', did you mean 'servers'?"),
        (["server,evnts"], "no such list 'evnts', did you mean 'events'?"),
        ([","], "no such list ','"),
        (["server/a", "b"], "'b' is not KIND/NAME"),
        (["server/"], "'server/' is not KIND/NAME"),
        (["node/a"], "no such list 'node'"),
    ],
)
def test_what_cannot_be_asked_for(words: list[str], told: str) -> None:
    with pytest.raises(Failure) as refused:
        asked_for(words[0], words[1:])
    assert refused.value.message.startswith(told)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("servers", "-l", "a=b=c"), "Invalid value for '-l' / '--selector': 'a=b=c' is none of"),
        (("servers", "--field-selector", "phase=Nope"), "no phase 'Nope'"),
        (("servers", "--sort-by", "frobnicate"), "no field 'frobnicate'"),
        (("sources", "--sort-by", "restrats"), "see which there are in: reconciler get sources -o json"),
        (("servers,sources", "--sort-by", "x"), "see which there are in: reconciler get servers,sources -o json"),
    ],
)
def test_mistakes_are_of_the_command_line(filling: Filling, call: Call, arguments: tuple[str, ...], error: str) -> None:
    filling.ready("coder")
    filling.source()
    called = call("get", *arguments)
    assert (called.code, called.out) == (2, "")
    assert error in called.err
