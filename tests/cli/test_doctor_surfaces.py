"""The checks of `doctor` of the interface and of those who are told of events, each seen finding something."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.doctoring import be_patient, findings, program, worst
from tests.cli.filling import Filling
from tests.cli.test_doctor_control import answering


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def settle(filling: Filling, text: str) -> None:
    (filling.state.parent / "reconciler.toml").write_text(text)


def test_an_address_that_cannot_be_had(filling: Filling, call: Call, taken: int) -> None:
    settle(filling, f'[http]\nlisten = "127.0.0.1:{taken}"\n')
    status, message, remedy = worst(call, "interface")
    assert status == "warn"
    assert message.startswith(f"the dashboard cannot be served at 127.0.0.1:{taken}: address already in use, by pid ")
    assert f"pid {os.getpid()} " in message
    assert f'listen = "127.0.0.1:{taken + 1}" under [http]' in remedy
    settle(filling, '[http]\nlisten = "203.0.113.7:9797"\n')
    status, message, remedy = worst(call, "interface")
    assert (status, "203.0.113.7:9797: cannot assign" in message) == ("warn", True)
    assert 'listen = "127.0.0.1:9798"' in remedy


def test_an_address_that_is_free_and_none(filling: Filling, call: Call, taken: int) -> None:
    settle(filling, '[http]\nlisten = "127.0.0.1:0"\n')
    assert worst(call, "interface")[:2] == ("ok", "127.0.0.1:0 is free for the dashboard and the API")
    settle(filling, '[http]\nlisten = ""\n')
    assert worst(call, "interface")[:2] == ("ok", "the settings serve it nowhere")


def test_what_the_controller_says_of_it_counts(filling: Filling, call: Call, taken: int) -> None:
    settle(filling, f'[http]\nlisten = "127.0.0.1:{taken}"\n')
    with answering(filling.state, version="1", dashboard={"url": f"http://127.0.0.1:{taken}", "problem": ""}):
        assert worst(call, "interface")[:2] == ("ok", f"the dashboard and the API are at http://127.0.0.1:{taken}")
    (filling.state / "controller.sock").unlink()
    with answering(filling.state, version="1", dashboard={"url": "", "problem": "it is taken; end what listens"}):
        assert worst(call, "interface") == ("warn", "it is taken", "end what listens")


def test_a_token_that_others_can_read(filling: Filling, call: Call) -> None:
    settle(filling, '[http]\nlisten = ""\n')
    token = filling.state / "token"
    token.write_text("t" * 40)
    token.chmod(0o644)
    status, message, remedy = worst(call, "interface")
    assert (status, str(token) in message, f"chmod 600 {token}" in remedy) == ("warn", True, True)
    token.chmod(0o600)
    assert worst(call, "interface")[0] == "ok"


def test_those_who_cannot_be_told(filling: Filling, call: Call, tmp_path: Path) -> None:
    hook, here, shut = tmp_path / "hook", program(tmp_path / "here", "exit 0"), tmp_path / "shut"
    shut.write_text("not executable")
    targets = (
        f'name = "chat"\nwebhook_file = "{hook}"',
        f'command = ["{shut}"]',
        f'name = "fine"\ncommand = ["{here}"]',
    )
    settle(filling, "".join(f"[[notify]]\n{target}\n" for target in targets))
    found = [(one["status"], one["message"], one["remedy"]) for one in findings(call, "notify")]
    write = f"write it: install -m 600 /dev/stdin {hook}"
    assert found[0] == ("warn", f"chat: {hook} cannot be read: No such file or directory", write)
    assert found[1][1].startswith(f"number 2 of [[notify]]: {shut} cannot be run: ")
    assert len(found) == 2
    hook.write_text("https://hooks.example.org/s3cret")
    hook.chmod(0o640)
    shut.chmod(0o755)
    ((status, message, remedy),) = [(one["status"], one["message"], one["remedy"]) for one in findings(call, "notify")]
    assert (status, message) == ("warn", f"chat: the secret in {hook} can be read or written by others")
    assert remedy == f"keep them out: chmod 600 {hook}"
    hook.chmod(0o600)
    assert worst(call, "notify")[:2] == ("ok", "3 receivers: chat, number 2 of [[notify]], fine; none was asked")
