"""Says that this box is there, answers who asks, says goodbye. Nothing here harms the agent: that a
network forbids multicast is said once, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.mdns import packet
from agent.mdns.packet import Message, Question, Record
from agent.supervise import Episode

log = logging.getLogger(__name__)

GROUP, PORT = "224.0.0.251", 5353
HOST_TTL_S, TTL_S, LEGACY_TTL_S = 120, 4500, 10
ANNOUNCEMENTS, ANNOUNCE_GAP_S = 2, 1.0
DELAY_S = (0.02, 0.12)
QUIET_S = 1.0  # the same is not multicast more often
CHECK_S = 60.0
RENAMES_MAX = 20
PACKETS_PER_WAKE = 64
BYTES_MAX = 9000
ALL_TYPES = "_services._dns-sd._udp.local"


class Service(NamedTuple):
    """`kind` is like "_uicps._tcp"; `name` what people see, `host` without ".local"."""

    name: str
    kind: str
    host: str
    port: int
    facts: Sequence[tuple[str, str]] = ()


class Announcer:
    """`addresses` are the IPv4 addresses of the interfaces to announce at, asked for again once a minute."""

    def __init__(
        self,
        service: Service,
        addresses: Callable[[], Sequence[str]],
        port: int = PORT,
        rand: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._service, self._addresses, self._port = service, addresses, port
        self._rand = rand
        self._name, self._renames = _label(service.name), 0
        self._at: tuple[str, ...] = ()
        self._socket: socket.socket | None = None
        self._said_s = -QUIET_S
        self._wake = asyncio.Event()
        self._trouble = Episode(log, "mdns")

    @property
    def name(self) -> str:
        """What it is called now: another box may have had the name."""
        return self._name

    async def run(self) -> None:
        """Announce for ever; goodbye at the end."""
        try:
            while True:
                try:
                    await self._open()
                    await self._serve()
                except OSError as error:
                    self._trouble.failed(f"this box cannot be announced, trying again: {error}")
                    await asyncio.sleep(CHECK_S)
                finally:
                    self._close()
        finally:
            self._close()

    async def _open(self) -> None:
        self._at = tuple(await asyncio.to_thread(self._addresses))
        if not self._at:
            raise OSError("no interface has an IPv4 address")
        self._socket = _joined(self._at, self._port)
        asyncio.get_running_loop().add_reader(self._socket, self._readable, self._socket)

    async def _serve(self) -> None:
        """Until the addresses change or our name is another's."""
        loop = asyncio.get_running_loop()
        self._wake.clear()
        for _ in range(ANNOUNCEMENTS):
            self._tell()
            await asyncio.sleep(ANNOUNCE_GAP_S)
        self._trouble.ended()
        while not self._wake.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._wake.wait()
            if tuple(await loop.run_in_executor(None, self._addresses)) != self._at:
                return

    def _close(self) -> None:
        """With goodbye, as far as that goes."""
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._tell(gone=True)
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None

    # ---------------------------------------------------------------- speaking

    def _records(self, address: str, ttl_s: int | None = None) -> list[Record]:
        """All that there is to say, the first being what is asked for most."""
        service = self._service
        kind, host = f"{service.kind}.local", f"{service.host}.local"
        own = f"{self._name.replace('.', chr(92) + '.')}.{kind}"
        where = struct.pack("!3H", 0, 0, service.port) + packet.encoded(host)

        def lives(usual_s: int) -> int:
            return usual_s if ttl_s is None else min(ttl_s, usual_s)

        return [
            Record(kind, packet.PTR, lives(TTL_S), packet.encoded(own)),
            Record(own, packet.SRV, lives(HOST_TTL_S), where, flush=True),
            Record(own, packet.TXT, lives(TTL_S), packet.text(service.facts), flush=True),
            # Not flushed: Avahi may tell the same of this host, and of its other addresses.
            Record(host, packet.A, lives(HOST_TTL_S), socket.inet_aton(address)),
            Record(ALL_TYPES, packet.PTR, lives(TTL_S), packet.encoded(kind)),
        ]

    def _tell(self, *, gone: bool = False) -> None:
        """Everything, to everybody, at each interface. `gone`: forget it (but not the host)."""
        if self._socket is None:
            return
        self._said_s = asyncio.get_running_loop().time()
        for address in self._at:
            records = self._records(address, ttl_s=0)[:3] if gone else self._records(address)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            self._socket.sendto(packet.message(records), (GROUP, self._port))

    # ---------------------------------------------------------------- hearing

    def _readable(self, bound: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(PACKETS_PER_WAKE):
                data, sender = bound.recvfrom(BYTES_MAX)
                try:
                    heard = packet.parse(data)
                except ValueError:
                    continue  # there is much on a network that is none of our business
                self._heard(heard, sender)

    def _heard(self, heard: Message, sender: tuple[str, int]) -> None:
        if not heard.is_query:
            self._check_name(heard)
            return
        ours = self._records(self._at[0])
        asked = [question for question in heard.questions if _answers(question, ours)]
        if not asked or _is_known(heard, ours[0]):
            return
        if sender[1] != self._port:
            self._answer_alone(heard.id, asked, sender, LEGACY_TTL_S)
        elif all(question.alone for question in asked):
            self._answer_alone(0, (), sender, None)
        else:
            asyncio.get_running_loop().call_later(self._rand(*DELAY_S), self._answer_all)

    def _answer_all(self) -> None:
        """Once for all who ask at the same time."""
        if asyncio.get_running_loop().time() - self._said_s < QUIET_S:
            return
        try:
            self._tell()
        except OSError as error:
            self._trouble.failed(f"an answer could not be sent: {error}")

    def _answer_alone(
        self, number: int, asked: Sequence[Question], sender: tuple[str, int], ttl_s: int | None
    ) -> None:
        """To one who is no full member (RFC 6762, 6.7), or who asks so."""
        records = [each._replace(flush=False) for each in self._records(self._near(sender[0]), ttl_s)]
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(packet.message(records, asked, number=number), sender)

    def _near(self, peer: str) -> str:
        """The address of ours that shares most of its beginning with `peer`."""
        theirs = int.from_bytes(socket.inet_aton(peer), "big")
        return min(self._at, key=lambda own: theirs ^ int.from_bytes(socket.inet_aton(own), "big"))

    def _check_name(self, heard: Message) -> None:
        """If another box says that it has our name, we take another one."""
        own = self._records(self._at[0])[1]
        others = [
            record
            for record in heard.answers
            if (record.name, record.kind) == (own.name.lower(), packet.SRV) and record.ttl_s
        ]
        if any(record.data.lower() != own.data.lower() for record in others) and self._renames < RENAMES_MAX:
            self._renames += 1
            self._name = _label(self._service.name, f" ({self._renames + 1})")
            log.warning("mdns: another box is called %r: this one is now %r", own.name, self._name)
            self._wake.set()


def _label(name: str, ending: str = "") -> str:
    """`name` and `ending`, cut to what a label holds."""
    room = packet.LABEL_BYTES_MAX - len(ending)
    return name.encode()[:room].decode("utf-8", "ignore") + ending


def _answers(question: Question, ours: Sequence[Record]) -> bool:
    return any(
        question.name == record.name.lower() and question.kind in (record.kind, packet.ANY) for record in ours
    )


def _is_known(heard: Message, pointer: Record) -> bool:
    """Whether who asks knows already (RFC 6762, 7.1)."""
    return any(
        (each.name, each.kind) == (pointer.name.lower(), pointer.kind)
        and each.data.lower() == pointer.data.lower()
        and each.ttl_s > pointer.ttl_s // 2
        for each in heard.answers
    )


def _joined(addresses: Sequence[str], port: int) -> socket.socket:
    """A socket in the group at each of `addresses` that will have it; OSError if none will."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        found.bind(("", port))
        refusals = [each for each in (_refusal(found, address) for address in addresses) if each]
        if len(refusals) == len(addresses):
            raise refusals[0]
    except OSError:
        found.close()
        raise
    return found


def _refusal(found: socket.socket, address: str) -> OSError | None:
    member = socket.inet_aton(GROUP) + socket.inet_aton(address)
    try:
        found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    except OSError as error:
        return error
    return None
