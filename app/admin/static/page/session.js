// Requests of the page to its server. A 401 always means that the session has ended.

/** Go to the sign-in page, which leads back here. */
export function signIn() {
  location.assign(`/admin/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** `fetch` that goes to the sign-in page if the session has ended; its promise then stays pending. */
export async function ask(address, options) {
  const answer = await fetch(address, options);
  if (answer.status !== 401) return answer;
  signIn();
  return new Promise(() => {});
}
