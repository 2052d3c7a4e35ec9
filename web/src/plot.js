// The live plot: a few points over the last minutes, from the history and then as they come.

import uPlot from "uplot";
import { $, make, write } from "./element.js";
import { Failed } from "./socket.js";
import { Series } from "./series.js";
import { called, clock, number, refused, shown, t, titled } from "./text.js";

const POINTS_MAX = 6;
const STEPS = 900; // about as many as there are pixels
const WINDOWS_MIN = [5, 15, 60, 360, 1440];
const FRAME_MS = 500;
const LOAD_MS = 100;
const AXES_MAX = 2;
const AXIS_PX = 68;
const AHEAD_MS = 5_000; // the newest may be stamped a little after our now
const KEY = "uicps.plot";

/** Decimals that tell ticks apart which are `step` from each other. */
const digitsOf = (step) => Math.min(4, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));

/** Some air above and below; a value that stands still is in the middle. */
function range(_, low, high) {
  if (low === null) return [0, 1];
  const air = (high - low) * 0.06 || Math.max(Math.abs(high) * 0.02, 0.5);
  return [low - air, high + air];
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plottable = (point) => point.kind !== "state" || Object.keys(point.states).length > 0;

function kept() {
  try {
    const { ids, minutes } = JSON.parse(localStorage.getItem(KEY)) ?? {};
    return { ids: Array.isArray(ids) ? ids : null, minutes: WINDOWS_MIN.includes(minutes) ? minutes : WINDOWS_MIN[0] };
  } catch {
    return { ids: null, minutes: WINDOWS_MIN[0] };
  }
}

/** What a technician most likely wants to see first: a power and a temperature. */
function likely(points) {
  const power = points.filter((point) => point.unit === "W" || point.unit === "kW");
  const first = power.find((point) => !/_l[1-3]/.test(point.point)) ?? power[0]; // of all phases, not of one
  const warm = points.find((point) => point.unit === "°C" && point.point === "temperature");
  const found = [first, warm].filter(Boolean);
  return (found.length ? found : points.filter((point) => point.kind === "gauge").slice(0, 1)).map((point) => point.id);
}

export class Plot extends EventTarget {
  #live;
  #image;
  #chosen; // ids; null until the first points are known
  #minutes;
  #series = new Map();
  #plot = null;
  #drawn = []; // the points that #plot was built for; what is chosen may be ahead of it
  #open = false;
  #run = 0;
  #timer = 0;

  constructor(live, image) {
    super();
    this.#live = live;
    this.#image = image;
    ({ ids: this.#chosen, minutes: this.#minutes } = kept());
    $("plot-window").addEventListener("change", (event) => {
      this.#minutes = Number(event.target.value);
      this.#changed();
    });
    $("plot-add").addEventListener("change", (event) => {
      if (event.target.value) this.toggle(event.target.value);
    });
    new ResizeObserver(() => this.#fit()).observe($("plot-area"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
    setInterval(() => this.#draw(), FRAME_MS);
  }

  /** Whether a point is on the plot. */
  has(id) {
    return this.#chosen?.includes(id) ?? false;
  }

  /** Put a point on the plot, or take it off. False if there is no room for one more. */
  toggle(id) {
    const chosen = this.#chosen ?? [];
    const full = !this.has(id) && chosen.length >= POINTS_MAX;
    if (full) write($("plot-fault"), t("plotFull", { n: POINTS_MAX }));
    else this.#chosen = this.has(id) ? chosen.filter((each) => each !== id) : [...chosen, id];
    this.#changed();
    return !full;
  }

  show(points) {
    const known = points.filter(plottable);
    const ids = new Set(known.map((point) => point.id));
    if (known.length) this.#chosen = this.#chosen?.filter((id) => ids.has(id)) ?? likely(known);
    this.#options();
    this.#changed(false);
  }

  /** The view is looked at, or not. */
  look(open) {
    this.#open = open;
    if (open) this.#soon();
  }

  /** The connection is there again: what was missed is asked for. */
  again() {
    this.#soon();
  }

  take(message) {
    for (const { device, time_ms: timeMs, values } of message.readings) {
      for (const [id, series] of this.#series) {
        if (!id.startsWith(`${device}.`)) continue;
        const name = id.slice(device.length + 1);
        if (name in values) series.add(timeMs, values[name]);
      }
    }
  }

  rewrite() {
    this.#options();
    this.#legend();
    this.#build();
  }

  #changed(keep = true) {
    if (keep) localStorage.setItem(KEY, JSON.stringify({ ids: this.#chosen, minutes: this.#minutes }));
    if (this.#chosen && this.#chosen.length < POINTS_MAX) write($("plot-fault"), "");
    this.#legend();
    this.#options();
    this.dispatchEvent(new Event("chosen"));
    this.#soon();
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), LOAD_MS);
  }

  async #load() {
    if (!this.#open || !this.#chosen) return;
    const run = ++this.#run;
    const spanMs = this.#minutes * 60_000;
    const stepMs = spanMs > STEPS * 1000 ? Math.ceil(spanMs / STEPS / 1000) * 1000 : 0;
    const nowMs = Math.round(this.#image.nowMs());
    // What comes live while the history is on its way is filed here, and put behind it then.
    this.#series = new Map(this.#chosen.map((id) => [id, this.#series.get(id) ?? new Series(stepMs, this.#isCode(id))]));
    this.#build();
    if (!this.#live.open || !this.#chosen.length) return;
    try {
      const chunks = await this.#history(nowMs - spanMs, nowMs + AHEAD_MS, stepMs);
      if (run !== this.#run) return;
      this.#fill(chunks, stepMs);
      write($("plot-fault"), "");
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      if (run === this.#run) write($("plot-fault"), t("noHistory", { why: refused(error) }));
    }
    this.#draw();
  }

  /** Chunks of the past of what is chosen: means, and the last of codes, which have none. */
  async #history(from, to, stepMs) {
    const ask = (points, aggregate) => {
      const step = stepMs ? { step_s: stepMs / 1000, aggregate } : {};
      return points.length ? this.#live.ask({ type: "history", points, from, to, ...step }) : [];
    };
    const [codes, levels] = [true, false].map((wanted) => this.#chosen.filter((id) => this.#isCode(id) === wanted));
    return (await Promise.all([ask(levels, "mean"), ask(codes, "last")])).flat();
  }

  #isCode(id) {
    return this.#image.point(id)?.kind === "state";
  }

  /** Begin anew with what the history has; the live values of the meantime go behind it. */
  #fill(chunks, stepMs) {
    const meantime = this.#series;
    this.#series = new Map(this.#chosen.map((id) => [id, new Series(stepMs, this.#isCode(id))]));
    for (const { device, time_ms: times, values } of chunks) {
      for (const [name, own] of Object.entries(values)) {
        const series = this.#series.get(`${device}.${name}`);
        if (series) times.forEach((timeMs, at) => series.add(timeMs, own[at]));
      }
    }
    for (const [id, series] of this.#series) {
      const live = meantime.get(id);
      live?.times.forEach((timeMs, at) => series.add(timeMs, live.values[at]));
    }
  }

  // ------------------------------------------------------------------ drawing

  #build() {
    this.#plot?.destroy();
    this.#plot = null;
    const points = (this.#chosen ?? []).map((id) => this.#image.point(id)).filter(Boolean);
    $("plot-nothing").hidden = points.length > 0;
    if (!points.length || !this.#open) return;
    const units = [...new Set(points.map((point) => point.unit))];
    const [ink, line] = [style("--soft"), style("--line")];
    const axis = (more) => ({ stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, ...more });
    const options = {
      ...this.#size(),
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      hooks: { setCursor: [() => this.#values()] },
      scales: {
        x: { time: true, range: () => [(this.#image.nowMs() - this.#minutes * 60_000) / 1000, this.#image.nowMs() / 1000] },
        ...Object.fromEntries(units.map((unit) => [`u${unit}`, { range }])),
      },
      axes: [
        axis({ space: 64, values: (_, ticks, __, ___, stepS) => ticks.map((s) => clock(s * 1000, stepS < 60)) }),
        ...units.slice(0, AXES_MAX).map((unit, at) => axis({
          scale: `u${unit}`,
          side: at ? 1 : 3,
          size: AXIS_PX,
          grid: { show: at === 0, stroke: line, width: 1 },
          values: (_, ticks, __, ___, step) => ticks.map((value) => `${number(value, digitsOf(step))} ${unit}`.trim()),
        })),
      ],
      series: [{}, ...points.map((point, at) => ({
        scale: `u${point.unit}`,
        stroke: style(`--series-${at + 1}`),
        width: 2,
        dash: at >= 3 ? [8, 4] : undefined,
        points: { show: false },
        paths: point.kind === "state" ? uPlot.paths.stepped({ align: 1 }) : undefined,
      }))],
    };
    this.#drawn = points;
    this.#plot = new uPlot(options, this.#data(), $("plot-area"));
    this.#draw();
  }

  #data() {
    const tables = this.#drawn.map((point) => {
      const series = this.#series.get(point.id);
      return [series ? series.times.map((ms) => ms / 1000) : [], series ? series.values : []];
    });
    return tables.length > 1 ? uPlot.join(tables, tables.map(() => [0, 2])) : tables[0];
  }

  #size() {
    const width = $("plot-area").clientWidth;
    return { width, height: Math.round(Math.min(460, Math.max(240, width * 0.55))) };
  }

  #fit() {
    if (this.#plot && this.#open && $("plot-area").clientWidth !== this.#plot.width) this.#plot.setSize(this.#size());
  }

  #draw() {
    if (!this.#plot || !this.#open || document.hidden) return;
    const before = this.#image.nowMs() - this.#minutes * 60_000 - 5000;
    for (const series of this.#series.values()) series.forget(before);
    this.#plot.setData(this.#data());
    this.#values();
  }

  // ------------------------------------------------------------------ words around it

  #legend() {
    const points = (this.#chosen ?? []).map((id) => this.#image.point(id)).filter(Boolean);
    $("plot-legend").replaceChildren(...points.map((point, at) => {
      const swatch = make("span", { class: `swatch s${at + 1}`, "aria-hidden": "true" });
      const name = make("span", { class: "name" }, `${titled(point)} · ${called(point)}`);
      const off = make("button", { type: "button", class: "plain small", "aria-label": `${t("takeOff")}: ${point.id}` }, "×");
      off.addEventListener("click", () => this.toggle(point.id));
      return make("li", { "data-id": point.id }, swatch, name, make("b", { class: "now" }), off);
    }));
    this.#values();
  }

  /** The values under the cursor, or now. */
  #values() {
    const at = this.#plot?.cursor.idx;
    $("plot-legend").querySelectorAll("li").forEach((line) => {
      const point = this.#image.point(line.dataset.id);
      const row = this.#drawn.findIndex((each) => each.id === line.dataset.id);
      const under = at == null || row < 0 ? undefined : this.#plot.data[row + 1]?.[at];
      const value = under === undefined ? this.#image.value(line.dataset.id) : under;
      write(line.querySelector(".now"), point ? shown(value, point) : "");
    });
    const timeS = at == null ? undefined : this.#plot.data[0][at];
    write($("plot-time"), timeS === undefined ? t("now") : clock(timeS * 1000, true));
  }

  #options() {
    $("plot-window").replaceChildren(...WINDOWS_MIN.map((minutes) => {
      const text = minutes < 60 ? `${minutes} min` : `${minutes / 60} h`;
      return make("option", { value: minutes, ...(minutes === this.#minutes && { selected: "" }) }, text);
    }));
    const homes = new Map();
    for (const point of this.#image.points.filter((each) => plottable(each) && !this.has(each.id))) {
      if (!homes.has(point.device)) homes.set(point.device, make("optgroup", { label: titled(point) }));
      homes.get(point.device).append(make("option", { value: point.id }, `${called(point)}${point.unit && ` (${point.unit})`}`));
    }
    $("plot-add").replaceChildren(make("option", { value: "" }, t("addPoint")), ...homes.values());
  }
}
