#!/usr/bin/env python3
"""The lines of a bench run as Markdown tables, one row per load, both agents beside each other."""

import json
import sys

NAMES = {"uicps": "this agent", "tbgw": "incumbent"}


def cell(value):
    return "-" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def load_row(line):
    lag = line.get("ts_lag_ms", {})
    return [
        f"{line['devices']} x {line['regs']} at {line['poll_ms']} ms",
        NAMES[line["agent"]],
        f"{line['dp_per_s']:.0f} / {line['wanted_dp_per_s']:.0f}",
        line["keep_up"],
        line["cpu_s_per_1M_dp"],
        line["rss_mb"],
        line["disk_write_bytes_per_dp"],
        lag.get("p50") and round(lag["p50"]),
    ]


def outage_row(line):
    kind = line["scenario"] + (
        f" {line['outage_kind']} {line['outage_s']:.0f} s" if "outage_s" in line else ""
    )
    return [
        kind,
        NAMES[line["agent"]],
        line["served"],
        line["lost"],
        line["lost_at_tail"],
        line["dups"],
        line.get("first_arrival_after_s", line.get("back_after_s")),
    ]


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(cell, row)) + " |")
    print()


def main(file):
    with open(file) as lines:
        results = [json.loads(line) for line in lines]
    steady = [line for line in results if line["scenario"] == "steady"]
    table(
        ["load", "agent", "delivered / wanted per s", "keep-up", "CPU s per 1M points", "resident MB",
         "disk B per point", "read to arrival p50 ms"],
        map(load_row, steady),
    )  # fmt: skip
    outages = [line for line in results if line["scenario"] in ("outage", "crash", "offcrash")]
    table(
        ["what", "agent", "served", "lost", "of it newest", "twice", "first arrival after s"],
        map(outage_row, outages),
    )
    for line in results:
        who = NAMES[line["agent"]]
        if line["scenario"] == "start":
            print(f"- start to first point, {who}: {line['spawn_to_first_dp_s']} s")
        if line["scenario"] == "idle":
            print(f"- idle, {who}: {line['rss_mb']} MB, {line['cpu_pct']} % of a core")
        if line["scenario"] == "latency":
            late = line["latency_ms"]
            what = "change in the field" if line["mode"] == "step" else "sample"
            print(f"- {what} to arrival, {who}: p50 {late['p50']:.0f} ms, p99 {late['p99']:.0f} ms")
            if line["mode"] == "clock":
                error = late["p50"] - line["ts_lag_ms"]["p50"]
                print(f"- sample to its timestamp, {who}: median about {error:.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1])
