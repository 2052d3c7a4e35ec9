// The live connection: opens, renews its token, notices silence, and comes back with growing waits.
// Events: "state" {state: connecting | live | waiting | tooSlow, waitS}, "points", "welcome", "readings".

import { SignedOut } from "./session.js";

const FIRST_WAIT_S = 1;
const MOST_WAIT_S = 20;
const PING_MS = 10_000;
const SILENCE_MS = 25_000;
const TOO_SLOW = 4408;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Live extends EventTarget {
  #session;
  #run = 0;
  #socket = null;

  constructor(session) {
    super();
    this.#session = session;
  }

  async start() {
    const run = ++this.#run;
    let failures = 0;
    while (run === this.#run) {
      this.#tell("state", { state: "connecting" });
      let ended = { lived: false, code: 0 };
      try {
        const points = await (await this.#session.get("/api/v1/points")).json();
        if (run !== this.#run) return;
        this.#tell("points", points.points);
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

  async #wait(run, state, seconds) {
    for (let left = seconds; left > 0 && run === this.#run; left -= 1) {
      this.#tell("state", { state, waitS: left });
      await sleep(1000);
    }
  }

  /** One connection from its opening to its end. */
  async #connection(run) {
    let token = await this.#session.token();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, ["uicps.v1", `bearer.${token}`]);
    this.#socket = socket;
    let lived = false;
    let timeMs = 0;
    let heardMs = Date.now();
    const beat = setInterval(async () => {
      if (socket.readyState !== WebSocket.OPEN) return;
      if (Date.now() - heardMs > SILENCE_MS) return socket.close();
      socket.send('{"type":"ping"}');
      const fresh = await this.#session.token().catch(() => token);
      if (fresh !== token && socket.readyState === WebSocket.OPEN) {
        token = fresh;
        socket.send(JSON.stringify({ type: "token.refresh", token }));
      }
    }, PING_MS);
    socket.onmessage = (event) => {
      heardMs = Date.now();
      if (run !== this.#run) return;
      const message = JSON.parse(event.data);
      if (message.type === "welcome") {
        lived = true;
        this.#tell("state", { state: "live" });
        timeMs = message.time_ms;
        socket.send('{"type":"subscribe"}');
      }
      if (message.type === "readings" && message.image) this.#tell("welcome", { ...message, time_ms: timeMs });
      else if (message.type === "readings") this.#tell("readings", message);
    };
    const code = await new Promise((resolve) => (socket.onclose = (event) => resolve(event.code)));
    clearInterval(beat);
    return { lived, code };
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
