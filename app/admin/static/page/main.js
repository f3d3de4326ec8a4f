// What /admin does with each message of the live line.

import { showAlarms, showMetrics, showStatus, showTopN } from "./head.js";
import { Live } from "./live.js";
import * as signals from "./signals.js";
import * as story from "./story.js";
import { age } from "./time.js";

const connection = document.querySelector("#connection");
const live = new Live();

function refetch() {
  signals.refresh();
  story.refresh();
}

const receive = {
  snapshot(all) {
    showStatus(all.status);
    showMetrics(all.metrics);
    showTopN(all.top_n);
    showAlarms(all.alarms);
    receive.positions_changed(all.positions);
    refetch();
  },
  status_update: showStatus,
  metrics_update: showMetrics,
  top_n_tickers_update: showTopN,
  alarm: showAlarms,
  positions_changed: (positions) => showMetrics({ open: positions.open }),
  signals_changed: refetch,
};

function showConnection() {
  const state = live.connected ? "live" : "lost";
  const words = [connection.dataset[state]];
  if (live.ageSeconds >= 3) words.push(connection.dataset.ageText.replace("{age}", age(live.ageSeconds)));
  const text = words.join(" · ");
  if (connection.dataset.state !== state) connection.dataset.state = state;
  if (connection.textContent !== text) connection.textContent = text;
}

connection.dataset.state = "connecting";
connection.textContent = connection.dataset.connecting;
live.addEventListener("message", ({ detail }) => {
  receive[detail.type]?.(detail.data);
  showConnection();
});
live.addEventListener("tick", showConnection);
live.addEventListener("signed-out", () => location.assign(`/admin/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`));
signals.adopt();
live.start();
