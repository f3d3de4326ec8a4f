// Requests of the page to its server. A 401 always means that the session has ended.

import { localise } from "./time.js";

const SLOW_AFTER = 400; // ms without an answer after which the page shows that it waits
let pending = 0;

/** Show at the top of the page that a request takes long, until none is pending. */
function watch(request) {
  pending += 1;
  const slow = setTimeout(() => (document.documentElement.dataset.waiting = ""), SLOW_AFTER);
  return request.finally(() => {
    clearTimeout(slow);
    pending -= 1;
    if (pending === 0) delete document.documentElement.dataset.waiting;
  });
}

/** `fetch` that goes to the sign-in page, which leads back here, if the session has ended; its promise then stays pending. */
async function ask(address, options) {
  const answer = await watch(fetch(address, options));
  if (answer.status !== 401) return answer;
  location.assign(`/admin/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  return new Promise(() => {});
}

/** Return what a GET request answers, read by `read`; null if the server is not reachable or refuses. */
export async function get(address, { read = (answer) => answer.json(), signal } = {}) {
  try {
    const answer = await ask(address, { signal });
    return answer.ok ? await read(answer) : null;
  } catch {
    return null;
  }
}

/** Return the body of a page's live part, with times in the reader's zone; null as `get`. */
export async function getFragment(href) {
  const address = new URL(href);
  address.searchParams.set("fragment", "1");
  const html = await get(address, { read: (answer) => answer.text() });
  if (html === null) return null;
  const { body } = new DOMParser().parseFromString(html, "text/html");
  localise(body);
  return body;
}

/** Send a file, or anything else as JSON; rejects without an answer. */
export function send(address, body, { method = "POST", signal } = {}) {
  const isFile = body instanceof File;
  return ask(address, {
    method,
    headers: { "Content-Type": isFile ? "text/csv" : "application/json" },
    body: isFile ? body : JSON.stringify(body),
    signal,
  });
}
