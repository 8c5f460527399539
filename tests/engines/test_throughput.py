"""How much a server serves, by what it tells."""

import json
from typing import Any

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines import llama_server, throughput
from reconciler.engines.throughput import Metrics, Slots, tokens_between

IDLE = {"id": 0, "n_ctx": 1024, "speculative": False, "is_processing": False}
REAL = (
    b"# HELP llamacpp:tokens_predicted_total Number of generation tokens processed\n"
    b"# TYPE llamacpp:tokens_predicted_total counter\n"
    b"llamacpp:tokens_predicted_total 1.2e+06\n"
    b"llamacpp:predicted_tokens_seconds 3951.87\n"
    b"llamacpp:requests_processing 2\n"
    b"llamacpp:requests_deferred 1\n"
)


def busy(number: int, task: int, generated: int, *, listed: bool = True) -> dict[str, Any]:
    following = {"has_next_token": True, "n_remain": 50, "n_decoded": generated}
    shown = {"id_task": task, "params": {"seed": 7}, "next_token": [following] if listed else following}
    return {**IDLE, "id": number, "is_processing": True, **shown}


def spec_of(**fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "a.gguf", **fields})


@pytest.mark.parametrize(
    ("slots", "told"),
    [
        ([IDLE, {**IDLE, "id": 1}], Slots(2, 0)),
        ([IDLE, busy(1, 7, 30)], Slots(2, 1, {(1, 7): 30})),
        ([busy(0, 5, 3, listed=False), busy(1, 7, 30)], Slots(2, 2, {(0, 5): 3, (1, 7): 30})),
        ([{**busy(0, 5, 3), "next_token": []}], Slots(1, 1)),
        ([{"id": "x", "is_processing": True}], Slots(1, 1)),
        ([], None),
        ({"error": {"code": 401}}, None),
        ([1], None),
    ],
)
def test_what_slots_tell(slots: Any, told: Slots | None) -> None:
    assert throughput.read_slots(json.dumps(slots).encode()) == told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (REAL, Metrics(1_200_000, 2, 1)),
        (b'llamacpp:requests_processing{model="a"} 3\n', Metrics(None, 3, None)),
        (b"llamacpp:requests_processing 1e999\nllamacpp:requests_deferred x\n", None),
        (b'{"error":{"code":501}}', None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_what_metrics_tell(body: bytes, told: Metrics | None) -> None:
    assert throughput.read_metrics(body) == told


def test_hostile_depth_is_no_answer() -> None:
    assert throughput.read_slots(b"[" * 100_000) is None


AT_10, AT_30, NEXT = (Slots(1, 1, {(0, task): count}) for task, count in ((1, 10), (1, 30), (2, 5)))


@pytest.mark.parametrize(
    ("before", "after", "tokens"),
    [
        ((AT_10, None), (AT_30, None), 20),
        ((AT_10, None), (NEXT, None), 5),  # the last of the first are lost
        ((AT_10, Metrics(100)), (NEXT, Metrics(140)), 35),  # and here they are not
        ((AT_10, Metrics(100)), (Slots(1, 0), Metrics(140)), 30),
        ((None, Metrics(100)), (None, Metrics(140)), 40),
        (
            (AT_30, Metrics(100)),
            (AT_10, Metrics(100)),
            0,
        ),  # never less than nothing: another process, or a moment's gap
        ((None, Metrics(5)), (AT_10, None), None),
        ((None, None), (AT_10, None), None),
        ((None, None), (None, None), None),
    ],
)
def test_the_tokens_between_two_looks(before: Any, after: Any, tokens: int | None) -> None:
    assert tokens_between(before, after) == tokens


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, False),
        ({"flags": {"metrics": True}}, True),
        ({"flags": {"metrics": False}, "env": {"LLAMA_ARG_ENDPOINT_METRICS": "1"}}, False),
        ({"env": {"LLAMA_ARG_ENDPOINT_METRICS": "true"}}, True),
    ],
)
def test_whether_there_are_metrics(fields: dict[str, Any], shown: bool) -> None:
    assert llama_server.shows_metrics(spec_of(**fields)) == shown


def test_a_prefix_moves_the_metrics_too() -> None:
    assert llama_server.metrics_path(spec_of(flags={"api-prefix": "/llm"})) == "/llm/metrics"
    assert llama_server.metrics_path(spec_of()) == "/metrics"
