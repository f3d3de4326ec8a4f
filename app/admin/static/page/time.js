// Times, ages and figures as a reader wants them.

const LANGUAGE = document.documentElement.lang;
const TODAY = new Intl.DateTimeFormat(LANGUAGE, { timeStyle: "medium" });
const EARLIER = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "short", timeStyle: "medium" });
const FIGURE = new Intl.NumberFormat(LANGUAGE);

/** Seconds as "4 s", "3 min", "2 h", "5 d"; the same as `age` in rendering.py. */
export function age(seconds) {
  if (seconds === null) return "–";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

/** "12,345"; the same as `number` in rendering.py. */
export function number(value) {
  return FIGURE.format(value);
}

/** Turn every <time> below `root` from UTC into the reader's own time zone. */
export function localise(root) {
  const today = new Date().toDateString();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    element.textContent = (moment.toDateString() === today ? TODAY : EARLIER).format(moment);
    element.title = element.dateTime;
  }
}
