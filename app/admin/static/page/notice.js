// The notice at the foot of the page: the result of the last action. Announced to screen readers; a success disappears.

const line = document.querySelector("#notice");
const GONE_AFTER = 8000;
let timer = null;

/** Show a notice; `tone` is "good" or "bad". A failure stays until the next notice or a click. */
export function notice(text, tone = "good") {
  clearTimeout(timer);
  line.dataset.tone = tone;
  line.textContent = text;
  if (tone === "good") timer = setTimeout(clear, GONE_AFTER);
}

function clear() {
  line.textContent = "";
}

line.addEventListener("click", clear);
