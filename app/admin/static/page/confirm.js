// The confirmation dialog of actions that cannot be undone, rendered by the server (templates/_controls.html).

import { word } from "./words.js";

/**
 * Show the dialog; resolve to null if it is cancelled, else to what was entered: {reason}.
 *
 * `action`: the label of the button; `typed`: a word that must be typed first; `reason`: the label of a required text.
 */
export function confirm({ question, action, typed = "", reason = "" }) {
  const dialog = document.querySelector("#confirm");
  const form = dialog.querySelector("form");
  const proceed = dialog.querySelector("[data-proceed]");
  const [typing, giving] = [dialog.querySelector("[data-typed]"), dialog.querySelector("[data-reason]")];
  const asked = [typing, giving].map((label) => label.querySelector("input, textarea"));
  dialog.querySelector("[data-title]").textContent = action;
  dialog.querySelector("[data-question]").textContent = question;
  proceed.textContent = action;
  proceed.classList.toggle("danger", Boolean(typed));
  typing.hidden = !typed;
  typing.querySelector("[data-words]").textContent = word("confirm.type", { word: typed });
  giving.hidden = !reason;
  giving.querySelector("[data-words]").textContent = reason;
  for (const field of asked) field.value = "";

  const ready = () => (!typed || same(asked[0].value, typed)) && (!reason || asked[1].value.trim() !== "");
  const check = () => (proceed.disabled = !ready());
  check();
  return new Promise((resolve) => {
    const over = new AbortController();
    let answer = null;
    form.addEventListener("input", check, { signal: over.signal });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!ready()) return;
      answer = { reason: asked[1].value.trim() };
      dialog.close();
    }, { signal: over.signal });
    dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close(), { signal: over.signal });
    dialog.addEventListener("close", () => {
      over.abort();
      resolve(answer);
    }, { signal: over.signal });
    dialog.showModal();
    (typed ? asked[0] : reason ? asked[1] : dialog.querySelector("[data-cancel]")).focus();
  });
}

function same(given, expected) {
  return given.trim().toLocaleLowerCase() === expected.toLocaleLowerCase();
}
