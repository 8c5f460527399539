"""What llama-server's slots and completions say of its work."""

import json
from typing import Any

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines import llama_server, work
from reconciler.engines.work import Work

NO_KEY = b'{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}'
NO_SLOTS = (
    b'{"error":{"code":501,"message":"This server does not support slots endpoint.","type":"not_supported_error"}}'
)
PREFILL = {
    "id": 1,
    "n_ctx": 32768,
    "speculative": False,
    "is_processing": True,
    "id_task": 2,
    "n_prompt_tokens": 6144,
    "n_prompt_tokens_processed": 4096,
    "n_prompt_tokens_cache": 0,
    "params": {"seed": 7, "temperature": 0.8, "n_predict": 50},
    "next_token": [{"has_next_token": True, "n_remain": 50, "n_decoded": 0}],
}
"""As the real one shows it; older ones have a mapping as `next_token`, and one slot fewer fields."""


def spec_of(**fields: Any) -> ServerSpec:
    return ServerSpec.model_validate({"model": "a.gguf", **fields})


@pytest.mark.parametrize(
    ("body", "busy"),
    [
        (b'[{"id":0,"is_processing":false},{"id":1,"is_processing":true}]', 1),
        (b'[{"id":0}]', 0),
        (b"[]", 0),
        (NO_SLOTS, None),
        (NO_KEY, None),
        (b"", None),
        (b"[1]", None),
        (b"[" * 100_000, None),
    ],
)
def test_busy_slots(body: bytes, busy: int | None) -> None:
    found = work.read_work(body)
    assert (None if found is None else found.busy) == busy


@pytest.mark.parametrize(
    ("changes", "is_movement"),
    [
        ({}, False),
        ({"n_prompt_tokens_processed": 6144}, True),
        ({"id_task": 3}, True),
        ({"next_token": [{"has_next_token": True, "n_remain": 49, "n_decoded": 1}]}, True),
        ({"next_token": {"n_remain": 49, "n_decoded": 1}}, True),
        ({"params": {"seed": 8}}, False),
        ({"prompt": "text"}, False),
        ({"temperature": float("nan")}, False),
    ],
)
def test_what_moves_in_a_busy_slot(changes: dict[str, Any], is_movement: bool) -> None:
    idle = {"id": 0, "is_processing": False, "n_decoded": 5}
    before = work.read_work(json.dumps([idle, PREFILL]).encode())
    after = work.read_work(json.dumps([{**idle, "n_decoded": 6}, {**PREFILL, **changes}]).encode())
    assert before is not None
    assert (before != after) is is_movement


def test_what_a_stranger_may_answer_is_bounded() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = {"next": deep}
    many = json.dumps([{"is_processing": True, "deep": deep, "many": list(range(100_000))}]).encode()
    found = work.read_work(many)
    assert found == Work(1, tuple(range(work.MOST_COUNTERS)))


@pytest.mark.parametrize(
    ("fields", "may_sleep"),
    [
        ({}, False),
        ({"flags": {"sleep-idle-seconds": 300}}, True),
        ({"flags": {"sleep-idle-seconds": "300"}}, True),
        ({"flags": {"sleep-idle-seconds": -1}}, False),
        ({"env": {"LLAMA_ARG_SLEEP_IDLE_SECONDS": "60"}}, True),
        ({"env": {"LLAMA_ARG_SLEEP_IDLE_SECONDS": "-1"}}, False),
        ({"env": {"LLAMA_ARG_SLEEP_IDLE_SECONDS": {"fromEnv": "NAP"}}}, True),
        ({"flags": {"sleep-idle-seconds": -1}, "env": {"LLAMA_ARG_SLEEP_IDLE_SECONDS": "60"}}, False),
    ],
)
def test_which_servers_may_sleep(fields: dict[str, Any], may_sleep: bool) -> None:
    assert work.may_sleep(spec_of(**fields)) is may_sleep
    refused = llama_server.check(spec_of(**fields, probes={"liveness": {"completion": True}}))
    assert [place for place, _ in refused] == ([("probes", "liveness", "completion")] if may_sleep else [])
    assert all("leave this out, or the flag `sleep-idle-seconds`" in message for _, message in refused)


@pytest.mark.parametrize(
    ("fields", "path", "names"),
    [
        ({}, "/completion", {"prompt", "n_predict", "cache_prompt"}),
        ({"flags": {"api-prefix": "/x"}}, "/x/completion", {"prompt", "n_predict", "cache_prompt"}),
        ({"flags": {"embeddings": True}}, "/embedding", {"content"}),
        ({"flags": {"embedding": True}}, "/embedding", {"content"}),
        ({"flags": {"embeddings": False}, "env": {"LLAMA_ARG_EMBEDDINGS": "1"}}, "/completion", {"prompt"}),
        ({"env": {"LLAMA_ARG_EMBEDDINGS": "true"}}, "/embedding", {"content"}),
        ({"flags": {"reranking": True, "embeddings": True, "api-prefix": "/x"}}, "/x/rerank", {"query", "documents"}),
        ({"flags": {"rerank": True}}, "/rerank", {"query", "documents"}),
        ({"env": {"LLAMA_ARG_RERANKING": "on"}}, "/rerank", {"query", "documents"}),
    ],
)
def test_each_kind_of_server_is_asked_for_what_it_can_do(fields: dict[str, Any], path: str, names: set[str]) -> None:
    asked = work.trial(spec_of(**fields))
    assert asked.path == path
    assert names <= json.loads(asked.body).keys()
    assert json.loads(asked.body).get("n_predict", 1) == 1


@pytest.mark.parametrize(
    ("status", "body", "went_well", "why"),
    [
        (200, b'{"content":"x"}', True, ""),
        (200, b'[{"embedding":[[0.1]]}]', True, ""),
        (200, b'{"error":{"message":"decode failed"}}', False, "answers 200, but with an error: decode failed"),
        (200, b"hello", False, "answers 200, but with something else"),
        (500, b'{"error":{"message":"Compute error."}}', False, "answers 500: Compute error."),
        (500, b"[" * 100_000, False, "answers 500: without a reason"),
        (502, b"", False, "answers 502: without a reason"),
        (401, NO_KEY, None, "answers 401: Invalid API Key"),
        (404, b"", None, "answers 404: without a reason"),
        (501, NO_SLOTS, None, "answers 501: This server does not support slots endpoint."),
        (503, b'{"error":{"message":"Loading model"}}', None, "answers 503: Loading model"),
        (429, b'{"error":"later\x1b[31m"}', None, "answers 429"),
    ],
)
def test_what_an_answer_says_of_the_work(status: int, body: bytes, went_well: bool | None, why: str) -> None:
    verdict, told = work.read_trial(status, body)
    assert verdict is went_well
    assert told.startswith(why)
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"is_sleeping": true}', True),
        (b'{"is_sleeping": false}', False),
        (b'{"is_sleeping": 1}', False),
        (b"{}", False),
        (b"[]", False),
        (b"no JSON", False),
    ],
)
def test_who_is_asleep(body: bytes, expected: bool) -> None:
    assert work.is_asleep(body) is expected
