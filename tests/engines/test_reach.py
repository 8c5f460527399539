"""What flags reach: held to `--help` of the real llama-server, so that nobody's new flag is let through unseen."""

import re
import subprocess
from typing import Any

import pytest

from reconciler.core.reach import Reach
from reconciler.core.spec import ServerSpec
from reconciler.engines import known_flags
from reconciler.engines.flag_reach import KNOWN, Takes
from reconciler.engines.llama_server import reach
from tests.engines.test_real_help import NAME, find_binary

Options = list[tuple[list[str], str]]
TODAY_ABSENT = frozenset({"license"})
"""Flags of other builds."""


@pytest.fixture(scope="module")
def options() -> Options:
    """The long names of each flag, and what follows them; a long row of names has its value on the same line."""
    done = subprocess.run([find_binary(), "--help"], capture_output=True, text=True, check=True, timeout=30)
    heads = re.findall(rf"^({NAME}(?:,\s+{NAME})*)(?: (\S+))?", done.stdout, re.MULTILINE)
    found = [([n[2:] for n in re.split(r",\s+", names) if n.startswith("--")], value) for names, value in heads]
    assert len(found) > 200
    return [(names, value) for names, value in found if not known_flags.PRESET.fullmatch(names[0])]


def positive(names: list[str]) -> set[str]:
    """Without the `--no-…` forms, which a manifest writes as `false`; `--no-host` is no such form."""
    return {name for name in names if not name.startswith("no-") or name == "no-host"}


@pytest.mark.real
def test_every_flag_is_classified_and_no_other(options: Options) -> None:
    told = {name for names, _ in options for name in positive(names)}
    assert told - set(KNOWN) == set(), "say in flag_reach.py what these reach"
    assert set(KNOWN) - told <= TODAY_ABSENT


@pytest.mark.real
def test_names_of_one_flag_are_known_as_one(options: Options) -> None:
    for names, _ in options:
        for name in positive(names):
            assert set(KNOWN[name].aliases) == positive(names)


@pytest.mark.real
def test_what_stands_behind_a_flag_is_known(options: Options) -> None:
    for names, value in options:
        for flag in (KNOWN[name] for name in positive(names)):
            if flag.takes is Takes.NOTHING:
                assert not value, names
            elif flag.takes is not Takes.UNSAID:
                assert value, names


def test_every_path_is_held_to_the_folders_of_models_or_refused() -> None:
    for name in known_flags.PATHS:
        assert KNOWN[name].takes is Takes.FILE or KNOWN[name].why, name


def test_what_the_engine_refuses_is_refused_here_too() -> None:
    refused = set(known_flags.FIELD_OF) | known_flags.BLINDING | known_flags.EXITING - {"usage"}
    assert [name for name in refused if not (KNOWN[name].why or KNOWN[name].takes is Takes.DOWNLOAD)] == []


def found(**spec: Any) -> list[Reach]:
    return list(reach(ServerSpec.model_validate({"model": "a", **spec})))


@pytest.mark.parametrize(
    ("flags", "paths"),
    [
        ({"mmproj": "a,b"}, ["a,b"]),
        ({"lora": "a,b"}, ["a", "b"]),
        ({"lora": ["a", "b,c"]}, ["a", "b", "c"]),
        ({"lora-scaled": "a:0.5,/b:1"}, ["a", "/b"]),
        ({"control-vector-scaled": "a:-1"}, ["a"]),
        ({"grammar-file": 5}, ["5"]),
        ({"mmproj": False}, []),
        ({"chat-template": "/etc/passwd"}, []),
    ],
)
def test_all_paths_of_a_flag_are_found(flags: dict[str, Any], paths: list[str]) -> None:
    assert [one.value for one in found(flags=flags) if one.setting == "models"] == paths


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x", ""),
        (-1, ""),
        (-0.5, ""),
        ("-1", ""),
        ("-1e-3", ""),
        ("-.5", ""),
        ("", ""),
        ("-", "has a value that begins with a dash"),
        ("-x", "has a value that begins with a dash"),
        ("--1", "has a value that begins with a dash"),
        ("-1 x", "has a value that begins with a dash"),
        ("-１", "has a value that begins with a dash"),  # noqa: RUF001 - full width
        (["x", "-y"], "has a value that begins with a dash"),
        (True, "needs a value"),
        (False, ""),
    ],
)
def test_a_value_must_not_be_taken_for_a_flag(value: object, why: str) -> None:
    assert [one.why for one in found(flags={"alias": value})] == [why]


def test_a_flag_without_a_value_has_none() -> None:
    assert [one.why for one in found(flags={"metrics": True})] == [""]
    assert [one.why for one in found(flags={"metrics": "x"})] == ["takes no value"]


def test_an_unknown_spelling_is_told_with_what_it_means() -> None:
    (one,) = found(flags={"--Model_Draft=x": 1})
    assert one.why.startswith("is not known here")
    assert set(one.aliases) == {"spec-draft-model", "model-draft"}


def test_variables_that_set_flags_or_download() -> None:
    assert [one.setting for one in found(env={"LLAMA_ARG_TOOLS": "all"})] == ["flags"]
    assert [one.setting for one in found(env={"HF_TOKEN": {"fromEnv": "X"}})] == ["hf"]
    assert found(env={"CUDA_VISIBLE_DEVICES": "0", "LLAMA_CACHE": "x"}) == []
