// The canvas on the stage: the picture, the mask over it and the frame, drawn by Konva; looked at from anywhere.
import { boot } from "../boot.js";
import { h } from "../dom.js";
import { add, base, canvas, onCanvas, picture, setFrame } from "./document.js";
import { render, segment } from "./paint.js";
import { tool } from "./tool.js";

const DRAWN_MOST = 2048; // pixels a side of what is shown; what is sent has the picture's own
const CLOSEST = 32;
const MARGIN = 32;
let Konva = null;
let shown = null; // {stage, mask, context, scale, host...} while the canvas is open
let spaced = false;

async function load() {
  if (globalThis.Konva) return globalThis.Konva;
  await new Promise((resolve, reject) => {
    document.head.append(h("script", { src: `${boot.static}vendor/konva.min.js`, onload: resolve, onerror: reject }));
  });
  return globalThis.Konva;
}

// Show the canvas inside a host until `close`.
export async function open(host) {
  Konva = await load();
  if (!host.isConnected) return;
  const stage = new Konva.Stage({ container: host, width: host.clientWidth || 1, height: host.clientHeight || 1 });
  stage.container().querySelector(".konvajs-content").style.touchAction = "none";
  shown = { host, stage, stroke: null, pan: null, fitted: true };
  build();
  shown.watch = new ResizeObserver(() => resize());
  shown.watch.observe(host);
  listen();
}

export function close() {
  if (!shown) return;
  shown.watch.disconnect();
  shown.stop.abort();
  shown.stage.destroy();
  shown = null;
}

onCanvas((isNew) => {
  if (!shown) return;
  if (isNew) build();
  else repaint();
});

function build() {
  const { stage } = shown;
  stage.destroyChildren();
  const { size } = canvas();
  if (!size) return;
  const scale = Math.min(1, DRAWN_MOST / Math.max(size.width, size.height));
  const drawn = document.createElement("canvas");
  drawn.width = Math.max(1, Math.round(size.width * scale));
  drawn.height = Math.max(1, Math.round(size.height * scale));
  const box = { width: size.width, height: size.height };
  const below = new Konva.Layer({ listening: false });
  below.add(new Konva.Image({ image: picture(), ...box }));
  const over = new Konva.Layer({ listening: false });
  const mask = new Konva.Image({ image: drawn, ...box });
  over.add(mask);
  const top = new Konva.Layer();
  stage.add(below, over, top);
  over.getNativeCanvasElement().classList.add("mask");
  Object.assign(shown, { over, top, drawn, context: drawn.getContext("2d"), scale });
  buildFrame();
  repaint();
  fit();
}

function buildFrame() {
  const { top } = shown;
  const style = getComputedStyle(document.documentElement);
  const colour = style.getPropertyValue("--accent").trim();
  const frame = new Konva.Rect({ stroke: colour, strokeWidth: 2, strokeScaleEnabled: false, dash: [6, 4], draggable: true });
  const handles = new Konva.Transformer({ nodes: [frame], rotateEnabled: false, keepRatio: false, anchorSize: 12, anchorStroke: colour, borderStroke: colour, flipEnabled: false });
  const done = () => {
    setFrame(whole({ left: frame.x(), top: frame.y(), width: frame.width() * frame.scaleX(), height: frame.height() * frame.scaleY() }));
    frame.scale({ x: 1, y: 1 });
  };
  frame.on("dragend transformend", done);
  top.add(frame, handles);
  Object.assign(shown, { frame, handles });
}

const whole = (box) => Object.fromEntries(Object.entries(box).map(([name, value]) => [name, Math.round(value)]));

export function repaint() {
  const { context, over, frame, handles, top } = shown ?? {};
  if (!context) return;
  const { size } = canvas();
  context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${tool.colour}`).trim();
  render(context, canvas(), base(), shown.scale);
  tint(context);
  over.batchDraw();
  const box = canvas().frame ?? { left: 0, top: 0, width: size.width, height: size.height };
  frame.setAttrs({ x: box.left, y: box.top, width: box.width, height: box.height });
  const framing = tool.name === "frame";
  frame.visible(framing || canvas().frame !== null);
  frame.listening(framing);
  handles.visible(framing);
  top.batchDraw();
  shown.host.dataset.tool = tool.name;
}

// All that is masked in the mask's colour.
function tint(context) {
  context.globalCompositeOperation = "source-in";
  context.fillStyle = context.strokeStyle;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  context.globalCompositeOperation = "source-over";
}

// The whole of the picture and of the frame in sight.
export function fit() {
  if (!shown?.context) return;
  const { stage, host } = shown;
  const { size, frame } = canvas();
  const left = Math.min(0, frame?.left ?? 0);
  const top = Math.min(0, frame?.top ?? 0);
  const right = Math.max(size.width, frame ? frame.left + frame.width : 0);
  const bottom = Math.max(size.height, frame ? frame.top + frame.height : 0);
  const room = { width: Math.max(1, host.clientWidth - 2 * MARGIN), height: Math.max(1, host.clientHeight - 2 * MARGIN) };
  const scale = Math.min(room.width / (right - left), room.height / (bottom - top));
  stage.scale({ x: scale, y: scale });
  stage.position({ x: (host.clientWidth - (right + left) * scale) / 2, y: (host.clientHeight - (bottom + top) * scale) / 2 });
  shown.fitted = true;
}

function resize() {
  const { host, stage } = shown;
  if (!host.clientWidth || !host.clientHeight) return; // its tab is hidden
  stage.size({ width: host.clientWidth, height: host.clientHeight });
  if (shown.fitted) fit();
}

function at(event) {
  const { stage, host } = shown;
  const box = host.getBoundingClientRect();
  const scale = stage.scaleX();
  return { x: (event.clientX - box.left - stage.x()) / scale, y: (event.clientY - box.top - stage.y()) / scale };
}

function zoom(event) {
  event.preventDefault();
  const { stage, host } = shown;
  const point = at(event);
  const box = host.getBoundingClientRect();
  const scale = Math.min(CLOSEST, Math.max(0.02, stage.scaleX() * Math.exp(-event.deltaY / 400)));
  stage.scale({ x: scale, y: scale });
  stage.position({ x: event.clientX - box.left - point.x * scale, y: event.clientY - box.top - point.y * scale });
  shown.fitted = false;
}

function listen() {
  shown.stop = new AbortController();
  const { host } = shown;
  const when = { signal: shown.stop.signal };
  const touches = new Map();
  host.addEventListener("wheel", zoom, { ...when, passive: false });
  host.addEventListener("pointerdown", (event) => {
    touches.set(event.pointerId, event);
    if (event.button === 1 || spaced || touches.size === 2) beginPan(event, touches);
    else if (event.button === 0 && tool.name !== "frame") begin(event);
  }, when);
  addEventListener("pointermove", (event) => {
    if (touches.has(event.pointerId)) touches.set(event.pointerId, event);
    if (shown.pan) movePan(event, touches);
    else if (shown.stroke) for (const one of event.getCoalescedEvents?.() ?? [event]) draw(one);
  }, when);
  for (const type of ["pointerup", "pointercancel"]) {
    addEventListener(type, (event) => {
      touches.delete(event.pointerId);
      if (shown.pan) shown.pan = null;
      else end();
    }, when);
  }
  addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.matches("textarea, input, button")) return;
    spaced = true;
    event.preventDefault();
  }, when);
  addEventListener("keyup", (event) => event.key === " " && (spaced = false), when);
}

function middle(touches) {
  const all = [...touches.values()];
  return {
    x: all.reduce((sum, one) => sum + one.clientX, 0) / all.length,
    y: all.reduce((sum, one) => sum + one.clientY, 0) / all.length,
    apart: all.length > 1 ? Math.hypot(all[0].clientX - all[1].clientX, all[0].clientY - all[1].clientY) : 0,
  };
}

function beginPan(event, touches) {
  shown.stroke = null; // the second finger of a pinch: what the first one began is no stroke
  repaint();
  shown.pan = middle(touches);
}

function movePan(event, touches) {
  if (!touches.size) return;
  const { stage } = shown;
  const before = shown.pan;
  const now = middle(touches);
  stage.position({ x: stage.x() + now.x - before.x, y: stage.y() + now.y - before.y });
  if (before.apart && now.apart) zoom({ preventDefault() {}, clientX: now.x, clientY: now.y, deltaY: -400 * Math.log(now.apart / before.apart) });
  shown.pan = now;
  shown.fitted = false;
}

function begin(event) {
  if (!shown.context) return;
  event.preventDefault();
  shown.stroke = { tool: event.button === 5 || tool.name === "erase" ? "erase" : "paint", width: tool.width, points: [] };
  draw(event);
}

const rounded = (value) => Math.round(value * 10) / 10;

function draw(event) {
  const { stroke, context, over, scale } = shown;
  const { x, y } = at(event);
  const pressure = event.pointerType === "pen" ? event.pressure : 1;
  stroke.points.push(rounded(x), rounded(y), rounded(pressure));
  segment(context, stroke, stroke.points.length - 3, scale);
  over.batchDraw();
}

function end() {
  const { stroke } = shown;
  if (!stroke) return;
  shown.stroke = null;
  add(stroke);
}
