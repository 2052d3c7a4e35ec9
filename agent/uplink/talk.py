"""The centre talks back: calls, settings and what we tell about ourselves, beside the delivery of readings.

One `TalkBack` serves an uplink over all its connections; `run` lives as long as one of them.

Rules.
1. Subscribe before anything is asked for; ThingsBoard forgets every subscription with the connection.
2. Each sub-device is connected at once and spoken of at least every `QUIET_S`: the platform lets the session
   of a quiet one expire without a word, and then no call reaches it.
3. What we tell (client attributes) is sent when it changes, at most every `tell_interval_s`.
4. Readings come first: what the centre does not let us say or hear is logged, it never ends the connection.
   Whether the link is alive is for the delivery to judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from agent.supervise import Episode
from agent.uplink.granted import QUESTION, granted
from agent.uplink.mqtt import Session, SubscriptionRefusedError
from agent.uplink.pace import Limits
from agent.uplink.rpc import Call, CallError, Calls, parse, reply_to
from agent.uplink.settings import Settings

log = logging.getLogger(__name__)

OWN_CALLS, OWN_ATTRIBUTES = "v1/devices/me/rpc/request/", "v1/devices/me/attributes"
DEVICE_CALLS, DEVICE_ATTRIBUTES = "v1/gateway/rpc", "v1/gateway/attributes"
ANSWERS = f"{OWN_ATTRIBUTES}/response/"
GRANTED = "v1/devices/me/rpc/response/"
SUBSCRIPTIONS = (
    f"{GRANTED}+",
    f"{OWN_CALLS}+",
    OWN_ATTRIBUTES,
    f"{ANSWERS}+",
    DEVICE_CALLS,
    DEVICE_ATTRIBUTES,
)
QUIET_S = 240.0  # of the 300 s after which old platforms forget a sub-device (600 s by now)
TELL_INTERVAL_S = 30.0
ASK_AGAIN_S = 900.0
ANSWERING_MAX = 32
TYPE_UNKNOWN = "default"

Facts = Callable[[], Mapping[str, Any]]
DeviceFacts = Callable[[], Mapping[str, Mapping[str, Any]]]


class TalkBack:
    """`devices` gives the type (profile) of each sub-device by name; `facts` what is told of the gateway,
    `device_facts` of each sub-device. `forgotten` hears of a sub-device that the centre deleted or renamed:
    it must be connected again before its next data. `learn` is told what the centre grants to a session."""

    def __init__(
        self,
        calls: Calls,
        settings: Settings,
        *,
        devices: Callable[[], Mapping[str, str]],
        facts: Facts,
        device_facts: DeviceFacts,
        forgotten: Callable[[str], None] = lambda _device: None,
        learn: Callable[[Limits], None] = lambda _limits: None,
        tell_interval_s: float = TELL_INTERVAL_S,
        quiet_s: float = QUIET_S,
        ask_again_s: float = ASK_AGAIN_S,
    ) -> None:
        self._calls, self._settings = calls, settings
        self._devices, self._facts, self._device_facts = devices, facts, device_facts
        self._forgotten, self._learn = forgotten, learn
        self._tell_interval_s, self._quiet_s, self._ask_again_s = tell_interval_s, quiet_s, ask_again_s
        self._bad_push = Episode(log, "a message of the centre")
        self._misplaced = Episode(log, "a setting of the centre")
        self._deaf = Episode(log, "talk of the centre")

    async def run(self, session: Session) -> None:
        """Serve `session` until it is lost: OSError (or a group of nothing else)."""
        try:
            await session.subscribe_to(*SUBSCRIPTIONS)
        except SubscriptionRefusedError as error:
            self._deaf.failed(f"{error}; it cannot call or set anything, readings go out all the same")
            return
        self._deaf.ended()
        connection = _Connection(session)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(connection, tasks))
            await _say(session, f"{OWN_CALLS}1", QUESTION)
            await self._ask_settings(connection)
            async with asyncio.TaskGroup() as connecting:
                for name, kind in self._devices().items():
                    connecting.create_task(self._connect(session, name, kind))
            tasks.create_task(self._tell(connection))
            tasks.create_task(self._keep_reachable(session))
            tasks.create_task(self._ask_again(connection))

    # ---------------------------------------------------------------- what comes in

    async def _listen(self, connection: _Connection, tasks: asyncio.TaskGroup) -> None:
        room = asyncio.Semaphore(ANSWERING_MAX)
        async for topic, payload in connection.session.incoming():
            if topic == DEVICE_CALLS or topic.startswith(OWN_CALLS):
                await room.acquire()
                task = tasks.create_task(self._called(connection.session, topic, payload))
                task.add_done_callback(lambda _: room.release())
            elif topic == OWN_ATTRIBUTES or topic.startswith(ANSWERS):
                await self._set(connection, topic, payload)
            elif topic == DEVICE_ATTRIBUTES:
                self._say_misplaced(payload)
            elif topic.startswith(GRANTED) and (limits := granted(payload)) is not None:
                self._learn(limits)

    async def _called(self, session: Session, topic: str, payload: bytes) -> None:
        try:
            call = parse(topic, payload)
        except CallError as error:
            reason, device, number = error.args
            self._bad_push.failed(f"{topic[:80]}: {reason}")
            if number is not None:
                await _say(session, *reply_to(device, number, {"error": reason}))
            return
        if not call.device and await self._heard_of_device(session, call):
            return
        reply = await self._calls.answer(call)
        refused = await _say(session, *reply_to(call.device, call.number, reply), call.device)
        if refused:
            log.warning("the centre does not take the reply to %s: %s", call.method[:64], refused)
        else:
            await self._calls.answered(call)

    async def _heard_of_device(self, session: Session, call: Call) -> bool:
        """Whether the platform's own words were heard: it deleted or renamed a sub-device."""
        if call.method == "gateway_device_deleted" and isinstance(call.params, str):
            names = [call.params]
        elif call.method == "gateway_device_renamed" and isinstance(call.params, dict):
            names = list(call.params)
        else:
            return False
        known = self._devices()
        for name in names:
            if name in known:
                log.warning("the centre has %s %s; it is made there again", call.method[15:], name)
                self._forgotten(name)
                await self._connect(session, name, known[name])
        return True

    async def _set(self, connection: _Connection, topic: str, payload: bytes) -> None:
        try:
            message = orjson.loads(payload)
        except ValueError as error:
            self._bad_push.failed(f"{topic[:80]}: {error}")
            return
        if not isinstance(message, dict):
            self._bad_push.failed(f"{topic[:80]}: expected an object")
            return
        self._bad_push.ended()
        if topic == OWN_ATTRIBUTES:
            await self._settings.take(message)
            connection.pushed |= message.keys()
        elif topic == connection.asked:
            shared = message.get("shared")
            await self._take_all(connection, shared if isinstance(shared, dict) else {})
        connection.news.set()

    def _say_misplaced(self, payload: bytes) -> None:
        """A setting at a sub-device is obeyed by nobody, and whoever made it should know."""
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
            message = orjson.loads(payload)
            if misplaced := sorted(message["data"].keys() & set(self._settings.names)):
                text = f"{', '.join(misplaced)} was set at {str(message['device'])[:64]}"
                self._misplaced.failed(f"{text}: not obeyed; settings are taken from the gateway device")

    async def _take_all(self, connection: _Connection, shared: dict[str, Any]) -> None:
        """Obey the answer, unless a change was pushed in between: then ask again, it is newer."""
        connection.asked = ""
        if connection.pushed:
            connection.pushed.clear()
            await self._ask_settings(connection)
        else:
            await self._settings.take_all(shared)

    # ---------------------------------------------------------------- what goes out

    async def _ask_settings(self, connection: _Connection) -> None:
        number = next(connection.numbers)
        connection.asked = f"{ANSWERS}{number}"
        question = orjson.dumps({"sharedKeys": ",".join(self._settings.names)})
        await _say(connection.session, f"{OWN_ATTRIBUTES}/request/{number}", question)

    async def _ask_again(self, connection: _Connection) -> None:
        """A platform at its rate limit grants a subscription and drops it: no push ever comes."""
        while True:
            await asyncio.sleep(self._ask_again_s)
            with contextlib.suppress(SubscriptionRefusedError):
                await connection.session.subscribe_to(*SUBSCRIPTIONS)
            await self._ask_settings(connection)

    async def _connect(self, session: Session, name: str, kind: str) -> None:
        """A sub-device that is refused here is refused with its readings too: there it is held and said."""
        message = orjson.dumps({"device": name, "type": kind or TYPE_UNKNOWN})
        if reason := await _say(session, "v1/gateway/connect", message, name):
            log.debug("the centre does not connect %s: %s", name, reason)

    async def _tell(self, connection: _Connection) -> None:
        """Publish what changed, at most every interval; sooner when a setting was answered."""
        while True:
            connection.news.clear()
            own = dict(self._facts()) | self._settings.report()
            await connection.tell("", own)
            for device, facts in self._device_facts().items():
                await connection.tell(device, facts)
            await asyncio.sleep(min(1.0, self._tell_interval_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._tell_interval_s - 1.0)):
                    await connection.news.wait()

    async def _keep_reachable(self, session: Session) -> None:
        """Ask for an attribute of each sub-device that was not spoken of: that counts as its activity."""
        numbers = itertools.count(1)
        while True:
            await asyncio.sleep(self._quiet_s / 8)
            now_s = asyncio.get_running_loop().time()
            for name in self._devices():
                if now_s - session.spoke_s.get(name, -self._quiet_s) >= self._quiet_s:
                    question = {"id": next(numbers), "device": name, "client": False, "key": "present"}
                    await _say(session, "v1/gateway/attributes/request", orjson.dumps(question), name)


async def _say(session: Session, topic: str, payload: bytes, who: str = "") -> str:
    """Publish; why it was not taken, "" if it was. Old platforms do not answer what they do not take."""
    try:
        return await session.publish_one(topic, payload, who)
    except TimeoutError as error:
        return str(error)


class _Connection:
    """What holds for one connection: what was told on it, and the question that is open."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.news = asyncio.Event()
        self.asked = ""
        self.pushed: set[str] = set()
        self.numbers = itertools.count(1)
        self._told: dict[str, dict[str, Any]] = {}

    async def tell(self, device: str, facts: Mapping[str, Any]) -> None:
        """Publish what of `facts` is new; what is refused is tried again with the next change."""
        told = self._told.setdefault(device, {})
        news = {name: value for name, value in facts.items() if name not in told or told[name] != value}
        if not news:
            return
        topic = DEVICE_ATTRIBUTES if device else OWN_ATTRIBUTES
        refused = await _say(self.session, topic, orjson.dumps({device: news} if device else news), device)
        if refused:
            log.debug("the centre does not take attributes of %s: %s", device or "the gateway", refused)
        else:
            told.update(news)
