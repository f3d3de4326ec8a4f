// Requests of the page to its own server. Whatever is asked, 401 means the same: the session has ended.

/** Go to the sign-in, and back here afterwards. */
export function signIn() {
  location.assign(`/admin/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** `fetch`, which leaves the page for the sign-in when the session has ended; then no answer ever comes. */
export async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.status !== 401) return answer;
  signIn();
  return new Promise(() => {});
}
