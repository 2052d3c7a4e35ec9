"""Webhooks: each event is a signed POST of JSON.

Rules.
1. The body is signed: `X-UICPS-Signature: t=<unix s>,v1=<hex>`, where v1 is HMAC-SHA256 of "<t>.<body>" with
   the secret. Who receives compares in constant time, and takes no `t` that is old.
2. `X-UICPS-Event` is site and number: whoever had it already answers 2xx and forgets it.
3. 2xx is taken. 400, 413, 415 and 422 say that this very event will never be taken: it is passed over, with a
   line in the log. Everything else is tried again, for ever, with growing waits.
4. Redirects are not followed. Neither the secret nor the path of the URL (it may hold one) is in the log.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson

from agent.alarms.alarm import Event
from agent.alarms.outlets.options import WebhookOptions
from agent.supervise import describe

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
BATCH_MAX = 10
NEVER = (400, 413, 415, 422)
SECRET_BYTES_MAX = 4096


class Webhook:
    """Outlet `webhook` of the site `site`. The secret is read each time: a new one needs no restart."""

    batch_max = BATCH_MAX

    def __init__(self, options: WebhookOptions, site: str, *, now_s: Callable[[], float] = time.time) -> None:
        self._options, self._site, self._now_s = options, site, now_s
        self._where = urlsplit(options.url).hostname or ""

    async def deliver(self, events: Sequence[Event], lost: int) -> None:
        """Post each of `events`, in order; OSError as soon as one does not get through."""
        secret = webhook_secret(self._options.secret_file)
        connector = aiohttp.TCPConnector(ssl=_tls(self._options.ca_file))
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            if lost:
                await self._post(http, secret, f"lost-{events[0].number if events else 0}", {"lost": lost})
            for event in events:
                await self._post(http, secret, str(event.number), {"event": event.as_json()})

    async def _post(
        self, http: aiohttp.ClientSession, secret: bytes, number: str, said: dict[str, object]
    ) -> None:
        body = orjson.dumps({"site": self._site, **said})
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "uicps-agent",
            "X-UICPS-Event": f"{self._site}-{number}",
            "X-UICPS-Signature": signature(secret, body, int(self._now_s())),
        }
        try:
            async with http.post(
                self._options.url, data=body, headers=headers, allow_redirects=False
            ) as reply:
                status = reply.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"{self._where}: {_reason(error)}") from error
        if status in NEVER:
            log.warning(
                "outlet %s: %s refuses event %s for good: %d", self._options.name, self._where, number, status
            )
        elif not 200 <= status < 300:
            raise ConnectionError(f"{self._where}: answered {status}")


def signature(secret: bytes, body: bytes, time_s: int) -> str:
    """The header of rule 1."""
    digest = hmac.new(secret, b"%d.%b" % (time_s, body), hashlib.sha256).hexdigest()
    return f"t={time_s},v1={digest}"


def webhook_secret(file: Path) -> bytes:
    """What is in `file`, without the end of its line. OSError says what is wrong, never what it holds."""
    secret = file.read_bytes().strip()
    if not 16 <= len(secret) <= SECRET_BYTES_MAX:
        raise OSError(f"{file}: expected a secret of at least 16 characters: openssl rand -hex 32")
    return secret


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise OSError(f"{ca_file}: expected certificates in PEM: {error}") from error


def _reason(error: BaseException) -> str:
    # aiohttp's own text of some errors shows the whole URL.
    if isinstance(error, aiohttp.ClientConnectorError):
        return describe(error.os_error)
    return type(error).__name__
