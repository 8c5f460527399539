"""`reconciler.toml`: what it may say of a source, and how mistakes in it are told."""

from pathlib import Path

import pytest

from reconciler.settings import Settings, SettingsError, load_settings


def loaded(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "reconciler.toml"
    path.write_text(text)
    return load_settings({}, str(path))


def test_without_a_source_there_is_none(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").source.git is None


def test_paths_of_secrets_start_from_the_files_folder(tmp_path: Path) -> None:
    source = '[source.git]\nurl = "file:///x"\ninterval = "90s"\n'
    auth = '[source.git.auth]\ntoken_file = "keys/token"\nssh_key_file = "/k"\n'
    git = loaded(tmp_path, source + auth).source.git
    assert git
    assert git.interval == 90.0
    assert (git.auth.token_file, git.auth.ssh_key_file, git.auth.known_hosts_file) == (
        str(tmp_path / "keys/token"),
        "/k",
        "",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("source = 3", "reconciler.toml: source: expected a table, [source], which has git"),
        ("ports = '8001-8999'", "ports: expected a table, [ports], which has low, high"),
        (
            "[source]\ngit = 'https://x'",
            "source.git: expected a table, [source.git], which has url, branch, tag, path and more",
        ),
        ("[source.git]\nbranch = 'main'", "source.git.url: is required: write url under [source.git]"),
        ("[source.git]\nurl = 'https://u:secret@h/x'", "source.git.url: leave user and password out"),
        ("[source.git]\nurl = 'file:///x'\nbrunch = 'a'", "source.git.brunch: unknown setting; did you mean 'branch'"),
        ("[source.git]\nurl = 'file:///x'\n[source.git.auth]\ntokenfile = 'a'", "did you mean 'token_file'"),
        ("[source.git]\nurl = 'file:///x'\nauth = 3", "source.git.auth: expected a table"),
        ("[source.git]\nurl = 'file:///x'\ninterval = 60", "source.git.interval: expected a duration such as"),
        ("[source.git]\nurl = 'file:///x'\nbranch = 'a'\ntag = 'b'", "source.git: give branch or tag, not both"),
        ("[policy.git]\nflag = ['a']", "policy.git.flag: unknown setting; did you mean 'flags'"),
        ("[policy.git]\nenv = ['LD_PRELOAD']", "policy.git.env"),
        ("[http]\nlisten = '9797'", 'http.listen: expected an address and a port, such as "127.0.0.1:9797"'),
        ("[http]\nhosts = ['http://x']", 'http.hosts: expected names of hosts alone, such as ["models.example.org"]'),
        ("[http]\nreads = 'all'", "http.reads: input should be 'open' or 'token'"),
        ("http = '127.0.0.1:9797'", "http: expected a table, [http], which has listen, hosts"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(tmp_path, text)
    assert f"{tmp_path}/reconciler.toml: " in str(error.value)
    assert told in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "environ", "listen"),
    [
        ("", {}, "127.0.0.1:9797"),
        ("[http]\nlisten = '[::1]:80'", {}, "[::1]:80"),
        ("[http]\nlisten = ''", {}, ""),
        ("[http]\nlisten = 'off'", {}, ""),
        ("", {"RECONCILER_HTTP": "off"}, ""),
        ("[http]\nlisten = 'OFF'", {}, ""),
        ("[http]\nlisten = '[::1]:80'", {"RECONCILER_HTTP": "0.0.0.0:9000"}, "0.0.0.0:9000"),
    ],
)
def test_where_the_dashboard_is_served(tmp_path: Path, text: str, environ: dict[str, str], listen: str) -> None:
    path = tmp_path / "reconciler.toml"
    path.write_text(text)
    assert load_settings(environ, str(path)).http.listen == listen


def test_names_of_hosts_come_from_a_variable_too(tmp_path: Path) -> None:
    path = tmp_path / "reconciler.toml"
    path.write_text("[http]\nhosts = ['a.example']")
    assert load_settings({}, str(path)).http.hosts == ("a.example",)
    named = load_settings({"RECONCILER_HTTP_HOSTS": "reconciler, Box.lan"}, str(path))
    assert (named.http.hosts, named.origins["http.hosts"]) == (("reconciler", "box.lan"), "RECONCILER_HTTP_HOSTS")
    with pytest.raises(SettingsError, match=r"RECONCILER_HTTP_HOSTS: http\.hosts: expected names of hosts alone"):
        load_settings({"RECONCILER_HTTP_HOSTS": "http://box"}, str(path))
