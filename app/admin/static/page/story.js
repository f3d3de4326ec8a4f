// A signal's timeline: any link with `data-story` opens it over the page; it is kept current while it is open.
// The open timeline is in the URL's fragment, so that Back closes it and a reload keeps it.

import { notice } from "./notice.js";
import { getFragment } from "./session.js";
import { word } from "./words.js";

const FRAGMENT = "#signal=";
const PATH = "/admin/page/signals/";
const dialog = document.querySelector("#story");
const view = document.querySelector("#view");
let address = null;

/** Open the timeline that `link` leads to; without an answer, follow the link instead. */
async function open(link) {
  if (!(await show(link.href))) return location.assign(link.href);
  const state = { story: link.href };
  const here = `${location.pathname}${location.search}${FRAGMENT}${link.href.split("/").at(-1)}`;
  if (history.state?.story) history.replaceState(state, "", here);
  else history.pushState(state, "", here);
}

async function show(href) {
  address = href;
  const loaded = await load();
  if (loaded && !dialog.open) dialog.showModal();
  return loaded;
}

/** Fetch the open timeline again. */
export function refresh() {
  if (dialog.open) load();
}

/** Fetch it again if it says why its signal waits: that changes without a change of the signal. */
export function refreshWaits() {
  if (dialog.open && dialog.querySelector("[data-waits]")) load();
}

async function load() {
  const asked = address;
  const fetched = await getFragment(asked);
  if (!fetched) return false;
  if (asked !== address || (dialog.open && isBusy())) return true;
  stayInList(fetched);
  const held = dialog.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
  dialog.replaceChildren(...document.importNode(fetched, true).childNodes);
  if (held) (dialog.querySelector(held) ?? dialog.querySelector(".close"))?.focus();
  return true;
}

/** Return whether an action of the timeline is being confirmed or sent: it must not be replaced meanwhile. */
function isBusy() {
  return dialog.querySelector("[aria-busy]") !== null || document.querySelector("#confirm").open;
}

function selectorOf(element) {
  for (const name of ["copy", "newer", "older"]) {
    if (name in element.dataset) return element.dataset[name] ? `[data-${name}="${element.dataset[name]}"]` : `[data-${name}]`;
  }
  return ".close";
}

/** Let Newer and Older follow the list behind the timeline, with its filter, where the signal is in it. */
function stayInList(fetched) {
  const links = [...view.querySelectorAll("tr a[data-story]")].filter((each) => each.closest("th"));
  const at = links.findIndex((each) => each.href === address);
  if (at < 0) return;
  for (const [name, to] of [["newer", links[at - 1]], ["older", links[at + 1]]]) {
    const link = fetched.querySelector(`[data-${name}]`);
    if (link && to) link.setAttribute("href", to.getAttribute("href"));
    else link?.remove();
  }
}

// A click on a row counts as one on its link, except on buttons and fields in it.
document.addEventListener("click", (event) => {
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  const pressed = event.target.closest("a, button, input, select, label, summary");
  const link = pressed?.matches("[data-story]") ? pressed : event.target.closest("tr")?.querySelector("a[data-story]");
  if (!link || !plain || (pressed && pressed !== link) || getSelection().toString()) return;
  if (!dialog.open && document.querySelector("main .story")) return; // the page is a timeline itself
  event.preventDefault();
  open(link);
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

dialog.addEventListener("close", () => {
  if (!history.state?.story) return;
  if (history.state.isFirst) history.replaceState(null, "", location.pathname + location.search);
  else history.back();
});

addEventListener("popstate", ({ state }) => {
  if (state?.story) show(state.story);
  else if (dialog.open) dialog.close();
});

if (location.hash.startsWith(FRAGMENT)) {
  const story = history.state?.story ?? `${location.origin}${PATH}${location.hash.slice(FRAGMENT.length)}`;
  if (!history.state?.story) history.replaceState({ story, isFirst: true }, "");
  show(story);
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const kind = button.dataset.copy;
  const text = kind === "link" ? `${location.origin}${button.dataset.path}` : curl(button);
  const copied = await copy(text, button);
  if (copied) notice(word(`story.copied_${kind}`));
  else notice(word("story.not_copied"), "bad");
});

/** Return the command that posts the same alert again; the secret comes from the reader's own shell. */
function curl(button) {
  const body = button.closest("dialog, .story").querySelector(".body").textContent;
  const quoted = `'${body.replaceAll("'", String.raw`'\''`)}'`;
  const header = `-H 'Content-Type: application/json' -H "X-Webhook-Secret: $WEBHOOK_SECRET"`;
  return `curl -sS ${header} --data-binary ${quoted} '${location.origin}/webhook/in'`;
}

/** Copy a text; without the clipboard of a secure connection by a field that is selected. */
async function copy(text, button) {
  if (navigator.clipboard) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.ariaHidden = "true";
  button.after(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  button.focus();
  return copied;
}
