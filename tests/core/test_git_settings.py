"""Which repositories may be followed: what is refused is told with what to write instead."""

import pytest
from pydantic import ValidationError

from reconciler.core.git_settings import GitSource
from reconciler.core.git_url import checked_url, is_ref_name, scheme_of


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("https://git.example.org/team/models.git", "https"),
        ("https://git.example.org:8443/models", "https"),
        ("http://127.0.0.1:8080/models.git", "http"),
        ("http://[::1]/models.git", "http"),
        ("http://localhost/models.git", "http"),
        ("ssh://git@git.example.org:2222/models.git", "ssh"),
        ("ssh://git.example.org/models.git", "ssh"),
        ("git@git.example.org:team/models.git", "ssh"),
        ("git.example.org:/srv/models.git", "ssh"),
        ("file:///srv/models.git", "file"),
    ],
)
def test_an_address_is_taken_as_it_is(url: str, scheme: str) -> None:
    assert checked_url(url) == url
    assert scheme_of(url) == scheme


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://user:secret@git.example.org/x", "token_file"),
        ("https://token@git.example.org/x", "token_file"),
        ("ssh://git:secret@git.example.org/x", "token_file"),
        ("http://git.example.org/x", "write https"),
        ("http://127.0.0.1.example.org/x", "write https"),
        ("ext::sh -c evil", "without spaces"),
        ("ext::evil", "expected https"),
        ("fd::17", "expected https"),
        ("git://git.example.org/x", "expected https"),
        ("/srv/models.git", "expected https"),
        ("./models.git", "expected https"),
        ("--upload-pack=evil", "expected https"),
        ("-oProxyCommand=evil:x", "expected https"),
        ("ssh://-oProxyCommand=evil/x", "expected https"),
        ("ssh://-evil@host/x", "expected https"),
        ("git@-oProxyCommand=evil:x", "expected https"),
        ("host:-evil", "expected https"),
        ("https://-evil/x", "expected https"),
        ("https:///x", "expected https"),
        ("file://host/x", "three slashes"),
        ("file:models", "expected https"),
        ("https://git.example.org/x?ref=main", "settings of their own"),
        ("https://git.example.org/x#main", "settings of their own"),
        ("https://git.example.org:99999/x", "port"),
        ("https://git.example.org/x\n", "without spaces"),
        ("https://git.example.org/\x1b[31m", "without spaces"),
        ("", "without spaces"),
    ],
)
def test_an_address_is_refused_with_what_to_write(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)" + told) as error:
        checked_url(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["main", "feature/x", "v1.2.3", "release-1", "a@b", "ünï"])
def test_names_of_branches(name: str) -> None:
    assert is_ref_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "-x", "/x", "x/", ".x", "x/.y", "a..b", "a b", "a~1", "a^", "a:b", "a?b", "a*", "a[b", "a\\b"),
        *("x.lock", "x.lock/y", "x.", "a//b", "a@{1}", "@", "a\x00b", "a\nb", "x" * 251),
    ],
)
def test_what_git_takes_for_no_name(name: str) -> None:
    assert not is_ref_name(name)


@pytest.mark.parametrize(
    ("given", "ref"),
    [({}, "refs/heads/main"), ({"branch": "dev"}, "refs/heads/dev"), ({"tag": "v1"}, "refs/tags/v1")],
)
def test_what_is_followed(given: dict[str, str], ref: str) -> None:
    assert GitSource.model_validate({"url": "file:///x", **given}).ref == ref


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"branch": "a", "tag": "b"}, "branch or tag, not both"),
        ({"branch": "a..b"}, "no name of a branch"),
        ({"path": "../x"}, "a folder in the repository"),
        ({"path": "a/./b"}, "a folder in the repository"),
        ({"path": "."}, "leave it out for the top of the repository"),
        ({"path": "./"}, "leave it out for the top of the repository"),
        ({"path": "a/.git"}, "a folder in the repository"),
        ({"interval": "0s"}, "greater than or equal to 1"),
        ({"interval": 5}, "such as"),
        ({"timeout": "0s"}, "greater than 0"),
        ({"max_mib": 0}, "greater than or equal to 1"),
        ({"brunch": "a"}, "not permitted"),
    ],
)
def test_settings_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        GitSource.model_validate({"url": "file:///x", **given})


@pytest.mark.parametrize("path", ["/home/", "home", "home/"])
def test_slashes_around_the_folder_do_not_matter(path: str) -> None:
    assert GitSource.model_validate({"url": "file:///x", "path": path}).path == "home"


@pytest.mark.parametrize(
    ("more", "where"), [({}, "branch main"), ({"branch": "live"}, "branch live"), ({"tag": "v1"}, "tag v1")]
)
def test_where_it_comes_from_is_told_in_words(more: dict[str, str], where: str) -> None:
    assert GitSource.model_validate({"url": "file:///x", **more}).where == f"file:///x, {where}"
