// The live connection (docs/websocket.md): opens, renews its token, notices silence, comes back with growing waits.
// Events: "state" {state: connecting | live | waiting | tooSlow, waitS}, "points", "welcome", "readings",
// "commands", "alarms". `ask` sends a request and gives what was answered.

import { SignedOut } from "./session.js";

const FIRST_WAIT_S = 1;
const MOST_WAIT_S = 20;
const PING_MS = 10_000;
const SILENCE_MS = 25_000;
const ASK_MS = 30_000;
const LOOK_MS = 5_000;
const TOO_SLOW = 4408;
const PER_S = 5;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What was asked on the socket came back as an error, or did not come back. */
export class Failed extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Live extends EventTarget {
  #session;
  #run = 0;
  #socket = null;
  #token = "";
  #lastId = 0;
  #lookMs = 0; // not before this
  #asked = new Map(); // id -> {take, fail, chunks}

  constructor(session) {
    super();
    this.#session = session;
  }

  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  async start() {
    const run = ++this.#run;
    let failures = 0;
    while (run === this.#run) {
      this.#tell("state", { state: "connecting" });
      let ended = { lived: false, code: 0 };
      try {
        await this.#askPoints();
        if (run !== this.#run) return;
        ended = await this.#connection(run);
      } catch (error) {
        if (error instanceof SignedOut) return;
        console.info("live:", error.message);
      }
      failures = ended.lived ? 1 : failures + 1;
      const most = Math.min(MOST_WAIT_S, FIRST_WAIT_S * 2 ** (failures - 1));
      await this.#wait(run, ended.code === TOO_SLOW ? "tooSlow" : "waiting", Math.ceil(most * (0.6 + Math.random() * 0.4)));
    }
  }

  stop() {
    this.#run += 1;
    this.#socket?.close();
  }

  /** The site has changed: what points are there now? */
  async look() {
    if (Date.now() < this.#lookMs) return;
    this.#lookMs = Date.now() + LOOK_MS;
    await this.#askPoints().catch((error) => console.info("live:", error.message));
  }

  async #askPoints() {
    const run = this.#run;
    const { points } = await (await this.#session.get("/api/v1/points")).json();
    if (run === this.#run) this.#tell("points", points);
  }

  /** What is answered to `request`: one message, or the chunks of a history. Failed if it is an error. */
  ask(request) {
    return new Promise((take, fail) => {
      if (!this.open) return fail(new Failed("unreachable", "no connection"));
      const id = ++this.#lastId;
      const late = setTimeout(() => this.#answered(id)?.fail(new Failed("unreachable", "no answer")), ASK_MS);
      this.#asked.set(id, { take, fail, late, chunks: [] });
      this.#say({ ...request, id });
    });
  }

  #say(message) {
    if (this.open) this.#socket.send(JSON.stringify(message));
  }

  async #wait(run, state, seconds) {
    for (let left = seconds; left > 0 && run === this.#run; left -= 1) {
      this.#tell("state", { state, waitS: left });
      await sleep(1000);
    }
  }

  /** One connection from its opening to its end. */
  async #connection(run) {
    this.#token = await this.#session.token();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, ["uicps.v1", `bearer.${this.#token}`]);
    this.#socket = socket;
    let lived = false;
    let heardMs = Date.now();
    const beat = setInterval(() => {
      if (Date.now() - heardMs > SILENCE_MS) socket.close();
      else this.#say({ type: "ping" });
    }, PING_MS);
    socket.onmessage = (event) => {
      heardMs = Date.now();
      if (run !== this.#run) return;
      const message = JSON.parse(event.data);
      lived ||= message.type === "welcome";
      this.#heard(message);
    };
    const code = await new Promise((resolve) => (socket.onclose = (event) => resolve(event.code)));
    clearInterval(beat);
    for (const id of [...this.#asked.keys()]) this.#answered(id).fail(new Failed("unreachable", "no connection"));
    return { lived, code };
  }

  #heard(message) {
    switch (message.type) {
      case "welcome":
        this.#tell("state", { state: "live" });
        this.#say({ type: "subscribe", id: "live", points: ["*"], mode: "latest", per_s: PER_S });
        this.#say({ type: "follow", id: "commands", stream: "commands" });
        this.#say({ type: "follow", id: "alarms", stream: "alarms" });
        this.#say({ type: "follow", id: "jobs", stream: "jobs" });
        return this.#tell("welcome", message);
      case "readings":
      case "commands":
      case "alarms":
      case "jobs":
        return this.#tell(message.type, message);
      case "history":
        return this.#asked.get(message.id)?.chunks.push(message);
      case "history.end":
        return this.#answered(message.id, (asked) => asked.take(asked.chunks));
      case "command":
      case "released":
        return this.#answered(message.id, (asked) => asked.take(message));
      case "error":
        if (["alarms", "commands", "jobs"].includes(message.id)) return this.#tell(message.id, { missing: true });
        return this.#answered(message.id, (asked) => asked.fail(new Failed(message.code, message.message)));
      case "token.expiring":
        return this.#stay();
    }
  }

  #answered(id, end = () => {}) {
    const asked = this.#asked.get(id);
    if (!asked) return undefined;
    this.#asked.delete(id);
    clearTimeout(asked.late);
    end(asked);
    return asked;
  }

  /** The token of this connection ends soon: go on with a fresh one. */
  async #stay() {
    try {
      if ((await this.#session.token()) === this.#token) await this.#session.renew();
      this.#token = await this.#session.token();
      this.#say({ type: "token.refresh", token: this.#token });
    } catch (error) {
      console.info("live:", error.message); // the agent closes the socket, and start() begins anew
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
