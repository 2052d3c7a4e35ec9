// The alarms that are not over, most urgent first, and their acknowledgement.

import { $, make, write } from "./element.js";
import { Refusal, SignedOut } from "./session.js";
import { instant, language, refused, t } from "./text.js";

const PRIORITIES = ["critical", "high", "medium", "low"];
const OPEN = ["unacknowledged", "returned"];
const SHOWN_MAX = 500;

export class Alarms {
  #session;
  #alarms = new Map();
  #may = false;
  #missing = false;

  constructor(session) {
    this.#session = session;
  }

  clear() {
    this.#alarms.clear();
    this.#missing = false;
    this.rewrite();
  }

  welcome(message) {
    this.#may = message.permissions.includes("acknowledge");
  }

  /** News of alarms; an image replaces all that was known. */
  news(message) {
    this.#missing = message.missing === true;
    if (message.image || this.#missing) this.#alarms.clear();
    for (const each of message.alarms ?? []) {
      if (each.state === "normal") this.#alarms.delete(each.id);
      else this.#alarms.set(each.id, each);
    }
    this.rewrite();
  }

  rewrite() {
    const shown = [...this.#alarms.values()].sort(
      (a, b) => OPEN.includes(b.state) - OPEN.includes(a.state)
        || PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority)
        || b.raised_ms - a.raised_ms,
    );
    const focused = document.activeElement?.closest?.("[data-alarm]")?.dataset.alarm;
    $("alarm-list").replaceChildren(...shown.slice(0, SHOWN_MAX).map((each) => this.#line(each)));
    if (focused) $("alarm-list").querySelector(`[data-alarm="${CSS.escape(focused)}"] button`)?.focus();
    $("alarm-nothing").hidden = shown.length > 0;
    write($("alarm-nothing"), t(this.#missing ? "noAlarmSystem" : "noAlarms"));
    const open = shown.filter((each) => OPEN.includes(each.state)).length;
    $("alarm-count").hidden = open === 0;
    write($("alarm-count"), String(open));
    $("alarm-count").setAttribute("aria-label", t("openAlarms", { n: open }));
  }

  #line(alarm) {
    const text = alarm.text?.[language] ?? alarm.id;
    const about = [alarm.source, t("since", { when: instant(alarm.raised_ms) }), alarm.count > 1 ? t("times", { n: alarm.count }) : "", alarm.chattering ? t("chattering") : ""];
    const who = alarm.acknowledged_by && !OPEN.includes(alarm.state) ? t("ackBy", { who: alarm.acknowledged_by, when: instant(alarm.acknowledged_ms) }) : "";
    const line = make(
      "li", { class: "card alarm", "data-alarm": alarm.id, "data-state": alarm.state, "data-priority": alarm.priority },
      make("span", { class: "priority" }, t(alarm.priority)),
      make("div", {},
        make("h2", {}, text),
        ...(alarm.detail ? [make("p", {}, alarm.detail)] : []),
        make("p", { class: "hint" }, [...about, who].filter(Boolean).join(" · "))),
      make("span", { class: "state" }, t(alarm.state)),
    );
    if (this.#may && OPEN.includes(alarm.state)) {
      const button = make("button", { type: "button", "aria-label": `${t("acknowledge")}: ${text}` }, t("acknowledge"));
      button.addEventListener("click", () => this.#acknowledge(alarm, button));
      line.append(button);
    }
    return line;
  }

  async #acknowledge(alarm, button) {
    button.disabled = true;
    try {
      await this.#session.send("POST", "/api/v1/alarms/acknowledge", { id: alarm.id });
      write($("alarm-fault"), "");
    } catch (error) {
      if (error instanceof SignedOut) return;
      button.disabled = false;
      write($("alarm-fault"), error instanceof Refusal ? refused(error) : t("unreachable"));
    }
  }
}
