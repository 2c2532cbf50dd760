// Every key of the page in one table; ignored while an input method is composing.
import { post } from "./api.js";
import { closeWide } from "./beside.js";
import { redo, undo } from "./canvas/document.js";
import { switchTool, wider } from "./canvas/tool.js";
import { fit } from "./canvas/view.js";
import { closeDetails, focusSearch } from "./gallery.js";
import { press, ownRunning, stopOwn } from "./generate.js";
import { dismissNewest } from "./notices.js";
import { closePanel } from "./panel.js";
import { leaveSingle, move, setReal } from "./stage.js";
import { now } from "./store.js";
import { openTab, openedTab } from "./tabs.js";
import { weigh } from "./weights.js";

const writing = () => document.activeElement?.matches("textarea, input:not([type=radio], [type=checkbox], [type=range])");
const onCreate = () => openedTab() === "create";
const free = () => !writing() && !document.activeElement?.matches("input, select, [role=tab]");

const editing = () => free() && onCreate() && now().view.kind === "edit";

// keys as pressed, when they count, what they do; an action that returns false lets the key through
export const KEYS = [
  { keys: "Mod+Enter", run: () => press(false) },
  { keys: "Mod+Shift+Enter", run: () => press(true) },
  { keys: "Alt+Enter", run: skip },
  { keys: "Escape", run: escape },
  { keys: "Mod+ArrowUp", when: writing, run: () => weigh(0.1) },
  { keys: "Mod+ArrowDown", when: writing, run: () => weigh(-0.1) },
  { keys: "[", when: editing, run: () => wider(1 / 1.2) },
  { keys: "]", when: editing, run: () => wider(1.2) },
  { keys: "x", when: editing, run: switchTool },
  { keys: "Mod+z", when: editing, run: undo },
  { keys: "Mod+Shift+z", when: editing, run: redo },
  { keys: "ArrowRight", when: () => free() && onCreate(), run: () => move(1) },
  { keys: "ArrowLeft", when: () => free() && onCreate(), run: () => move(-1) },
  { keys: "0", when: editing, run: fit },
  { keys: "0", when: () => free() && onCreate(), run: () => setReal(false) },
  { keys: "1", when: () => free() && onCreate(), run: () => setReal(true) },
  { keys: "g", when: free, run: () => openTab(onCreate() ? "gallery" : "create") },
  { keys: "/", when: free, run: focusSearch },
];

export function start() {
  addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    const pressed = nameOf(event);
    const row = KEYS.find((candidate) => candidate.keys === pressed && (!candidate.when || candidate.when()));
    if (!row || row.run() === false) return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
}

function nameOf(event) {
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Mod");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && (event.key.length > 1 || parts.length)) parts.push("Shift");
  parts.push(event.key.length === 1 ? event.key.toLowerCase() : event.key);
  return parts.join("+");
}

function skip() {
  const own = ownRunning();
  if (!own) return false;
  post(`jobs/${own}/skip`);
  return true;
}

// Close what is open, the innermost first; with nothing open, stop this workspace's running job.
function escape() {
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.removeAttribute("open");
    menu.querySelector("summary").focus();
    return true;
  }
  if (document.querySelector("[role=combobox][aria-expanded=true]")) return false;
  return closePanel() || closeWide() || closeDetails() || leaveSingle() || dismissNewest() || (onCreate() && stopOwn());
}
