// The head of the page: state and alarms, from the live messages.

import { keepInPlace } from "./place.js";
import { age, localise, number } from "./time.js";
import { word } from "./words.js";

let ahead = 0; // ms by which this machine's clock is ahead of the server's

export function showStatus(status) {
  ahead = Date.now() - Date.parse(status.at);
  fact("mode", status.mode, { "[data-word]": word(`mode.${status.mode}`) });
  for (const part of ["intake", "engine", "buys", "delivery"]) state(part, status[`${part}_paused`] ? "paused" : "running");
  for (const to of status.destinations) {
    const id = `fact-destination-${to.name}`;
    if (!document.getElementById(id)) continue; // it was added since the page was drawn
    const state = ["held", "unconfigured"].includes(to.state) ? to.state : "open";
    const origin = to.kind === "paper" ? word("destination.paper") : to.origin;
    fact(id, state, { "[data-word]": word(`state.${state}`), "[data-origin]": origin });
  }
  write(document, "[data-version]", status.version);
  write(document, "#fact-top-n [data-age]", age(status.top_n_age_seconds));
  frozen = status.engine_paused;
  showFreshness();
}

let list = null;
let frozen = false;

export function showTopN(received) {
  list = received;
  write(document, "#fact-top-n [data-count]", list.tickers.length);
  showFreshness();
}

function showFreshness() {
  if (!list) return;
  const known = list.max_age_seconds === null ? "fixed" : list.fresh ? "fresh" : "stale";
  const shown = list.last_update === null ? "none" : frozen ? "frozen" : known;
  fact("fact-top-n", shown, { "[data-word]": word(`top_n.${shown}`) });
}

export function showMetrics(metrics) {
  if ("last_signal_at" in metrics) {
    document.querySelector("#health [data-last]").dataset.at = metrics.last_signal_at ?? "";
    showLastSignal();
  }
  for (const [name, value] of Object.entries(metrics)) {
    for (const element of document.querySelectorAll(`[data-metric="${name}"]`)) {
      const text = name.endsWith("_seconds") ? age(value) : number(value);
      if (element.textContent !== text) element.textContent = text;
      element.dataset.value = value ?? 0;
    }
  }
}

/** Say how long ago the last signal came; called every second. */
export function showLastSignal() {
  const { at } = document.querySelector("#health [data-last]").dataset;
  const seconds = at && Math.max(0, (Date.now() - ahead - Date.parse(at)) / 1000);
  write(document, "#health [data-last]", at ? word("health.last", { age: age(seconds) }) : word("health.no_signal"));
}

function showHealth(alarms) {
  const pill = document.querySelector("#health");
  const isCritical = alarms.some(({ severity }) => severity === "critical");
  pill.dataset.state = isCritical ? "bad" : alarms.length ? "warn" : "good";
  const many = alarms.length === 1 ? word("health.one") : word("health.many", { count: alarms.length });
  write(pill, "[data-health]", alarms.length ? many : word("health.good"));
}

let drawn = null; // the alarms of the last message; the server drew those before the first one

export function showAlarms(alarms) {
  const shown = document.querySelector("#alarms");
  const received = JSON.stringify(alarms);
  const before = [...shown.children].map((each) => each.querySelector("[data-words]").textContent);
  const isSame = drawn === null ? JSON.stringify(alarms.map(words)) === JSON.stringify(before) : received === drawn;
  drawn = received;
  if (isSame) return; // a screen reader reads them again only if they changed
  const open = [...shown.querySelectorAll("details[open]")].map((each) => each.closest("li").dataset.code);
  keepInPlace(() => {
    shown.replaceChildren(...alarms.map(line));
    for (const each of shown.children) if (open.includes(each.dataset.code)) each.querySelector("details")?.setAttribute("open", "");
    localise(shown);
  });
  showHealth(alarms);
  fact("fact-alarms", alarms.length ? "some" : "none", { "[data-count]": alarms.length });
}

function words(alarm) {
  return `${alarm.text} ${alarm.action}`.trim();
}

/** The line that the server has drawn (templates/_alarms.html), filled with an alarm. */
function line(alarm) {
  const element = document.querySelector("#alarm").content.firstElementChild.cloneNode(true);
  const { code, severity, subject, since, settle_until: until, position_id: position } = alarm;
  Object.assign(element.dataset, { code, severity });
  write(element, "[data-words]", words(alarm));
  if (since) element.querySelector("time").dateTime = since;
  else element.querySelector("[data-since]").remove();
  fill(element.querySelector("[data-close]"), position && { position_id: position }, subject);
  fill(element.querySelector("[data-settle]"), until && { code, subject, until }, subject);
  unfold(element, alarm);
  return element;
}

/** Draw what an alarm stands for: the link to its list, and the lines of its members. */
function unfold(element, { code, omitted, members }) {
  for (const link of element.querySelectorAll("[data-list]")) if (!omitted || link.dataset.list !== code) link.remove();
  const folded = element.querySelector("[data-members]");
  if (!omitted) return folded.remove();
  const summary = folded.querySelector("summary");
  summary.textContent = summary.textContent.replace("{count}", number(members.length));
  folded.querySelector("ul").replaceChildren(...members.map(line));
}

function fill(part, body, subject) {
  if (!body) return part.remove();
  const form = part.querySelector("form");
  form.dataset.body = JSON.stringify(body);
  const name = (text) => text.replaceAll("{subject}", subject);
  for (const key of ["ask", "done", "none"]) if (form.dataset[key]) form.dataset[key] = name(form.dataset[key]);
  const button = form.querySelector("button");
  button.setAttribute("aria-label", name(button.getAttribute("aria-label")));
}

function state(part, value) {
  fact(`fact-${part}`, value, { "[data-word]": word(`state.${value}`) });
}

function fact(id, value, texts) {
  const element = document.getElementById(id);
  element.dataset.state = value;
  for (const [selector, text] of Object.entries(texts)) write(element, selector, text);
}

function write(root, selector, value) {
  const element = root.querySelector(selector);
  const text = String(value);
  if (element && element.textContent !== text) element.textContent = text;
}
