"""The network: our own ports, names that must resolve, brokers and certificates that must be good."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiomqtt

from agent.doctor.findings import Finding, fault, warning, well
from agent.supervise import describe
from agent.uplink.credentials import CredentialOptions, login, tls_context

ANSWER_S_MAX = 8.0
CERTIFICATE_DAYS_MIN = 14
CONNECTING = ("modbus-tcp", "modbus-rtu-tcp")
AT_ONCE_MAX = 16


def port_is_free(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """ "" if an agent could listen there, or why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            return str(getattr(error, "strerror", None) or error)
    return ""


def own_port(subject: str, host: str, port: int, kind: socket.SocketKind, *, running: bool) -> Finding:
    """A port of ours: taken while an agent runs, free while none does."""
    trouble = port_is_free(host, port, kind) if port else ""
    if running:
        if trouble or not port:
            return well(subject, f"port {port}: the agent has it")
        return fault(subject, f"port {port}: an agent runs, but does not listen there", "see its log")
    if trouble:
        way_out = f"stop what uses it (ss -tulpn | grep :{port}), or choose another port"
        return fault(subject, f"{host} port {port}: {trouble}", way_out)
    return well(subject, f"{host} port {port}: free")


async def peers(lines: Sequence[Any]) -> list[Finding]:
    """Of each line that connects to a gateway or meter: does its name resolve, does it take a connection."""
    asked = [line for line in lines if line.driver in CONNECTING]
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def ask(line: Any) -> Finding:
        async with gate:
            return await _peer(f"line {line.name}", line.host, line.port)

    return list(await asyncio.gather(*map(ask, asked)))


async def _peer(subject: str, host: str, port: int) -> Finding:
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        way_out = "check the name, and the box's DNS (resolvectl query NAME); or write its address"
        return fault(subject, f"{host}: no such name: {describe(error)}", way_out)
    except (OSError, TimeoutError) as error:
        way_out = "is it on, is the cable in, is the address right (uicps-agent scan tcp)?"
        said = os.strerror(error.errno) if error.errno else describe(error)  # a word, not the loop's own
        return fault(subject, f"{host} port {port}: {said}", way_out)
    writer.close()
    return well(subject, f"{host} port {port}: takes a connection")


async def broker(uplink: Any, *, connected: bool) -> AsyncIterator[Finding]:
    """Name, connection, certificate and login of an uplink's broker, as far as they go.

    `connected`: the running agent is logged in there; then the login is not tried, it could push it out.
    """
    subject = f"uplink {uplink.name}"
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            began_s = time.monotonic()
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(uplink.host, uplink.port, type=socket.SOCK_STREAM)
            took_ms = (time.monotonic() - began_s) * 1000
    except (OSError, TimeoutError) as error:
        way_out = "check the name, and the box's DNS (resolvectl query NAME)"
        yield fault(subject, f"{uplink.host}: no such name: {describe(error)}", way_out)
        return
    yield well(subject, f"{uplink.host} is {found[0][4][0]} ({took_ms:.0f} ms)")
    if (finding := await _reach(subject, uplink)) is not None:
        yield finding
        if finding.way_out:
            return
    yield well(subject, "the running agent is logged in") if connected else await _log_in(subject, uplink)


async def _reach(subject: str, uplink: Any) -> Finding | None:
    """Connect, with TLS if it is on; a finding unless there is nothing to say."""
    where = f"{uplink.host} port {uplink.port}"
    try:
        context = _context(uplink)
        async with asyncio.timeout(ANSWER_S_MAX):
            _, writer = await asyncio.open_connection(
                uplink.host, uplink.port, ssl=context, server_hostname=uplink.host if context else None
            )
    except ssl.SSLCertVerificationError as error:
        way_out = "set ca_file to the authority that signed it, or have the centre renew it"
        if "not yet valid" in error.verify_message or "expired" in error.verify_message:
            way_out += "; is the clock of this box right?"
        return fault(subject, f"{where}: its certificate is not accepted: {error.verify_message}", way_out)
    except (OSError, TimeoutError) as error:
        way_out = "is the port right, is tls right, does a firewall let this box out?"
        return fault(subject, f"{where}: {describe(error)}", way_out)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    return _certificate(subject, certificate, time.time()) if certificate else None


def _context(uplink: Any) -> ssl.SSLContext | None:
    if isinstance(uplink, CredentialOptions):
        return tls_context(uplink)
    return ssl.create_default_context(cafile=uplink.ca_file) if uplink.tls else None


def _certificate(subject: str, certificate: dict[str, Any], now_s: float) -> Finding:
    days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - now_s) / 86400
    text = f"its certificate is good for {days:.0f} days more"
    if days < CERTIFICATE_DAYS_MIN:
        return warning(subject, text, "have whoever runs the centre renew it")
    return well(subject, text)


async def _log_in(subject: str, uplink: Any) -> Finding:
    if not isinstance(uplink, CredentialOptions) or uplink.provision_key_file:
        return well(subject, "answers; the login was not tried")
    where: Any = uplink
    try:
        who = login(uplink)
        client = aiomqtt.Client(
            where.host,
            where.port,
            username=who.username,
            password=who.password,
            identifier=who.client_id or f"doctor-{secrets.token_hex(6)}",
            tls_context=_context(uplink),
            timeout=ANSWER_S_MAX,
        )
        async with client:
            return well(subject, "lets us in")
    except (aiomqtt.MqttError, OSError) as error:
        way_out = "are these the credentials of the gateway device at the centre? Compare them there"
        return fault(subject, f"does not let us in: {describe(error)}", way_out)
