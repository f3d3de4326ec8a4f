// The button for the chosen ones says how many they are, and is there to be pressed when there are any.

import { word } from "../words.js";

const view = document.querySelector("#view");

function count() {
  const button = view.querySelector("#chosen button");
  if (!button) return;
  const chosen = view.querySelectorAll("[form='chosen']:checked").length;
  button.disabled = chosen === 0;
  button.textContent = chosen ? word("dead_letters.replay_chosen", { count: chosen }) : button.dataset.label;
}

view.addEventListener("change", count);
view.addEventListener("shown", count);
view.addEventListener("done", count);
count();
