// A signal's timeline: any link with `data-story` opens it over the page; it is kept current while it is open.

import { ask } from "./session.js";
import { localise } from "./time.js";

const dialog = document.querySelector("#story");
let address = null;

/** Open the timeline that `link` leads to; without an answer, follow the link instead. */
async function open(link) {
  address = link.href;
  const opened = await load();
  if (!opened) location.assign(link.href);
  else if (!dialog.open) dialog.showModal();
}

/** Fetch the open timeline again. */
export function refresh() {
  if (dialog.open) load();
}

async function load() {
  const asked = address;
  try {
    const answer = await ask(`${asked}?fragment=1`);
    if (!answer.ok) return false;
    const fetched = new DOMParser().parseFromString(await answer.text(), "text/html").body;
    if (asked !== address) return true;
    localise(fetched);
    const held = dialog.contains(document.activeElement) && document.activeElement.matches(".close");
    dialog.replaceChildren(...document.importNode(fetched, true).childNodes);
    if (held) dialog.querySelector(".close").focus();
    return true;
  } catch {
    return false;
  }
}

// A click on a row counts as one on its link, except on buttons and fields in it.
document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const pressed = event.target.closest("a, button, input, select, label, summary");
  const link = pressed?.matches("[data-story]") ? pressed : event.target.closest("tr")?.querySelector("a[data-story]");
  if (!link || !plain || (pressed && pressed !== link) || getSelection().toString()) return;
  event.preventDefault();
  open(link);
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
