#!/usr/bin/env python3
"""A week of 50 devices x 20 points at 1 Hz through the analyses, in chunks of an hour: time and memory.

    .venv/bin/python bench/analysis_week.py [--devices 50] [--days 7]

Each chunk is decoded from packed bytes as the store keeps them. Making the readings is timed apart.
"""

import argparse
import resource
import sys
import time
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from agent.analysis.anomaly import INTERVAL_MS, learn, scores
from agent.analysis.power_quality.aggregate import DEMAND_MS, aggregate, close, joined
from agent.analysis.power_quality.events import flagged
from agent.analysis.power_quality.frequency import FrequencyWatch, excursions, watch_frequency
from agent.analysis.power_quality.limits import limits_on
from agent.analysis.power_quality.power import demand, power_factor
from agent.analysis.power_quality.unbalance import fd95, unbalance_of_phases_percent
from agent.analysis.power_quality.voltage import band_of, voltage_indices
from agent.analysis.power_quality.watch import watch
from agent.localtime import week_slots

POINTS, CHUNK_S, PERIOD_MS = 20, 3600, 1000
VOLTAGES, ACTIVE, REACTIVE, FREQUENCY = slice(0, 3), 6, 7, 8
BEGIN_MS = 1_772_323_200_000
LIMITS = limits_on(date(2026, 3, 1))
ZONE = ZoneInfo("America/Sao_Paulo")
MEAN = np.array([127.0] * 3 + [20] * 3 + [7000, 2000, 60] + [10.0] * 11)
NOISE = np.array([1.5] * 3 + [3] * 3 + [900, 300, 0.02] + [1.0] * 11)


def chunks(device, days):
    """Bytes of an hour of readings after the other, from a store of noise: like real ones, quickly made."""
    chance = np.random.default_rng(device)
    noise = chance.standard_normal((4 * CHUNK_S, POINTS)) * NOISE + MEAN
    for hour in range(days * 24):
        at = int(chance.integers(0, 3 * CHUNK_S))
        values = noise[at : at + CHUNK_S].copy()
        values[int(chance.integers(0, CHUNK_S))] = np.nan  # a poll that failed
        if hour % 29 == 0:
            values[100:103, 0] = 80.0  # a sag
        yield BEGIN_MS + (hour * CHUNK_S + np.arange(CHUNK_S)) * 1000, values.tobytes()


class Device:
    """The state of one device's analyses between chunks."""

    def __init__(self):
        self.tens = self.quarters = self.watch = None
        self.frequency = FrequencyWatch()
        self.closed, self.demands, self.events = [], [], []

    def take(self, times_ms, packed):
        values = np.frombuffer(packed, dtype=np.float64).reshape(-1, POINTS)
        self.tens, closed = aggregate(self.tens, times_ms, values)
        self.closed.append(closed)
        self.quarters, quarters = aggregate(self.quarters, times_ms, values[:, 6:8], DEMAND_MS)
        self.demands.append(quarters)
        self.watch, events = watch(
            self.watch, times_ms, values[:, VOLTAGES], PERIOD_MS, declared_v=127.0, rules=LIMITS.events
        )
        self.events += events
        self.frequency = watch_frequency(self.frequency, times_ms, values[:, FREQUENCY], PERIOD_MS, LIMITS)

    def finish(self):
        tens = joined([*self.closed, close(self.tens)])
        quarters = joined([*self.demands, close(self.quarters)])
        covered = tens.covered(PERIOD_MS, INTERVAL_MS, LIMITS.window.coverage_min)
        valid = covered[:, VOLTAGES].all(axis=1) & ~flagged(tens.start_ms, self.events, LIMITS)
        band = band_of(127.0, "phase_neutral", LIMITS)
        voltage = voltage_indices(tens.start_ms, tens.rms[:, VOLTAGES], valid, band, LIMITS)
        unbalance = fd95(unbalance_of_phases_percent(tens.rms[:, VOLTAGES]), valid, 127.0, LIMITS)
        power_factor(tens.mean[:, ACTIVE], tens.mean[:, REACTIVE], LIMITS.power_factor.minimum)
        demand(quarters.start_ms, quarters.mean[:, 0] / 1000)
        excursions(self.frequency, LIMITS)
        self.score(tens)
        return voltage, unbalance, len(self.events)

    def score(self, tens):
        """Every point judged by what it was learned to be; learning itself is a nightly job, timed apart."""
        slots = week_slots(tens.start_ms, ZONE)
        for point in range(POINTS):
            scores(Device.normal, tens.mean[:, point], slots, tens.count[:, point])


def learned():
    """What is normal of one point, from four weeks; and the seconds it took."""
    times_ms = BEGIN_MS + np.arange(28 * 144) * INTERVAL_MS
    values = np.random.default_rng(1).normal(10, 1, times_ms.size)
    begun = time.perf_counter()
    normal = learn(values, week_slots(times_ms, ZONE))
    return normal, time.perf_counter() - begun


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--days", type=int, default=7)
    arguments = parser.parse_args(argv)
    bare_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Device.normal, learn_s = learned()
    analysing_s, cpu_s, begun, values = 0.0, 0.0, time.perf_counter(), 0
    for number in range(arguments.devices):
        device = Device()
        for times_ms, packed in chunks(number, arguments.days):
            start, start_cpu = time.perf_counter(), time.process_time()
            device.take(times_ms, packed)
            analysing_s += time.perf_counter() - start
            cpu_s += time.process_time() - start_cpu
            values += times_ms.size * POINTS
        start, start_cpu = time.perf_counter(), time.process_time()
        voltage, unbalance, events = device.finish()
        analysing_s += time.perf_counter() - start
        cpu_s += time.process_time() - start_cpu
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{values / 1e6:.0f} million values of {arguments.devices} devices over {arguments.days} days")
    whole_s = time.perf_counter() - begun
    print(f"analysed in {analysing_s:.1f} s, {cpu_s:.1f} s of processor ({whole_s:.1f} s with making them)")
    print(f"peak {peak_mb:.0f} MB resident, {bare_mb:.0f} MB of it interpreter and libraries")
    print(f"learning what is normal: {learn_s * 1000:.0f} ms a point, once a night")
    print(f"the last device: {voltage.readings} readings, DRP {voltage.drp_percent:.2f} %, "
          f"FD95 {unbalance.value:.2f} %, {events} events")  # fmt: skip
    return analysing_s, peak_mb


if __name__ == "__main__":
    main()
