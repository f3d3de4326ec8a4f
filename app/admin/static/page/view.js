// The view's live part: fetched again from the server and morphed into place. What the reader types in, has open or has
// focused stays as it is.

import { Idiomorph } from "../vendor/idiomorph/dist/idiomorph.esm.js";
import { keepInPlace, rowUnderPointer, withoutMoves } from "./place.js";
import { getFragment } from "./session.js";
import { word } from "./words.js";

const TRY_AGAIN_AFTER = 2000;
const ARRIVAL = { backgroundColor: ["var(--busy-ground)", "transparent"], easing: "ease-in" };
const FEW = 5; // new rows that are highlighted; more at once could not be followed
const still = matchMedia("(prefers-reduced-motion: reduce)");
const view = document.querySelector("#view");
const problem = document.querySelector("#view-problem");
const hints = new Set(view.dataset.hints.split(" "));
const typedIn = new WeakSet(); // forms with unsent input: it stays until it is sent or reset

let fetching = false;
let wanted = false;
let retry = null;

/** Return whether a message of this type means that the view may be out of date. */
export const isHint = (type) => hints.has(type);

/** Fetch the view again after what the reader did: its result is shown wherever the pointer is. */
export function refreshAfterAction() {
  isAsked = true;
  return refresh();
}

/** Fetch the view again; a call meanwhile fetches it once more. A hidden page waits until it is visible. */
export async function refresh() {
  wanted = true;
  if (fetching || document.hidden) return;
  fetching = true;
  clearTimeout(retry);
  while (wanted) {
    wanted = false;
    const body = await getFragment(location.href);
    problem.hidden = body !== null;
    if (body) show(body);
    else retry = setTimeout(refresh, TRY_AGAIN_AFTER);
  }
  fetching = false;
}

const fresh = document.querySelector("#fresh");
let isHeld = false; // rows are left out, or kept, because the pointer is on the list
let held = null; // that list
let isAsked = false; // the reader wants to see the new rows, wherever the pointer is

/** Show the fetched view. While the pointer is on a list, its rows stay where they are; the button says how many are new. */
function show(body) {
  const row = isAsked ? null : rowUnderPointer();
  isHeld = row !== null;
  if (isHeld) held = row.closest("tbody");
  const count = isHeld ? withoutMoves(row, body) : 0;
  fresh.hidden = count === 0;
  if (count) fresh.textContent = word("list.new", { count });
  if (isAsked) morph(body);
  else keepInPlace(() => morph(body));
  isAsked = false;
}

fresh.addEventListener("click", () => {
  isAsked = true;
  fresh.hidden = true;
  held.rows[0]?.scrollIntoView({ block: "center", behavior: "instant" }); // new rows come above it
  refresh();
});
view.addEventListener("pointerout", ({ pointerType, relatedTarget }) => {
  if (isHeld && pointerType === "mouse" && !view.contains(relatedTarget)) refresh();
});
addEventListener("scroll", () => isHeld && scrollY === 0 && refresh(), { passive: true });

function morph(body) {
  const added = [];
  Idiomorph.morph(view, body.childNodes, {
    morphStyle: "innerHTML",
    callbacks: {
      afterNodeAdded: (node) => node instanceof HTMLTableRowElement && added.push(node),
      beforeNodeMorphed: (old) => !isKept(old),
      beforeNodeRemoved: (old) => !isKept(old),
      beforeAttributeUpdated: (name, element) => !(name === "open" && element.matches("details")),
    },
  });
  if (added.length <= FEW && !still.matches) for (const row of added) row.animate(ARRIVAL, 1600);
}

function isKept(node) {
  if (!(node instanceof Element)) return false;
  return node.matches("dialog[open], [data-keep], :is(input, select, textarea):focus") || typedIn.has(node);
}

/** Return whether a control's value differs from the one that the server rendered. */
function isChanged(control) {
  if (control instanceof HTMLSelectElement) {
    const given = [...control.options].findIndex((option) => option.defaultSelected);
    return control.selectedIndex !== Math.max(0, given);
  }
  if (control.type === "checkbox") return control.checked !== control.defaultChecked;
  return "defaultValue" in control && control.value !== control.defaultValue;
}

// The reader may have typed before this script ran, and a browser that goes back restores the fields of a form.
for (const form of view.querySelectorAll("form")) if ([...form.elements].some(isChanged)) typedIn.add(form);
view.addEventListener("input", ({ target }) => target.form && typedIn.add(target.form));
for (const over of ["submit", "reset"]) view.addEventListener(over, ({ target }) => typedIn.delete(target));
document.addEventListener("visibilitychange", () => wanted && refresh());
