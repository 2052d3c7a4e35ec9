"""What the centre asks us to do, done once.

Rules.
1. A call is known by device, number, method and parameters: ThingsBoard sends it again at every reconnect
   until it has the reply, and starts its numbers at 0 again when it restarts.
2. A call that changes something is written down before it is done, with its reply after that, and forgotten
   once the reply was acknowledged. So one that comes again, also after a restart of ours, is answered from
   memory; the same call a while after its reply arrived is a new one.
3. A call outlives the connection it came by. Every one gets an answer, if only `{"error": reason}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from agent.supervise import Episode
from agent.uplink.credentials import keep_private

log = logging.getLogger(__name__)

CALLS_MAX = 8
CALL_S_MAX = 60.0
CALL_BYTES_MAX = 16_384
REPLY_BYTES_MAX = 32_768
REMEMBERED_MAX = 256
ECHO_S = 60.0  # a call that was pushed twice before its reply came to the server arrives within this
INTERRUPTED = "interrupted: the agent restarted while doing this; read the point to see what became of it"


class CallError(Exception):
    """A call that was not done, with the reason for the one who asked."""


class Call(NamedTuple):
    """`device` is "" for the gateway itself; `number` is the centre's."""

    device: str
    number: int
    method: str
    params: Any


class Method(NamedTuple):
    """`run(device, params)` gives a reply of JSON, or raises CallError. `once`: it changes something."""

    run: Callable[[str, Any], Awaitable[Any]]
    once: bool = False


@dataclass(slots=True)
class _Record:
    """`reply` is None until there is one; `confirmed_s` (monotonic) once the centre has it."""

    reply: Any = None
    confirmed_s: float | None = None


class Memory:
    """The calls that may come again, at most `records_max`; those not yet answered also in `file`."""

    def __init__(
        self,
        file: Path,
        clock: Callable[[], float] = time.monotonic,
        records_max: int = REMEMBERED_MAX,
    ) -> None:
        self._file, self._clock, self._records_max = file, clock, records_max
        self._episode = Episode(log, f"calls of the centre: {file}")
        self._writing = asyncio.Lock()
        self._records: dict[str, _Record] = {}

    async def load(self) -> None:
        """Take up what an earlier run has left; a file that cannot be read is as good as none."""
        with contextlib.suppress(FileNotFoundError):
            try:
                written = orjson.loads(await asyncio.to_thread(self._file.read_bytes))
                replies = dict(written) if isinstance(written, dict) else {}
            except (OSError, ValueError) as error:
                if isinstance(error, FileNotFoundError):
                    raise
                log.warning("calls of the centre: %s: %s; starting with none", self._file, error)
                return
            for key, reply in list(replies.items())[-self._records_max :]:
                self._records[key] = _Record({"error": INTERRUPTED} if reply is None else reply)

    def find(self, key: str) -> _Record | None:
        """The record of a call that came before, unless its reply arrived a while ago."""
        record = self._records.get(key)
        if record and record.confirmed_s is not None and self._clock() - record.confirmed_s > ECHO_S:
            del self._records[key]
            return None
        return record

    async def begin(self, key: str) -> None:
        """Write down that a call is being done."""
        self._records.pop(key, None)
        self._records[key] = _Record()
        while len(self._records) > self._records_max:
            del self._records[next(iter(self._records))]
        await self._write()

    async def end(self, key: str, reply: Any) -> None:
        """Write down its reply."""
        if key in self._records:
            self._records[key].reply = reply
            await self._write()

    async def confirmed(self, key: str) -> None:
        """The centre has the reply: it will not ask again."""
        record = self._records.get(key)
        if record and record.confirmed_s is None:
            record.confirmed_s = self._clock()
            await self._write()

    async def _write(self) -> None:
        """A disk that refuses does not stop a command: then only a restart could do one twice."""
        async with self._writing:
            open_calls = {
                k: record.reply for k, record in self._records.items() if record.confirmed_s is None
            }
            try:
                await asyncio.to_thread(keep_private, self._file, orjson.dumps(open_calls).decode())
                self._episode.ended()
            except OSError as error:
                self._episode.failed(error)


class Calls:
    """Answers calls by `methods`. One of it serves every connection of an uplink, one after the other."""

    def __init__(self, methods: Mapping[str, Method], memory: Memory, call_s_max: float = CALL_S_MAX) -> None:
        self._methods, self._memory, self._call_s_max = methods, memory, call_s_max
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._bug: BaseException | None = None

    async def answer(self, call: Call) -> Any:
        """The reply to `call`: done now, or what was answered when it came before."""
        if self._bug is not None:
            raise self._bug
        if (method := self._methods.get(call.method)) is None:
            known = ", ".join(sorted(self._methods))
            return {"error": f"unknown method {call.method[:64]!r}; known: {known}"}
        key = _key(call)
        if len(key) > CALL_BYTES_MAX:
            return {"error": f"expected at most {CALL_BYTES_MAX} bytes of parameters"}
        if (task := self._running.get(key)) is None:
            if method.once and (record := self._memory.find(_short(key))) and record.reply is not None:
                log.info("call %s of the centre came again, answered from memory", call.method)
                return record.reply
            if len(self._running) >= CALLS_MAX:
                return {"error": f"busy: {CALLS_MAX} calls are being done, ask again"}
            task = self._running[key] = asyncio.create_task(self._do(call, method, key))
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    async def answered(self, call: Call) -> None:
        """The centre has acknowledged the reply to `call`."""
        if (method := self._methods.get(call.method)) and method.once:
            await self._memory.confirmed(_short(_key(call)))

    def _done(self, key: str, task: asyncio.Task[Any]) -> None:
        del self._running[key]
        if not task.cancelled() and task.exception() is not None:
            self._bug = task.exception()

    async def _do(self, call: Call, method: Method, key: str) -> Any:
        if method.once:
            await self._memory.begin(_short(key))
        try:
            async with asyncio.timeout(self._call_s_max):
                reply = await method.run(call.device, call.params)
        except CallError as error:
            reply = {"error": str(error)}
        except TimeoutError:
            reply = {"error": f"no outcome in {self._call_s_max:g} s"}
        if len(orjson.dumps(reply)) > REPLY_BYTES_MAX:
            reply = {"error": f"the reply is larger than {REPLY_BYTES_MAX} bytes"}
        if method.once:
            await self._memory.end(_short(key), reply)
        return reply


def _key(call: Call) -> str:
    return orjson.dumps(list(call), option=orjson.OPT_SORT_KEYS).decode()


def _short(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def parse(topic: str, payload: bytes) -> Call:
    """The call in a push on `v1/gateway/rpc` or `v1/devices/me/rpc/request/{number}`.

    CallError says what is wrong, with `args[1:]` the device and number to answer, as far as they are known.
    """
    own = topic.startswith("v1/devices/me/rpc/request/")
    number = int(topic.rpartition("/")[2]) if own and topic.rpartition("/")[2].isdecimal() else None
    try:
        message = orjson.loads(payload)
    except ValueError as error:
        raise CallError(f"expected JSON: {error}", "", number) from error
    device, body = ("", message) if own else _unpacked(message)
    if not isinstance(body, dict):
        raise CallError("expected an object with a method", device, number)
    number = number if own else body.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise CallError("expected a whole number as id", device, None)
    if not isinstance(body.get("method"), str) or not body["method"]:
        raise CallError("expected the name of a method", device, number)
    return Call(device, number, body["method"], body.get("params"))


def _unpacked(message: Any) -> tuple[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("device"), str) or not message["device"]:
        raise CallError("expected an object with a device", "", None)
    return message["device"], message.get("data")


def reply_to(device: str, number: int, reply: Any) -> tuple[str, bytes]:
    """Topic and payload of a reply."""
    if device:
        return "v1/gateway/rpc", orjson.dumps({"device": device, "id": number, "data": reply})
    return f"v1/devices/me/rpc/response/{number}", orjson.dumps(reply)
