// Forms whose `data-send` names a route of the JSON API: asked first where they say so, sent once, answered in words.
// templates/_controls.html lists the attributes of a form.

import { confirm } from "./confirm.js";
import { check, markRefused, unmark, values } from "./form.js";
import { notice } from "./notice.js";
import { ask } from "./session.js";
import { refresh } from "./view.js";
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
 * Do what the form says, once: while it is under way its buttons are disabled, another submit does nothing, and the view
 * does not draw it anew; after a refusal, the page's own or the server's, it stays as it was typed.
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

/** The server's answer to what was wanted, null if it was refused, taken back, or would change nothing. */
async function proceed(form, body, button) {
  const { ask, typed, reason, countFirst, dryRun } = form.dataset;
  let question = ask && filled(ask, body);
  if (countFirst || dryRun) {
    const counted = await send(form, dryRun ? { ...body, [dryRun]: true } : body);
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
  return send(form, body);
}

/** Send; the decoded answer, or null after the refusal was said. */
async function send(form, body) {
  const { send: path, method = "POST", patient } = form.dataset;
  const file = body instanceof File;
  const pressed = [...form.elements].filter((element) => element.type === "submit" && !element.disabled);
  let response, answer;
  form.setAttribute("aria-busy", "true");
  for (const each of pressed) each.disabled = true;
  try {
    response = await ask(path, {
      method,
      headers: { "Content-Type": file ? "text/csv" : "application/json" },
      body: file ? body : JSON.stringify(body),
      signal: patient ? undefined : AbortSignal.timeout(SECONDS * 1000),
    });
    answer = await response.json();
  } catch {
    say(form, word("control.no_answer"), "bad"); // it may have arrived all the same
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
  refresh();
}

/** What was sent is what the server has: the next submit sends what changes from here. */
function keepAsSent(field) {
  if (field.type === "checkbox") field.defaultChecked = field.checked;
  else if (field.tagName === "SELECT") for (const option of field.options) option.defaultSelected = option.selected;
  else if ("defaultValue" in field) field.defaultValue = field.value;
}

/** In the form's own <output> where it has one, else at the foot of the page. */
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

/** A disabled button loses the focus, and a row that is gone takes it along; who has gone elsewhere stays there. */
function giveFocusBack(button) {
  const now = document.activeElement;
  if (document.querySelector("dialog[open]") || (now !== document.body && now !== button && now?.checkVisibility())) return;
  const target = button?.isConnected ? button : document.querySelector("#main");
  target.focus({ preventScroll: true });
}

function filled(text, answer) {
  return text.replace(/\{(\w+)\}/g, (place, name) => answer[name] ?? place);
}
