// Lists that scripts write below a form.

/** Replace the entries of a list, {text, signal}: that of a signal is a link to its timeline. A list without entries is hidden. */
export function drawList(list, entries) {
  list.replaceChildren(...entries.map(({ text, signal }) => {
    const item = document.createElement("li");
    item.append(signal ? link(signal, text) : text);
    return item;
  }));
  list.hidden = entries.length === 0;
}

function link(signal, text) {
  const element = document.createElement("a");
  element.href = `/admin/page/signals/${signal}`;
  element.dataset.story = "";
  element.textContent = text;
  return element;
}
