// Parts of the page that open below the picture, such as the film, and what they are made of.

import { element } from "./panel.js";

/** Fill a section with a title and its parts. */
export function room(section, title, parts) {
  section.append(element("h2", { textContent: title }), element("div", { className: "parts" }, ...parts));
}

/** A select of [value, text] pairs. */
export function choice(id, pairs, value, onchange) {
  const select = element("select", { id, onchange }, ...pairs.map(([each, text]) => element("option", { value: each, textContent: text })));
  select.value = value;
  return select;
}

/** An input with its name before it. */
export const field = (text, input) => element("label", { className: "field" }, element("span", { textContent: text }), input);

/** Give a canvas the size of a bitmap. */
export function size(canvas, bitmap) {
  if (canvas.width === bitmap.width && canvas.height === bitmap.height) return;
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
}

/** A value in the browser's own storage; `fits` tells whether what is found there is one. */
export function stored(key, fits) {
  return {
    load() {
      try {
        const found = JSON.parse(localStorage.getItem(key));
        return fits(found) ? found : null;
      } catch {
        return null;
      }
    },
    save(value) {
      try {
        localStorage.setItem(key, JSON.stringify(value));
      } catch {
        // A full or forbidden storage: the value stays as long as the page.
      }
    },
  };
}
