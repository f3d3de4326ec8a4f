// The list: fetched again on a hint, and changed row by row so that focus, selection and scrolling stay where they are.

import { localise } from "./time.js";

const list = document.querySelector("#list");
const problem = document.querySelector("#list-problem");
const source = new WeakMap(); // row → the HTML it was made from, before its times were localised

let fetching = false;
let wanted = false;

/** Fetch the list that the address asks for; a hint that comes meanwhile leads to one more fetch. */
export async function refresh() {
  wanted = true;
  if (fetching) return;
  fetching = true;
  while (wanted) {
    wanted = false;
    try {
      const answer = await fetch(`/admin/page/signals${location.search}`);
      if (!answer.ok) throw new Error(answer.statusText);
      show(new DOMParser().parseFromString(await answer.text(), "text/html").body);
      problem.hidden = true;
    } catch {
      problem.hidden = false; // the next hint or the next connection tries again
    }
  }
  fetching = false;
}

/** Remember what the rows of the first rendering were made from, then show their times as the reader's. */
export function adopt() {
  for (const row of list.querySelectorAll("tr[data-key]")) source.set(row, row.outerHTML);
  localise(list);
}

function show(fetched) {
  const rows = fetched.querySelectorAll("tbody tr");
  const body = list.querySelector("tbody");
  const present = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const next = [...rows].map((row) => {
    const html = row.outerHTML;
    const old = present.get(row.dataset.key);
    if (old && source.get(old) === html) return old;
    const focused = old?.contains(document.activeElement);
    const fresh = document.importNode(row, true);
    source.set(fresh, html);
    fresh.classList.add("fresh");
    localise(fresh);
    if (old) old.replaceWith(fresh);
    if (focused) fresh.querySelector("a").focus({ preventScroll: true });
    return fresh;
  });
  const kept = new Set(next);
  for (const row of [...body.rows]) if (!kept.has(row)) row.remove();
  next.forEach((row, index) => {
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  replace(".empty", fetched);
  replace(".paging", fetched);
}

function replace(selector, fetched) {
  const old = list.querySelector(selector);
  const fresh = fetched.querySelector(selector);
  if (old?.outerHTML === fresh?.outerHTML) return;
  old?.remove();
  if (fresh) list.append(document.importNode(fresh, true));
}
