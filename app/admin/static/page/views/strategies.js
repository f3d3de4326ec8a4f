// What reprocessing would approve and skip, below its form, before it is confirmed.

import { word } from "../words.js";
import "./what-if.js";

const form = document.querySelector("#reprocess-form");
const list = document.querySelector("#reprocess-found");

form.addEventListener("submit", () => (list.hidden = true));
form.addEventListener("counted", ({ detail: { signals, skipped } }) => {
  list.replaceChildren(
    ...signals.map(({ signal_id: id, ticker, rank }) => {
      const link = document.createElement("a");
      link.href = `/admin/page/signals/${id}`;
      link.dataset.story = "";
      link.textContent = word("strategies.would_approve", { ticker, rank });
      return item(link);
    }),
    ...skipped.map(({ ticker, reason }) => item(word("strategies.would_skip", { ticker, reason }))),
  );
  list.hidden = false;
});

function item(content) {
  const element = document.createElement("li");
  element.append(content);
  return element;
}
