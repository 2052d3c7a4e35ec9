// Puts the page together: who is signed in, what is live, what the agent says of itself.

import { Factor, offerSetup } from "./account.js";
import { Devices } from "./devices.js";
import { Download } from "./download.js";
import { Refusal, Session } from "./session.js";
import { Live } from "./socket.js";
import { chooseLanguage, known, language, number, t, translate } from "./text.js";

const STATUS_MS = 5_000;
const $ = (id) => document.getElementById(id);

const session = new Session();
const live = new Live(session);
const devices = new Devices($("devices"), $("nothing"));
const download = new Download(session);
const factor = new Factor(session, () => {
  live.stop();
  if (session.signedIn) enter();
});

let link = { state: "connecting" };
let status = null;

function writeLink() {
  $("link").hidden = !session.signedIn;
  $("link").dataset.state = link.state;
  const text = t(link.state, { s: link.waitS });
  if ($("link").textContent !== text) $("link").textContent = text;
}

function writeStatus() {
  const lines = [];
  if (status) {
    const well = status.healthy !== false;
    const reasons = Array.isArray(status.reasons) ? status.reasons.join("; ") : "";
    lines.push(["health", well ? t("healthy") : reasons || t("unhealthy"), well]);
    const counts = { readingsPerSecond: "readings_per_s", stored: "stored_readings", backlog: "backlog_readings" };
    for (const [key, name] of Object.entries(counts)) {
      if (typeof status[name] === "number") lines.push([key, number(status[name], Number.isInteger(status[name]) ? 0 : 1), true]);
    }
  }
  $("status").replaceChildren(...lines.map(([key, text, well]) => {
    const [line, term, said] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    line.className = well ? "" : "bad";
    term.textContent = t(key);
    said.textContent = text;
    line.append(term, said);
    return line;
  }));
}

async function askStatus() {
  if (!session.signedIn || session.mustEnrol || document.hidden) return;
  try {
    status = await (await session.get("/api/v1/status")).json();
  } catch {
    status = null; // the live connection says what is wrong
  }
  writeStatus();
}

function writeAll() {
  translate();
  $("language").value = language;
  writeLink();
  writeStatus();
  devices.rewrite();
  download.rewrite();
  factor.rewrite();
}

function enter() {
  $("login").hidden = $("setup").hidden = true;
  $("sign-out").hidden = false;
  $("site").hidden = $("factor-open").hidden = session.mustEnrol;
  if (session.mustEnrol) return factor.open();
  writeLink();
  live.start();
  askStatus();
}

function leave(reason) {
  live.stop();
  factor.close();
  devices.clear();
  download.clear();
  status = null;
  $("site").hidden = $("sign-out").hidden = $("factor-open").hidden = true;
  $("login").hidden = false;
  $("totp-ask").hidden = true;
  $("totp").value = "";
  $("login-error").textContent = reason && t(reason);
  $("password").value = "";
  writeLink();
  ($("user").value ? $("password") : $("user")).focus();
}

function loginFault(error) {
  if (!(error instanceof Refusal)) return t("unreachable");
  return known(error.code) ? t(error.code, { s: error.retryAfterS }) : error.message;
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = $("login").querySelector("button");
  button.disabled = true;
  $("login-error").textContent = "";
  try {
    await session.signIn($("user").value.trim(), $("password").value, $("totp").value);
    $("password").value = $("totp").value = "";
  } catch (error) {
    $("login-error").textContent = loginFault(error);
    const second = error instanceof Refusal && /totp|clock/.test(error.code);
    if (second) $("totp-ask").hidden = false;
    (second ? $("totp") : $("password")).select();
  } finally {
    button.disabled = false;
  }
});

$("sign-out").addEventListener("click", () => session.signOut());
$("language").addEventListener("change", (event) => {
  chooseLanguage(event.target.value);
  writeAll();
});
$("filter").addEventListener("input", (event) => devices.filter(event.target.value));

session.addEventListener("in", enter);
session.addEventListener("out", (event) => leave(event.detail));
live.addEventListener("state", (event) => {
  link = event.detail;
  writeLink();
});
live.addEventListener("points", (event) => {
  devices.show(event.detail);
  download.show(event.detail);
});
live.addEventListener("welcome", (event) => devices.welcome(event.detail));
live.addEventListener("readings", (event) => devices.take(event.detail));
document.addEventListener("visibilitychange", () => {
  devices.tick();
  askStatus();
});
setInterval(askStatus, STATUS_MS);

writeAll();
if (session.signedIn) enter();
else {
  leave("");
  offerSetup(session);
}
