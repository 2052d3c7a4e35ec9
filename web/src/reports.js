// Reports: those that were made, to open, print and keep; having one made, and how far that is.

import { $, make, write } from "./element.js";
import { Refusal, SignedOut } from "./session.js";
import { calendar, instant, language, number, refused, sizeOf, t } from "./text.js";

const LOOK_MS = 2_000;
const QUIET_MS = 30_000;
const MONTHS = 13;

export class Reports {
  #session;
  #reports = [];
  #making = [];
  #open = false;
  #may = false;
  #timer = 0;
  #written = "";

  constructor(session) {
    this.#session = session;
    $("report").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    $("report-kind").addEventListener("change", () => this.#fields());
    document.addEventListener("visibilitychange", () => this.#look());
  }

  look(open) {
    this.#open = open;
    this.#look();
  }

  welcome(message) {
    this.#may = message.permissions.includes("report");
    this.rewrite();
  }

  /** The devices that may be meters: who gives a voltage, a power or an energy. */
  show(points) {
    const units = /^(k|M)?(V|W|Wh)$/;
    const names = [...new Set(points.filter((each) => units.test(each.unit)).map((each) => each.device))];
    const kept = $("report-meter").value;
    $("report-meter").replaceChildren(make("option", { value: "" }, t("allMeters")), ...names.map((name) => make("option", { value: name }, name)));
    $("report-meter").value = names.includes(kept) ? kept : "";
  }

  clear() {
    this.#reports = this.#making = [];
    clearTimeout(this.#timer);
    write($("report-fault"), "");
    this.rewrite();
  }

  rewrite() {
    this.#fields();
    $("report-go").disabled = !this.#may;
    write($("report-may"), this.#may ? "" : t("mayNotReport"));
    const all = $("report-meter").querySelector('option[value=""]');
    if (all) all.textContent = t("allMeters");
    $("report-making").replaceChildren(...this.#making.slice(0, 5).map(making));
    const pages = this.#reports.filter((each) => each.format === "html");
    $("report-list").replaceChildren(...pages.map((each) => this.#row(each)));
    $("report-nothing").hidden = pages.length > 0;
  }

  #fields() {
    const kind = $("report-kind").value;
    $("report-meter-ask").hidden = kind === "commissioning";
    $("report-month-ask").hidden = kind !== "energy";
    $("report-week-ask").hidden = kind !== "power-quality";
    if (this.#written !== language) this.#periods();
  }

  /** In the language of now; what was chosen stays chosen. */
  #periods() {
    this.#written = language;
    for (const [id, fill] of [["report-month", months], ["report-week", weeks]]) {
      const kept = $(id).value;
      fill();
      if (kept) $(id).value = kept;
    }
  }

  async #look() {
    clearTimeout(this.#timer);
    if (!this.#open || document.hidden || !this.#session.signedIn || this.#session.mustEnrol) return;
    try {
      const body = await (await this.#session.get("/api/v1/reports")).json();
      [this.#reports, this.#making] = [body.reports, body.making];
      this.rewrite();
    } catch (error) {
      if (error instanceof SignedOut) return;
      write($("report-fault"), said(error));
    }
    const busy = this.#making.some((each) => each.state === "waiting" || each.state === "running");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), busy ? LOOK_MS : QUIET_MS);
  }

  async #ask() {
    const kind = $("report-kind").value;
    const order = { kind, language: $("report-language").value };
    if (kind !== "commissioning" && $("report-meter").value) order.meter = $("report-meter").value;
    if (kind === "energy") order.month = $("report-month").value;
    if (kind === "power-quality") [order.from, order.to] = $("report-week").value.split(" ");
    $("report-go").disabled = true;
    try {
      await this.#session.send("POST", "/api/v1/reports", order);
      write($("report-fault"), "");
    } catch (error) {
      if (error instanceof SignedOut) return;
      write($("report-fault"), said(error));
    }
    $("report-go").disabled = !this.#may;
    this.#look();
  }

  #row(report) {
    const csv = report.name.replace(/html$/, "csv");
    const name = t(`report_${report.kind}`);
    const title = `${name}, ${report.subject}, ${period(report)}`;
    const open = button("openReport", title, () => this.#openPage(report.name));
    const pieces = [open, button("keepHtml", title, () => this.#keep(report.name))];
    if (this.#reports.some((each) => each.name === csv)) pieces.push(button("keepCsv", title, () => this.#keep(csv)));
    return make(
      "tr", {},
      make("th", { scope: "row" }, name, make("small", {}, `${report.subject} · ${period(report)}`)),
      make("td", {}, report.language === "en" ? "English" : "Português"),
      make("td", { class: "value", "data-head": t("made") }, instant(report.made_ms)),
      make("td", { class: "value", "data-head": t("size") }, sizeOf(report.size_bytes)),
      make("td", { class: "buttons" }, ...pieces),
    );
  }

  /** In a window of its own; the window is opened at once, or a browser would take it for an advertisement. */
  async #openPage(name) {
    const opened = window.open("", "_blank");
    try {
      const { url } = await this.#session.send("POST", `/api/v1/reports/${encodeURIComponent(name)}/open`, {});
      if (opened) {
        opened.opener = null;
        opened.location.replace(new URL(url, location.href));
      } else location.assign(url);
    } catch (error) {
      opened?.close();
      if (!(error instanceof SignedOut)) write($("report-fault"), said(error));
    }
  }

  async #keep(name) {
    try {
      const reply = await this.#session.get(`/api/v1/reports/${encodeURIComponent(name)}`);
      const link = make("a", { download: name });
      link.href = URL.createObjectURL(await reply.blob());
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      if (!(error instanceof SignedOut)) write($("report-fault"), said(error));
    }
  }
}

const said = (error) => (error instanceof Refusal ? refused(error) : t("unreachable"));
const period = (report) => [report.begin, report.end].filter(Boolean).map(calendar).join(" – ");

function button(key, title, does) {
  const element = make("button", { type: "button", class: "plain", "aria-label": `${t(key)}: ${title}` }, t(key));
  element.addEventListener("click", does);
  return element;
}

/** One that was asked for: what it is, and what became of it. */
function making(each) {
  const name = t(`report_${each.kind}`);
  const about = [each.meter || (each.kind === "commissioning" ? "" : t("allMeters")), period(each.month ? { begin: each.month } : each)];
  const percent = each.progress === null ? "" : ` ${number(100 * each.progress, 0)} %`;
  const state = t(`making_${each.state}`);
  const line = make("li", { "data-state": each.state }, make("b", {}, name), ` ${about.filter(Boolean).join(" · ")}: `, state, each.state === "running" ? percent : "");
  if (each.text) line.append(make("small", {}, each.text));
  return line;
}

const pad = (value) => String(value).padStart(2, "0");
const day = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;

function months() {
  const now = new Date();
  const names = Array.from({ length: MONTHS }, (_, ago) => new Date(now.getFullYear(), now.getMonth() - ago, 1));
  $("report-month").replaceChildren(...names.map((date) => day(date).slice(0, 7)).map((each) => make("option", { value: each }, calendar(each))));
  $("report-month").selectedIndex = 1;
}

function weeks() {
  const now = new Date();
  const monday = now.getDate() - ((now.getDay() + 6) % 7);
  const begins = Array.from({ length: MONTHS }, (_, ago) => new Date(now.getFullYear(), now.getMonth(), monday - 7 * ago));
  const options = begins.map((date) => {
    const end = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 7);
    return make("option", { value: `${day(date)} ${day(end)}` }, `${calendar(day(date))} – ${calendar(day(end))}`);
  });
  $("report-week").replaceChildren(...options.slice(1)); // the one that is not over has no week yet
}
