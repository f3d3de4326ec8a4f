// One line at the foot of the page: how what somebody just did ended. Read out, and gone after a while unless it failed.

const line = document.querySelector("#notice");
const GONE_AFTER = 8000;
let timer = null;

/** Say it; `tone` is "good" or "bad". What failed stays until the next notice or a click. */
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
