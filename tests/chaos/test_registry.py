"""How `python -m chaos` finds, plays and judges its scenarios."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from chaos import __main__ as program
from chaos.scenario import Options, Outcome


def module_of(name: str, play: Callable[[Options], Outcome]) -> ModuleType:
    made = ModuleType(f"chaos.{name}", "One line.\n\nMore.")
    made.play = play  # type: ignore[attr-defined]
    return made


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama_server: str) -> Callable[..., int]:
    """Plays these scenarios, and returns the exit code."""

    def run(*arguments: str, **plays: Callable[[Options], Outcome]) -> int:
        known = {name: module_of(name, play) for name, play in plays.items()}
        monkeypatch.setattr(program, "scenarios", lambda: known)
        monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
        monkeypatch.setattr(sys, "argv", ["chaos", *arguments])
        monkeypatch.setenv("LLAMA_SERVER", llama_server)
        return program.main()

    return run


def test_every_scenario_is_found_by_being_there() -> None:
    found = program.scenarios()
    assert {"crash-points", "kills"} <= set(found)
    assert all((module.__doc__ or "").strip() for module in found.values())


def test_figures_and_the_seed_are_printed(played: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert played("--seed", "5", calm=lambda options: Outcome({"kills": options.seed})) == 0
    told = capsys.readouterr().out
    assert "seed 5" in told
    assert "calm: held\n  kills: 5" in told


def test_a_broken_promise_fails_with_how_to_see_it_again(
    played: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert played("--seed", "5", calm=lambda _: Outcome({}), wild=lambda _: Outcome({}, ["no orphan: 7"])) == 1
    told = capsys.readouterr().out
    assert "wild: NOT HELD\n  FAILED: no orphan: 7" in told
    assert "python -m chaos --seed 5 --only wild" in told


def test_an_exception_is_a_failure_and_the_others_are_played(
    played: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def fall(_: Options) -> Outcome:
        raise ValueError("fell")

    assert played(fall=fall, calm=lambda _: Outcome({})) == 1
    told = capsys.readouterr().out
    assert "ValueError: fell" in told
    assert "calm: held" in told


def test_chance_comes_from_the_seed_alone(played: Callable[..., int]) -> None:
    seen: list[float] = []

    def play(options: Options) -> Outcome:
        assert options.scratch.is_dir()
        assert options.model.is_file()
        seen.append(options.random().random())
        return Outcome({})

    for seed in ("1", "1", "2"):
        assert played("--seed", seed, play=play) == 0
    assert seen[0] == seen[1] != seen[2]


def test_what_asks_to_be_named_is_not_played_by_default(played: Callable[..., int]) -> None:
    assert not hasattr(program.scenarios()["kills"], "BY_DEFAULT")
    assert played("--only", "calm", calm=lambda _: Outcome({}), wild=lambda _: Outcome({}, ["no"])) == 0
