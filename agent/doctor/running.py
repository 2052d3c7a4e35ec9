"""What the running agent says about itself, judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.doctor.findings import Finding, fault, warning, well

BACKLOG_WARNED = 10_000
START_S = 30.0


def agent(status: Mapping[str, Any] | None, *, running: bool) -> Iterator[Finding]:
    """Is it there, is it well, do its lines and uplinks work."""
    if not running:
        yield fault("agent", "does not run", "systemctl start uicps-agent, or uicps-agent service install")
        return
    if status is None:
        yield warning(
            "agent", "runs, but not as a service: nothing more is known", "see its page, /api/v1/status"
        )
        return
    reasons = "; ".join(map(str, status.get("reasons", ())))
    if reasons:
        yield fault("agent", f"is not well: {reasons}", "journalctl -u uicps-agent -n 100")
    else:
        yield well(
            "agent", f"well for {float(status['uptime_s']) / 3600:.1f} h, {status['values_per_s']} values/s"
        )
    for line in status.get("lines", ()):
        yield _line(line)
    for uplink in status.get("uplinks", ()):
        yield _uplink(uplink, just_started=float(status["uptime_s"]) < START_S)
    discarded = status.get("store", {}).get("discarded_unsent", 0)
    if discarded:
        text = f"{discarded} readings were given up before they were delivered"
        yield warning("store", text, "a larger [store] size_max_mb bridges longer outages of the centre")


def _line(line: Mapping[str, Any]) -> Finding:
    subject = f"line {line['name']}"
    counters = ", ".join(f"{name} {count}" for name, count in dict(line.get("counters", {})).items() if count)
    if line.get("failing"):
        return fault(
            subject, f"does not work ({counters or 'nothing came yet'})", "journalctl -u uicps-agent"
        )
    return well(subject, counters or "nothing to count yet")


def _uplink(uplink: Mapping[str, Any], *, just_started: bool) -> Finding:
    subject, backlog = f"uplink {uplink.get('name', '')}", int(uplink.get("backlog", 0))
    if not uplink.get("connected"):
        text = f"not connected, {backlog} readings wait"
        if just_started:
            return warning(subject, f"{text}; the agent has just started", "ask again in half a minute")
        return fault(subject, text, "what stands above about its name, port, certificate and token says why")
    if backlog > BACKLOG_WARNED:
        text = f"connected, {backlog} readings still to deliver"
        return warning(subject, text, "after an outage this goes down by itself; else the centre is too slow")
    return well(subject, f"connected, {backlog} readings to deliver")
