"""`simulate`: the agent in a room of the test building, in accelerated time, beside three fixed schedules."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.control.building import Case
from agent.control.cases import drawn_case, named_cases
from agent.control.chart import svg
from agent.control.simulate import Fixed, Run, best_of, run_agent, run_fixed, searched
from agent.control.site.words import Language, translated
from agent.control.weather import STEPS_PER_DAY, Floats

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_WELL, EXIT_FAULTY = 0, 2
WARM_DAYS = 7
DAYS_MIN, DAYS_MAX = 8, 120
SHOWN_DAYS = 7
PEAK_H = (18, 21)
WORDS: Mapping[str, Mapping[str, Any]] = {
    "en": {
        "head": "{site}: {days} days scored after {warm} to learn",
        "units": ("kWh", "R$", "K.h/week", "starts/day"),
        "always": "always 23 °C",
        "schedule": "schedule 23 °C, 60 min ahead",
        "best": "best schedule: {c:g} °C, {lead:.0f} min ahead, ends {stop:.0f} min early",
        "agent": "agent",
        "decide": "decide: {ms:.0f} ms at most in 99 of 100; the agent's days took {s:.0f} s",
        "learned": "learned: {verdict}",
        "nothing": "nothing yet",
        "title": "{site}, last week",
        "plot": "plot: {file}",
    },
    "pt": {
        "head": "{site}: {days} dia(s) avaliado(s) depois de {warm} para aprender",
        "units": ("kWh", "R$", "K.h/sem.", "partidas/dia"),
        "always": "sempre 23 °C",
        "schedule": "horário fixo 23 °C, 60 min antes",
        "best": "melhor horário: {c:g} °C, {lead:.0f} min antes, termina {stop:.0f} min antes",
        "agent": "agente",
        "decide": "decisão: no máximo {ms:.0f} ms em 99 de 100; os dias do agente levaram {s:.0f} s",
        "learned": "aprendido: {verdict}",
        "nothing": "nada ainda",
        "title": "{site}, última semana",
        "plot": "gráfico: {file}",
    },
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    kwh: float
    cost: float
    discomfort_kh: float
    starts: float


def add_to(commands: Commands) -> None:
    names = ", ".join(named_cases())
    simulate = commands.add_parser("simulate", help="the control loop in a simulated room, against schedules")
    simulate.add_argument(
        "--days", type=int, default=30, help="of which the first 7 are not scored (%(default)s)"
    )
    simulate.add_argument("--site", default="office", help=f"{names}, or drawn-N for any N (%(default)s)")
    simulate.add_argument("--peak", type=float, default=1.0, help="price from 18 to 21 h, times the usual")
    simulate.add_argument("--language", choices=("pt", "en"), default="pt", help="(default: %(default)s)")
    simulate.add_argument("--plot", type=Path, help="write the last week as a picture (SVG) here")
    simulate.set_defaults(command=_simulate)


def case_of(name: str) -> Case | None:
    """The room of that name."""
    if name.startswith("drawn-") and name.removeprefix("drawn-").isdigit():
        return drawn_case(int(name.removeprefix("drawn-")))
    return named_cases().get(name)


def prices(days: int, peak: float, usual: float = 0.85) -> Floats:
    """R$/kWh for each step: `peak` times the usual on working days in the evening."""
    step = np.arange(days * STEPS_PER_DAY)
    hour, day = step % STEPS_PER_DAY / STEPS_PER_DAY * 24, step // STEPS_PER_DAY
    dear = (hour >= PEAK_H[0]) & (hour < PEAK_H[1]) & (day % 7 < 5)
    return np.where(dear, usual * peak, usual)


def _simulate(arguments: argparse.Namespace) -> int:
    case = case_of(arguments.site)
    if case is None:
        return _faulty(f"--site: expected {', '.join(named_cases())} or drawn-N, found {arguments.site!r}")
    if not DAYS_MIN <= arguments.days <= DAYS_MAX:
        return _faulty(f"--days: expected {DAYS_MIN} to {DAYS_MAX}, found {arguments.days}")
    if arguments.plot is not None and not arguments.plot.absolute().parent.is_dir():
        return _faulty(f"--plot: expected a file in a folder that exists, found {arguments.plot}")
    price = prices(arguments.days, arguments.peak)
    began_s = time.monotonic()
    agent = run_agent(
        case,
        arguments.days,
        warm_days=WARM_DAYS,
        price=price,
        trace=arguments.plot is not None,
    )
    took_s = time.monotonic() - began_s
    language: Language = arguments.language
    words = WORDS[language]
    rows = [*_schedules(case, arguments.days, price, words), row_of(words["agent"], agent, 0)]
    head = words["head"].format(site=case.name, days=arguments.days - WARM_DAYS, warm=WARM_DAYS)
    lines = [head, *_table(rows, words["units"], language)]
    lines.append(words["decide"].format(ms=_percentile(agent), s=took_s))
    if agent.loop is not None:
        verdict = agent.loop.verdicts.get("room")
        said = words["nothing"] if verdict is None else translated(verdict, language)
        lines.append(words["learned"].format(verdict=said))
    if arguments.plot is not None:
        shown = [line for line in agent.trace if line[0] >= arguments.days - SHOWN_DAYS]
        title = words["title"].format(site=case.name)
        arguments.plot.write_text(svg(shown, case.band_c, title), encoding="utf-8")
        lines.append(words["plot"].format(file=arguments.plot))
    print("\n".join(lines))
    return EXIT_WELL


def _faulty(text: str) -> int:
    print(f"uicps-agent: {text}", file=sys.stderr)
    return EXIT_FAULTY


def _percentile(run: Run) -> float:
    return float(np.quantile(run.decide_ms, 0.99))


def _schedules(case: Case, days: int, price: Floats, words: Mapping[str, Any]) -> list[Row]:
    plans = [Fixed(23.0, None), Fixed(23.0), *searched(case)]
    run = run_fixed(case, days, plans, warm_days=WARM_DAYS, price=price)
    best = best_of(run)
    found = plans[best]
    lead, stop = (found.lead_s or 0) / 60, found.stop_s / 60
    name = words["best"].format(c=found.setpoint_c, lead=lead, stop=stop)
    return [row_of(words["always"], run, 0), row_of(words["schedule"], run, 1), row_of(name, run, best)]


def row_of(name: str, run: Run, at: int) -> Row:
    """The totals of one copy, the discomfort by week and the starts by day."""
    totals = run.totals
    return Row(
        name,
        float(totals.energy_wh[at]) / 1000,
        float(totals.cost[at]),
        float(totals.discomfort_kh[at]) / run.weeks,
        float(totals.starts[at]) / run.days,
    )


def _table(rows: list[Row], units: tuple[str, ...], language: Language) -> list[str]:
    lines = ["{:58} {:>8} {:>8} {:>9} {:>12}".format("", *units)]
    for row in rows:
        numbers = f"{row.kwh:8.1f} {row.cost:8.2f} {row.discomfort_kh:9.2f} {row.starts:12.1f}"
        name = row.name if language == "en" else row.name.replace(".", ",")
        lines.append(f"{name:58} {numbers if language == 'en' else numbers.replace('.', ',')}")
    return lines
