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

async function post(path, options) {
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

export class Session extends EventTarget {
  #pair = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  #renewing = null;

  get signedIn() {
    return this.#pair !== null;
  }

  async signIn(user, password) {
    this.#keep(await post("/token", { headers: { Authorization: basic(user, password) } }));
    this.dispatchEvent(new Event("in"));
  }

  signOut(reason = "") {
    if (!this.signedIn) return;
    this.#pair = null;
    sessionStorage.removeItem(KEY);
    this.dispatchEvent(new CustomEvent("out", { detail: reason }));
  }

  /** An access token that is good for a while. */
  async token() {
    if (!this.signedIn) throw new SignedOut();
    if (Date.now() > this.#pair.endsMs - RENEW_BEFORE_MS) await this.#renew();
    return this.#pair.access;
  }

  /** GET with the token; one 401 has it renewed. */
  async get(path, options = {}) {
    for (let last = false; ; last = true) {
      const headers = { Authorization: `Bearer ${await this.token()}` };
      const reply = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
      if (reply.ok) return reply;
      if (reply.status === 401 && !last) {
        await this.#renew();
        continue;
      }
      throw new Refusal(reply.status, await reply.json().catch(() => ({})), reply.headers.get("Retry-After"));
    }
  }

  #renew() {
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
    };
    sessionStorage.setItem(KEY, JSON.stringify(this.#pair));
  }
}
