// What the reader points at stays under the pointer while the page changes around it.

const isTouch = matchMedia("(hover: none)");

/** The row under the pointer, or null. A finger rests nowhere: once the reader has scrolled, the row in the middle counts. */
export function rowUnderPointer() {
  if (!isTouch.matches) return document.querySelector("#view tbody tr:hover");
  const middle = scrollY > 0 ? document.elementFromPoint(innerWidth / 2, innerHeight / 2) : null;
  return middle?.closest("#view tbody tr") ?? null;
}

/** Make a change; then scroll by as much as it has moved the row under the pointer. */
export function keepInPlace(change) {
  const row = rowUnderPointer();
  const before = row?.getBoundingClientRect().top;
  change();
  if (row?.isConnected) scrollBy({ top: row.getBoundingClientRect().top - before, behavior: "instant" });
}

/** Let a fetched view keep the list of `row` as it is shown: the same rows, in their order. Return how many new ones wait.
 *
 * What has left the list stays in place, inert, until the pointer has gone. */
export function withoutMoves(row, fetched) {
  const ids = [...row.parentElement.rows].map((each) => each.id);
  const table = row.closest("table").getAttribute("aria-labelledby");
  const next = fetched.querySelector(`table[aria-labelledby="${CSS.escape(table)}"] tbody`);
  if (!next || ids.includes("")) return 0;
  const rows = new Map([...next.rows].map((each) => [each.id, each]));
  next.replaceChildren(...ids.map((id) => rows.get(id) ?? left(document.getElementById(id))));
  return [...rows.keys()].filter((id) => !ids.includes(id)).length;
}

function left(row) {
  const copy = row.cloneNode(true);
  copy.inert = true;
  copy.classList.add("left");
  return copy;
}
