"""What a live log tells. The lines marked `provoked` were written by the real llama-server, at its usual verbosity."""

import shlex
from typing import Any

import pytest

from reconciler.core.model import Effective
from reconciler.core.spec import ServerSpec
from reconciler.engines import engine_of
from reconciler.engines.live import TooLarge, read_live, tell_live
from tests.cli.pasted import commands, faults

EXCEEDS = "error: request (2402 tokens) exceeds the available context size (256 tokens), try increasing it"
PROVOKED = f"0.00.140.283 E srv    send_error: task id = 4, {EXCEEDS}\n"
LARGER = PROVOKED.replace("2402", "9000")
IN_JSON = f'{{"type":"log","time":172774,"level":"error","msg":"srv    send_error: task id = 4, {EXCEEDS}\\n"}}\n'
BATCH = (
    "0.00.099.210 E srv    send_error: task id = 0, error: input (1802 tokens) is too large to process. "
    "increase the physical batch size (current batch size: 128)\n"
)
FULL = "0.00.125.807 E srv    send_error: task id = 4, error: Context size has been exceeded.\n"
ORDINARY = """\
0.00.096.160 I slot      release: id  3 | task 0 | stop processing: n_tokens = 6, truncated = 0
0.00.118.029 I slot get_availabl: id  2 | task -1 | selected slot by LRU, t_last = -1
0.00.125.806 E srv        decode: Context size has been exceeded. off = 0, n_batch = 1, ret = 1
0.00.126.060 E srv  update_slots: decode() failed: Context size has been exceeded.
0.00.118.182 W srv          stop: cancel task, id_task = 4
"""
OLDER = "srv    send_error: task id = 7, error: the request exceeds the available context size. try increasing it\n"
"""As older builds have it; from texts."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PROVOKED, TooLarge(2402, 256)),
        (f"{ORDINARY}{PROVOKED}{ORDINARY}", TooLarge(2402, 256)),
        (f"\x1b[0m0.00.140.283 \x1b[31mE srv    send_error: task id = 4, {EXCEEDS}\x1b[0m\n", TooLarge(2402, 256)),
        (PROVOKED.partition(" E ")[2], TooLarge(2402, 256)),
        (IN_JSON, TooLarge(2402, 256)),
        (PROVOKED + LARGER + PROVOKED, TooLarge(9000, 256)),
        (BATCH, TooLarge(1802, 128, is_batch=True)),
        (FULL, TooLarge(is_full=True)),
        (FULL + PROVOKED, TooLarge(2402, 256)),
        (OLDER, TooLarge()),
        (ORDINARY, None),
        ("", None),
        # A prompt that has such a line in it, as `-v` writes prompts.
        (f"0.00.1 D srv  log_server_r: request: {'x' * 100}{PROVOKED}", None),
        (f"0.00.1 I srv  request: {EXCEEDS}\n", None),
        ("x" * 300_000, None),
    ],
    ids=[
        "provoked", "among others", "coloured", "no times", "json", "the largest", "batch", "full", "full and large",
        "older", "ordinary", "empty", "prompt", "another line", "no line",
    ],
)  # fmt: skip
def test_requests_that_were_refused(text: str, found: TooLarge | None) -> None:
    assert read_live(text) == found


FORGED = (
    "0.01.000.000 E srv    send_error: task id = 1, error: request ({} tokens) exceeds the available context size ({} "
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (FORGED.format(999_999_999_999, 512) + "tokens), try\n" + PROVOKED, TooLarge(2402, 256)),
        (FORGED.format(999_999_999_999, 256) + "tokens), try\n" + PROVOKED, TooLarge(2402, 256)),
        (FORGED.format(9000, 512) + "tokens), try\n" + PROVOKED, TooLarge(2402, 256)),
        (FORGED.format(100, 256) + "tokens), try\n", None),
        (f"root ::= {PROVOKED}", None),
        (f"E parse: {PROVOKED.partition(' E ')[2]}", None),
        (BATCH.replace("1802", "99999999999"), None),
        (BATCH, TooLarge(1802, 128, is_batch=True)),
        (IN_JSON, TooLarge(2402, 256)),
        (FULL, TooLarge(is_full=True)),
    ],
)
def test_what_does_not_fit_the_server_is_not_believed(text: str, found: TooLarge | None) -> None:
    """A client's grammar is logged as it is, with its line breaks."""
    assert read_live(text, Effective(256, 1)) == found


FOUR = Effective(ctx_per_slot=256, slots=4, trained=32768)


@pytest.mark.parametrize(
    ("found", "spec", "effective", "change"),
    [
        (TooLarge(2402, 256), {"parallel": 1}, Effective(256, 1, trained=32768), "spec.ctx=3072"),
        (TooLarge(2402, 256), {"parallel": 4}, FOUR, "spec.ctx=12288"),
        (TooLarge(2402, 256), {}, FOUR, "spec.ctx=3072"),
        (TooLarge(2402, 256), {"parallel": 4, "flags": {"kv-unified": True}}, FOUR, "spec.ctx=3072"),
        (TooLarge(2402, 256), {"flags": {"kv-unified": False}}, FOUR, "spec.ctx=12288"),
        (TooLarge(2402, 256), {"parallel": 4}, None, "spec.ctx=12288"),
        (TooLarge(40_000, 8192), {"parallel": 2}, Effective(8192, 2, trained=131072), "spec.ctx=100352"),
        (TooLarge(30_000, 8192), {"parallel": 2}, Effective(8192, 2, trained=32768), "spec.ctx=65536"),
        (TooLarge(30_000, 8192), {"parallel": 2}, Effective(8192, 2), "spec.ctx=75776"),
        (TooLarge(), {"parallel": 2}, Effective(512, 2), "spec.ctx=2560"),
        (TooLarge(is_full=True), {}, Effective(512, 4), "spec.ctx=1024"),
        (TooLarge(is_full=True), {}, None, "spec.parallel=1"),
        (
            TooLarge(1802, 512, is_batch=True),
            {"parallel": 1},
            Effective(4096, 1, trained=8192),
            "spec.flags.ubatch-size=2304 spec.flags.batch-size=2304",
        ),
        (
            TooLarge(1802, 128, is_batch=True),
            {"parallel": 2},
            Effective(256, 2, trained=2048),
            "spec.flags.ubatch-size=2048 spec.flags.batch-size=2048 spec.ctx=4096",
        ),
    ],
)
def test_the_remedy_fits(found: TooLarge, spec: dict[str, Any], effective: Effective | None, change: str) -> None:
    message = tell_live(found, ServerSpec.model_validate({"model": "a", **spec}), effective, "coder")
    assert message.endswith(f"; send less, or: reconciler set server/coder {change}")
    assert commands(message) == [["set", "server/coder", *shlex.split(change)]]
    assert faults(message) == []


@pytest.mark.parametrize(
    ("found", "effective"),
    [
        (TooLarge(2402, 512), Effective(512, 4, trained=512)),
        (TooLarge(513, 512), Effective(512, 4, trained=512, is_capped=True)),
        (TooLarge(600, 256), Effective(256, 4, trained=512)),
        (TooLarge(600, 256, is_batch=True), Effective(512, 4, trained=512)),
    ],
)
def test_beyond_what_the_model_was_trained_with_no_setting_helps(found: TooLarge, effective: Effective) -> None:
    message = tell_live(found, ServerSpec(model="a", ctx=2048), effective, "coder")
    assert message.endswith(
        "; send less; the model was trained with no more than 512: others are listed by: reconciler models"
    )
    assert faults(message) == []


def test_it_says_what_did_not_fit() -> None:
    spec, effective = ServerSpec(model="a", parallel=4), FOUR
    told = [
        tell_live(found, spec, effective, "coder").partition(";")[0]
        for found in (TooLarge(2402, 256), TooLarge(), TooLarge(is_full=True), TooLarge(1802, 128, is_batch=True))
    ]
    assert told == [
        "a request of 2402 tokens does not fit into the 256 of a slot",
        "a request does not fit into the 256 of a slot",
        "requests were ended, as together they need more than the context of 1024 tokens",
        "an input of 1802 tokens does not fit into one batch of 128",
    ]


def test_on_a_fallback_step_the_way_back_is_the_remedy_where_it_helps() -> None:
    spec, effective = ServerSpec(model="a", ctx=32768, parallel=4), Effective(1024, 4, trained=131072)
    fits = tell_live(TooLarge(8000, 1024), spec, effective, "coder", eased="ctx 4096")
    assert fits.endswith(
        "; it runs on a fallback step (ctx 4096); as asked for it would fit: reconciler restart coder --primary"
    )
    assert "reconciler set server/coder spec.ctx=45056" in tell_live(
        TooLarge(9000, 1024), spec, effective, "coder", eased="ctx 4096"
    )


def test_engines_offer_it() -> None:
    engine = engine_of(ServerSpec(model="a"))
    assert engine.read_live(PROVOKED) == TooLarge(2402, 256)
    assert "a request of 2402 tokens" in engine.tell_live(TooLarge(2402, 256), ServerSpec(model="a"), None, "coder")
