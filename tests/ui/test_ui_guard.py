"""Who gets at the console: its own pages with its token, and nobody else, on no way in."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pytest

from tally.ui.guard import Guard

TOKEN = "secret-token"
HOST = "127.0.0.1:8321"
HOME = f"http://{HOST}"
COOKIE = f"tally-ui-8321={TOKEN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: ``inside`` tells whether the console itself was asked."""

    inside: bool
    status: int
    headers: dict[str, str]
    text: str


def ask(path: str = "/", *, kind: str = "http", method: str = "GET", **headers: str) -> Answer:
    """Send one request, from the console's own Host unless another one is given."""
    inside: list[bool] = []
    sent: list[dict[str, Any]] = []

    async def console(_scope: Any, _receive: Any, send: Any) -> None:
        inside.append(True)
        if kind == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the console"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    where, _, query = path.partition("?")
    given = {"host": HOST} | headers
    scope = {
        "type": kind,
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value],
    }
    if kind == "http":
        scope["method"] = method
    asyncio.run(Guard(console, token=TOKEN, port=8321)(scope, receive, send))
    return Answer(
        inside=bool(inside),
        status=next((each["status"] for each in sent if "status" in each), 0),
        headers={name.decode(): value.decode() for name, value in sent[0].get("headers", [])},
        text=b"".join(each.get("body", b"") for each in sent).decode(),
    )


def test_without_the_token_nothing_is_answered_but_what_to_do() -> None:
    answer = ask()
    assert (answer.inside, answer.status) == (False, HTTPStatus.FORBIDDEN)
    assert "tally ui" in answer.text


def test_the_token_becomes_a_cookie_that_scripts_cannot_read_and_leaves_the_address() -> None:
    answer = ask(f"/batch?id=b&token={TOKEN}")
    assert (answer.inside, answer.status) == (False, HTTPStatus.SEE_OTHER)
    assert answer.headers["location"] == "/batch?id=b"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert ask("/batch", cookie=COOKIE).inside


def test_the_way_in_leads_to_no_other_site() -> None:
    for path in ("//evil.example/", "/\\evil.example"):
        assert not ask(f"{path}?token={TOKEN}").headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize("token", ["wrong", f"{TOKEN}x", TOKEN[:-1], "tökén", ""])
def test_another_token_is_none(token: str) -> None:
    assert not ask(cookie=f"tally-ui-8321={token}").inside
    assert ask(f"/?token={quote(token)}").status == HTTPStatus.FORBIDDEN


def test_the_token_of_a_console_on_another_port_is_none() -> None:
    assert not ask(cookie=f"tally-ui-8322={TOKEN}").inside


@pytest.mark.parametrize("host", ["evil.example:8321", "127.0.0.1:1", "127.0.0.1", f"{HOST}.evil.example", ""])
def test_a_name_that_was_pointed_at_loopback_is_refused_with_the_token_too(host: str) -> None:
    assert not ask(cookie=COOKIE, host=host).inside
    assert ask(f"/?token={TOKEN}", host=host).status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("host", [HOST, "localhost:8321", "[::1]:8321", "LOCALHOST:8321"])
def test_every_name_of_loopback_will_do(host: str) -> None:
    assert ask(cookie=COOKIE, host=host).inside


@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://{HOST}", "http://127.0.0.1:1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_from_another_sites_page_is_refused(origin: str, method: str) -> None:
    assert ask(cookie=COOKIE, origin=origin, method=method).status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_may_change_something_names_its_origin(method: str) -> None:
    assert not ask(cookie=COOKIE, method=method).inside
    assert ask(cookie=COOKIE, method=method, origin=HOME).inside


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": HOME},
        {"origin": "http://evil.example", "cookie": COOKIE},
        {"cookie": COOKIE},
        {"origin": HOME, "cookie": COOKIE, "host": "evil.example:8321"},
    ],
    ids=["no token", "another origin", "no origin", "another host"],
)
def test_a_websocket_is_held_to_the_same(headers: dict[str, str]) -> None:
    assert not ask("/live", kind="websocket", **headers).inside


def test_a_websocket_takes_no_token_from_its_address() -> None:
    assert not ask(f"/live?token={TOKEN}", kind="websocket", origin=HOME).inside


def test_a_websocket_of_the_consoles_own_page_gets_in() -> None:
    assert ask("/live", kind="websocket", origin=HOME, cookie=COOKIE).inside


def test_no_page_may_be_framed_or_load_anything_from_elsewhere() -> None:
    for answer in (ask(cookie=COOKIE), ask()):
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'self'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
