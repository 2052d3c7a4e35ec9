// The cards: one a device, one table a group of points that are read together.
// A message only marks what changed; the screen is written once a frame, lines once a second, and
// only where somebody can see them.

import { breakable, make } from "./element.js";
import { Sparkline } from "./sparkline.js";
import { age, called, number, t, titled, word } from "./text.js";

export const OWN = new Set(["agent", "analysis", "control", "job"]); // the agent's own: at the end, and closed
const SLOWEST_MS = 20_000; // what is older than this and three intervals is out of date

class Row {
  constructor(point, plot) {
    this.point = point;
    this.name = make("th", { scope: "row", title: point.id });
    this.value = make("td", { class: "value none" });
    const canvas = make("canvas", { "aria-hidden": "true" });
    this.spark = point.kind === "state" ? null : new Sparkline(canvas);
    this.toggle = make("button", { type: "button", class: "trend" }, ...(this.spark ? [canvas] : []));
    this.toggle.addEventListener("click", () => plot.toggle(point.id));
    this.trend = make("td", { class: "spark" }, ...(this.spark ? [this.toggle] : []));
    this.element = make("tr", { "data-id": point.id }, this.name, this.trend, this.value);
    this.mark(plot);
  }

  /** Say whether the point is on the plot. */
  mark(plot) {
    const on = plot.has(this.point.id);
    this.toggle.setAttribute("aria-pressed", on);
    this.toggle.setAttribute("aria-label", `${t("onPlot")}: ${this.point.id}`);
    this.label = t(on ? "takeOff" : "putOn");
    this.toggle.title = this.label;
  }

  /** What it is called, in the language that is now chosen. */
  call() {
    this.name.replaceChildren(...breakable(called(this.point)));
  }

  holds(text) {
    return this.point.id.toLowerCase().includes(text) || called(this.point).toLowerCase().includes(text);
  }

  write(value) {
    const { unit, kind, states } = this.point;
    this.value.classList.toggle("none", value == null);
    if (value == null) {
      this.value.textContent = t("noValue");
      this.value.removeAttribute("title");
      return;
    }
    this.value.title = `${value} ${unit}`.trim();
    if (kind === "state" && states[value] !== undefined) this.value.textContent = word(states[value]);
    else this.value.replaceChildren(number(value, undefined, unit), ...(unit ? [make("small", {}, unit)] : []));
  }

  draw(nowMs) {
    if (!this.spark) return;
    this.spark.draw(nowMs);
    if (this.spark.low !== null) this.toggle.title = `${number(this.spark.low)} – ${number(this.spark.high)}. ${this.label}`;
  }
}

class Group {
  constructor(points, seen, plot) {
    this.rows = new Map(points.map((point) => [point.point, new Row(point, plot)]));
    this.intervalMs = points[0].interval_ms;
    this.reading = null;
    this.dirty = true;
    this.visible = false;
    this.quality = make("span", { class: "quality" });
    this.age = make("span", { class: "age" });
    this.columns = ["point", "trend", "value"].map((key) => make("th", { scope: "col", "data-t": key }, t(key)));
    const head = make("thead", { class: "sr" }, make("tr", {}, ...this.columns));
    const body = make("tbody", {}, ...[...this.rows.values()].map((row) => row.element));
    this.element = make(
      "div",
      { class: "group" },
      make("div", { class: "group-head" }, this.quality, this.age),
      make("table", {}, head, body),
    );
    seen(this.element, this);
  }

  take(reading) {
    if (this.reading && reading.time_ms < this.reading.time_ms) return; // late: history, not the present
    this.reading = reading;
    this.dirty = true;
    for (const [name, row] of this.rows) row.spark?.add(reading.time_ms, reading.values[name] ?? null);
  }

  write() {
    if (!this.dirty || !this.visible) return;
    this.dirty = false;
    for (const [name, row] of this.rows) row.write(this.reading?.values[name]);
  }

  tick(nowMs) {
    if (!this.visible) return;
    const ageMs = this.reading ? nowMs - this.reading.time_ms : 0;
    const stale = ageMs > Math.max(SLOWEST_MS, 3 * this.intervalMs);
    const state = !this.reading ? "none" : stale ? "stale" : this.reading.quality;
    this.quality.dataset.is = state;
    this.quality.textContent = this.reading && !stale ? `${t("quality")} ${t(state)}` : t(state);
    this.age.textContent = this.reading ? t("ago", { age: age(ageMs / 1000) }) : "";
    this.element.classList.toggle("old", stale);
    for (const row of this.rows.values()) row.draw(nowMs);
  }
}

export class Devices {
  #home;
  #note;
  #groups = new Map(); // "device group" -> Group
  #cards = []; // { element, groups, text }
  #shape = "";
  #filter = "";
  #image;
  #plot;
  #frame = 0;
  #watch = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.target.group.visible = entry.isIntersecting;
    this.#soon();
    this.tick();
  }, { rootMargin: "200px" });

  constructor(home, note, image, plot) {
    this.#image = image;
    this.#plot = plot;
    this.#home = home;
    this.#note = note;
    setInterval(() => this.tick(), 1000);
  }

  /** Build the cards; the same points again change nothing. */
  show(points) {
    const shape = JSON.stringify(points);
    if (shape === this.#shape) return;
    this.clear();
    this.#shape = shape;
    for (const [name, own] of grouped(points, "device")) this.#card(name, own);
    this.#cards.sort((one, other) => OWN.has(one.name) - OWN.has(other.name));
    this.#home.replaceChildren(...this.#cards.map((card) => card.element));
    this.#call();
    this.filter(this.#filter);
  }

  clear() {
    this.#watch.disconnect();
    this.#groups.clear();
    this.#cards = [];
    this.#shape = "";
    this.#home.replaceChildren();
    this.#note.hidden = true;
  }

  take(message) {
    for (const reading of message.readings) this.#groups.get(`${reading.device} ${reading.group}`)?.take(reading);
    this.#soon();
    if (message.image) this.tick();
  }

  /** Show only what holds `text`. */
  filter(text) {
    this.#filter = text.trim().toLowerCase();
    let any = false;
    for (const card of this.#cards) {
      const whole = card.text.includes(this.#filter);
      let some = whole;
      for (const group of card.groups) {
        let own = false;
        for (const row of group.rows.values()) {
          const shown = whole || row.holds(this.#filter);
          row.element.hidden = !shown;
          own ||= shown;
        }
        group.element.hidden = !own;
        some ||= own;
      }
      card.element.hidden = !some;
      if (card.details) card.details.open = this.#filter ? some : card.opened;
      any ||= some;
    }
    this.#note.hidden = any || !this.#shape;
    this.#note.textContent = t(this.#cards.length ? "noMatch" : "noPoints");
  }

  /** Which points are on the plot has changed. */
  mark() {
    for (const group of this.#groups.values()) for (const row of group.rows.values()) row.mark(this.#plot);
  }

  /** Write everything anew, in the language that is now chosen. */
  rewrite() {
    for (const group of this.#groups.values()) group.dirty = true;
    this.#call();
    this.filter(this.#filter);
    this.mark();
    this.#soon();
    this.tick();
  }

  tick() {
    if (document.hidden) return;
    const nowMs = this.#image.nowMs();
    for (const group of this.#groups.values()) group.tick(nowMs);
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      for (const group of this.#groups.values()) group.write();
    });
  }

  #card(name, points) {
    const { label, type } = points[0];
    const seen = (element, group) => {
      element.group = group;
      this.#watch.observe(element);
    };
    const groups = grouped(points, "group").map(([group, own]) => {
      const view = new Group(own, seen, this.#plot);
      this.#groups.set(`${name} ${group}`, view);
      return view;
    });
    const about = [label ? name : "", type].filter(Boolean).join(" · ");
    const title = make("h2", {});
    const parts = groups.map((group) => group.element);
    const card = { name, groups, title, point: points[0], text: `${name} ${label} ${type}`.toLowerCase() };
    if (OWN.has(name)) this.#closed(card, parts, points.length);
    else card.element = make("article", { class: "card device" }, make("header", {}, title, make("p", {}, about)), ...parts);
    this.#cards.push(card);
  }

  #closed(card, parts, count) {
    card.details = make("details", {}, make("summary", {}, card.title, make("span", {}, `(${count})`)), ...parts);
    card.details.addEventListener("toggle", () => {
      if (!this.#filter) card.opened = card.details.open;
    });
    card.opened = false;
    card.element = make("article", { class: "card device own" }, card.details);
  }

  /** Say what everything is called. */
  #call() {
    for (const card of this.#cards) card.title.textContent = titled(card.point);
    for (const group of this.#groups.values()) for (const row of group.rows.values()) row.call();
  }
}

/** `[[value, [points]]]` by what `key` is, in the order of the points. */
export function grouped(points, key) {
  const found = new Map();
  for (const point of points) {
    if (!found.has(point[key])) found.set(point[key], []);
    found.get(point[key]).push(point);
  }
  return [...found];
}
