// The view's live part: fetched again as the server draws it, and changed into place. What somebody types in, has open
// or has focused stays as it is.

import { Idiomorph } from "../vendor/idiomorph/dist/idiomorph.esm.js";
import { ask } from "./session.js";
import { localise } from "./time.js";

const TRY_AGAIN_AFTER = 2000;
const ARRIVAL = { backgroundColor: ["var(--busy-ground)", "transparent"], easing: "ease-in" };
const FEW = 5; // rows that light up when they come; where many come at once nobody could follow them
const still = matchMedia("(prefers-reduced-motion: reduce)");
const view = document.querySelector("#view");
const problem = document.querySelector("#view-problem");
const hints = new Set(view.dataset.hints.split(" "));
const typedIn = new WeakSet(); // forms; what was typed is the reader's until it is sent or taken back

let fetching = false;
let wanted = false;
let retry = null;

/** Whether a message of this type says that the view may be out of date. */
export const isHint = (type) => hints.has(type);

/** Fetch the view again; asked meanwhile, once more. A page that nobody sees waits until it is seen. */
export async function refresh() {
  wanted = true;
  if (fetching || document.hidden) return;
  fetching = true;
  clearTimeout(retry);
  while (wanted) {
    wanted = false;
    const body = await fetched();
    problem.hidden = body !== null;
    if (body) show(body);
    else retry = setTimeout(refresh, TRY_AGAIN_AFTER);
  }
  fetching = false;
}

/** The view as it is now; null without an answer. */
async function fetched() {
  const address = new URL(location.href);
  address.searchParams.set("fragment", "1");
  const html = await ask(address).then((answer) => (answer.ok ? answer.text() : null), () => null);
  if (html === null) return null;
  const body = new DOMParser().parseFromString(html, "text/html").body;
  localise(body);
  return body;
}

function show(body) {
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

/** Whether a control says something else than the server gave it. */
function isChanged(control) {
  if (control instanceof HTMLSelectElement) {
    const given = [...control.options].findIndex((option) => option.defaultSelected);
    return control.selectedIndex !== Math.max(0, given);
  }
  if (control.type === "checkbox") return control.checked !== control.defaultChecked;
  return "defaultValue" in control && control.value !== control.defaultValue;
}

// Somebody may have been faster than this script, and a browser that goes back fills forms in as they were left.
for (const form of view.querySelectorAll("form")) if ([...form.elements].some(isChanged)) typedIn.add(form);
view.addEventListener("input", ({ target }) => target.form && typedIn.add(target.form));
for (const over of ["submit", "reset"]) view.addEventListener(over, ({ target }) => typedIn.delete(target));
document.addEventListener("visibilitychange", () => wanted && refresh());
