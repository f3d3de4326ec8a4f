// Forms whose `data-send` names a route of the JSON API: confirmed first where they require it, sent once, with the result as a message.
// templates/_controls.html lists the attributes of a form.

import { confirm } from "./confirm.js";
import { check, markRefused, unmark, values } from "./form.js";
import { notice } from "./notice.js";
import { send } from "./session.js";
import { refresh, refreshAfterAction } from "./view.js";
import { word } from "./words.js";

const SECONDS = 30;
const underWay = new WeakSet();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-send]")) return;
  event.preventDefault();
  act(form, event.submitter);
});

/**
 * Submit the form once. While the request runs, its buttons are disabled, another submit is ignored, and the view does not
 * replace it. After a refusal, by the page or the server, the form keeps what was typed.
 */
async function act(form, button) {
  if (underWay.has(form)) return;
  say(form, "");
  form.dataset.keep = "";
  if (!button?.dataset.reset && !check(form)) return;
  const body = values(form, button);
  if (form.matches("[data-changed-only]") && Object.keys(body).length === 0) {
    delete form.dataset.keep;
    return say(form, word("control.nothing_changed"), "warn");
  }
  underWay.add(form);
  const answer = await proceed(form, body, button).finally(() => underWay.delete(form));
  if (answer || !hasFields(form)) delete form.dataset.keep;
  if (answer) done(form, { ...body, ...answer });
  giveFocusBack(button);
}

/** Return the server's answer; null if the request was refused or cancelled, or would change nothing. */
async function proceed(form, body, button) {
  const { ask, typed, reason, countFirst, dryRun } = form.dataset;
  let question = ask && filled(ask, body);
  if (countFirst || dryRun) {
    const counted = await post(form, dryRun ? { ...body, [dryRun]: true } : body);
    if (!counted) return null;
    form.dispatchEvent(new CustomEvent("counted", { bubbles: true, detail: counted }));
    const numbers = { ...counted, blocked: counted.blocked?.length };
    if (counted.count === 0) {
      say(form, filled(form.dataset.none, numbers), "warn");
      return null;
    }
    if (countFirst) body[countFirst] = counted.count;
    question = filled(ask, numbers);
  }
  if (question) {
    const agreed = await confirm({ question, action: form.dataset.action ?? button.textContent.trim(), typed, reason });
    if (!agreed) return null;
    if (reason) body.reason = agreed.reason;
  }
  return post(form, body);
}

/** Send the request; return the decoded answer, or null after showing the refusal. */
async function post(form, body) {
  const { send: path, method, patient } = form.dataset;
  const pressed = [...form.elements].filter((element) => element.type === "submit" && !element.disabled);
  let response, answer;
  form.setAttribute("aria-busy", "true");
  for (const each of pressed) each.disabled = true;
  try {
    response = await send(path, body, { method, signal: patient ? undefined : AbortSignal.timeout(SECONDS * 1000) });
    answer = await response.json();
  } catch {
    say(form, word("control.no_answer"), "bad"); // the request may have arrived
    refresh();
    return null;
  } finally {
    for (const each of pressed) each.disabled = false;
    form.removeAttribute("aria-busy");
  }
  if (response.ok) return answer;
  const words = markRefused(form, answer);
  const explained = form.dataset[`refused${response.status}`] ?? word("control.refused");
  say(form, words ? `${explained} ${words}` : explained, "bad");
  refresh();
  return null;
}

function done(form, answer) {
  const nothing = form.dataset.counts && answer[form.dataset.counts] === 0;
  const words = filled(nothing ? form.dataset.none : form.dataset.done, answer);
  if (answer.warning) say(form, `${words} ${answer.warning}`, "warn");
  else say(form, words, nothing ? "warn" : "good");
  if (form.matches("[data-changed-only]:not([data-clear])")) for (const field of form.elements) keepAsSent(field);
  else form.reset();
  form.dispatchEvent(new CustomEvent("done", { bubbles: true, detail: answer }));
  refreshAfterAction();
}

/** Make the sent values the initial ones: the next submit sends only later changes. */
function keepAsSent(field) {
  if (field.type === "checkbox") field.defaultChecked = field.checked;
  else if (field.tagName === "SELECT") for (const option of field.options) option.defaultSelected = option.selected;
  else if ("defaultValue" in field) field.defaultValue = field.value;
}

/** Show a message in the form's own <output> if it has one, else at the foot of the page. */
function say(form, text, tone = "good") {
  const output = form.querySelector("output[data-outcome]");
  if (!output) {
    if (text) notice(text, tone);
    return;
  }
  output.dataset.tone = tone;
  output.textContent = text;
}

document.addEventListener("reset", ({ target: form }) => {
  if (!form.matches("form[data-send]")) return;
  delete form.dataset.keep;
  unmark(form);
});

function hasFields(form) {
  return [...form.elements].some((element) => element.name);
}

/** Restore the focus that a disabled button or a removed row has lost, unless another element has it. */
function giveFocusBack(button) {
  const now = document.activeElement;
  if (document.querySelector("dialog[open]") || (now !== document.body && now !== button && now?.checkVisibility())) return;
  const target = button?.isConnected ? button : document.querySelector("#main");
  target.focus({ preventScroll: true });
}

function filled(text, answer) {
  return text.replace(/\{(\w+)\}/g, (place, name) => answer[name] ?? place);
}
