// The first administrator, and one's own second factor.

import { $ } from "./element.js";
import { Refusal, post, proof } from "./session.js";
import { known, refused, t } from "./text.js";

function fault(error) {
  if (!(error instanceof Refusal)) return t("unreachable");
  return known(error.code) ? t(error.code, { s: error.retryAfterS }) : refused(error);
}

/** Show the form for the first administrator in place of the login, while there is nobody to log in as. */
export async function offerSetup(session) {
  const state = await fetch("/setup", { cache: "no-store" }).then((reply) => reply.json()).catch(() => ({}));
  if (!state.open || session.signedIn) return;
  $("login").hidden = true;
  $("setup").hidden = false;
  $("setup-code").focus();
  $("setup").addEventListener("submit", async (event) => {
    event.preventDefault();
    const [code, name, password] = ["setup-code", "setup-user", "setup-password"].map((id) => $(id).value);
    $("setup-error").textContent = "";
    try {
      await post("/setup", { body: JSON.stringify({ code, name: name.trim(), password }) });
      await session.signIn(name.trim(), password);
      $("setup").reset();
    } catch (error) {
      $("setup-error").textContent = fault(error);
      if (error.code !== "setup_closed") return;
      $("setup").hidden = true; // somebody else was quicker
      $("login").hidden = false;
      $("login-error").textContent = fault(error);
    }
  });
}

/** The card that switches the second factor on and off; `begun` and `done` are called when it opens and closes.
 *  A change ends every session but the one it answers with, so nothing may use the old one meanwhile. */
export class Factor {
  #session;
  #begun;
  #done;
  #state = null;

  constructor(session, begun, done) {
    this.#session = session;
    this.#begun = begun;
    this.#done = done;
    $("factor-open").addEventListener("click", () => this.open());
    $("factor-close").addEventListener("click", () => {
      this.close();
      this.#done();
    });
    this.#on("factor-prove", () => (this.#state.second_factor ? this.#remove() : this.#begin()));
    this.#on("factor-confirm", () => this.#confirm());
  }

  async open() {
    this.#begun();
    $("site").hidden = true;
    $("factor").hidden = false;
    $("factor-prove").hidden = false;
    this.#state = await (await this.#session.get("/api/v1/me")).json();
    this.rewrite();
    $("factor-password").focus();
  }

  close() {
    $("factor").hidden = $("factor-confirm").hidden = $("factor-codes").hidden = true;
    $("factor-qr").replaceChildren();
    $("factor-secret").textContent = $("factor-codes").textContent = $("factor-error").textContent = "";
    $("factor-prove").reset();
    $("factor-confirm").reset();
    this.#state = null;
  }

  rewrite() {
    if (!this.#state) return;
    const on = this.#state.second_factor;
    const hint = on ? "factorOn" : this.#session.mustEnrol ? "factorNeeded" : "factorOff";
    $("factor-hint").textContent = $("factor-codes").hidden ? t(hint, { n: this.#state.recovery_codes_left }) : t("factorCodes");
    $("factor-go").textContent = t(on ? "remove" : "next");
    $("factor-code-ask").hidden = !on;
    $("factor-close").hidden = this.#session.mustEnrol;
  }

  #on(id, work) {
    $(id).addEventListener("submit", async (event) => {
      event.preventDefault();
      $("factor-error").textContent = "";
      try {
        await work();
      } catch (error) {
        $("factor-error").textContent = fault(error);
      }
    });
  }

  async #begin() {
    const begun = await this.#session.send("POST", "/api/v1/me/totp", { password: $("factor-password").value });
    $("factor-prove").hidden = true;
    $("factor-confirm").hidden = false;
    const svg = new DOMParser().parseFromString(begun.svg, "text/html").querySelector("svg");
    $("factor-qr").replaceChildren(document.importNode(svg, true));
    $("factor-secret").textContent = begun.secret.replace(/(.{4})/g, "$1 ").trim();
    $("factor-first").focus();
  }

  async #confirm() {
    const totp = $("factor-first").value.replace(/\s/g, "");
    const pair = await this.#session.send("POST", "/api/v1/me/totp/confirm", { totp });
    this.#session.take(pair);
    $("factor-confirm").hidden = true;
    $("factor-codes").hidden = false;
    $("factor-codes").textContent = pair.recovery_codes.join("\n");
    this.#state = { second_factor: true, recovery_codes_left: pair.recovery_codes.length };
    this.rewrite();
  }

  async #remove() {
    const body = { password: $("factor-password").value, ...proof($("factor-code").value) };
    this.#session.take(await this.#session.send("DELETE", "/api/v1/me/totp", body));
    this.close();
    this.#done();
  }
}
