"""The analyses' own process: limits itself, reads what is new, says what it makes of it.

Standard output is the way to the agent, in frames; a frame says `values` of a group, an `alert`, `progress`
or that it is `done`.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from agent.analysis.power_quality.unseen import Sight, unseen
from agent.analysis.site import energy, outlook, quality, unusual
from agent.analysis.site.book import Book
from agent.analysis.site.history import Reader
from agent.analysis.site.meters import slugs
from agent.analysis.site.plan import MeterPlan, Plan
from agent.analysis.site.scene import Scene, scene
from agent.confined import confine
from agent.localtime import DAY_MS
from agent.schedule import frames
from agent.schema import FaultyFile
from agent.store.onlooker import Onlooker
from agent.tariff import load


class Way:
    """The way to the agent."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def say(self, head: Mapping[str, Any]) -> None:
        self._out.write(frames.packed(dict(head)))
        self._out.flush()

    def progress(self, share: float, text: str) -> None:
        self.say({"say": "progress", "share": share, "text": text})

    def values(self, group: str, time_ms: int, values: Mapping[str, float]) -> None:
        plain = {name: None if math.isnan(value) else round(value, 6) for name, value in values.items()}
        self.say({"say": "values", "group": group, "time_ms": time_ms, "values": plain})

    def alert(self, name: str, raised: bool, texts: tuple[str, str, str], value: float) -> None:
        """`texts`: in Portuguese, in English, and the detail."""
        head = {"say": "alert", "id": name, "raised": raised, "text_pt": texts[0], "text_en": texts[1]}
        self.say({**head, "detail": texts[2][:300], "value": None if math.isnan(value) else value})


class Run:
    """One run. `on` is as of the instant that it is for; what is new is read up to `now_ms`."""

    def __init__(self, on: Scene, way: Way, now_ms: int) -> None:
        self._on, self._plan, self._book, self._way = on, on.plan, on.book, way
        self._now_ms = now_ms
        self._words = slugs(dict.fromkeys(group.device for group in on.plan.groups))

    # ---------------------------------------------------------------- every ten minutes

    def analyse(self) -> str:
        """Read what is new, and publish how everything stands."""
        history = Onlooker(Path(self._plan.store))
        reader = Reader(self._book, history, self._plan, self._on.limits, self._now_ms)
        asyncio.run(reader.read(lambda share, text: self._way.progress(share * 0.8, text)))
        self._book.begin()
        for at, device in enumerate(self._words):
            self._way.progress(0.8 + 0.2 * at / len(self._words), device)
            self._device(device)
        for meter in self._plan.meters:
            self._meter(meter)
        self._book.prune(self._now_ms - self._plan.keep_days * DAY_MS, self._now_ms)
        self._book.commit()
        return f"{reader.readings} readings of {len(self._words)} devices, {self._said()}"

    def _said(self) -> str:
        """How it is to be taken: what holds for the first meter of voltages."""
        count = f"{len(self._plan.meters)} meters"
        sights = [self._sight(each) for each in self._plan.meters if self._is_judged(each)]
        return f"{count}. {' '.join(each.en for each in unseen(sights[0]))}" if sights else count

    def _sight(self, meter: MeterPlan) -> Sight:
        groups = self._on.groups(meter.device)
        group = next(group for group in groups if set(meter.volts) <= set(group.points))
        return Sight(
            group.interval_ms / 1000,
            has_harmonics=bool(meter.harmonics),
            has_thd=bool(meter.thd),
            has_line_voltages=bool(meter.line_voltage),
            phases=len(meter.volts),
        )

    def _is_judged(self, meter: MeterPlan) -> bool:
        """Whether its voltages are read together: those of different instants say nothing together."""
        groups = self._on.groups(meter.device)
        return bool(meter.volts) and any(set(meter.volts) <= set(group.points) for group in groups)

    def _publish(self, topic: str, name: str, values: Mapping[str, float], time_ms: int = 0) -> None:
        self._way.values(f"{topic}-{name}", time_ms or self._on.at_ms, values)

    def _device(self, device: str) -> None:
        word = self._words[device]
        sent = unusual.ingest(self._on, device, word)
        self._publish("ingest", device, sent)
        self._say_rate(device, word, sent)
        for group in self._on.groups(device) if self._plan.anomalies else ():
            if group.points:
                found = unusual.unusual(self._on, group, word)
                self._publish(f"unusual-{device}", group.name, found)

    def _say_rate(self, device: str, word: str, sent: Mapping[str, float]) -> None:
        now, usual, away = (sent[f"{word}_ingest{each}"] for each in ("", "_usual", "_anomaly"))
        if math.isnan(away):
            return
        texts = (
            f"{device} não envia leituras no ritmo de costume",
            f"{device} does not send readings at its usual rate",
            f"{now:g} readings a minute, {usual:g} as a rule",
        )
        self._way.alert(f"analysis.ingest.{device}", away > 1, texts, now)

    def _meter(self, meter: MeterPlan) -> None:
        if self._is_judged(meter):
            self._publish("voltage", meter.device, quality.voltage(self._on, meter))
            for event in quality.untold(self._book, meter, self._now_ms):
                values = quality.event_values(meter, event, self._on.limits)
                self._publish("event", meter.device, values, event.start_ms)
        if meter.frequency:
            self._publish("frequency", meter.device, quality.frequency(self._on, meter))
        if meter.power:
            self._energy(meter)
        other = next((each for each in self._plan.meters if each.device == meter.same_as), None)
        if self._plan.anomalies and other is not None:
            self._publish("drift", meter.device, unusual.drifting(self._on, meter, other))

    def _energy(self, meter: MeterPlan) -> None:
        month = energy.month_so_far(self._on, meter)
        self._publish("energy", meter.device, energy.energy(meter, month, self._on.limits))
        load_ = outlook.load_of(self._on, meter)
        model = outlook.model_of(self._on, meter, load_)
        ahead = outlook.ahead_of(self._on, model, load_, month) if model else None
        if ahead is not None:
            self._publish("outlook", meter.device, outlook.outlook(self._on, meter, ahead))
        if meter.tariff:
            self._money(meter, month, ahead)

    def _money(self, meter: MeterPlan, month: energy.Quarters, ahead: outlook.Ahead | None) -> None:
        tariff = load(meter.tariff, [Path(each) for each in self._plan.tariff_dirs])
        rest_kw = None if ahead is None else outlook.rest_of_month_kw(self._on, ahead, month.end_ms)
        found = energy.money(meter, tariff, month, rest_kw)
        if found is None:
            return
        self._publish("bill", meter.device, energy.bill_values(meter, found))
        over_kw = found.overshoot_kw
        texts = (
            f"Demanda de {meter.device} ultrapassou a contratada",
            f"The demand of {meter.device} is beyond its contract",
            f"{over_kw:.1f} kW above the contract this month" if over_kw else "",
        )
        self._way.alert(f"analysis.demand.{meter.device}", over_kw > 0, texts, over_kw)

    # ---------------------------------------------------------------- every night

    def learn(self) -> str:
        """Learn anew what is normal."""
        points = 0
        for at, group in enumerate(self._plan.groups):
            self._way.progress(at / len(self._plan.groups), f"{group.device} {group.name}")
            self._book.begin()
            points += unusual.learn_group(self._on, group)
            self._book.commit()
        self._book.begin()
        self._book.forget_learned(self._now_ms - 30 * DAY_MS)
        self._book.commit()
        return f"what is normal of {points} points"


def run(start: Mapping[str, Any], body: bytes, way: Way) -> dict[str, Any]:
    """What is asked for, and how it went."""
    plan = Plan.model_validate_json(body)
    try:
        with Book(Path(plan.book)) as book:
            now_ms = start["now_ms"]
            one = Run(scene(book, plan, min(start["due_ms"], now_ms)), way, now_ms)
            text = one.learn() if start["task"] == "learn" else one.analyse()
    except MemoryError:
        return {"how": "out of memory", "text": f"it needs more than {start['memory_mb']} MB"}
    except (OSError, sqlite3.Error, FaultyFile) as error:
        return {"how": "failed", "text": f"{type(error).__name__}: {error}"[:1500]}
    return {"how": "well", "text": text[:1500]}


def main() -> None:
    """Speak with the agent that started us: one run."""
    into, out = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    frame = frames.read(into)
    if frame is None:
        return
    start, body = frame
    confine(start["memory_mb"], start["cpu_s"], start["parent"])
    sys.dont_write_bytecode = True
    way = Way(out)
    way.say({"say": "done", **run(start, body, way)})


if __name__ == "__main__":
    main()
