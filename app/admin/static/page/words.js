// The texts that scripts write: those whose keys begin with "script." in app/web/texts/.

const words = JSON.parse(document.querySelector("#words").textContent);

/** Return the text of a key (without "script."), its {places} filled from `values`. */
export function word(key, values = {}) {
  if (!(key in words)) throw new Error(`no text script.${key}`);
  return words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
