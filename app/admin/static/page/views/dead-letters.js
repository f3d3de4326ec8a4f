// The button for the chosen ones says how many they are, and is there to be pressed when there are any.

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
new MutationObserver(count).observe(view, { childList: true, subtree: true }); // the view was drawn anew
count();
