"""What keeps others out of the console: the token, the Host and the Origin of every request and websocket.

A page of another site can make a browser send requests to loopback. It cannot read the token, its Origin is its own,
and a name of its own that it points at loopback (DNS rebinding) is not a Host of the console.
"""

import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NAMES = ("127.0.0.1", "localhost", "[::1]")
_ONLY_READ = {"GET", "HEAD"}
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Nothing comes from elsewhere; Vue compiles its templates in the browser, which is an eval."""
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Answers 403 to every request, and refuses every websocket, that does not come from the console's own pages.

    The token in the address is exchanged for a cookie at once, so that it stays in no history and no Referer.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self.app = app
        self._token = token
        self._hosts = {f"{name}:{port}" for name in _NAMES} | ({*_NAMES} if port == 80 else set())  # noqa: PLR2004
        self._origins = {f"http://{host}" for host in self._hosts}
        self._cookie = f"tally-ui-{port}"
        """Browsers share cookies between ports: two consoles must not overwrite each other's."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        problem = self._foreign(scope, headers)
        offered = [value for name, value in query if name == "token"]
        if not problem and scope["type"] == "http" and scope["method"] == "GET" and self._is_token(offered):
            await self._admit(scope, receive, send, [pair for pair in query if pair[0] != "token"])
            return
        if not problem and not self._is_token(self._from_cookie(headers)):
            problem = "open the address that `tally ui` has printed: it has the token"
        if problem:
            await _refuse(scope, receive, send, problem)
            return
        await self.app(scope, receive, _with_headers(send))

    def _foreign(self, scope: Scope, headers: Headers) -> str:
        """Return why a request is none of the console's pages; empty if it may be."""
        if headers.getlist("host") and any(host.lower() not in self._hosts for host in headers.getlist("host")):
            return "the console answers to the name of this machine's loopback only"
        origins = headers.getlist("origin")
        needed = scope["type"] == "websocket" or scope["method"] not in _ONLY_READ
        if not headers.getlist("host") or (needed and not origins):
            return "a request names its Host, and one that may change something its Origin"
        if any(origin.lower() not in self._origins for origin in origins):
            return "the request comes from a page that is not the console's"
        return ""

    def _is_token(self, offered: Iterable[str]) -> bool:
        # In constant time, so that how long a refusal takes says nothing about the token.
        return any([secrets.compare_digest(each.encode(), self._token.encode()) for each in offered])  # noqa: C419

    def _from_cookie(self, headers: Headers) -> list[str]:
        found = []
        for text in headers.getlist("cookie"):
            try:
                cookies = SimpleCookie(text)
            except CookieError:
                continue
            found += [cookies[self._cookie].value] if self._cookie in cookies else []
        return found

    async def _admit(self, scope: Scope, receive: Receive, send: Send, query: list[tuple[str, str]]) -> None:
        # Only the path: a Location with a name in it could lead elsewhere, and so could one that begins with two //.
        path = "/" + scope["path"].lstrip("/\\")
        response = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), status_code=303)
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        await response(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    response = PlainTextResponse(f"Refused: {problem}.\n", status_code=403)
    await response(scope, receive, _with_headers(send))
