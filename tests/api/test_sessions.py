import logging
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from reconciler.api import sessions
from reconciler.api.guard import Access, Guard
from reconciler.api.problems import ProblemError, problem
from reconciler.api.tokens import CODE_TIME, MOST_CODES, SESSION_TIME, Standing, Tokens

pytestmark = pytest.mark.anyio
PATH = "/api/v1/session"


def made(folder: Path) -> Tokens:
    tokens = Tokens(folder / "token")
    tokens.put_in_place()
    return tokens


def text_of(folder: Path) -> str:
    return (folder / "token").read_text().strip()


# ---------------------------------------------------------------- the token's file


def test_the_token_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    tokens = made(tmp_path)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert len(text_of(tmp_path)) >= 43
    assert tokens.judge(text_of(tmp_path)) is Standing.GOOD
    assert list(tmp_path.iterdir()) == [tmp_path / "token"]
    assert text_of(tmp_path) not in repr(vars(Access(tokens)))


def test_it_outlives_a_controller(tmp_path: Path) -> None:
    text, session = text_of((made(tmp_path), tmp_path)[1]), made(tmp_path).session()[0]
    again = made(tmp_path)
    assert text_of(tmp_path) == text
    assert again.judge(session) is again.judge(text) is Standing.GOOD


def test_deleting_it_ends_all_that_was_given_out(tmp_path: Path) -> None:
    tokens = made(tmp_path)
    text, session = text_of(tmp_path), tokens.session()[0]
    (tmp_path / "token").unlink()
    assert tokens.judge(text) is tokens.judge(session) is Standing.UNKNOWN
    assert text_of(tmp_path) != text
    assert tokens.judge(text_of(tmp_path)) is Standing.GOOD


def test_one_that_others_may_read_is_closed_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "token").write_text("a-token-that-somebody-wrote\n")
    (tmp_path / "token").chmod(0o644)
    with caplog.at_level(logging.WARNING, "reconciler"):
        tokens = made(tmp_path)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert tokens.judge("a-token-that-somebody-wrote") is Standing.GOOD
    assert "make it anew: rm " in caplog.text
    assert "somebody-wrote" not in caplog.text


@pytest.mark.parametrize("text", ["", "\n", "short", "x" * 19, "two words that are long", "ünïcödé-ünïcödé-ünïcödé"])
def test_what_is_no_token_is_not_used_as_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    tokens = made(tmp_path)
    assert tokens.judge(text) is tokens.judge(text.strip()) is tokens.judge("") is Standing.UNKNOWN
    assert len(text_of(tmp_path)) >= 43


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("a-token-of-somebody-else\n")
    (tmp_path / "token").symlink_to(elsewhere)
    tokens = made(tmp_path)
    assert tokens.judge("a-token-of-somebody-else") is Standing.UNKNOWN
    assert not (tmp_path / "token").is_symlink()
    assert elsewhere.read_text() == "a-token-of-somebody-else\n"


def test_without_a_file_sessions_hold_all_the_same(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "nowhere" / "token")
    with pytest.raises(FileNotFoundError):
        tokens.put_in_place()
    session, _ = tokens.session()
    assert tokens.judge(session) is Standing.GOOD
    assert tokens.judge("") is Standing.UNKNOWN
    (tmp_path / "nowhere").mkdir()
    assert tokens.judge(session) is Standing.GOOD
    assert tokens.judge(text_of(tmp_path / "nowhere")) is Standing.GOOD


def test_what_is_gone_is_over_also_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    tokens = made(tmp_path / "state")
    session, _ = tokens.session()
    (tmp_path / "state").rename(tmp_path / "moved")
    assert tokens.judge(session) is Standing.UNKNOWN


# ---------------------------------------------------------------- sessions and codes


def test_a_session_lasts_twelve_hours(tmp_path: Path) -> None:
    tokens = made(tmp_path)
    session, expires_at = tokens.session(wall=1000.0)
    assert expires_at == 1000.0 + SESSION_TIME == tokens.expires_at(session)
    assert tokens.judge(session, wall=expires_at - 1) is Standing.GOOD
    assert tokens.judge(session, wall=expires_at) is Standing.EXPIRED
    assert text_of(tmp_path) not in session


def test_a_session_cannot_be_made_up(tmp_path: Path) -> None:
    tokens = made(tmp_path)
    session, expires_at = tokens.session(wall=1000.0)
    kind, _, nonce, mac = session.split(".")
    later = int(expires_at) + 999999
    for forged in (
        f"{kind}.{later}.{nonce}.{mac}",
        f"{kind}.{int(expires_at)}.{nonce}0.{mac}",
        f"{kind}.{later}.{nonce}.",
        f"{kind}.{'9' * 400}.{nonce}.{mac}",
        f"{kind}.-1.{nonce}.{mac}",
        f"{kind}.٣.{nonce}.{mac}",
        f"{session}.{mac}",
        session[:-1],
        f"{session}=",
        "",
        "...",
        Tokens().session()[0],
    ):
        assert tokens.judge(forged, wall=0.0) is Standing.UNKNOWN, forged


def test_a_code_is_good_once_and_for_a_minute() -> None:
    tokens = Tokens()
    code, late = tokens.new_code(monotonic=0.0), tokens.new_code(monotonic=0.0)
    assert not tokens.take_code(code + "x", monotonic=1.0)
    assert not tokens.take_code("\ud800", monotonic=1.0)
    assert tokens.take_code(code, monotonic=1.0)
    assert not tokens.take_code(code, monotonic=1.0)
    assert not tokens.take_code(late, monotonic=CODE_TIME)
    codes = [tokens.new_code(monotonic=100.0) for _ in range(MOST_CODES + 1)]
    assert [tokens.take_code(one, monotonic=101.0) for one in (codes[0], codes[1], codes[-1])] == [False, True, True]


# ---------------------------------------------------------------- the routes


async def told(_request: Request, error: Exception) -> Any:
    assert isinstance(error, ProblemError)
    return problem(error)


async def ask(access: Access, method: str, content: Any = None, **headers: str) -> httpx.Response:
    controller: Any = SimpleNamespace(tokens=access.tokens)
    app = Starlette(routes=sessions.routes(controller), exception_handlers={ProblemError: told})
    transport = httpx.ASGITransport(Guard(app, access))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9797") as client:
        return await client.request(method, PATH, content=content, headers=headers)


@pytest.mark.parametrize("is_loopback", [True, False])
async def test_a_code_is_exchanged_for_a_session(is_loopback: bool) -> None:
    access = Access(is_loopback=is_loopback)
    code = access.tokens.new_code()
    begun = await ask(access, "POST", f'{{"code": "{code}"}}')
    told_of = (await ask(access, "GET", authorization=f"Bearer {begun.json()['token']}")).json()
    needs = {"readsNeedToken": not is_loopback, "actsNeedToken": True}
    assert told_of == {"valid": True, "expired": False, "expiresAt": begun.json()["expiresAt"], **needs}
    again = await ask(access, "POST", f'{{"code": "{code}"}}')
    assert (again.status_code, again.json()["reason"]) == (401, "CodeUsed")
    assert "reconciler ui" in again.json()["canDo"][0]


async def test_without_a_session_it_tells_what_needs_one() -> None:
    access = Access()
    expired = access.tokens.session(wall=0.0)[0]
    for headers, is_expired in (({}, False), ({"authorization": f"Bearer {expired}"}, True)):
        answer = (await ask(access, "GET", **headers)).json()
        assert (answer["valid"], answer["expired"], answer["expiresAt"]) == (False, is_expired, None)
        assert answer["actsNeedToken"] is True


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"code": 1}', b"\xff", b"[" * 1000])
async def test_what_is_no_code_is_refused(content: bytes) -> None:
    answer = await ask(Access(), "POST", content)
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


async def test_a_code_comes_in_a_small_body() -> None:
    answer = await ask(Access(), "POST", b"x" * (sessions.MOST_CODE + 1))
    assert (answer.status_code, answer.json()["reason"]) == (413, "BodyTooLarge")


async def test_another_sites_page_cannot_begin_a_session() -> None:
    access = Access()
    content = f'{{"code": "{access.tokens.new_code()}"}}'
    assert (await ask(access, "POST", content, origin="http://evil.example")).status_code == 403
    assert (await ask(access, "POST", content)).status_code == 200
