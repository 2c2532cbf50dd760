// The column's width: dragged between 340 and 640 px, kept in the browser, 400 by a double click.
const LIMITS = [340, 640];
const KEY = "atelier-column";

export function start() {
  const kept = Number(localStorage.getItem(KEY));
  if (kept) set(kept);
  const handle = document.createElement("div");
  handle.id = "column_handle";
  document.getElementById("create").append(handle);
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    handle.onpointermove = (moved) => set(moved.clientX);
  });
  handle.addEventListener("pointerup", () => {
    handle.onpointermove = null;
    localStorage.setItem(KEY, getComputedStyle(document.documentElement).getPropertyValue("--column").replace("px", ""));
  });
  handle.addEventListener("dblclick", () => {
    localStorage.removeItem(KEY);
    document.documentElement.style.removeProperty("--column");
  });
}

function set(width) {
  const bounded = Math.min(Math.max(Math.round(width), LIMITS[0]), LIMITS[1]);
  document.documentElement.style.setProperty("--column", `${bounded}px`);
}
