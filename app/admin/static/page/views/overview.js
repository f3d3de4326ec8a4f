// The charts of /admin/signals-history by the hour; their colours come from the legend's style.

import uPlot from "../../vendor/uplot/dist/uPlot.esm.js";
import { get } from "../session.js";
import { number } from "../time.js";
import { word } from "../words.js";

const REST = 15_000; // ms between two requests while signals arrive: the server counts all hours each time
const HEIGHT = 170;
const LANGUAGE = document.documentElement.lang;
const HOUR = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(LANGUAGE, { weekday: "short", day: "numeric" });
const MOMENT = new Intl.DateTimeFormat(LANGUAGE, { weekday: "short", hour: "2-digit", minute: "2-digit" });
const PERCENT = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 0 });
const SECONDS = new Intl.NumberFormat(LANGUAGE, { maximumSignificantDigits: 2 });

const charts = document.querySelector("#charts");
const spans = [...charts.querySelectorAll("[data-hours]")];
const decided = (hour) => hour.approved + hour.rejected;
const seconds = (value) => (value < 1 ? `${number(Math.round(value * 1000))} ms` : `${SECONDS.format(value)} s`);

/** By chart: the values of an hour, the format of its axis, and the caption of an hour with values. */
const KINDS = {
  "per-hour": {
    values: [(hour) => hour.received, (hour) => hour.forwarded],
    bars: true,
    axis: number,
    top: (highest) => Math.max(4, highest * 1.1),
    any: (hour) => hour.received > 0,
    say: (hour) => word("chart.per-hour", { received: number(hour.received), forwarded: number(hour.forwarded) }),
  },
  approval: {
    values: [(hour) => (decided(hour) ? hour.approved / decided(hour) : null)],
    axis: (value) => PERCENT.format(value),
    top: () => 1,
    any: (hour) => decided(hour) > 0,
    say: (hour) => word("chart.approval", { rate: PERCENT.format(hour.approved / decided(hour)), decided: number(decided(hour)) }),
  },
  latency: {
    values: [(hour) => hour.median_seconds, (hour) => hour.p95_seconds],
    axis: seconds,
    top: (highest) => Math.max(0.01, highest * 1.1),
    any: (hour) => hour.median_seconds !== null,
    say: (hour) => word("chart.latency", { median: seconds(hour.median_seconds), p95: seconds(hour.p95_seconds) }),
  },
};

const plots = new Map(); // by chart

let hours = [];
let asked = false;
let resting = false;

/** Fetch the counts now, or when the pause after the last request is over. */
async function refresh() {
  asked = true;
  if (resting || document.hidden) return;
  asked = false;
  resting = true;
  setTimeout(() => {
    resting = false;
    if (asked) refresh();
  }, REST);
  const span = spans.find((button) => button.ariaPressed === "true").dataset.hours;
  const counted = await get(`/admin/signals-history?hours=${span}`);
  if (counted) {
    hours = counted;
    draw();
  } else {
    asked = true;
    if (!hours.length) for (const plot of charts.querySelectorAll(".plot")) blank(plot, word("chart.failed"));
  }
}

/** Draw each chart in its own task: together they would block the reader's input. */
async function draw() {
  for (const figure of charts.querySelectorAll("figure")) {
    await new Promise((resolve) => setTimeout(resolve));
    drawFigure(figure);
  }
}

/** Draw all charts again with the colours of the other theme. */
function redraw() {
  for (const figure of [...plots.keys()]) remove(figure);
  draw();
}

function remove(figure) {
  plots.get(figure)?.destroy();
  plots.delete(figure);
}

function drawFigure(figure) {
  const kind = KINDS[figure.dataset.chart];
  const place = figure.querySelector(".plot");
  const latest = newest(kind);
  showHour(figure, latest);
  if (!latest) {
    remove(figure);
    blank(place, word("chart.none"));
    return;
  }
  blank(place, "");
  place.ariaLabel = `${figure.querySelector("h3").textContent}. ${caption(kind, latest)}`;
  const data = [hours.map((hour) => Date.parse(hour.hour) / 1000), ...kind.values.map((value) => hours.map(value))];
  if (plots.has(figure)) plots.get(figure).setData(data);
  else plots.set(figure, new uPlot(options(figure, kind, place.clientWidth), data, place));
}

/** Return the newest hour with values; undefined without one. */
function newest(kind) {
  return hours.findLast(kind.any);
}

function caption(kind, hour) {
  return `${moment(hour)}: ${kind.any(hour) ? kind.say(hour) : word("chart.none")}`;
}

function options(figure, kind, width) {
  const ink = colour(figure.querySelector("h3"));
  const line = colour(figure.querySelector(".keys"), "borderTopColor");
  const edge = kind.bars ? 1800 : 0; // half an hour, for the first and the last bar
  const axis = { stroke: ink, font: "12px Inter, system-ui, sans-serif", grid: { stroke: line, width: 1 }, ticks: { show: false } };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !kind.bars } },
    padding: [10, 20, 0, 0],
    scales: { x: { range: (_plot, from, to) => [from - edge, to + edge] }, y: { range: (_plot, _low, highest) => [0, kind.top(highest)] } },
    axes: [
      { ...axis, grid: { show: false }, values: (_plot, splits) => splits.map(label), space: 64, size: 30 },
      { ...axis, values: (_plot, splits) => splits.map(kind.axis), size: 58, space: 34 },
    ],
    series: [
      {},
      ...[...figure.querySelectorAll(".key")].map((key) => series(colour(key), kind.bars, key.dataset.dashed !== undefined)),
    ],
    hooks: {
      setCursor: [
        ({ cursor }) => {
          const hour = hours[cursor.idx];
          showHour(figure, !hour || cursor.left < 0 ? newest(kind) : hour);
        },
      ],
    },
  };
}

function series(stroke, bars, dashed) {
  if (bars) return { stroke, fill: stroke, width: 0, paths: uPlot.paths.bars({ size: [0.72, 28] }), points: { show: false } };
  return { stroke, width: 2, dash: dashed ? [5, 4] : undefined, points: { show: true, size: 5, fill: stroke, stroke }, spanGaps: false };
}

function label(split) {
  const at = new Date(split * 1000);
  return at.getHours() === 0 ? DAY.format(at) : HOUR.format(at);
}

function moment(hour) {
  return MOMENT.format(new Date(hour.hour));
}

function colour(element, property = "color") {
  return getComputedStyle(element)[property];
}

function blank(plot, text) {
  plot.ariaBusy = "false";
  plot.dataset.blank = text;
}

/** Say what an hour of the chart has, with the link to its signals; undefined: nothing. */
function showHour(figure, hour) {
  const [readout, link] = figure.querySelectorAll(".readout, .hour a");
  const text = hour ? caption(KINDS[figure.dataset.chart], hour) : "";
  if (readout.textContent !== text) readout.textContent = text;
  link.hidden = !hour;
  if (hour) link.href = listOf(hour);
}

function listOf(hour) {
  const end = new Date(Date.parse(hour.hour) + 3_600_000);
  return `/admin/page/signals?${new URLSearchParams({ from: hour.hour, to: end.toISOString() })}`;
}

// A click on a chart leads to the signals of the hour under the pointer.
charts.addEventListener("click", ({ target }) => {
  const figure = target.closest(".u-over") && target.closest("figure");
  if (figure) figure.querySelector(".hour a").click();
});

for (const button of spans) {
  button.addEventListener("click", () => {
    for (const each of spans) each.ariaPressed = String(each === button);
    resting = false;
    refresh();
  });
}
document.addEventListener("live", ({ detail }) => ["snapshot", "signals_changed"].includes(detail.type) && refresh());
document.addEventListener("visibilitychange", () => asked && refresh());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(() => {
  for (const plot of plots.values()) plot.setSize({ width: plot.root.parentElement.clientWidth, height: HEIGHT });
}).observe(charts);
refresh();
