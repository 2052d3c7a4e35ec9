// The CSV form: which points, which period, and the file as it comes.

import { grouped } from "./devices.js";
import { Refusal, SignedOut } from "./session.js";
import { number, t } from "./text.js";

const HOUR_MS = 3_600_000;
const $ = (id) => document.getElementById(id);

/** Unix ms as a datetime-local field wants it. */
function local(ms) {
  const date = new Date(ms);
  return new Date(ms - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

const midnight = (days) => new Date().setHours(0, 0, 0, 0) + days * 24 * HOUR_MS;

const PRESETS = {
  hour: () => [Date.now() - HOUR_MS, Date.now() + 1000],
  today: () => [midnight(0), Date.now() + 1000],
  yesterday: () => [midnight(-1), midnight(0)],
  week: () => [Date.now() - 7 * 24 * HOUR_MS, Date.now() + 1000],
};

/** One device: all of its points, or some. */
class Choice {
  constructor(device, points) {
    this.device = device;
    this.points = points;
    this.boxes = points.map((point) => this.#box(point.point));
    this.all = this.#box("");
    this.all.checked = true;
    this.count = document.createElement("span");
    this.label = document.createElement("span");
    this.element = document.createElement("details");
    const summary = document.createElement("summary");
    summary.append(points[0].label || device, " ", this.count);
    this.element.append(summary, this.#line("all", this.all, this.label));
    points.forEach((point, at) => this.element.append(this.#line("", this.boxes[at], point.point)));
    this.element.addEventListener("change", (event) => this.#changed(event.target));
    this.write();
  }

  get patterns() {
    const chosen = this.points.filter((_, at) => this.boxes[at].checked);
    return chosen.length === this.points.length ? [`${this.device}.*`] : chosen.map((point) => point.id);
  }

  set(checked) {
    for (const box of this.boxes) box.checked = checked;
    this.write();
  }

  write() {
    const n = this.boxes.filter((box) => box.checked).length;
    this.all.checked = n === this.boxes.length;
    this.all.indeterminate = n > 0 && n < this.boxes.length;
    this.label.textContent = t("all");
    this.count.textContent = `(${t("chosen", { n, all: this.boxes.length })})`;
  }

  #changed(box) {
    if (box === this.all) this.set(box.checked);
    else this.write();
  }

  #box() {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    return box;
  }

  #line(kind, box, text) {
    const line = document.createElement("label");
    line.className = kind;
    line.append(box, text);
    return line;
  }
}

export class Download {
  #session;
  #choices = [];
  #shape = "";
  #abort = null;

  constructor(session) {
    this.#session = session;
    for (const [name, period] of Object.entries(PRESETS)) {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.t = name;
      button.addEventListener("click", () => this.#period(...period()));
      $("presets").append(button);
    }
    this.#period(...PRESETS.hour());
    $("download").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go();
    });
    $("download-stop").addEventListener("click", () => this.#abort?.abort());
  }

  show(points) {
    const shape = JSON.stringify(points);
    if (shape === this.#shape) return;
    this.#shape = shape;
    this.#choices = grouped(points, "device").map(([device, own]) => new Choice(device, own));
    $("choice").replaceChildren(...this.#choices.map((choice) => choice.element));
  }

  clear() {
    this.#abort?.abort();
    this.#shape = "";
    this.#choices = [];
    $("choice").replaceChildren();
    $("download-state").textContent = $("download-fault").textContent = "";
  }

  rewrite() {
    for (const choice of this.#choices) choice.write();
    $("zone").textContent = t("zone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone });
  }

  #period(fromMs, toMs) {
    $("from").value = local(fromMs);
    $("to").value = local(toMs);
  }

  async #go() {
    const [from, to] = [new Date($("from").value).getTime(), new Date($("to").value).getTime()];
    const patterns = this.#choices.flatMap((choice) => choice.patterns);
    const fault = !patterns.length ? "choosePoints" : from < to ? "" : "badPeriod";
    $("download-fault").textContent = fault && t(fault);
    if (fault) return;
    const whole = this.#choices.every((choice) => choice.patterns[0]?.endsWith(".*"));
    const query = new URLSearchParams({ points: whole ? "*" : patterns.join(","), from, to });
    this.#busy(true);
    try {
      await this.#fetch(`/api/v1/export.csv?${query}`);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#busy(false);
    }
  }

  async #fetch(path) {
    this.#abort = new AbortController();
    $("download-state").textContent = t("preparing");
    const reply = await this.#session.get(path, { signal: this.#abort.signal });
    const name = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition") ?? "")?.[1] ?? "uicps.csv";
    const parts = [];
    let size = 0;
    for (const reader = reply.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
      $("download-state").textContent = t("loaded", { mb: number(size / 1e6, 1) });
    }
    save(new Blob(parts, { type: "text/csv" }), name);
    $("download-state").textContent = t("done", { mb: number(size / 1e6, size < 1e5 ? 3 : 1) });
  }

  #failed(error) {
    if (error instanceof SignedOut) return;
    const cancelled = error.name === "AbortError";
    $("download-state").textContent = cancelled ? t("cancelled") : "";
    $("download-fault").textContent = cancelled ? "" : error instanceof Refusal ? error.message : t("broken");
  }

  #busy(busy) {
    $("download-go").disabled = busy;
    $("download-stop").hidden = !busy;
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
