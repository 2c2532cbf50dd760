// Making elements, waiting for Gradio's, and the few icons; text always goes in as text, never as HTML.
const SVG = "http://www.w3.org/2000/svg";

// h("button", {class: "x", onclick: f}, "text", child): properties that start with "on" are listeners.
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const ICONS = {
  dice: "M4 4h12v12H4zM7.5 7.5h.01M12.5 12.5h.01M10 10h.01M12.5 7.5h.01M7.5 12.5h.01",
  again: "M15.5 8A6 6 0 1 0 16 11M16 4v4h-4",
  close: "M5 5l10 10M15 5L5 15",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  theme: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  down: "M6 8l4 4 4-4",
  reset: "M4.5 8A6 6 0 1 1 4 11M4 4v4h4",
  wide: "M4 8V4h4M16 12v4h-4M4 4l5 5M16 16l-5-5",
  grip: "M7 6h.01M7 10h.01M7 14h.01M13 6h.01M13 10h.01M13 14h.01",
  pause: "M7 5v10M13 5v10",
  play: "M7 5l8 5-8 5z",
  undo: "M5 8h7a4 4 0 0 1 0 8H8M5 8l3-3M5 8l3 3",
  redo: "M15 8H8a4 4 0 0 0 0 8h4M15 8l-3-3M15 8l-3 3",
  search: "M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4zM13 13l4 4",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// Replace an element's children, keeping the focus on the child with the same data-key.
export function fill(host, ...children) {
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  host.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  if (focused) host.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// Gradio mounts a tab's or fold's content only when it is first opened: this resolves when the element is there.
export function appears(selector) {
  const found = document.querySelector(selector);
  if (found) return Promise.resolve(found);
  return new Promise((resolve) => {
    const watcher = new MutationObserver(() => {
      const now = document.querySelector(selector);
      if (!now) return;
      watcher.disconnect();
      resolve(now);
    });
    watcher.observe(document.body, { childList: true, subtree: true, attributeFilter: ["id"] });
  });
}

// Say something to people who listen to the page.
export function announce(text) {
  const region = document.getElementById("announce");
  region.textContent = "";
  requestAnimationFrame(() => (region.textContent = text));
}
