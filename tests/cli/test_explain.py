import json

import pytest

from tests.cli.conftest import Call


def test_the_kinds(call: Call) -> None:
    out = call("explain").out
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == ["server", "profile", "defaults"]
    found = json.loads(call("explain", "-o", "json").out)
    assert [item["kind"] for item in found["items"]] == ["LlamaServer", "Profile", "LlamaServerDefaults"]


def test_one_field(call: Call) -> None:
    assert call("explain", "server.spec.restart.maxBackoff").out.splitlines() == [
        "Field:           server.spec.restart.maxBackoff",
        "Value:           a duration",
        "Default:         10s",
        "Meaning:         Longest delay.",
        "Example:",
        "  spec:",
        "    restart:",
        "      maxBackoff: 20s",
        "Or:              1500ms, 5m",
        "Set it with:     reconciler set server/NAME restart.maxBackoff=20s",
    ]


def test_a_section_lists_its_fields(call: Call) -> None:
    lines = call("explain", "server.spec.stop").out.splitlines()
    assert lines[-5:] == [
        "Fields:",
        "  gracePeriod  a duration, default 10s",
        "               Time between SIGTERM and SIGKILL.",
        "  drain        a duration, default 0s",
        "               Longest wait for idle slots before SIGTERM.",
    ]


def test_a_tree(call: Call) -> None:
    lines = call("explain", "server.spec", "--recursive").out.splitlines()
    assert lines[:3] == ["Kind:            LlamaServer", "Field:           server.spec", "Fields:"]
    at = lines.index("  stop:")
    assert lines[at + 1] == "    gracePeriod: a duration, default 10s"
    assert "  model: a non-empty line of text or {hf: …}, required" in lines


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("ctx", "server.spec.ctx"),
        ("spec.ctx", "server.spec.ctx"),
        ("srv.ctx", "server.spec.ctx"),
        ("LlamaServer.spec.ctx", "server.spec.ctx"),
        ("name", "server.metadata.name"),
        ("metadata.name", "server.metadata.name"),
        ("restart", "server.spec.restart"),
        ("profile.active", "profile.spec.active"),
        ("defaults.template.ctx", "defaults.spec.template.ctx"),
        ("env.HF_TOKEN", "server.spec.env"),
    ],
)
def test_short_ways_of_saying_it(call: Call, short: str, long: str) -> None:
    assert f"Field:           {long}\n" in call("explain", short).out


def test_as_data(call: Call) -> None:
    found = json.loads(call("explain", "server.spec.ctx", "-o", "json").out)
    assert found == {
        "kind": "LlamaServer",
        "field": "spec.ctx",
        "value": "a number of at least 1",
        "required": False,
        "default": None,
        "meaning": "Context size in tokens over all slots; unset: what the model was trained with.",
        "examples": [8192],
        "fields": [],
    }
    flat = json.loads(call("explain", "stop", "-o", "json").out)
    assert flat["fields"] == ["spec.stop.gracePeriod", "spec.stop.drain"]
    deep = json.loads(call("explain", "stop", "-r", "-o", "json").out)
    assert [one["field"] for one in deep["fields"]] == flat["fields"]
    assert call("explain", "stop", "-o", "yaml").out.startswith("kind: LlamaServer\n")


@pytest.mark.parametrize(
    ("asked", "error", "hint"),
    [
        ("server.spec.restrt", "no field 'spec.restrt' in LlamaServer, did you mean 'spec.restart'?", "server.spec"),
        ("restart.polcy", "did you mean 'spec.restart.policy'?", "server.spec.restart"),
        ("gpu_layers", "no field 'gpu_layers' in LlamaServer, did you mean 'spec.gpuLayers'?", "server.spec"),
        ("server.policy", "no field 'policy' in LlamaServer, did you mean 'spec.restart.policy'?", "server"),
        ("profile.activ", "no field 'activ' in Profile, did you mean 'spec.active'?", "profile.spec"),
        ("sevrer", "no kind or field 'sevrer', did you mean 'server'?", "server"),
        ("ctx.most", "no field 'ctx.most' in LlamaServer", "server.spec.ctx"),
    ],
)
def test_what_is_unknown_is_answered_with_what_is_near(call: Call, asked: str, error: str, hint: str) -> None:
    called = call("explain", asked)
    assert (called.code, called.out) == (2, "")
    assert error in called.err.splitlines()[0]
    assert called.err.splitlines()[1].partition(",")[0].endswith(f"reconciler explain {hint}")


def test_a_reason(call: Call) -> None:
    assert call("explain", "ModelGrowing").out.splitlines() == [
        "Reason:          ModelGrowing",
        "",
        "Shown as:        why it does not start",
        "Meaning:         The model changed less than 2 s ago and may still be being copied.",
        "Retry:           it passes by itself",
    ]
    told = call("explain", "PortInUse").out
    assert told.index("Shown as:        why it ended") < told.index("Shown as:        why it does not start")
    assert "\n                 Let a free port be taken: `reconciler set server/NAME spec.port=auto`.\n" in told


def test_a_reason_in_any_case_where_no_field_is_meant(call: Call) -> None:
    assert call("explain", "gpuoutofmemory").out == call("explain", "GpuOutOfMemory").out
    assert call("explain", "suspend").out.startswith("Field: ")


def test_a_misspelt_reason(call: Call) -> None:
    called = call("explain", "PortInUs")
    assert (called.code, called.out) == (2, "")
    assert called.err == (
        "error: no kind, field or reason 'PortInUs'\nhint: explain it with: reconciler explain PortInUse\n"
    )


def test_a_reason_as_data(call: Call) -> None:
    found = json.loads(call("explain", "InvalidFlag", "-o", "json").out)
    assert found["reason"] == "InvalidFlag"
    assert [one["mends"] for one in found["meanings"]] == ["Edit", "Edit"]
    assert all(one["canDo"] and one["meaning"] and one["retry"] for one in found["meanings"])
    assert call("explain", "InvalidFlag", "-o", "yaml").out.startswith("reason: InvalidFlag\n")


@pytest.mark.parametrize(
    "arguments", [("server.spec",), ("PortInUse",), ("server", "-r"), ("env",), ("defaults.template.probes",)]
)
def test_it_fits_the_terminal(call: Call, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    for name in ("explain", "explain_reason", "sections"):
        monkeypatch.setattr(f"reconciler.cli.{name}.width", lambda: 60)
    lines = call("explain", *arguments).out.splitlines()
    assert max(map(len, lines)) <= 60
