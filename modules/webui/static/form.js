// The form: its values outside the DOM, and pressing Gradio's hidden buttons to save, change or queue them.
import { newestBuild } from "./api.js";
import { boot } from "./boot.js";
import { on } from "./live.js";

export const controls = boot.form.controls;
export const folds = boot.form.folds;
export const values = { ...boot.values };
export const fresh = boot.fresh;

const TAB = Math.random().toString(36).slice(2); // tells this tab's presses from others' of the same workspace
const SAVE_AFTER = 400; // ms of quiet
const ANSWER_WITHIN = 8000; // ms
const byName = new Map(controls.map((row) => [row.name, row]));
const answers = new Map(); // token -> {resolve, reject, timer}
const listeners = new Set();
let tokens = 0;
let saving = null;
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

// Look at every mounted control; true where something changed.
export function look() {
  const changed = [];
  for (const row of controls) {
    if (row.kind === "hidden") continue;
    const value = read(row);
    if (value === undefined || value === values[row.name]) continue;
    values[row.name] = value;
    changed.push(row.name);
  }
  tell(changed, true);
  return changed.length > 0;
}

function press(button, note) {
  const token = `${TAB}-${++tokens}`;
  const answered = new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      answers.delete(token);
      reject(new Error("no answer"));
    }, ANSWER_WITHIN);
    answers.set(token, { resolve, reject, timer });
  });
  const box = document.querySelector("#atelier_note textarea");
  box.value = JSON.stringify({ ...note, token });
  box.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById(`atelier_${button}`).click();
  return answered;
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
}

async function save() {
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
  look();
  const event = await press("apply", note);
  const changed = (event.values && event.values.values) || {};
  Object.assign(values, changed);
  tell(Object.keys(changed), false);
  outlook(event.values);
  return event;
}

// Queue what the form holds; resolves with the answer, whose `accepted` is the job or whose `error` says why not.
export async function generate(front = false) {
  await busy;
  clearTimeout(saving);
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
  const soon = () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      if (look()) saveSoon();
    });
  };
  for (const type of ["input", "change", "click", "keyup", "focusout"]) column.addEventListener(type, soon);
  // a dropdown's list closes after the click that chose
  column.addEventListener("click", () => setTimeout(soon, 60));
}
