// The rows of an imported file that were not imported, below the form.

import { drawList } from "../list.js";
import { word } from "../words.js";

const box = document.querySelector("#bad-rows");
const form = document.querySelector("#import-form");

form.addEventListener("submit", () => (box.hidden = true));
form.addEventListener("done", ({ detail: { bad_rows: rows } }) => {
  box.hidden = rows.length === 0;
  drawList(box.querySelector("ol"), rows.map(({ line, reason }) => ({ text: word("database.bad_row", { line, reason }) })));
});
