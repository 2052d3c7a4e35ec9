"""The first start of a box that has no token: it asks the centre for one, once, and keeps it.

ThingsBoard's device provisioning: a connection as user "provision" may do nothing but ask. The token that
the centre makes is kept in a file of ours and used from then on; while that file is there nothing is asked.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson

from agent.uplink.credentials import SECRET_CHARS_MAX, CredentialOptions, keep_private, secret
from agent.uplink.mqtt import Session

log = logging.getLogger(__name__)

USER = "provision"
REQUEST, RESPONSE = "/provision/request", "/provision/response"
ANSWER_S_MAX = 30.0
WAY_OUT = {
    "NOT_FOUND": "does not know this provisioning key and secret: compare them with the device profile",
    "FAILURE": "does not make this device, it may be there already: delete it there, or use its token",
}


class NotProvisionedError(ConnectionError):
    """The centre did not give us a token, and why."""


async def provision(session: Session, options: CredentialOptions, file: Path) -> None:
    """Ask for a token over `session`, which is entered and left here, and keep it in `file`.

    NotProvisionedError says what the centre answered; OSError: a file, or the link.
    """
    request = orjson.dumps(_request(options))
    async with session:
        await session.subscribe_to(RESPONSE)
        answer = await _ask(session, request)
    token = _token(answer)
    await asyncio.to_thread(keep_private, file, token + "\n")
    log.info("provisioned: the centre's token is in %s", file)


def _request(options: CredentialOptions) -> dict[str, Any]:
    if options.provision_key_file is None or options.provision_secret_file is None:
        raise NotProvisionedError("no key and secret to ask the centre with")
    named = {"deviceName": options.provision_name} if options.provision_name else {}
    return {
        "provisionDeviceKey": secret(options.provision_key_file),
        "provisionDeviceSecret": secret(options.provision_secret_file),
        "gateway": True,
    } | named


async def _ask(session: Session, request: bytes) -> bytes:
    refused = await session.publish_one(REQUEST, request)
    if refused:
        raise NotProvisionedError(f"the centre refuses to be asked for a token: {refused}")
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            async for topic, payload in session.incoming():
                if topic == RESPONSE:
                    return payload
    except TimeoutError:
        pass
    raise NotProvisionedError(f"the centre gave no answer about a token in {ANSWER_S_MAX:g} s")


def _token(payload: bytes) -> str:
    """The token in the centre's answer. Pure."""
    try:
        answer: Any = orjson.loads(payload)
    except ValueError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    status, token = answer.get("status"), answer.get("credentialsValue")
    if status != "SUCCESS":
        reason = WAY_OUT.get(str(status)) or f"answered {str(answer.get('errorMsg') or status)[:200]!r}"
        raise NotProvisionedError(f"the centre {reason}")
    if answer.get("credentialsType") != "ACCESS_TOKEN" or not isinstance(token, str):
        raise NotProvisionedError("expected an access token of the centre, found other credentials")
    if not token.isprintable() or not 1 <= len(token) <= SECRET_CHARS_MAX:
        raise NotProvisionedError("expected an access token of the centre, found no line of text")
    return token
