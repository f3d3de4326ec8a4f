// What-if of a strategy: the decisions of the last days again, with the values in its form.

import { check } from "../form.js";
import { drawList } from "../list.js";
import { send } from "../session.js";
import { decimal, number } from "../time.js";
import { word } from "../words.js";

const DAYS = 7;
const MOST_SHOWN = 50;
const TIME = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
const running = new WeakMap();

document.querySelector("#view").addEventListener("click", ({ target }) => {
  const box = target.closest("[data-what-if]");
  if (target.closest("[data-run]")) run(box);
  else if (target.closest("[data-cancel]")) running.get(box)?.abort();
});

async function run(box) {
  const form = box.closest("details").querySelector("form");
  if (running.has(box) || !check(form)) return;
  const stop = new AbortController();
  running.set(box, stop);
  show(box, []);
  busy(box, true);
  try {
    const answer = await send("/admin/what-if", wanted(box, form), { signal: stop.signal });
    if (!answer.ok) return say(box, refusal(await answer.json()), "bad");
    for await (const line of lines(answer.body)) {
      box.querySelector("progress").value = line.progress;
      if (line.problem) say(box, line.problem.detail, "bad");
      if (line.result) present(box, line.result);
    }
  } catch {
    if (stop.signal.aborted) say(box, word("strategies.what_if.cancelled"), "warn");
    else say(box, word("strategies.what_if.ended"), "bad");
  } finally {
    running.delete(box);
    busy(box, false);
  }
}

function wanted(box, form) {
  const now = Date.now();
  const value = (name) => Number(form.elements.namedItem(name).value) || null; // empty: as the strategy has it
  return {
    from: new Date(now - DAYS * 86400 * 1000).toISOString(),
    to: new Date(now).toISOString(),
    strategy: box.dataset.whatIf,
    top_n: value("top_n"),
    max_age_seconds: value("max_age_seconds"),
  };
}

/** Yield the lines of the answer as objects. */
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}

function present(box, { from, recorded_from: since, comparison }) {
  const { then, now, gaps, decisions, reproduced, removed, differences } = comparison;
  const differing = comparison.newly_approved + comparison.no_longer_approved + comparison.otherwise;
  const words = [];
  if (decisions === 0) words.push(word("strategies.what_if.none"));
  else words.push(word("strategies.what_if.approved", { then: number(then.approved), now: number(now.approved) }));
  if (then.result !== null || now.result !== null) {
    words.push(word("strategies.what_if.result", { then: amount(then.result), now: amount(now.result) }));
  }
  const span = { first: time(gaps.first), last: time(gaps.last) };
  if (gaps.too_shallow) words.push(word("strategies.what_if.shallow", { count: number(gaps.too_shallow), ...span }));
  if (gaps.no_list) words.push(word("strategies.what_if.no_list", { count: number(gaps.no_list), ...span }));
  if (removed) words.push(word("strategies.what_if.removed", { count: number(removed) }));
  if (reproduced < decisions) words.push(word("strategies.what_if.unlike", { count: number(decisions - reproduced) }));
  if (since && Date.parse(since) > Date.parse(from)) {
    words.push(word("strategies.what_if.since", { time: time(since) }));
  }
  if (differing > MOST_SHOWN) {
    words.push(word("strategies.what_if.first", { count: number(differing), shown: number(MOST_SHOWN) }));
  }
  say(box, words.join("\n"), reproduced < decisions ? "warn" : "good");
  show(box, differences.slice(0, MOST_SHOWN));
}

function show(box, differences) {
  drawList(box.querySelector("ul"), differences.map(({ signal_id: signal, ticker, then, now }) => ({
    signal,
    text: word("strategies.what_if.difference", { ticker, then: then.reason, now: now.reason }),
  })));
}

function amount(result) {
  return result === null ? "–" : decimal(result);
}

function time(moment) {
  return moment === null ? "" : TIME.format(new Date(moment));
}

function refusal({ detail }) {
  return Array.isArray(detail) ? detail.map(({ msg }) => msg).join(" · ") : String(detail);
}

function say(box, text, tone) {
  const output = box.querySelector("output");
  output.dataset.tone = tone;
  output.textContent = text;
}

function busy(box, is) {
  if (is) say(box, "", "good");
  box.querySelector("[data-run]").disabled = is;
  box.querySelector("[data-cancel]").hidden = !is;
  const progress = box.querySelector("progress");
  progress.hidden = !is;
  progress.value = 0;
}
