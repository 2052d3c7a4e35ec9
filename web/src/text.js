// Every word of the page, in both languages, and how numbers and ages read in them.

import reasons from "../../agent/control/site/reasons.pt-BR.json";
import en from "./text/en.json";
import words from "./text/profiles.pt-BR.json";
import pt from "./text/pt-BR.json";
import refusals from "./text/refusals.pt-BR.json";

const TEXTS = { "pt-BR": pt, en };

const KEY = "uicps.language";
const preferred = () => (navigator.language.toLowerCase().startsWith("pt") ? "pt-BR" : "en");
const kept = localStorage.getItem(KEY);

export let language = kept in TEXTS ? kept : preferred();

export function chooseLanguage(name) {
  language = name;
  localStorage.setItem(KEY, name);
}

/** The text of `key`, with `{name}` replaced from `values`. */
export function t(key, values = {}) {
  return (TEXTS[language][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const known = (key) => key in TEXTS[language];

/** Put the texts into every element that names one. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-placeholder]")) element.placeholder = t(element.dataset.placeholder);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", t(element.dataset.label));
}

const formats = new Map();

function fixed(digits) {
  const key = `${language} ${digits}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return formats.get(key);
}

// More decimals than these are noise of the measurement; the exact value is a touch away.
const DIGITS = { "°C": 1, "%": 1, V: 1, Hz: 2, ppm: 0, A: 2, W: 0, VA: 0, var: 0 };
const FINE = 10; // below it, a decimal more

function digitsFor(size, unit) {
  if (unit in DIGITS) return DIGITS[unit] + (size < FINE && unit !== "°C" ? 1 : 0);
  return size >= 1000 ? 1 : size >= 10 ? 2 : 3;
}

/** A number for the eye; as many decimals for the next value as for this, or the column would dance. */
export function number(value, digits, unit = "") {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e12)) return value.toExponential(2);
  return fixed(digits ?? (Number.isInteger(value) && !(unit in DIGITS) ? 0 : digitsFor(size, unit))).format(value);
}

/** A word of a profile (a state, a common point's name), in the chosen language if it is known there. */
export const word = (text) => (language === "en" ? text : words[text] ?? text);

const inPortuguese = (text, phrases) => {
  const said = phrases.reduce((left, [english, own]) => left.replace(new RegExp(english, "g"), own.replaceAll("\\", "$")), text);
  return said.replace(/\d+(?:\.\d+)+/g, (found) => (found.split(".").length === 2 ? found.replace(".", ",") : found)); // no addresses
};

/** Why control did something: whole or in parts, as `uicps-agent control explain` says it. */
export const why = (reason) => (language === "en" ? reason : inPortuguese(reason, reasons));

/** Why something was not done, as far as the words are known. */
export const denied = (reason) => (language === "en" || !reason ? reason : inPortuguese(reason, refusals.phrases));

/** What a refusal says: its code has a text of its own where no detail is lost by that. */
export const refused = ({ code, message }) => (language === "en" ? message : refusals.codes[code] ?? denied(message));

// "on" is also the word for one of its values.
export const plain = ({ point }) => (point === "on" ? "on/off" : point.replaceAll("_", " "));

/** What a point is called: "voltage L1", "tensão L1"; its own name where no word is known. */
export function called(point) {
  const [, stem, phase = ""] = plain(point).match(/^(.*?)( l\d{1,2})?$/);
  if (language !== "en" && words[stem] === undefined) return point.point;
  return word(stem) + phase.toUpperCase();
}

/** What a device is called: its label, or for the agent's own what they are. */
export const titled = ({ device, label }) => (known(`own_${device}`) ? t(`own_${device}`) : label || device);

/** The value of a point as people read it. */
export function shown(value, point) {
  if (value === null || value === undefined) return t("noValue");
  if (point.states[value] !== undefined) return word(point.states[value]);
  return `${number(value, undefined, point.unit)} ${point.unit}`.trim();
}

/** The time of day. */
export function clock(ms, seconds) {
  const parts = { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }), hourCycle: "h23" };
  return new Date(ms).toLocaleTimeString(language, parts);
}

/** 7 s, 3 min, 5 h, 2 d. */
export function age(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

/** A size of a file: 30 kB, 1.2 MB. */
export const sizeOf = (bytes) => (bytes < 1e6 ? `${number(Math.ceil(bytes / 1e3), 0)} kB` : `${number(bytes / 1e6, 1)} MB`);

/** A length of time: 45 s, 12 min, 1 h 30 min, 3 d 4 h. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  if (hours < 48) return rest ? `${hours} h ${rest} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

/** When something was: the time if it was today, else the date too. */
export function instant(ms) {
  const date = new Date(ms);
  const time = clock(ms, true);
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString(language === "en" ? "en-GB" : language)} ${time}`;
}

/** A day or a month as files are named by, "2026-11-16" or "2026-11", as people read it; a time after it stays. */
export function calendar(text) {
  const found = /^(\d{4})-(\d\d)(?:-(\d\d))?(.*)$/.exec(text);
  if (!found) return text;
  const [, year, month, day, rest] = found;
  const shown = day ? { year: "numeric", month: "2-digit", day: "2-digit" } : { year: "numeric", month: "long" };
  const name = new Date(+year, month - 1, +(day ?? 1)).toLocaleDateString(language === "en" ? "en-GB" : language, shown);
  return `${name}${rest.replace("T", " ")}`;
}
