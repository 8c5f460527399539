from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.gate import QUIET, FileFacts, judge, part_paths

BINARY = FileFacts("/bin/llama-server", exists=True, readable=True, executable=True, identity="b1")
MODEL = FileFacts("/m/a.gguf", exists=True, readable=True, is_gguf=True, identity="m1")
NOW = 100.0
NONE = ("", "")


def test_with_all_there_the_gate_is_open() -> None:
    facts = judge(BINARY, [MODEL], NONE, NOW)
    assert (facts.reason, facts.message, facts.retry_at, facts.identity) == ("", "", None, "b1 m1")


def test_a_model_that_llama_server_downloads_needs_no_file() -> None:
    assert judge(BINARY, [], NONE, NOW).reason == ""


@pytest.mark.parametrize(
    ("binary", "model", "reason", "message"),
    [
        ({"exists": False}, {}, "BinaryMissing", "no program at /bin/llama-server; install it, or name another with"),
        ({"executable": False}, {}, "PermissionDenied", "allow it with: chmod +x /bin/llama-server"),
        ({}, {"exists": False}, "ModelMissing", "no file at /m/a.gguf; copy the model there, or correct spec.model"),
        ({}, {"readable": False}, "PermissionDenied", "allow it with: chmod +r /m/a.gguf"),
        ({}, {"is_gguf": False}, "ModelBroken", "/m/a.gguf is not a GGUF file; copy the right file there"),
        ({"exists": False}, {"exists": False}, "BinaryMissing", "no program"),
        ({"is_file": False}, {}, "BinaryMissing", "a folder, and no program, at /bin/llama-server; install it"),
        (
            {"exists": False, "barred_by": "/bin"},
            {},
            "PermissionDenied",
            "allow /bin to be entered with: chmod +x /bin",
        ),
        ({}, {"is_file": False}, "ModelBroken", "/m/a.gguf is no ordinary file; copy the right file there, or correct"),
        ({}, {"exists": False, "barred_by": "/m"}, "PermissionDenied", "/m/a.gguf cannot be reached; allow /m to be"),
    ],
)
def test_what_is_wrong_has_a_name_and_a_remedy(
    binary: dict[str, Any], model: dict[str, Any], reason: str, message: str
) -> None:
    facts = judge(replace(BINARY, **binary), [replace(MODEL, **model)], NONE, NOW)
    assert facts.reason == reason
    assert message in facts.message


def test_a_missing_part_is_named() -> None:
    second = replace(MODEL, path="/m/b-00002-of-00002.gguf", exists=False)
    facts = judge(BINARY, [MODEL, second], NONE, NOW)
    assert facts.reason == "ModelMissing"
    assert "/m/b-00002-of-00002.gguf is missing; copy it there" in facts.message


LORA = FileFacts("/m/l.gguf", exists=True, readable=True, is_gguf=True, identity="l1", field="spec.flags.lora")
TEXT = replace(LORA, path="/m/g", is_gguf=False, identity="g1", field="spec.flags.grammar-file", is_model=False)


@pytest.mark.parametrize(
    ("facts", "reason", "message"),
    [
        (LORA, "", ""),
        (TEXT, "", ""),
        (replace(LORA, exists=False), "ModelMissing", "no file at /m/l.gguf; copy the model there, or correct spec"),
        (replace(LORA, is_gguf=False), "ModelBroken", "is not a GGUF file; copy the right file there, or"),
        (replace(LORA, readable=False), "PermissionDenied", "allow it with: chmod +r /m/l.gguf"),
        (replace(LORA, changed_at=NOW), "ModelGrowing", "/m/l.gguf is still being written"),
        (replace(TEXT, exists=False), "FileMissing", "at /m/g; put it there, or correct spec.flags.grammar-file"),
        (replace(TEXT, is_file=False), "FileMissing", "/m/g is no ordinary file"),
        (replace(TEXT, readable=False), "PermissionDenied", "allow it with: chmod +r /m/g"),
        (replace(TEXT, changed_at=NOW), "", ""),
    ],
)  # fmt: skip
def test_the_other_files_of_a_spec_are_judged_too(facts: FileFacts, reason: str, message: str) -> None:
    found = judge(BINARY, [MODEL, facts], NONE, NOW)
    assert found.reason == reason
    assert message in found.message
    assert found.identity == f"b1 m1 {facts.identity}"


def test_trouble_from_elsewhere_comes_first_and_keeps_the_identity() -> None:
    facts = judge(replace(BINARY, exists=False), [MODEL], ("SecretMissing", "no key"), NOW)
    assert (facts.reason, facts.message, facts.identity) == ("SecretMissing", "no key", "b1 m1")


@pytest.mark.parametrize(("age", "reason"), [(0.0, "ModelGrowing"), (QUIET - 0.1, "ModelGrowing"), (QUIET, "")])
def test_a_model_is_used_once_it_is_quiet(age: float, reason: str) -> None:
    facts = judge(BINARY, [MODEL, replace(MODEL, path="/m/b.gguf", changed_at=NOW - age)], NONE, NOW)
    assert facts.reason == reason
    assert facts.retry_at == (NOW - age + QUIET if reason else None)
    assert not reason or "/m/b.gguf is still being written" in facts.message


def test_any_file_that_changes_changes_the_identity() -> None:
    whole = judge(BINARY, [MODEL], NONE, NOW).identity
    assert judge(replace(BINARY, identity="b2"), [MODEL], NONE, NOW).identity != whole
    assert judge(BINARY, [replace(MODEL, identity="m2")], NONE, NOW).identity != whole


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/m/a.gguf", ["/m/a.gguf"]),
        ("/m/a-00001-of-00002.gguf", ["/m/a-00001-of-00002.gguf", "/m/a-00002-of-00002.gguf"]),
        ("/m/a-00002-of-00002.gguf", ["/m/a-00001-of-00002.gguf", "/m/a-00002-of-00002.gguf"]),
        ("/m/a-1-of-2.gguf", ["/m/a-1-of-2.gguf"]),
        ("/m/a-00001-of-00000.gguf", ["/m/a-00001-of-00000.gguf"]),
        ("/m/a-00003-of-00002.gguf", ["/m/a-00003-of-00002.gguf"]),
    ],
)
def test_all_parts_of_a_split_model_are_looked_at(path: str, parts: list[str]) -> None:
    assert list(part_paths(path)) == parts


@pytest.mark.parametrize(
    ("path", "pasted"),
    [
        ("/m/two words.gguf", "chmod +r '/m/two words.gguf'"),
        ("/m/a;reboot", "chmod +r '/m/a;reboot'"),
        ("/m/$(reboot)'", """chmod +r '/m/$(reboot)'"'"''"""),
    ],
)
def test_a_command_to_paste_holds_no_other_command(path: str, pasted: str) -> None:
    """The path may be written by somebody who knows that people paste."""
    assert judge(BINARY, [replace(MODEL, path=path, readable=False)], NONE, NOW).message.endswith(pasted)
    message = judge(replace(BINARY, path=path, executable=False), [MODEL], NONE, NOW).message
    assert message.endswith(pasted.replace("+r", "+x"))


@pytest.mark.parametrize(
    ("binary", "model", "trouble"),
    [
        ({"exists": False}, {}, NONE),
        ({}, {"exists": False}, NONE),
        ({}, {"changed_at": NOW}, NONE),
        ({}, {"is_file": False}, NONE),
        ({}, {"barred_by": "/\x9b2J"}, NONE),
        ({"barred_by": "/\x9b2J"}, {}, NONE),
        ({}, {}, ("SecretMissing", "\x9b2J\udcff")),
    ],
)
def test_a_message_is_one_harmless_line(
    binary: dict[str, Any], model: dict[str, Any], trouble: tuple[str, str]
) -> None:
    evil = "/m/\x9b2J\u202e\udcff"
    facts = judge(replace(BINARY, path=evil, **binary), [replace(MODEL, path=evil, **model)], trouble, NOW)
    assert facts.reason
    assert facts.message.isprintable()
