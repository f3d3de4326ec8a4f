// What every page does: keeps the WebSocket, updates the head from its messages, fetches the view again on its hints.
// Each message is also dispatched on `document` as a "live" event, for the scripts of single views.

import "./filter.js";
import { showAlarms, showLastSignal, showMetrics, showStatus, showTopN } from "./head.js";
import { Live } from "./live.js";
import * as story from "./story.js";
import { age, localise } from "./time.js";
import { isHint, refresh } from "./view.js";
import { word } from "./words.js";

const OLD_AFTER = 3; // seconds
const connection = document.querySelector("#connection");
const stale = document.querySelector("#stale");
const live = new Live();

const receive = {
  snapshot(all) {
    showStatus(all.status);
    showMetrics({ ...all.metrics, open: all.positions.open });
    showTopN(all.top_n);
    showAlarms(all.alarms);
    refresh();
    story.refresh();
  },
  status_update(status) {
    showStatus(status);
    showAlarms(status.alarms);
    story.refreshWaits();
  },
  metrics_update: showMetrics,
  top_n_tickers_update: showTopN,
  // All others arrive with the status of the same moment, so that head and alarms are consistent.
  alarm: (alarms) => alarms.some(({ code }) => code === "database_away") && showAlarms(alarms),
  positions_changed: (positions) => showMetrics({ open: positions.open }),
  signals_changed: story.refresh,
};

function showConnection() {
  const state = live.connected ? "live" : "lost";
  const old = live.ageSeconds >= OLD_AFTER;
  if (connection.dataset.state !== state) connection.dataset.state = state;
  say(connection, word(`connection.${state}`));
  stale.hidden = live.connected && !old;
  if (!stale.hidden) say(stale, word("connection.age", { age: age(live.ageSeconds) }));
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

connection.dataset.state = "connecting";
say(connection, word("connection.connecting"));
live.addEventListener("message", ({ detail }) => {
  receive[detail.type]?.(detail.data);
  if (isHint(detail.type)) refresh();
  document.dispatchEvent(new CustomEvent("live", { detail }));
  showConnection();
});
live.addEventListener("tick", () => {
  showConnection();
  showLastSignal();
});
showLastSignal();
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  document.querySelector("#find").focus();
});
localise(document);
document.querySelector(".views [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
live.start();
