"""The page on security names every rule, and the defaults that it tells are those of the settings."""

import re

from reconciler.core.rules import ANY, Policy, Rules
from reconciler.settings import Settings
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()


def rows() -> dict[str, tuple[str, str]]:
    """Local and Git column by rule."""
    table = PAGE.partition("| rule |")[2].partition("\n\n")[0].splitlines()[2:]
    found = {}
    for line in table:
        names, local, git = line.strip("| ").split(" | ")
        found.update(dict.fromkeys(re.findall(r"`([a-z_]+)`", names), (local, git)))
    return found


def test_every_rule_has_its_row() -> None:
    assert {*rows(), "deny_flags", "deny_env"} == set(Rules.model_fields)


def test_the_defaults_are_those_of_the_settings() -> None:
    local, git = Policy().local, Policy().git
    anything = {
        name for name in ("models", "secrets", "from_env", "flags", "env", "hosts") if ANY in getattr(local, name)
    }
    assert {name for name, (told, _) in rows().items() if told.startswith("any") and name != "ports"} == anything
    assert local.ports == ()
    assert not any(getattr(git, name) for name in ("binaries", *anything))
    assert rows()["ports"][1] == ", ".join(git.ports)
    assert rows()["hf"] == ("yes", "no") == tuple("yes" if rules.hf else "no" for rules in (local, git))
    limits = ", ".join(str(most) if most else "no limit" for most in (git.max_servers, git.max_ctx, git.max_parallel))
    assert rows()["max_servers"] == ("no limit", limits)
    assert not any((local.max_servers, local.max_ctx, local.max_parallel))
    assert f"`open_files` files open ({Settings().open_files}," in PAGE
