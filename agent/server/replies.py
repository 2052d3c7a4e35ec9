"""How the server answers: JSON, and a refusal that says what was expected and the way out.

Rules. Every answer carries the security headers and no banner. A refusal is `Refused`, raised anywhere
below a handler; its body is `{"error": code, "error_description": text}` as in OAuth (RFC 6749, 5.2).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from agent.schema import FaultyFile

FAULTS_MAX = 20

log = logging.getLogger(__name__)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
NO_STORE: Mapping[str, str] = {hdrs.CACHE_CONTROL: "no-store"}

_CODES: Mapping[int, tuple[str, str]] = {
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take this method; see the Allow header"),
    408: ("too_slow", "the body took too long to come"),
    413: ("too_large", "the body is larger than this server takes"),
}


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """An answer other than the one asked for.

    `kind` is what the audit log calls it (the error code if left out), `who` whom it concerns, if that
    is not the caller.
    """

    def __init__(
        self,
        status: int,
        error: str,
        text: str,
        headers: Mapping[str, str] | None = None,
        *,
        kind: str = "",
        who: str = "",
    ) -> None:
        super().__init__(text)
        self.status, self.error, self.text, self.headers = status, error, text, headers or {}
        self.kind, self.who = kind or error, who

    def reply(self) -> web.Response:
        body = {"error": self.error, "error_description": self.text}
        return json_reply(body, self.status, self.headers)


def json_reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`data` as JSON, not to be kept by caches."""
    body = orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(
        body=body, status=status, content_type="application/json", headers={**NO_STORE, **(headers or {})}
    )


def refusals(note: Callable[[web.Request, Refused], None]) -> Middleware:
    """A middleware that turns whatever a handler raised into an answer; one request's fault stays its own.

    Each refusal is told to `note`.
    """

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            answer = refused
        except web.HTTPException as error:
            answer = _translated(error)
        except FaultyFile as faulty:
            text = "; ".join(str(each) for each in faulty.faults[:FAULTS_MAX])
            answer = Refused(422, "faulty_configuration", text)
        except ConnectionError:
            raise  # the client has gone: there is nobody to answer
        except (OSError, sqlite3.Error) as error:
            log.warning("server: %s %s: %s", request.method, request.path, error)
            return Refused(
                503, "storage_unavailable", "the agent cannot read its disk now; try later"
            ).reply()
        except Exception:  # a bug in one answer must not end the reading of the meters
            log.exception("server: %s %s", request.method, request.path)
            return Refused(500, "server_error", "the agent could not answer; its log says why").reply()
        note(request, answer)
        return answer.reply()

    return answered


async def json_body(request: web.Request, *keys: str) -> dict[str, str]:
    """The texts at `keys` of the JSON object that the body is; other keys, and other types, are refused."""
    body = await request.read()
    try:
        said = orjson.loads(body or b"{}")
    except ValueError:
        said = None
    shape = ", ".join(f'"{key}": "..."' for key in keys)
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise Refused(400, "invalid_request", f"expected a JSON body {{{shape}}}, of texts")
    if unknown := said.keys() - set(keys):
        raise Refused(400, "invalid_request", f'unknown key "{min(unknown)[:64]}": expected {{{shape}}}')
    return said


def _translated(error: web.HTTPException) -> Refused:
    code, text = _CODES.get(error.status, ("bad_request", error.text or error.reason))
    kept = {name: value for name, value in error.headers.items() if name == hdrs.ALLOW}
    return Refused(error.status, code, text, kept)


async def guard(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer (an `on_response_prepare` signal); one that is set already stays."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.popall(hdrs.SERVER, None)
