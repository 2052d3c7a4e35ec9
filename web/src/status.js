// How the agent is: in one line on the live view, whole on its own.

import { $, make } from "./element.js";
import { roomRow } from "./rooms.js";
import { number, sizeOf, span, t } from "./text.js";

const STATUS_MS = 5_000;
const RATE_MS = 60_000; // over which it is seen how quickly a backlog goes

const count = (value) => (typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 1) : t("unknown"));

export class Status {
  #session;
  #status = null;
  #marks = new Map(); // uplink -> [[when, backlog]], to see how quickly it goes

  constructor(session) {
    this.#session = session;
    setInterval(() => this.ask(), STATUS_MS);
  }

  clear() {
    this.#status = null;
    this.#marks.clear();
    this.write();
  }

  async ask() {
    if (!this.#session.signedIn || this.#session.mustEnrol || document.hidden) return;
    try {
      this.#status = await (await this.#session.get("/api/v1/status")).json();
      this.#mark();
    } catch {
      this.#status = null; // the live connection says what is wrong
    }
    this.write();
  }

  write() {
    const status = this.#status;
    $("status").replaceChildren(...(status ? this.#brief(status) : []));
    $("status-site").replaceChildren(...(status ? this.#whole(status) : []));
    $("status-lines").replaceChildren(...(status?.lines ?? []).map(lineRow));
    $("status-uplinks").replaceChildren(...(status?.uplinks ?? []).map((each) => this.#uplinkRow(each)));
    const decisions = status?.control?.decisions ?? [];
    $("climate-control").hidden = decisions.length === 0;
    $("climate-rooms").replaceChildren(...decisions.map(roomRow));
    $("status-no-uplink").hidden = (status?.uplinks ?? []).length > 0;
  }

  #brief(status) {
    const counts = { readingsPerSecond: "readings_per_s", stored: "stored_readings", backlog: "backlog_readings" };
    const known = Object.entries(counts).filter(([, name]) => typeof status[name] === "number");
    return [health(status), ...known.map(([key, name]) => fact(t(key), count(status[name])))];
  }

  #whole(status) {
    const store = status.store ?? {};
    const clock = status.clock_trusted === undefined ? [] : [fact(t("clock"), t(status.clock_trusted ? "clockTrusted" : "clockUntrusted"), status.clock_trusted)];
    const unsent = store.discarded_unsent ? [fact(t("discarded"), count(store.discarded_unsent), false)] : [];
    const held = status.held_readings ? [fact(t("held"), count(status.held_readings), false)] : [];
    return [
      health(status), ...clock, ...held,
      fact(t("running"), span(status.uptime_s)),
      fact(t("readingsPerSecond"), count(status.readings_per_s)),
      fact(t("stored"), count(status.stored_readings)),
      fact(t("storeSize"), typeof store.file_bytes === "number" ? sizeOf(store.file_bytes) : t("unknown")),
      ...unsent,
    ];
  }

  #mark() {
    for (const { name, backlog } of this.#status.uplinks ?? []) {
      const marks = this.#marks.get(name) ?? [];
      marks.push([Date.now(), backlog]);
      while (marks[0][0] < Date.now() - RATE_MS) marks.shift();
      this.#marks.set(name, marks);
    }
  }

  /** Seconds until the backlog is gone; null: nobody can know. */
  #leftS(uplink) {
    if (uplink.eta_s !== undefined) return uplink.eta_s;
    const [[fromMs, before], [toMs, now]] = [this.#marks.get(uplink.name)[0], this.#marks.get(uplink.name).at(-1)];
    return now < before ? ((toMs - fromMs) / 1000) * (now / (before - now)) : null;
  }

  #uplinkRow(uplink) {
    const leftS = uplink.backlog > 0 ? this.#leftS(uplink) : 0;
    const left = uplink.backlog === 0 ? "–" : leftS === null ? t("unknown") : span(leftS);
    const said = [uplink.advice, uplink.connected ? "" : uplink.last_error].filter(Boolean).join("; ");
    return make(
      "tr", {},
      make("th", { scope: "row" }, uplink.name),
      make("td", { class: uplink.connected ? "well" : "ill" }, t(uplink.standby ? "standby" : uplink.connected ? "connected" : "disconnected"), ...(said ? [make("small", {}, said)] : [])),
      cell("backlog", count(uplink.backlog)),
      cell("timeLeft", left),
    );
  }
}

function lineRow(line) {
  const silent = Object.entries(line.devices ?? {}).filter(([, each]) => each.silent > 0).map(([name]) => name);
  const well = !line.failing && line.connected !== false;
  const said = [line.where, line.down, silent.length ? t("silent", { devices: silent.join(", ") }) : ""].filter(Boolean).join("; ");
  return make(
    "tr", {},
    make("th", { scope: "row" }, line.name, make("small", {}, said)),
    make("td", { class: !well ? "ill" : silent.length ? "meh" : "well" }, t(!well ? "lineDown" : silent.length ? "lineSilent" : "lineUp")),
    cell("busy", typeof line.busy === "number" ? `${number(line.busy * 100, 1)} %` : "–"),
    cell("stretch", typeof line.stretch === "number" ? `${number(line.stretch, 2)} ×` : "–"),
  );
}

/** A figure; on a phone it stands beside its head. */
const cell = (head, text) => make("td", { class: "value", "data-head": t(head) }, text);

function health(status) {
  const well = status.healthy !== false;
  const reasons = Array.isArray(status.reasons) ? status.reasons.join("; ") : "";
  return fact(t("health"), well ? t("healthy") : reasons || t("unhealthy"), well);
}

function fact(term, text, well = true) {
  return make("div", well ? {} : { class: "bad" }, make("dt", {}, term), make("dd", {}, text));
}
