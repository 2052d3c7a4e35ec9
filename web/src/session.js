// Who is signed in: tokens in memory and sessionStorage (this tab only), renewed before they end.

const KEY = "uicps.session";
const RENEW_BEFORE_MS = 60_000;

/** An answer other than the one asked for. */
export class Refusal extends Error {
  constructor(status, body, retryAfter) {
    super(body.error_description ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.error ?? "";
    this.retryAfterS = Number(retryAfter ?? 0);
  }
}

/** Nobody is signed in (any more). */
export class SignedOut extends Error {}

export async function post(path, options) {
  // Without credentials the browser never opens its own password box on a 401.
  const reply = await fetch(path, { method: "POST", credentials: "omit", cache: "no-store", ...options });
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Refusal(reply.status, body, reply.headers.get("Retry-After"));
  return body;
}

function basic(user, password) {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** The second proof: six digits are a code of the app, anything else is a recovery code. */
export function proof(code) {
  const text = code.replace(/\s/g, "");
  if (!text) return {};
  return /^\d{6}$/.test(text) ? { totp: text } : { recovery_code: text };
}

function kept() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  } catch {
    return null; // not ours: sign in anew
  }
}

export class Session extends EventTarget {
  #pair = kept();
  #renewing = null;

  get signedIn() {
    return this.#pair !== null;
  }

  /** Whether all that may be done is to set up the second factor. */
  get mustEnrol() {
    return this.#pair?.mustEnrol === true;
  }

  /** `code` is of the authenticator app, or a recovery code, or "". */
  async signIn(user, password, code = "") {
    const headers = { Authorization: basic(user, password), "Content-Type": "application/json" };
    this.#keep(await post("/token", { headers, body: JSON.stringify(proof(code)) }));
    this.dispatchEvent(new Event("in"));
  }

  /** What an answer with a new pair of tokens holds. */
  take(body) {
    this.#keep(body);
  }

  signOut(reason = "") {
    if (!this.signedIn) return;
    if (!reason) post("/token/revoke", { body: JSON.stringify({ token: this.#pair.refresh }), keepalive: true }).catch(() => {});
    this.#pair = null;
    sessionStorage.removeItem(KEY);
    this.dispatchEvent(new CustomEvent("out", { detail: reason }));
  }

  /** An access token that is good for a while. */
  async token() {
    if (!this.signedIn) throw new SignedOut();
    if (Date.now() > this.#pair.endsMs - RENEW_BEFORE_MS) await this.renew();
    return this.#pair.access;
  }

  /** Send `body` as JSON with the token; the answer's JSON. */
  async send(method, path, body) {
    const headers = { "Content-Type": "application/json" };
    return (await this.get(path, { method, headers, body: JSON.stringify(body) })).json();
  }

  /** GET (or what `options` say) with the token; one 401 about it has it renewed. */
  async get(path, options = {}) {
    for (let last = false; ; last = true) {
      const headers = { ...options.headers, Authorization: `Bearer ${await this.token()}` };
      const reply = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
      if (reply.ok) return reply;
      const refusal = new Refusal(reply.status, await reply.json().catch(() => ({})), reply.headers.get("Retry-After"));
      if (last || refusal.code !== "invalid_token") throw refusal;
      await this.renew();
    }
  }

  /** Have a fresh pair of tokens, whether or not it is time. */
  renew() {
    this.#renewing ??= this.#renewNow().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renewNow() {
    const pair = this.#pair;
    try {
      const body = JSON.stringify({ refresh_token: pair.refresh });
      const fresh = await post("/token/refresh", { body, headers: { "Content-Type": "application/json" } });
      if (this.#pair === pair) this.#keep(fresh);
    } catch (error) {
      if (this.#pair !== pair) return; // another one came meanwhile
      if (error instanceof Refusal && error.status < 500 && error.status !== 429) this.signOut("sessionEnded");
      throw error;
    }
    if (!this.signedIn) throw new SignedOut();
  }

  #keep(body) {
    this.#pair = {
      access: body.access_token,
      refresh: body.refresh_token,
      endsMs: Date.now() + body.expires_in * 1000,
      mustEnrol: body.totp_enrolment_required === true,
    };
    sessionStorage.setItem(KEY, JSON.stringify(this.#pair));
  }
}
