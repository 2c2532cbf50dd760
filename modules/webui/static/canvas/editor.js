// The stage's Edit state: the canvas with its tools under it.
import { say } from "../boot.js";
import { h, icon } from "../dom.js";
import { canvas, clearMask, onCanvas, redo, setFrame, undo } from "./document.js";
import { onTool, take, tool } from "./tool.js";
import { close, fit, open, repaint } from "./view.js";

const COLOURS = ["mask", "mask-2", "mask-3"];
let made = null; // {tools: [button], width, sides}

// An element that shows the canvas as soon as it is in the page.
export function editor(leave) {
  const board = h("div", { class: "board", tabindex: "-1", "aria-label": say("canvas.board") });
  const element = h("div", { class: "editor" }, board, tools(leave));
  requestAnimationFrame(() => open(board));
  return element;
}

export { close };

function tools(leave) {
  const pick = (name) => press(say(`canvas.${name}`), say(`canvas.${name}_hint`), () => take({ name }), { "data-tool": name, "aria-pressed": "false" });
  const buttons = ["paint", "erase", "frame"].map(pick);
  const width = h("input", { type: "range", min: "1", max: "512", "aria-label": say("canvas.width"), title: say("canvas.width_hint"), oninput: () => take({ width: Number(width.value) }) });
  const side = (name) => h("input", { type: "number", min: "64", max: "8192", step: "1", "aria-label": say(`canvas.frame_${name}`), onchange: () => frameTyped() });
  const sides = { width: side("width"), height: side("height") };
  made = { buttons, width, sides };
  const colours = COLOURS.map((name) => h("button", { class: `swatch ${name}`, type: "button", title: say("canvas.colour"), "aria-label": say("canvas.colour"), onclick: () => take({ colour: name }) }));
  draw();
  return h(
    "div",
    { class: "tools", role: "toolbar", "aria-label": say("canvas.tools") },
    buttons,
    h("span", { class: "for-brush" }, width, colours),
    h("span", { class: "for-frame" }, sides.width, "×", sides.height, press(say("canvas.whole"), say("canvas.whole_hint"), () => setFrame(null))),
    h("span", { class: "space" }),
    press(icon("undo"), say("canvas.undo"), undo),
    press(icon("redo"), say("canvas.redo"), redo),
    press(say("canvas.clear"), say("canvas.clear_hint"), clearMask),
    press(say("canvas.fit"), say("canvas.fit_hint"), fit),
    press(say("canvas.done"), say("canvas.done_hint"), leave, { class: "tool primary" }),
  );
}

function press(content, title, action, more = {}) {
  return h("button", { class: "tool", type: "button", title, "aria-label": title, ...more, onclick: action }, content);
}

function draw() {
  if (!made) return;
  for (const button of made.buttons) button.setAttribute("aria-pressed", String(button.dataset.tool === tool.name));
  made.width.value = String(tool.width);
  const { frame, size } = canvas();
  const box = frame ?? size;
  if (!box) return;
  made.sides.width.value = String(box.width);
  made.sides.height.value = String(box.height);
}

// A typed frame keeps the middle of the one before.
function frameTyped() {
  const { frame, size } = canvas();
  const box = frame ?? { left: 0, top: 0, ...size };
  const width = Math.max(64, Math.round(Number(made.sides.width.value)) || box.width);
  const height = Math.max(64, Math.round(Number(made.sides.height.value)) || box.height);
  setFrame({ left: Math.round(box.left + (box.width - width) / 2), top: Math.round(box.top + (box.height - height) / 2), width, height });
  fit();
}

onTool(() => (draw(), repaint()));
onCanvas(draw);
