// The CSV form: which points, which period, and the file as it comes.

import { OWN, grouped } from "./devices.js";
import { $, make, write } from "./element.js";
import { Refusal, SignedOut } from "./session.js";
import { language, number, refused, sizeOf, t, titled } from "./text.js";

const HOUR_MS = 3_600_000;
const ESTIMATE_MS = 400;
const KEY = "uicps.export";
const FORM = ["layout", "step", "aggregate", "tz", "decimal", "gzip"]; // the names of fields are those of the API

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
    this.title = document.createElement("span");
    this.title.className = "title";
    summary.append(this.title, " ", this.count);
    this.element.append(summary, this.#line("all", this.all, this.label));
    points.forEach((point, at) => this.element.append(this.#line("", this.boxes[at], point.point)));
    this.element.addEventListener("change", (event) => this.#changed(event.target));
    this.set(!OWN.has(device)); // whoever wants the agent's own says so
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
    this.title.textContent = titled(this.points[0]);
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

const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

export class Download {
  #session;
  #choices = [];
  #shape = "";
  #abort = null;
  #timer = 0;
  #asking = null;
  #bytes = 0; // of the file, as the agent estimates

  constructor(session) {
    this.#session = session;
    for (const [name, period] of Object.entries(PRESETS)) {
      const button = make("button", { type: "button", "data-t": name });
      button.addEventListener("click", () => this.#period(...period()));
      $("presets").append(button);
    }
    this.#zones();
    this.#recall();
    this.#period(...PRESETS.hour());
    $("download").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go();
    });
    $("download").addEventListener("change", () => this.#changed());
    $("download-stop").addEventListener("click", () => this.#abort?.abort());
  }

  /** The view is looked at: say how much it would be. */
  look(open) {
    if (open) this.#changed();
  }

  show(points) {
    const shape = JSON.stringify(points);
    if (shape === this.#shape) return;
    this.#shape = shape;
    this.#choices = grouped(points, "device").map(([device, own]) => new Choice(device, own));
    $("choice").replaceChildren(...this.#choices.map((choice) => choice.element));
    this.#changed();
  }

  clear() {
    this.#abort?.abort();
    this.#asking?.abort();
    this.#shape = "";
    this.#choices = [];
    $("choice").replaceChildren();
    for (const id of ["download-state", "download-fault", "download-size"]) write($(id), "");
  }

  rewrite() {
    for (const choice of this.#choices) choice.write();
    write($("zone"), t("zone", { zone: zone() }));
  }

  #zones() {
    $("tz").replaceChildren(...[...new Set([zone(), "UTC"])].map((name) => make("option", { value: name }, name)));
  }

  /** The format that was chosen last; a comma where people write one. */
  #recall() {
    let kept = null;
    try {
      kept = JSON.parse(localStorage.getItem(KEY));
    } catch {} // somebody else's
    $("decimal").value = language === "en" ? "point" : "comma";
    for (const name of FORM.filter((each) => kept && each in kept)) {
      const field = $(name);
      if (field.type === "checkbox") field.checked = kept[name] === true;
      else if ([...field.options].some((option) => option.value === kept[name])) field.value = kept[name];
    }
  }

  #period(fromMs, toMs) {
    $("from").value = local(fromMs);
    $("to").value = local(toMs);
    this.#changed();
  }

  #changed() {
    const format = Object.fromEntries(FORM.map((name) => [name, $(name).type === "checkbox" ? $(name).checked : $(name).value]));
    localStorage.setItem(KEY, JSON.stringify(format));
    $("aggregate-ask").hidden = !$("step").value;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#estimate(), ESTIMATE_MS);
  }

  /** What is asked of the agent, or the name of what is wrong with it. */
  #query() {
    const [from, to] = [new Date($("from").value).getTime(), new Date($("to").value).getTime()];
    const patterns = this.#choices.flatMap((choice) => choice.patterns);
    if (!patterns.length) return "choosePoints";
    if (!(from < to)) return "badPeriod";
    const whole = this.#choices.every((choice) => choice.patterns[0]?.endsWith(".*"));
    const query = { points: whole ? "*" : patterns.join(","), from, to, layout: $("layout").value, tz: $("tz").value, decimal: $("decimal").value };
    if ($("step").value) Object.assign(query, { step: $("step").value, aggregate: $("aggregate").value });
    if ($("gzip").checked) query.gzip = "true";
    return new URLSearchParams(query);
  }

  async #estimate() {
    if (!this.#session.signedIn || $("view-export").hidden) return;
    this.#asking?.abort();
    const query = this.#query();
    if (typeof query === "string") return write($("download-size"), "");
    this.#asking = new AbortController();
    try {
      const reply = await this.#session.get(`/api/v1/export/estimate?${query}`, { signal: this.#asking.signal });
      const { rows, bytes } = await reply.json();
      this.#bytes = bytes;
      write($("download-size"), t("about", { rows: number(rows, 0), size: sizeOf(bytes) }));
    } catch {
      write($("download-size"), ""); // the download itself says what is wrong
      this.#bytes = 0;
    }
  }

  async #go() {
    const query = this.#query();
    const fault = typeof query === "string" ? query : "";
    write($("download-fault"), fault && t(fault));
    if (fault) return;
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
    write($("download-state"), t("preparing"));
    const reply = await this.#session.get(path, { signal: this.#abort.signal });
    const name = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition") ?? "")?.[1] ?? "uicps.csv";
    const parts = [];
    let size = 0;
    for (const reader = reply.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
      this.#progress(size);
    }
    save(new Blob(parts, { type: reply.headers.get("Content-Type") ?? "text/csv" }), name);
    write($("download-state"), t("done", { size: sizeOf(size) }));
  }

  #progress(size) {
    write($("download-state"), t("loaded", { size: sizeOf(size) }));
    // The estimate is of the text, not of what is packed: then nobody knows how far it is.
    if (this.#bytes && !$("gzip").checked) $("download-bar").value = Math.min(0.99, size / this.#bytes);
  }

  #failed(error) {
    if (error instanceof SignedOut) return;
    const cancelled = error.name === "AbortError";
    write($("download-state"), cancelled ? t("cancelled") : "");
    write($("download-fault"), cancelled ? "" : error instanceof Refusal ? refused(error) : t("broken"));
  }

  #busy(busy) {
    $("download-go").disabled = busy;
    $("download-stop").hidden = $("download-bar").hidden = !busy;
    $("download-bar").removeAttribute("value");
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
