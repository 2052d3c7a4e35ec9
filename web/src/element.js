// Making elements, and finding those of index.html.

export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A long name may break after an underscore. */
export const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]);

/** Write `text` only if it differs: a screen reader would read the same again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
