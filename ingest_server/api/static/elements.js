// Elements from values. Text is only ever set as text, so a name that looks like HTML stays a name.

export function element(tag, options = {}, ...children) {
  return fill(document.createElement(tag), options, children);
}

export function drawn(tag, options = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), options, children);
}

function fill(made, { text, on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(name, value);
  for (const [event, handler] of Object.entries(on)) made.addEventListener(event, handler);
  if (text !== undefined) made.textContent = text;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}
