// Requests of the page to its server. A 401 always means that the session has ended.

/** Go to the sign-in page, which leads back here. */
export function signIn() {
  location.assign(`/admin/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

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

/** `fetch` that goes to the sign-in page if the session has ended; its promise then stays pending. */
export async function ask(address, options) {
  const answer = await watch(fetch(address, options));
  if (answer.status !== 401) return answer;
  signIn();
  return new Promise(() => {});
}
