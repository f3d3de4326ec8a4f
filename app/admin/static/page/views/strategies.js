// What reprocessing would approve and skip, below its form, before it is confirmed.

import { drawList } from "../list.js";
import { word } from "../words.js";
import "./what-if.js";

const form = document.querySelector("#reprocess-form");
const list = document.querySelector("#reprocess-found");

form.addEventListener("submit", () => (list.hidden = true));
form.addEventListener("counted", ({ detail: { signals, skipped } }) => {
  drawList(list, [
    ...signals.map(({ signal_id: signal, ticker, rank }) => ({ signal, text: word("strategies.would_approve", { ticker, rank }) })),
    ...skipped.map(({ ticker, reason }) => ({ text: word("strategies.would_skip", { ticker, reason }) })),
  ]);
});
