// Messages in one quiet line under the header, with at most two buttons; the newest three are shown.
import { h, icon } from "./dom.js";
import { say } from "./boot.js";

const SHOWN = 3;
const host = document.getElementById("notices");
const open = new Map(); // key -> element

// Show a message; one with the same key is replaced. `actions` are [text, function], `kind` "plain", "warn" or "err",
// `forMs` takes it away by itself, `onClosed` is called when a person closes it.
export function notice(key, text, { actions = [], kind = "plain", forMs = 0, closable = true, onClosed = () => {} } = {}) {
  dismiss(key);
  const line = h(
    "div",
    { class: `notice ${kind}`, role: kind === "err" ? "alert" : "status" },
    h("span", {}, text),
    actions.map(([name, press]) =>
      h("button", { class: "link", type: "button", onclick: () => (press(), dismiss(key)) }, name),
    ),
    closable &&
      h(
        "button",
        { class: "small", type: "button", "aria-label": say("notice.close"), onclick: () => (onClosed(), dismiss(key)) },
        icon("close"),
      ),
  );
  open.set(key, line);
  host.append(line);
  while (host.children.length > SHOWN) dismiss(open.keys().next().value);
  if (forMs) setTimeout(() => open.get(key) === line && dismiss(key), forMs);
}

export function dismiss(key) {
  open.get(key)?.remove();
  open.delete(key);
}

export function dismissNewest() {
  const key = [...open.keys()].pop();
  if (key) dismiss(key);
  return Boolean(key);
}
