// The panel over the stage: one at a time, it keeps the focus inside and gives it back when it closes.
import { say } from "./boot.js";
import { h, icon } from "./dom.js";

let panel = null;
let opener = null;

export function openPanel(name, top, body) {
  closePanel();
  opener = document.activeElement;
  const close = h(
    "button",
    { class: "small", type: "button", "aria-label": say("models.close"), onclick: closePanel },
    icon("close"),
  );
  panel = h(
    "div",
    { id: "panel", role: "dialog", "aria-modal": "true", "aria-label": name, onkeydown: trap },
    h("div", { class: "top" }, top, close),
    body,
  );
  document.body.append(panel);
  panel.querySelector("input, button").focus();
}

export function closePanel() {
  if (!panel) return false;
  panel.remove();
  panel = null;
  // the opener may have been drawn anew
  const again = opener?.dataset.key && document.querySelector(`[data-key="${CSS.escape(opener.dataset.key)}"]`);
  (opener?.isConnected ? opener : again)?.focus();
  return true;
}

function trap(event) {
  if (event.key !== "Tab") return;
  const stops = [...panel.querySelectorAll("button:not([disabled]), input:not([disabled]), textarea, summary")];
  const [edge, other] = event.shiftKey ? [stops[0], stops.at(-1)] : [stops.at(-1), stops[0]];
  if (document.activeElement !== edge) return;
  event.preventDefault();
  other.focus();
}
