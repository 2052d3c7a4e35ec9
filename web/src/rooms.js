// What automatic control wants of each unit and why, of observed rooms too.

import { make } from "./element.js";
import { number, t, why, word } from "./text.js";

/** As `agent/control/site/points.py` calls them. */
const RUNGS = ["optimiser", "optimum start", "schedule", "own thermostat", "hands off"];

/** A row of a table for a decision of the status. */
export function roomRow(decision) {
  const said = [decision.alarm && why(decision.alarm), why(decision.reason)].filter(Boolean).join("; ");
  return make(
    "tr", { "data-room": decision.room },
    make("th", { scope: "row" }, `${decision.room}, ${decision.unit}`, ...(decision.mode === "observe" ? [make("small", {}, t("observedOnly"))] : [])),
    make("td", { class: decision.alarm ? "ill" : "well" }, word(RUNGS[decision.rung]), make("small", {}, said)),
    make("td", { class: "value", "data-head": t("wanted") }, wanted(decision)),
  );
}

function wanted({ on, setpoint_c, dry }) {
  if (on === null) return "–";
  if (!on) return word("off");
  return `${word(dry ? "dry" : "on")}, ${number(setpoint_c, 1, "°C")} °C`;
}
