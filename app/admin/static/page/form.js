// A form's fields: their values as JSON, their errors, and where errors are shown.

import { word } from "./words.js";

const NUMBERS = ["whole", "decimal", "decimals", "amount"];
const READERS = {
  switch: (field) => field.checked,
  whole: (field) => number(field.value),
  decimal: (field) => number(field.value),
  amount: (field) => decimalPoint(field.value) || null, // as text: a number of JavaScript loses digits
  decimals: (field) => (field.value.trim() === "" ? null : parts(field.value).map(number)),
  tickers: (field) => (field.value.trim() === "" ? null : lines(field.value).map((ticker) => ticker.toUpperCase())),
  words: (field) => (field.value.trim() === "" ? null : parts(field.value.replaceAll(",", " "))),
  lines: (field) => (field.value.trim() === "" ? null : lines(field.value)),
  secret: (field) => (field.value.trim() === "" ? null : field.value.trim()),
  ticker: (field) => field.value.trim().toUpperCase(),
  file: (field) => field.files[0],
};

/** Return the body to send: `data-body` and the named fields; in a form that changes values only those that differ. */
export function values(form, button) {
  const body = JSON.parse(form.dataset.body ?? "{}");
  if (button?.dataset.reset) {
    put(body, button.dataset.reset, null);
    return body;
  }
  for (const field of form.elements) {
    if (!field.name || (form.matches("[data-changed-only]") && !hasChanged(field))) continue;
    const value = (READERS[field.dataset.kind] ?? ((each) => each.value))(field);
    if (value instanceof File) return value;
    if (field.dataset.kind !== "listed") put(body, field.name, value);
    else if (field.checked) body[field.name].push(value);
  }
  return body;
}

/** Return whether every field is valid; else show the error at each field and focus the first one. */
export function check(form) {
  let first = null;
  for (const field of form.elements) {
    if (!field.name || field.type === "hidden") continue;
    const isGrouped = hasGroups(field);
    const right = field.validity.valid && !isGrouped && isReadable(field);
    const words = isGrouped ? word("field.grouped") : field.dataset.allowed || field.validationMessage;
    mark(field, right ? "" : words);
    if (!right) first ??= field;
  }
  first?.focus();
  return !first;
}

/** Remove the errors of all fields. */
export function unmark(form) {
  for (const field of form.elements) mark(field, "");
}

/** Show the refusal at the fields that it names; return the part that names none. */
export function markRefused(form, answer) {
  const { detail, place } = answer;
  const problems = Array.isArray(detail) ? detail.map(({ loc, msg }) => [loc.slice(1).join("."), msg]) : [[name(place), String(detail)]];
  const left = [];
  let first = null;
  for (const [where, words] of problems) {
    const field = where ? form.elements.namedItem(where) : null;
    if (!(field instanceof Element)) left.push(where && Array.isArray(detail) ? `${where}: ${words}` : words);
    else {
      mark(field, shortened(words, place));
      first ??= field;
    }
  }
  if (first) {
    first.focus();
    left.unshift(word("control.see_fields"));
  }
  return left.join(" · ");
}

function mark(field, words) {
  const problem = document.getElementById(`${field.id}-problem`);
  if (!problem) return;
  problem.textContent = words;
  problem.hidden = !words;
  if (words) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** Return the field of a place: "strategies[2].top_n" is the field "top_n" of the form's strategy. */
function name(place = "") {
  return place.replace(/^(strategies|sources|tokens|destinations)\[\d+\]\.?/, "").replace(/\[\d+\]$/, "");
}

/** Return the message without the names of file and field, which are clear at the field. */
function shortened(words, place) {
  const before = `${place}: `;
  const at = words.indexOf(before);
  return at < 0 ? words : words.slice(at + before.length);
}

/** Parse numbers within the limits, which the server checks too; an empty field means the default. */
function isReadable(field) {
  const { kind, low, above, high } = field.dataset;
  if (!NUMBERS.includes(kind)) return true;
  const given = kind === "amount" ? number(field.value) : READERS[kind](field);
  const right = (value) =>
    Number.isFinite(value) &&
    (kind !== "whole" || Number.isInteger(value)) &&
    (above !== undefined ? value > Number(low) : value >= Number(low)) &&
    value <= Number(high);
  return given === null || [given].flat().every(right);
}

/** Return whether a typed number may have a separator of thousands: "1,000" must not be read as 1. */
function hasGroups(field) {
  if (!NUMBERS.includes(field.dataset.kind) || !hasChanged(field)) return false;
  const separator = document.documentElement.lang === "en" ? "," : "\\.";
  const grouped = new RegExp(`^-?[1-9]\\d{0,2}(${separator}\\d{3})+$`);
  return parts(field.value).some((part) => grouped.test(part));
}

function hasChanged(field) {
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.tagName === "SELECT") return [...field.options].some((option) => option.selected !== option.defaultSelected);
  return field.value !== field.defaultValue;
}

/** Parse "0.5" or "0,5"; null for an empty text. */
function number(text) {
  return text.trim() === "" ? null : Number(decimalPoint(text));
}

function decimalPoint(text) {
  return text.trim().replace(",", ".");
}

/** Split at commas and ends of lines: a ticker may contain a space. */
function lines(text) {
  return text.split(/[\n,]/).map((line) => line.trim()).filter(Boolean);
}

function parts(text) {
  return text.trim().split(/[\s;]+/);
}

function put(body, path, value) {
  const names = path.split(".");
  const last = names.pop();
  let inner = body;
  for (const each of names) inner = inner[each] ??= {};
  inner[last] = value;
}
