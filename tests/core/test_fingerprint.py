import re
from typing import Any

import pytest

from reconciler.core.fingerprint import VERSION, fingerprint
from tests.core.worlds import spec_of

ARGV = ("llama-server", "--model", "m.gguf")


def of(argv: tuple[str, ...] = ARGV, **fields: Any) -> str:
    return fingerprint(spec_of(**fields), argv)


def test_the_algorithm_is_part_of_it_and_its_result_is_kept() -> None:
    assert re.fullmatch(rf"{VERSION}:[0-9a-f]{{24}}", of())
    assert of(env={"A": "1", "B": {"fromEnv": "X"}}, binary="/opt/llama-server") == "1:b62fe58cf3f1430dedb66a0a"


@pytest.mark.parametrize(
    "fields",
    [
        {"probes": {"liveness": {"period": "9s"}}},
        {"restart": {"maxRestarts": 9}},
        {"stop": {"drain": "9s"}},
        {"suspend": True},
        {"host": "127.0.0.1"},
    ],
    ids=str,
)
def test_what_does_not_reach_the_process_is_not_in_it(fields: dict[str, Any]) -> None:
    assert of(**fields) == of()


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"A": "1"}},
        {"env": {"A": {"fromEnv": "X"}}},
        {"env": {"A": {"fromFile": "X"}}},
        {"binary": "/opt/llama-server"},
    ],
    ids=str,
)
def test_environment_and_binary_are_in_it(fields: dict[str, Any]) -> None:
    assert of(**fields) != of()


def test_references_are_told_from_text_and_from_each_other() -> None:
    values = ["X", {"fromEnv": "X"}, {"fromFile": "X"}]
    assert len({of(env={"A": value}) for value in values}) == 3


def test_the_order_of_variables_is_not_in_it_and_that_of_arguments_is() -> None:
    assert of(env={"A": "1", "B": "2"}) == of(env={"B": "2", "A": "1"})
    assert of(("a", "b")) != of(("b", "a"))
    assert of(("a b",)) != of(("a", "b"))
