// The head of the page: destination, Top-N, alarms and the numbers, from the messages that carry them.

import { age } from "./time.js";

const destination = document.querySelector("#destination");
const topN = document.querySelector("#top-n");

export function showStatus(status) {
  const to = status.destination;
  destination.className = `fact destination-${to.kind}`;
  write(destination, "[data-kind]", destination.dataset[to.kind]);
  write(destination, "[data-origin]", to.kind === "paper" ? destination.dataset.note : to.origin);
  write(destination, "[data-condition]", destination.dataset[to.state]);
  write(document, "[data-version]", status.version);
  write(topN, "[data-age]", age(status.top_n_age_seconds));
}

export function showTopN(list) {
  const word = list.last_update === null ? "none" : list.max_age_seconds === null ? "fixed" : list.fresh ? "fresh" : "stale";
  write(topN, "[data-count]", list.tickers.length);
  write(topN, "[data-freshness]", topN.dataset[word]);
  document.querySelector("#top-n-empty").hidden = list.tickers.length > 0;
  document.querySelector("#top-n-tickers").replaceChildren(...list.tickers.map(item));
}

export function showMetrics(metrics) {
  for (const [name, value] of Object.entries(metrics)) {
    write(document, `[data-metric="${name}"]`, name.endsWith("_seconds") ? age(value) : value);
    document.querySelector(`[data-metric="${name}"]`)?.classList.toggle("zero", value === 0);
  }
}

export function showAlarms(alarms) {
  const list = document.querySelector("#alarms");
  const same = JSON.stringify(alarms.map((alarm) => alarm.text)) === JSON.stringify([...list.children].map((line) => line.textContent));
  if (!same) list.replaceChildren(...alarms.map((alarm) => item(alarm.text))); // read out again only when they changed
}

function item(text) {
  const element = document.createElement("li");
  element.textContent = text;
  return element;
}

function write(root, selector, value) {
  const element = root.querySelector(selector);
  const text = String(value);
  if (element && element.textContent !== text) element.textContent = text;
}
