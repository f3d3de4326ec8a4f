// The button that replays the chosen dead letters: shows their number, enabled if there are any.

import { word } from "../words.js";

const view = document.querySelector("#view");

function count() {
  const button = view.querySelector("#chosen button");
  if (!button || button.form.matches("[aria-busy]")) return;
  const chosen = view.querySelectorAll("[form='chosen']:checked").length;
  const text = chosen ? word("dead_letters.replay_chosen", { count: chosen }) : button.dataset.label;
  button.disabled = chosen === 0;
  if (button.textContent !== text) button.textContent = text;
}

view.addEventListener("change", count);
view.addEventListener("done", count);
new MutationObserver(count).observe(view, { childList: true, subtree: true }); // the view was fetched again
count();
