// Format times, ages and figures in the reader's language and time zone.

const LANGUAGE = document.documentElement.lang;
const TODAY = new Intl.DateTimeFormat(LANGUAGE, { timeStyle: "medium" });
const EARLIER = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "short", timeStyle: "medium" });
const FIGURE = new Intl.NumberFormat(LANGUAGE);
const DECIMAL = new Intl.NumberFormat(LANGUAGE, {
  maximumFractionDigits: 8,
  maximumSignificantDigits: 6,
  roundingPriority: "morePrecision",
});

/** Format seconds as "4 s", "3 min", "2 h", "5 d", like `age` in rendering.py. */
export function age(seconds) {
  if (seconds === null) return "–";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

/** Format a number as "12,345", like `number` in rendering.py. */
export function number(value) {
  return FIGURE.format(value);
}

/** Format a quantity or a price, given as text, as "1,234.5", like `decimal` in rendering.py. */
export function decimal(text) {
  return DECIMAL.format(text);
}

/** Convert every <time> below `root` from UTC to the reader's time zone. */
export function localise(root) {
  const today = new Date().toDateString();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    element.textContent = (moment.toDateString() === today ? TODAY : EARLIER).format(moment);
    element.title = element.dateTime;
  }
}
