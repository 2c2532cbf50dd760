// What lies on this workspace's canvas: kept on the server stroke by stroke; the form gets the hashes of it.
import { Refused, get, put, putBlob } from "../api.js";
import { boot, say } from "../boot.js";
import { apply, beforeGenerate, onForm, values } from "../form.js";
import { notice } from "../notices.js";
import { render } from "./paint.js";

const SAVE_AFTER = 250; // ms
const UNDO = 50;
const EMPTY = { version: 1, picture: null, size: null, mask: null, strokes: [], undone: [], frame: null };
const FIELDS = ["start_picture", "start_frame", "start_inpaint", "start_mask"]; // of the form
const SIDES = ["left", "top", "width", "height"];
const address = `canvas?workspace=${encodeURIComponent(boot.workspace)}`;
const listeners = new Set();
let held = EMPTY;
let revision = 0;
let told = null; // the form's word for what is held
let saving = null;
let writing = Promise.resolve();
let image = null; // the picture's pixels, an ImageBitmap
let mask = null; // those of the mask that lay there before the first stroke

export const canvas = () => held;
export const picture = () => image;
export const base = () => mask;

// Called after every change, with whether the picture is another one.
export function onCanvas(listener) {
  listeners.add(listener);
}

const tell = (isNew) => listeners.forEach((listener) => listener(isNew));

export async function start() {
  beforeGenerate(settle);
  onForm((names) => FIELDS.some((name) => names.includes(name)) && follow());
  const kept = await get(address);
  revision = kept.revision;
  held = kept.document;
  await open();
  if (values.start_picture && values.start_picture !== held.picture) follow();
  else told = JSON.stringify(FIELDS.map((name) => values[name]));
}

// The pixels of what is held; without them nothing is.
async function open() {
  try {
    image = held.picture ? await pixels(held.picture) : null;
    mask = held.mask ? await pixels(held.mask) : null;
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    [held, image, mask] = [EMPTY, null, null];
  }
  tell(true);
}

async function pixels(sha256) {
  const answer = await fetch(`/api/v1/blobs/${sha256}`);
  if (!answer.ok) throw new Refused({}, answer.status);
  return createImageBitmap(await answer.blob(), { imageOrientation: "from-image" });
}

// The form was given settings whose start is another one: that is what lies here now.
async function follow() {
  const said = JSON.stringify(FIELDS.map((name) => values[name]));
  if (said === told) return;
  told = said;
  const frame = values.start_frame ? JSON.parse(values.start_frame) : null;
  const box = frame && Object.fromEntries(SIDES.map((side, at) => [side, frame[at]]));
  held = { ...EMPTY, picture: values.start_picture || null, mask: values.start_mask || null, frame: box };
  await open();
  if (image) held.size = { width: image.width, height: image.height };
  tell(true);
  saveSoon();
}

// Put a picture here: its Blob goes to the server as it is.
export async function place(blob) {
  const { sha256 } = await putBlob(blob);
  held = { ...EMPTY, picture: sha256 };
  await open();
  held.size = { width: image.width, height: image.height };
  tell(true);
  await saveNow();
}

export async function clear() {
  held = EMPTY;
  [image, mask] = [null, null];
  tell(true);
  await saveNow();
}

export function add(stroke) {
  held = { ...held, strokes: [...held.strokes, stroke], undone: [] };
  changed();
}

export function undo() {
  const stroke = held.strokes.at(-1);
  if (!stroke) return false;
  held = { ...held, strokes: held.strokes.slice(0, -1), undone: [stroke, ...held.undone].slice(0, UNDO) };
  changed();
  return true;
}

export function redo() {
  const [stroke, ...undone] = held.undone;
  if (!stroke) return false;
  held = { ...held, strokes: [...held.strokes, stroke], undone };
  changed();
  return true;
}

export function setFrame(frame) {
  held = { ...held, frame };
  changed();
}

export function clearMask() {
  mask = null;
  held = { ...held, mask: null, strokes: [], undone: [] };
  changed();
}

function changed() {
  tell(false);
  saveSoon();
}

export const isMasked = () => held.strokes.some((stroke) => stroke.tool === "paint") || held.mask !== null;

export function reachesPast() {
  const { frame, size } = held;
  return Boolean(frame && size) && (frame.left < 0 || frame.top < 0 || frame.left + frame.width > size.width || frame.top + frame.height > size.height);
}

function saveSoon() {
  clearTimeout(saving);
  saving = setTimeout(saveNow, SAVE_AFTER);
}

// Whatever is not on the server yet goes there now, before a request is made of it.
async function settle() {
  if (saving) await saveNow();
  await writing;
}

function saveNow() {
  clearTimeout(saving);
  saving = null;
  const now = held;
  writing = writing.then(() => write(now));
  return writing;
}

async function write(document) {
  try {
    const [kept] = await Promise.all([put(address, { revision, document }), tellForm(document)]);
    revision = kept.revision;
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    if (problem.code !== "canvas_changed") return notice("canvas", problem.message, { kind: "err" });
    notice("canvas", say("canvas.changed"), { kind: "warn" });
    const kept = await get(address);
    revision = kept.revision;
    held = kept.document;
    await open();
  }
}

async function tellForm(document) {
  const word = await wordOf(document);
  const said = JSON.stringify(word);
  if (said === told || document !== held) return; // what lies here now is told by its own save
  told = said;
  await apply({ set: Object.fromEntries(FIELDS.map((name, at) => [name, word[at]])) });
}

// What the form's fields hold for a document.
async function wordOf(document) {
  if (!document.picture) return ["", "", "", ""];
  const { width, height } = document.size;
  let sha256 = document.strokes.length ? null : document.mask;
  if (document.strokes.length && isMasked()) {
    const drawn = new OffscreenCanvas(width, height);
    render(drawn.getContext("2d"), document, mask, 1);
    ({ sha256 } = await putBlob(await drawn.convertToBlob({ type: "image/png" })));
  }
  const frame = document.frame ? JSON.stringify(SIDES.map((side) => document.frame[side])) : "";
  return [document.picture, frame, sha256 || reachesPast() ? "on" : "", sha256 ?? ""];
}
