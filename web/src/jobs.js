// What runs at its time: when, how far it is, how it went; run now, pause, and the last runs of one.

import { $, make, write } from "./element.js";
import { Refusal, SignedOut } from "./session.js";
import { instant, known, number, refused, span, t } from "./text.js";

const RUNS_SHOWN = 20;

export class Jobs {
  #session;
  #jobs = new Map();
  #may = false;
  #chosen = "";
  #runs = [];

  constructor(session) {
    this.#session = session;
  }

  clear() {
    this.#jobs.clear();
    this.#chosen = "";
    this.#runs = [];
    write($("job-fault"), "");
    this.rewrite();
  }

  welcome(message) {
    this.#may = message.permissions.includes("configure");
  }

  /** News of jobs; an image replaces all that was known. */
  news(message) {
    if (message.image || message.missing) this.#jobs.clear();
    for (const each of message.jobs ?? []) {
      const before = this.#jobs.get(each.name);
      this.#jobs.set(each.name, each);
      if (each.name === this.#chosen && before?.running !== each.running) this.#ask();
    }
    this.rewrite();
  }

  rewrite() {
    const at = document.activeElement?.closest?.("[data-job]");
    const focused = at && [at.dataset.job, document.activeElement.dataset.does];
    $("job-list").replaceChildren(...[...this.#jobs.values()].map((each) => this.#card(each)));
    if (focused) {
      const card = $("job-list").querySelector(`[data-job="${CSS.escape(focused[0])}"]`);
      (card?.querySelector(`[data-does="${focused[1]}"]`) ?? card?.querySelector("button"))?.focus();
    }
    $("job-nothing").hidden = this.#jobs.size > 0;
    this.#past();
  }

  #card(job) {
    const last = job.last;
    const state = job.running ? "running" : job.paused ? "paused" : (last?.result ?? "never");
    const next = job.next_ms === null ? "" : t("jobNext", { when: instant(job.next_ms) });
    const was = last?.ended_ms ? t("jobLast", { when: instant(last.started_ms), took: took(last) }) : "";
    return make(
      "li", { class: "card job", "data-job": job.name, "data-state": state },
      make("div", {},
        make("h2", {}, job.name),
        make("p", { class: "hint" }, [job.when, next, was].filter(Boolean).join(" · ")),
        ...(job.running ? [progress(job)] : []),
        ...(last?.text && !job.running ? [make("p", { class: "said" }, last.text)] : [])),
      make("span", { class: "state" }, result(state)),
      make("div", { class: "does" }, ...this.#buttons(job)),
    );
  }

  #buttons(job) {
    const past = this.#button(job, "history", () => this.#choose(job.name));
    past.setAttribute("aria-expanded", String(job.name === this.#chosen));
    if (!this.#may) return [past];
    const now = this.#button(job, "run", () => this.#do(job, "run"));
    now.disabled = job.running || job.waiting > 0;
    const hold = job.paused ? "resume" : "pause";
    return [now, this.#button(job, hold, () => this.#do(job, hold)), past];
  }

  #button(job, does, then) {
    const text = t(`job_${does}`);
    const button = make("button", { type: "button", "data-does": does, "aria-label": `${text}: ${job.name}` }, text);
    button.addEventListener("click", then);
    return button;
  }

  async #do(job, what) {
    try {
      // What becomes of it comes as news: the answer may be older than what has come already.
      await this.#session.send("POST", `/api/v1/jobs/${encodeURIComponent(job.name)}/${what}`, {});
      write($("job-fault"), "");
    } catch (error) {
      this.#fault(error);
    }
  }

  #choose(name) {
    this.#chosen = this.#chosen === name ? "" : name;
    this.#runs = [];
    this.rewrite();
    if (this.#chosen) this.#ask();
  }

  async #ask() {
    const name = this.#chosen;
    try {
      const reply = await this.#session.get(`/api/v1/jobs/history?name=${encodeURIComponent(name)}&limit=${RUNS_SHOWN}`);
      const { runs } = await reply.json();
      if (name !== this.#chosen) return;
      this.#runs = runs;
      this.#past();
    } catch (error) {
      this.#fault(error);
    }
  }

  #past() {
    $("job-past").hidden = !this.#chosen;
    write($("job-past-title"), t("jobPast", { name: this.#chosen }));
    $("job-runs").replaceChildren(...this.#runs.map(row));
  }

  #fault(error) {
    if (error instanceof SignedOut) return;
    write($("job-fault"), error instanceof Refusal ? refused(error) : t("unreachable"));
  }
}

function progress(job) {
  const bar = make("progress", { max: "1", "aria-label": job.name });
  if (job.progress !== null) bar.value = job.progress;
  return make("p", { class: "going" }, bar, make("span", { class: "hint" }, job.doing));
}

function row(run) {
  return make(
    "tr", {},
    make("th", { scope: "row" }, instant(run.started_ms)),
    make("td", { class: run.result === "well" ? "well" : run.result === "running" ? "" : "ill" }, result(run.result), ...(run.text ? [make("small", {}, run.text)] : [])),
    make("td", { class: "value", "data-head": t("jobTook") }, run.ended_ms ? took(run) : "–"),
    make("td", { class: "value", "data-head": t("jobMemory") }, run.memory_mb === null ? "–" : `${number(run.memory_mb, 0)} MB`),
  );
}

const took = (run) => span((run.ended_ms - run.started_ms) / 1000);

function result(code) {
  const key = `result_${code.replaceAll(" ", "_")}`;
  return known(key) ? t(key) : code;
}
