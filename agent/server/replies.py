"""How the server answers: JSON, and a refusal that says what was expected and the way out.

Rules. Every answer carries the security headers and no banner. A refusal is `Refused`, raised anywhere
below a handler; its body is `{"error": code, "error_description": text}` as in OAuth (RFC 6749, 5.2).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

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
    413: ("too_large", "the body is larger than this server takes"),
}


class Refused(Exception):  # noqa: N818 - an answer, not a fault of ours
    """An answer other than the one asked for."""

    def __init__(self, status: int, error: str, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.error, self.text, self.headers = status, error, text, headers or {}

    def reply(self) -> web.Response:
        body = {"error": self.error, "error_description": self.text}
        return json_reply(body, self.status, self.headers)


def json_reply(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`data` as JSON, not to be kept by caches."""
    body = orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(
        body=body, status=status, content_type="application/json", headers={**NO_STORE, **(headers or {})}
    )


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raised into an answer; one request's fault stays its own."""
    try:
        return await handler(request)
    except Refused as refused:
        return refused.reply()
    except web.HTTPException as error:
        return _translated(error).reply()
    except ConnectionError:
        raise  # the client has gone: there is nobody to answer
    except (OSError, sqlite3.Error) as error:
        log.warning("server: %s %s: %s", request.method, request.path, error)
        return Refused(503, "storage_unavailable", "the agent cannot read its disk now; try later").reply()
    except Exception:  # a bug in one answer must not end the reading of the meters
        log.exception("server: %s %s", request.method, request.path)
        return Refused(500, "server_error", "the agent could not answer; its log says why").reply()


def _translated(error: web.HTTPException) -> Refused:
    code, text = _CODES.get(error.status, ("bad_request", error.text or error.reason))
    kept = {name: value for name, value in error.headers.items() if name == hdrs.ALLOW}
    return Refused(error.status, code, text, kept)


async def guard(request: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer (an `on_response_prepare` signal)."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.popall(hdrs.SERVER, None)
