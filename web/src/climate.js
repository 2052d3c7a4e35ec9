// Air conditioners, and whatever else can be written: how it is, who commands it, override and release.
// An override is a lease (docs/websocket.md): it ends by itself, whatever becomes of this page.

import { $, make, write } from "./element.js";
import { grouped } from "./devices.js";
import { Failed } from "./socket.js";
import { denied, plain, refused, shown, span, t, why, word } from "./text.js";

const LEASES_MIN = [15, 30, 60, 120, 240, 480, 1440];
const LEASE_MIN = 60;
const RANKS = ["safety", "manual", "centre", "control", "analysis"];
const ENDED = new Set(["replaced", "released", "expired", "refused"]);

/** One writable point: its value, the field for another, and who holds it. */
class Row {
  touched = false;

  constructor(point) {
    this.point = point;
    this.now = make("b", { class: "now" });
    this.holder = make("p", { class: "holder" });
    this.field = Object.keys(point.states).length ? this.#choice() : this.#number();
    this.field.id = `set-${point.id}`;
    this.field.addEventListener("input", () => this.touch(true));
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.touch(false); // as it was
      this.field.blur();
    });
    const name = make("label", { for: this.field.id, "data-word": plain(point) });
    this.element = make("div", { class: "order", "data-point": point.id }, name, this.now, this.field, this.holder);
  }

  touch(touched) {
    this.touched = touched;
    this.element.classList.toggle("touched", touched);
  }

  get value() {
    return this.field.value === "" ? NaN : Number(this.field.value);
  }

  write(value, command, mayCommand, source) {
    write(this.now, shown(value, this.point));
    if (!this.touched && document.activeElement !== this.field) this.field.value = value ?? "";
    this.field.disabled = !mayCommand;
    write(this.holder, command ? said(command, source) : t("nobody"));
    this.holder.dataset.state = command?.state ?? "";
  }

  #choice() {
    const options = Object.entries(this.point.states).map(([code, text]) => make("option", { value: code, "data-word": text }, text));
    return make("select", {}, make("option", { value: "", hidden: "" }, ""), ...options);
  }

  #number() {
    const { low, high, step } = this.point.writable;
    const limits = { ...(low !== null && { min: low }), ...(high !== null && { max: high }), step: step || "any" };
    return make("input", { type: "number", inputmode: "decimal", ...limits });
  }
}

/** Who commands; control says its reason there. */
const from = (command) => (command.priority === "control" ? why(command.source.replace(/^control: /, "")) : command.source);

/** `manual · ana · 59 min left · written`. */
function said(command, source) {
  const left = t("left", { span: span((command.endsMs - Date.now()) / 1000) });
  const parts = [t(`by_${command.priority}`), source, left, t(`is_${command.state}`), denied(command.reason)];
  return parts.filter(Boolean).join(" · ");
}

class Card {
  constructor(device, points, order) {
    const writable = points.filter((point) => point.writable);
    this.points = points;
    this.rows = writable.map((point) => new Row(point));
    this.facts = points.filter((point) => !point.writable).map((point) => [point, make("dd")]);
    this.reason = make("p", { class: "holder" });
    this.state = make("p", { class: "said", role: "status" });
    this.fault = make("p", { class: "fault", role: "alert" });
    this.lease = make("select", { id: `lease-${device}` }, ...LEASES_MIN.map((minutes) => make("option", { value: minutes }, span(minutes * 60))));
    this.lease.value = LEASE_MIN;
    this.apply = make("button", { type: "submit", class: "main", "data-t": "override" });
    this.free = make("button", { type: "button", "data-t": "release" });
    const silence = writable.find((point) => point.writable.on_silence)?.writable.on_silence;
    const facts = this.facts.map(([point, value]) => make("div", {}, make("dt", { "data-word": plain(point) }), value));
    this.element = make(
      "form", { class: "card climate", novalidate: "", "data-device": device },
      make("header", {}, make("h2", {}, points[0].label || device), make("p", {}, [points[0].label ? device : "", points[0].type].filter(Boolean).join(" · "))),
      make("dl", { class: "facts" }, ...facts),
      ...this.rows.map((row) => row.element),
      this.reason,
      make("div", { class: "lease" }, make("label", { for: this.lease.id, "data-t": "leaseFor" }), this.lease),
      make("div", { class: "actions" }, this.apply, this.free),
      this.state, this.fault,
      ...(silence ? [make("p", { class: "hint" }, make("span", { "data-t": "onSilence" }), " ", make("span", { "data-word": silence }), ".")] : []),
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      order.override(this);
    });
    this.free.addEventListener("click", () => order.release(this));
  }

  /** Why control commands is said once, if it is the same for more than one row. */
  write(value, winner, may) {
    const held = this.rows.map((row) => winner(row.point.id));
    const steered = held.filter((each) => each?.priority === "control");
    const once = steered.length > 1 && steered.every((each) => each.source === steered[0].source);
    this.rows.forEach((row, at) => {
      const said = held[at] && !(once && held[at].priority === "control") ? from(held[at]) : "";
      row.write(value(row.point.id), held[at], may, said);
    });
    write(this.reason, once ? from(steered[0]) : "");
    this.reason.hidden = !once;
  }

  say(text, fault = "") {
    write(this.state, text);
    write(this.fault, fault);
  }
}

export class Climate {
  #live;
  #image;
  #cards = [];
  #commands = new Map(); // number -> command
  #may = false;
  #shape = "";

  constructor(live, image) {
    this.#live = live;
    this.#image = image;
    setInterval(() => this.tick(), 1000);
  }

  show(points) {
    const shape = JSON.stringify(points);
    if (shape === this.#shape) return;
    this.#shape = shape;
    const devices = grouped(points, "device").filter(([, own]) => own.some((point) => point.writable));
    this.#cards = devices.map(([device, own]) => new Card(device, own, this));
    $("climate-cards").replaceChildren(...this.#cards.map((card) => card.element));
    $("climate-nothing").hidden = this.#cards.length > 0;
    this.rewrite();
  }

  clear() {
    this.#shape = "";
    this.#cards = [];
    this.#commands.clear();
    $("climate-cards").replaceChildren();
  }

  welcome(message) {
    this.#may = message.permissions.includes("command");
    this.tick();
  }

  /** News of commands; an image replaces all that was known. */
  news(message) {
    if (message.missing) return;
    if (message.image) this.#commands.clear();
    for (const each of message.commands) this.#file(each);
    this.tick();
  }

  rewrite() {
    for (const card of this.#cards) {
      for (const each of card.element.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
      for (const each of card.element.querySelectorAll("[data-word]")) each.textContent = word(each.dataset.word);
      for (const option of card.lease.options) option.textContent = span(option.value * 60);
    }
    this.tick();
  }

  tick() {
    if (document.hidden || $("view-climate").hidden) return;
    for (const card of this.#cards) {
      card.write((id) => this.#image.value(id), (id) => this.#winner(id), this.#may);
      for (const [point, place] of card.facts) {
        write(place, shown(this.#image.value(point.id), point));
      }
      card.apply.disabled = card.lease.disabled = !this.#may;
      card.free.disabled = !this.#may || !card.rows.some((row) => this.#manual(row.point.id));
      if (!this.#may) card.say(t("mayNot"));
    }
  }

  async override(card) {
    const rows = card.rows.filter((row) => row.touched);
    if (!rows.length) return card.say("", t("changeFirst"));
    const lease_s = Number(card.lease.value) * 60;
    card.apply.disabled = true;
    card.say(t("sending"));
    const answers = await Promise.all(rows.map((row) => this.#order(row, lease_s)));
    const refused = answers.filter((each) => each.why);
    const taken = answers.length - refused.length;
    card.say(taken ? t("taken", { n: taken }) : "", refused.map((each) => `${word(plain(each.row.point))}: ${each.why}`).join("\n"));
    this.tick();
  }

  async #order(row, lease_s) {
    if (Number.isNaN(row.value)) return { row, why: t("wantNumber") };
    try {
      const answer = await this.#live.ask({ type: "command", point: row.point.id, value: row.value, lease_s });
      if (answer.state === "refused") return { row, why: denied(answer.reason) };
      this.#file(answer);
      row.touch(false);
      return { row, why: "" };
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      return { row, why: error.code === "unreachable" ? t("unreachable") : refused(error) };
    }
  }

  async release(card) {
    card.free.disabled = true;
    const held = card.rows.filter((row) => this.#manual(row.point.id));
    try {
      for (const row of held) {
        await this.#live.ask({ type: "release", point: row.point.id });
        row.touch(false);
      }
      card.say(t("given"));
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      card.say("", error.code === "unreachable" ? t("unreachable") : refused(error));
    }
    this.tick();
  }

  #file(command) {
    if (ENDED.has(command.state)) this.#commands.delete(command.command);
    else this.#commands.set(command.command, { ...command, endsMs: Date.now() + command.left_s * 1000 });
  }

  #manual(id) {
    return [...this.#commands.values()].some((each) => each.point === id && each.priority === "manual");
  }

  /** Who holds a point: the strongest, of one rank the newest. */
  #winner(id) {
    const own = [...this.#commands.values()].filter((each) => each.point === id);
    return own.sort((a, b) => RANKS.indexOf(a.priority) - RANKS.indexOf(b.priority) || b.command - a.command)[0];
  }
}
