// The filter of a list: sent as soon as a choice is made, with the reader's time zone for "today" and "yesterday".

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const CHOSEN = "filter"; // in the tab's storage: the field that was changed, which keeps the focus on the list's new page

for (const form of document.querySelectorAll("form[data-filter]")) {
  form.addEventListener("change", ({ target }) => {
    if (!target.matches("select")) return; // a date changes with each digit that is typed
    sessionStorage.setItem(CHOSEN, target.name);
    form.requestSubmit();
  });
  form.addEventListener("submit", () => prepare(form));
  const chosen = sessionStorage.getItem(CHOSEN);
  if (chosen) form.elements.namedItem(chosen)?.focus({ preventScroll: true });
}
sessionStorage.removeItem(CHOSEN);

/** Leave out what is empty, so that the URL says what is chosen; a named period replaces two moments. */
function prepare(form) {
  const { period, zone } = form.elements;
  const isDay = ["today", "yesterday"].includes(period?.value);
  if (zone) zone.value = isDay ? ZONE : "";
  for (const field of form.elements) {
    const isReplaced = period?.value && ["from", "to"].includes(field.name) && field.type === "hidden";
    if (field.name && (field.value === "" || isReplaced)) field.disabled = true;
  }
}

// A browser that goes back restores what was typed and chosen, while the list is that of the URL: the URL counts.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-filter]")) {
    for (const field of form.elements) field.disabled = false;
    form.reset();
  }
});
