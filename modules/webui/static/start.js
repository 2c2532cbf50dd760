// What the next picture starts from: the row under the prompt, and the word on the button that says what will be done.
import { media } from "./api.js";
import { say } from "./boot.js";
import * as document_ from "./canvas/document.js";
import { canvas, clear, isMasked, onCanvas, place, reachesPast } from "./canvas/document.js";
import { close, editor } from "./canvas/editor.js";
import { appears, fill, h, icon } from "./dom.js";
import { apply, values } from "./form.js";
import { sentence } from "./messages.js";
import { notice } from "./notices.js";
import { change, now, onChange } from "./store.js";
import { offer } from "./startfrom.js";

const SIDE = 8; // what sides are rounded to
const LARGER = 1.5; // times the pixels that the model likes; a picture beyond is made smaller
let row = null;
let chooser = null;
let framed = "null"; // the frame that the form's size was taken from
const listeners = new Set();

// "generate", "refine", "fill" or "extend": by what lies on the canvas.
export function verb() {
  if (!canvas().picture) return "generate";
  if (reachesPast()) return "extend";
  return isMasked() ? "fill" : "refine";
}

// Called when another verb is meant.
export function onVerb(listener) {
  listeners.add(listener);
}

export async function start() {
  row = await appears("#start_row");
  chooser = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => chooser.files[0] && startFrom(chooser.files[0]) });
  document.body.append(chooser);
  (await appears("#beside_prompt")).prepend(
    h("button", { class: "link", type: "button", id: "start_open", title: say("start.choose_hint"), onclick: () => chooser.click() }, say("start.choose")),
  );
  offer(startFrom);
  onCanvas(draw);
  onChange((state) => state.view.kind !== "edit" && close());
  await document_.start();
  framed = JSON.stringify(canvas().frame);
  draw();
}

// Start from a picture's Blob.
export async function startFrom(blob) {
  try {
    await place(blob);
    chooser.value = "";
  } catch (problem) {
    notice("start", problem.status === 415 ? say("taking.not_a_picture", { f: blob.name || say("taking.a_picture") }) : sentence(problem), { kind: "warn" });
    return;
  }
  await apply({ set: sized(canvas().size) });
  edit();
}

// Start from a picture of the gallery, by the bytes of its file.
export async function startFromPicture(picture) {
  const answer = await fetch(media(picture.id));
  if (answer.ok) await startFrom(await answer.blob());
  else notice("start", say("stage.missing"), { kind: "warn" });
}

// The picture's own size, or one of its shape that the model likes.
function sized({ width, height }) {
  const liked = (now().engine?.pixels ?? 0) || values.width * values.height;
  const factor = width * height > LARGER * liked ? Math.sqrt(liked / (width * height)) : 1;
  const side = (value) => Math.max(64, Math.round((value * factor) / SIDE) * SIDE);
  return { width: side(width), height: side(height) };
}

export function edit() {
  change({ view: { kind: "edit" }, following: false });
}

// The element of the stage's Edit state.
export const editing = () => editor(leave);

function leave() {
  const [newest] = now().recent;
  change({ view: newest ? { kind: "picture", picture: newest } : { kind: "empty" } });
}

// The request's shape is the frame's.
function follow() {
  const { frame, size } = canvas();
  const now = JSON.stringify(frame);
  if (now === framed) return;
  framed = now;
  if (size) apply({ set: sized(frame ?? size) });
}

function draw() {
  const { picture, size } = canvas();
  follow();
  document.documentElement.classList.toggle("starts", Boolean(picture));
  document.documentElement.classList.toggle("masks", isMasked() || reachesPast());
  fill(
    row,
    picture && [
      h("img", { src: `/api/v1/blobs/${picture}`, alt: say("start.thumb"), width: 40, height: 40 }),
      h("span", { class: "about" }, say(`start.${verb()}`), size && h("small", {}, say("info.size", { w: size.width, h: size.height }))),
      h("button", { type: "button", "data-key": "edit", onclick: edit }, say("start.edit")),
      h("button", { class: "small", type: "button", "data-key": "remove", title: say("start.remove"), "aria-label": say("start.remove"), onclick: remove }, icon("close")),
    ],
  );
  for (const listener of listeners) listener(verb());
}

async function remove() {
  if (now().view.kind === "edit") leave();
  await clear();
}
