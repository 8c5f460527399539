"""`[[notify]]`: what is taken, what is refused and in which words, and who wants which event."""

from pathlib import Path

import pytest

from reconciler.core.actions import Event
from reconciler.core.notify_settings import Notify
from reconciler.settings import SettingsError, load_settings

SECRET = "T0PSECRET"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('name = "me"', "[[notify]]: give exactly one of webhook, webhook_file and command, and there is none"),
        (
            'webhook = "https://a.example"\ncommand = ["x"]',
            "give exactly one of webhook, webhook_file and command, not webhook and command together",
        ),
        (f'webhook = "ftp://a.example/{SECRET}"', "expected an address such as https://hooks.example.org/reconciler"),
        (f'webhook = "https://a.example:{SECRET}/"', "expected an address such as"),
        (f'webhook = "https://a.example/{SECRET} x"', "expected an address such as"),
        (f'webhook = "https://me:{SECRET}@a.example/"', "write a token into a file, see token_file"),
        (f'webhook = "http://a.example/{SECRET}"', "http:// is for this machine alone: write https://"),
        ('command = [""]', "command begins with a program"),
        ('command = "tell-me"', "expected a list"),
        ('command = ["x"]\ntoken_file = "t"', "token_file goes with a webhook"),
        ('webhok = "https://a.example"', "number 1 of [[notify]]: webhok: unknown setting; did you mean 'webhook'?"),
        ('command = ["x"]\nseverity = "loud"', "number 1 of [[notify]]: severity: input should be"),
        (
            'command = ["x"]\nreasons = ["Ready", "Faild"]',
            "number 1 of [[notify]]: reasons: no event has the reason 'Faild'; did you mean 'Failed'?",
        ),
        ('command = ["x"]\nreasons = ["crashed"]', "no event has the reason 'crashed'; did you mean 'Crashed'?"),
        ('command = ["x"]\nreasons = ["Zz*"]', "no event has the reason 'Zz*'; docs/troubleshooting.md has them all"),
        (
            'name = "me"\ncommand = ["x"]\n[[notify]]\nname = "me"\ncommand = ["y"]',
            "notify: two of them are called 'me': give each a name of its own, or none",
        ),
        ('command = ["x"]\n[[notify]]\nname = "b"', "number 2 of [[notify]]: give exactly one"),
    ],
)
def test_what_is_wrong_is_told_without_the_address(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "reconciler.toml").write_text(f"[[notify]]\n{written}\n")
    with pytest.raises(SettingsError) as raised:
        load_settings({}, str(tmp_path / "reconciler.toml"))
    assert told in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "written",
    [
        'webhook = "https://hooks.example.org/a?b=c"',
        'webhook = "http://127.0.0.1:8080/"',
        'webhook = "http://localhost/"',
        'webhook = "http://[::1]:1/"',
        'command = ["tell-me", "--all"]',
        'command = ["tell-me"]\nreasons = ["*", "Manifest*", "Failed"]',
    ],
)
def test_what_is_taken(tmp_path: Path, written: str) -> None:
    (tmp_path / "reconciler.toml").write_text(f"[[notify]]\n{written}\n")
    assert len(load_settings({}, str(tmp_path / "reconciler.toml")).notify) == 1


def test_files_start_from_that_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "reconciler.toml").write_text('[[notify]]\nwebhook_file = "hook"\ntoken_file = "/etc/token"\n')
    target = load_settings({}, str(tmp_path / "reconciler.toml")).notify[0]
    assert (target.webhook_file, target.token_file) == (str(tmp_path / "hook"), "/etc/token")


@pytest.mark.parametrize(
    ("severity", "reasons", "reason", "warning", "wanted"),
    [
        ("warning", (), "Crashed", True, True),
        ("warning", (), "Ready", False, False),
        ("normal", (), "Ready", False, True),
        ("normal", ("Crash*", "Failed"), "Crashed", True, True),
        ("normal", ("Crash*", "Failed"), "Ready", False, False),
        ("normal", ("Crashed",), "CrashedInRequest", True, False),
        ("warning", ("Ready",), "Ready", False, False),
    ],
)
def test_who_wants_what(severity: str, reasons: tuple[str, ...], reason: str, warning: bool, wanted: bool) -> None:
    target = Notify.model_validate({"command": ("x",), "severity": severity, "reasons": reasons})
    assert target.wants(Event("coder", reason, "message", warning)) is wanted
