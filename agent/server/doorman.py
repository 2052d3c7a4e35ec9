"""Taking connections: how many, how many from one peer, and how long each may take to say what it wants.

Rules. A connection that is too many is closed before it costs anything. TLS must be agreed upon within
HANDSHAKE_S, a request's head be whole within `head_s` of the connection (KEPT_S after the last answer), its
body within `body_s`: who sends a byte now and then (slowloris) holds a connection no longer than that.
Plain HTTP spoken to the HTTPS port is answered with the way there.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from agent.server.identity.throttle import peer_key
from agent.server.replies import Refused

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
KEPT_S = 75.0
BACKLOG = 128
PEER_SHARE = 0.5  # of all connections, for one peer
LOOPBACK = ("127.0.0.1", "::/64")  # a proxy of our own, as a rule
PLAIN_BYTES_MAX = 4096
DEAD = (errno.EINVAL, errno.EBADF, errno.ENOTSOCK, errno.EOPNOTSUPP)
"""What only a listening socket says that will never take anybody again."""

_HOST = re.compile(rb"^host:[ \t]*([A-Za-z0-9.\[\]:-]{1,255})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(rb"^(?:GET|HEAD) (/[A-Za-z0-9._~/?=&%-]{0,512}) HTTP/1\.[01]\r?$", re.MULTILINE)

Note = Callable[[str, str], None]


class Doorman:
    """Accepts while `run` runs. `note(kind, peer)` is told whom it shut out."""

    def __init__(self, connections_max: int, note: Note, *, head_s: float, body_s: float) -> None:
        self._most, self._note, self._head_s, self._body_s = connections_max, note, head_s, body_s
        self._server: web.Server | None = None
        self._context: ssl.SSLContext | None = None
        self._arriving: dict[asyncio.Task[None], str] = {}
        self._due_s: dict[asyncio.Protocol, float] = {}
        self._peers: dict[asyncio.Protocol, str] = {}

    async def run(self, listener: socket.socket, server: web.Server, context: ssl.SSLContext | None) -> None:
        """Take connections at `listener` for `server`, over TLS if there is a `context`, until cancelled.

        OSError if `listener` is dead."""
        self._server, self._context = server, context
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, address = await loop.sock_accept(listener)
                except OSError as error:
                    if error.errno in DEAD:
                        raise
                    log.warning("server: cannot accept: %s", error)  # no file descriptor left, as a rule
                    await asyncio.sleep(1)
                    continue
                self._take(server, connection, peer_key(address[0]))
        finally:
            for task in self._arriving:
                task.cancel()
            await asyncio.gather(*self._arriving, return_exceptions=True)

    def sweep(self) -> None:
        """Close who has not said in time what he wants; to be called about once a second."""
        if self._server is None:
            return
        now_s = asyncio.get_running_loop().time()
        present = set(self._server.connections)
        for protocol in list(self._due_s):
            if protocol not in present:
                del self._due_s[protocol]
                self._peers.pop(protocol, None)
            elif now_s > self._due_s[protocol]:
                self._note("request.slow", self._peers.get(protocol, ""))
                self._due_s[protocol] = now_s + KEPT_S
                protocol.force_close()  # aiohttp's RequestHandler

    @web.middleware
    async def patient(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A middleware: the head is here, so wait for the body, but not for ever."""
        protocol = request.protocol
        self._due_s[protocol] = float("inf")
        try:
            if request.body_exists:
                await self._body(request)
            return await handler(request)
        finally:
            self._due_s[protocol] = asyncio.get_running_loop().time() + KEPT_S

    async def _body(self, request: web.Request) -> None:
        try:
            async with asyncio.timeout(self._body_s):
                await request.read()
        except TimeoutError:
            text = f"expected the whole body within {self._body_s:g} s"
            raise Refused(408, "too_slow", text, {hdrs.CONNECTION: "close"}, kind="request.slow") from None

    def _take(self, server: web.Server, connection: socket.socket, peer: str) -> None:
        peers = Counter(self._arriving.values())
        peers.update(self._peers.get(each, "") for each in server.connections)
        greedy = peer not in LOOPBACK and peers[peer] >= max(1, int(self._most * PEER_SHARE))
        if greedy or peers.total() >= self._most:
            connection.close()
            self._note("connection.refused", peer)
            return
        connection.setblocking(False)
        task = asyncio.create_task(self._welcome(server, connection, peer))
        self._arriving[task] = peer
        task.add_done_callback(self._arriving.pop)

    async def _welcome(self, server: web.Server, connection: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._context is not None and await self._speaks_plain(connection):
                await self._redirect(connection)
                return
            wait_s = HANDSHAKE_S if self._context else None
            _, protocol = await loop.connect_accepted_socket(
                server, connection, ssl=self._context, ssl_handshake_timeout=wait_s
            )
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:  # ssl.SSLError is an OSError
            log.debug("server: %s: %r", peer, error)
            connection.close()
            return
        self._peers[protocol] = peer
        self._due_s.setdefault(protocol, loop.time() + self._head_s)  # its first request may be here already

    async def _speaks_plain(self, connection: socket.socket) -> bool:
        """Whether the first byte is of an HTTP request rather than of a TLS handshake."""
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(connection, _set, readable)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await readable
        finally:
            loop.remove_reader(connection)
        first = connection.recv(1, socket.MSG_PEEK)
        return first.isalpha()

    async def _redirect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(HANDSHAKE_S):
            head = await loop.sock_recv(connection, PLAIN_BYTES_MAX)
            host, path = _HOST.search(head), _PATH.search(head)
            status = b"426 Upgrade Required"
            where = b""
            if host and path:
                status = b"308 Permanent Redirect"
                where = b"Location: https://%b%b\r\n" % (host[1], path[1])
            text = b"this port speaks HTTPS only\n"
            answer = b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            await loop.sock_sendall(connection, answer % (status, where, len(text), text))
        connection.close()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
