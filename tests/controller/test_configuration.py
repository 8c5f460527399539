"""What is told of the settings: where each comes from, and no secret."""

import json
from pathlib import Path

import pytest

from reconciler.controller.configuration import Configuration
from reconciler.discovery import find_llama_server
from reconciler.settings import Settings, load_settings

pytestmark = pytest.mark.anyio
TEXT = """
models = "gguf"
loads = 2
[http]
listen = "127.0.0.1:9797"
[logs]
keep = 3
[source.git]
url = "https://git.example/fleet.git"
[source.git.auth]
token_file = "secret/token"
[[notify]]
name = "chat room"
webhook = "https://hooks.example:8443/services/T0/hunter2?key=hunter2"
[[notify]]
command = ["/usr/bin/tell", "--password", "hunter2"]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "reconciler.toml").write_text(TEXT)
    environ = {"RECONCILER_LOADS": "7", "RECONCILER_HTTP": "127.0.0.1:9000"}
    return load_settings(environ, str(tmp_path / "reconciler.toml"), {"state": str(tmp_path / "elsewhere")})


async def test_each_setting_is_told_with_where_it_comes_from(settings: Settings, tmp_path: Path) -> None:
    told = await Configuration(settings, lambda: None).told()
    assert (told["file"], told["llamaServer"]) == (str(tmp_path / "reconciler.toml"), None)
    chosen = {key: (one["value"], one["from"]) for key, one in told["settings"].items()}
    assert chosen["models"] == (str(tmp_path / "gguf"), "file")
    assert chosen["loads"] == (7, "RECONCILER_LOADS")
    assert chosen["http.listen"] == ("127.0.0.1:9000", "RECONCILER_HTTP")
    assert chosen["state"] == (str(tmp_path / "elsewhere"), "flag")
    assert chosen["logs.keep"] == (3, "file")
    assert chosen["logs.max_mib"] == (64, "default")
    assert chosen["source.git.auth.token_file"] == (str(tmp_path / "secret" / "token"), "file")
    assert chosen["notify"][1] == "file"


async def test_no_secret_is_told(settings: Settings) -> None:
    told = await Configuration(settings, lambda: None).told()
    assert "hunter2" not in json.dumps(told)
    room, command = told["settings"]["notify"]["value"]
    assert (room["name"], room["webhook"]) == ("chat room", "https://hooks.example/(hidden)")
    assert command["command"] == ["/usr/bin/tell", "(hidden)"]


async def test_without_a_file_all_is_as_it_is_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = await Configuration(load_settings({}), lambda: None).told()
    assert {one["from"] for one in told["settings"].values()} == {"default"}


async def test_the_version_of_llama_server_is_asked_once(
    llama_server: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = Configuration(settings, lambda: find_llama_server({"LLAMA_SERVER": llama_server}))
    told = (await configuration.told())["llamaServer"]
    assert (told["path"], told["from"]) == (llama_server, "LLAMA_SERVER")
    assert told["version"]
    monkeypatch.setattr("reconciler.controller.configuration.ask", lambda *_, **__: pytest.fail("asked again"))
    assert (await configuration.told())["llamaServer"] == told


async def test_a_program_that_is_not_there_has_no_version(settings: Settings) -> None:
    configuration = Configuration(settings, lambda: ("/nowhere/llama-server", "PATH"))
    assert (await configuration.told())["llamaServer"] == {
        "path": "/nowhere/llama-server",
        "from": "PATH",
        "version": None,
    }
