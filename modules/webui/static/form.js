// The form: its values outside the DOM, and pressing Gradio's hidden buttons to save, change or queue them.
import { newestBuild } from "./api.js";
import { boot } from "./boot.js";
import { on } from "./live.js";
import * as presses from "./presses.js";

export const controls = boot.form.controls;
export const folds = boot.form.folds;
export const values = { ...boot.values };
export const fresh = boot.fresh;

const SAVE_AFTER = 400; // ms of quiet
const ANSWER_WITHIN = 8000; // ms
const SHOWN_WITHIN = 2000; // ms; what Gradio was told is in its controls long before
const byName = new Map(controls.map((row) => [row.name, row]));
const answers = new Map(); // token -> {resolve, reject, timer}
const listeners = new Set();
const editedAt = new Map(); // name -> which edit by hand was its last
const told = new Map(); // name -> what the control showed when Gradio was told another value, until it shows that
let edits = 0;
let saving = null;
let pressed = 0; // presses on their way
let looking = 0; // looks that were asked for
let busy = Promise.resolve(); // the last change on its way: Generate waits for it

export const element = (name) => document.getElementById(byName.get(name).id);

// Called with the names of the values that changed, and whether the person or the server changed them.
export function onForm(listener) {
  listeners.add(listener);
}

function tell(names, byHand) {
  if (names.length) for (const listener of listeners) listener(names, byHand);
}

// What a control shows; undefined while its fold was never opened.
function read(row) {
  const host = document.getElementById(row.id);
  if (!host) return undefined;
  if (row.kind === "text" || row.kind === "hidden") return host.querySelector("textarea, input")?.value;
  if (row.kind === "toggle") return host.querySelector("input")?.checked;
  if (row.kind === "segments") return host.querySelector("input:checked")?.value ?? null;
  if (row.kind === "choice") return readChoice(row, host);
  const input = host.querySelector("input[type=number]");
  if (!input) return undefined;
  return input.value === "" ? null : Number(input.value);
}

// A dropdown shows texts, the form holds values: the document's list says which is which.
function readChoice(row, host) {
  const shown = host.querySelector("input")?.value;
  const choice = row.list.find(([text]) => text === shown);
  return choice ? choice[1] : undefined;
}

// Look at every mounted control; true where something was changed by hand.
export function look() {
  const changed = [];
  for (const row of controls) {
    const value = read(row);
    if (row.kind === "hidden") {
      if (value !== told.get(row.name)) told.delete(row.name);
      continue;
    }
    if (value === undefined || value === told.get(row.name)) continue;
    told.delete(row.name);
    if (value === values[row.name]) continue;
    values[row.name] = value;
    editedAt.set(row.name, ++edits);
    changed.push(row.name);
  }
  tell(changed, true);
  return changed.length > 0;
}

// Until every mounted control shows what Gradio was told, so that the next press sends it.
async function shown() {
  const end = performance.now() + SHOWN_WITHIN;
  do {
    await new Promise((resolve) => setTimeout(resolve, 0));
    look();
  } while (told.size && performance.now() < end);
  told.clear();
}

// Press a button; resolves with what the stream answers, and after "apply" once Gradio's own answer is in the form too.
async function press(button, note) {
  look();
  const since = edits;
  pressed += 1;
  mark();
  const { token, returned } = presses.press(button, note, (updates) => take(updates, since));
  const answered = new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      answers.delete(token);
      presses.forget(token);
      reject(new Error("no answer"));
    }, ANSWER_WITHIN);
    answers.set(token, { resolve, timer });
  });
  try {
    if (button !== "apply") return await answered;
    const [event] = await Promise.all([answered, returned]);
    await shown();
    return event;
  } finally {
    pressed -= 1;
    mark();
  }
}

// Gradio's updates without those of controls that were edited since the press; the rest goes into the values.
function take(updates, since) {
  look();
  const changed = [];
  const kept = updates.map((update, place) => {
    const row = controls[place];
    if (!row || !("value" in (update ?? {}))) return update;
    if ((editedAt.get(row.name) ?? 0) > since) return { __type__: "update" };
    const before = read(row);
    if (before !== undefined && before !== update.value) told.set(row.name, before);
    values[row.name] = update.value;
    changed.push(row.name);
    return update;
  });
  tell(changed, false);
  return kept;
}

// <html class="unsaved"> while something that was done by hand is not with the server yet.
function mark() {
  document.documentElement.classList.toggle("unsaved", Boolean(pressed || looking || saving));
}

on("form", (event) => {
  const said = event.values || {};
  const waiting = answers.get(said.token);
  if (!waiting) return;
  answers.delete(said.token);
  clearTimeout(waiting.timer);
  waiting.resolve(event);
});

// Keep the draft once the typing rests.
export function saveSoon() {
  clearTimeout(saving);
  saving = setTimeout(save, SAVE_AFTER);
  mark();
}

// A tab that is left may be closed at any moment.
document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && (look() || saving) && save());

async function save() {
  clearTimeout(saving);
  saving = null;
  try {
    outlook((await press("save", {})).values);
  } catch {
    // the stream says when the connection is lost, and every later change saves again
  }
}

const outlookListeners = new Set();

// Called with {problems, estimate_s} after every save: what a press of Generate would meet.
export function onOutlook(listener) {
  outlookListeners.add(listener);
}

function outlook(said) {
  if (said && "problems" in said) for (const listener of outlookListeners) listener(said);
}

// Change the form through the server, one change after the other: {set: {name: value}}, {follow: [name]},
// {reset: fold}, {picture: id, only: [...]}, {generate: true}.
export function apply(note) {
  const turn = busy.then(() => applyNow(note));
  busy = turn.catch(() => null);
  return turn;
}

async function applyNow(note) {
  const event = await press("apply", note);
  outlook(event.values);
  return event;
}

const before = new Set();

// `settle` is waited for before a request is made of the form.
export function beforeGenerate(settle) {
  before.add(settle);
}

// Queue what the form holds; resolves with the answer, whose `accepted` is the job or whose `error` says why not.
export async function generate(front = false) {
  for (const settle of before) await settle();
  await busy;
  clearTimeout(saving);
  saving = null;
  return press(front ? "front" : "generate", {});
}

// A press that nobody answers: the page may be older than the program.
export async function isOld() {
  try {
    return (await newestBuild()) !== boot.build;
  } catch {
    return false;
  }
}

// Everything that a person does inside the column may have changed a value.
export function watch(column) {
  let pending = false;
  const lookAfter = (wait) => {
    looking += 1;
    mark();
    wait(() => {
      looking -= 1;
      if (look()) saveSoon();
      mark();
    });
  };
  const soon = () => {
    if (pending) return;
    pending = true;
    lookAfter((done) => requestAnimationFrame(() => ((pending = false), done())));
  };
  for (const type of ["input", "change", "click", "keyup", "focusout"]) column.addEventListener(type, soon);
  // a dropdown's list closes after the click that chose
  column.addEventListener("click", () => lookAfter((done) => setTimeout(done, 60)));
}
