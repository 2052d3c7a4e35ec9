// Puts the page together: who is signed in, which view is looked at, where what comes goes.

import { Factor, offerSetup } from "./account.js";
import { Alarms } from "./alarms.js";
import { Climate } from "./climate.js";
import { Devices } from "./devices.js";
import { Download } from "./download.js";
import { $ } from "./element.js";
import { Image } from "./image.js";
import { Jobs } from "./jobs.js";
import { Plot } from "./plot.js";
import { Reports } from "./reports.js";
import { Refusal, Session } from "./session.js";
import { Live } from "./socket.js";
import { Status } from "./status.js";
import { chooseLanguage, known, language, refused, t, translate } from "./text.js";

const VIEWS = ["live", "plot", "climate", "alarms", "jobs", "export", "reports", "status"];

const session = new Session();
const live = new Live(session);
const image = new Image();
const plot = new Plot(live, image);
const devices = new Devices($("devices"), $("nothing"), image, plot);
const climate = new Climate(live, image);
const alarms = new Alarms(session);
const jobs = new Jobs(session);
const download = new Download(session);
const reports = new Reports(session);
const status = new Status(session);
const factor = new Factor(session, () => {
  live.stop();
  $("link").hidden = $("views").hidden = true;
}, () => {
  if (session.signedIn) enter();
});

let link = { state: "connecting" };

function writeLink() {
  $("link").hidden = !session.signedIn;
  $("link").dataset.state = link.state;
  const text = t(link.state, { s: link.waitS });
  if ($("link").textContent !== text) $("link").textContent = text;
}

function writeAll() {
  translate();
  $("language").value = language;
  writeLink();
  status.write();
  for (const each of [devices, plot, climate, alarms, jobs, download, reports, factor]) each.rewrite();
  writeTitle();
}

function view() {
  const named = location.hash.slice(1);
  return VIEWS.includes(named) ? named : "live";
}

function writeTitle() {
  document.title = session.signedIn ? `${t(`nav_${view()}`)} · UICPS Edge Agent` : "UICPS Edge Agent";
}

/** Show the view that the address names. */
function turn() {
  const name = view();
  for (const each of VIEWS) {
    $(`view-${each}`).hidden = each !== name;
    const tab = $(`tab-${each}`);
    if (each === name) {
      tab.setAttribute("aria-current", "page");
      tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else tab.removeAttribute("aria-current");
  }
  plot.look(name === "plot");
  download.look(name === "export");
  reports.look(name === "reports");
  climate.tick();
  devices.tick();
  writeTitle();
}

function enter() {
  $("login").hidden = $("setup").hidden = true;
  $("sign-out").hidden = false;
  $("site").hidden = $("views").hidden = $("factor-open").hidden = session.mustEnrol;
  if (session.mustEnrol) return factor.open();
  writeLink();
  turn();
  live.start();
  status.ask();
}

function leave(reason) {
  live.stop();
  factor.close();
  for (const each of [devices, climate, alarms, jobs, download, reports, image, status]) each.clear();
  $("site").hidden = $("views").hidden = $("sign-out").hidden = $("factor-open").hidden = true;
  $("login").hidden = false;
  $("totp-ask").hidden = true;
  $("totp").value = "";
  $("login-error").textContent = reason && t(reason);
  $("password").value = "";
  writeLink();
  writeTitle();
  ($("user").value ? $("password") : $("user")).focus();
}

function loginFault(error) {
  if (!(error instanceof Refusal)) return t("unreachable");
  return known(error.code) ? t(error.code, { s: error.retryAfterS }) : refused(error);
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
addEventListener("hashchange", () => {
  turn();
  if (session.signedIn) $(`view-${view()}`).querySelector("h1").focus();
});

session.addEventListener("in", enter);
session.addEventListener("out", (event) => leave(event.detail));
plot.addEventListener("chosen", () => devices.mark());
live.addEventListener("state", (event) => {
  link = event.detail;
  writeLink();
});
live.addEventListener("points", (event) => {
  image.show(event.detail);
  for (const each of [devices, plot, climate, download, reports]) each.show(event.detail);
  devices.take({ readings: image.readings });
});
live.addEventListener("welcome", (event) => {
  for (const each of [image, climate, alarms, jobs, reports]) each.welcome(event.detail);
  plot.again();
});
live.addEventListener("readings", (event) => {
  for (const each of [image, devices, plot]) each.take(event.detail);
  if (image.strange(event.detail)) live.look();
});
live.addEventListener("commands", (event) => climate.news(event.detail));
live.addEventListener("alarms", (event) => alarms.news(event.detail));
live.addEventListener("jobs", (event) => jobs.news(event.detail));
document.addEventListener("visibilitychange", () => {
  devices.tick();
  climate.tick();
  status.ask();
});

writeAll();
if (session.signedIn) enter();
else {
  leave("");
  offerSetup(session);
}
