// Starts every module once Gradio's form is there, and decides what the stage shows first.
import { boot, say } from "./boot.js";
import * as adapters from "./adapters.js";
import * as beside from "./beside.js";
import * as carried from "./carried.js";
import * as column from "./column.js";
import { announce, appears } from "./dom.js";
import * as drop from "./drop.js";
import * as extensions from "./extensions.js";
import * as folds from "./folds.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as generate from "./generate.js";
import * as header from "./header.js";
import * as hints from "./hints.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import * as messages from "./messages.js";
import * as models from "./models.js";
import * as notes from "./notes.js";
import * as picker from "./picker.js";
import * as rail from "./rail.js";
import * as scripts from "./scripts.js";
import * as segments from "./segments.js";
import * as settings from "./settings.js";
import * as stage from "./stage.js";
import * as start from "./start.js";
import { change, job, now } from "./store.js";
import * as styles from "./styles.js";
import * as tabs from "./tabs.js";
import * as taking from "./taking.js";
import * as verbs from "./verbs.js";

const PATIENCE = 10_000; // ms after which the form is shown even if one control never came
const root = document.documentElement;
const language = root.lang;
// Gradio writes the browser's language there, whatever the page is in
new MutationObserver(() => root.lang === language || (root.lang = language)).observe(root, { attributeFilter: ["lang"] });
header.start();
const streaming = live.start(); // the present is asked for while Gradio still draws
follow();
const controls = await appears("#controls");
// Gradio mounts controls one by one: the skeleton stays in front until all of the column are there
const openRows = form.controls.filter((row) => !row.fold && row.kind !== "hidden");
const mounted = Promise.all(openRows.map((row) => appears(`#${row.id} :is(input, textarea)`)));
await Promise.race([mounted, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
await appears("#txt2img_generate");
handOver(document.getElementById("early_prompt"), document.querySelector("#txt2img_prompt textarea"));
tabs.start();
column.start();
segments.start(controls);
folds.start();
beside.start(controls);
notes.start();
hints.start(controls);
form.watch(controls);
if (form.look()) form.saveSoon();
generate.start();
keys.start();
for (const part of [stage, start, verbs, rail, picker, styles, adapters, carried, scripts, gallery, models, extensions, settings, drop, taking]) part.start();
await streaming;
await rail.loadRecent();
messages.tellStart();
decideView();
root.classList.add("ready");

// What was typed before Gradio was there goes into its box, with the cursor.
function handOver(early, box) {
  const { value, defaultValue, selectionStart, selectionEnd } = early;
  const focused = document.activeElement === early;
  root.classList.add("mounted");
  if (value !== defaultValue) {
    box.value = value;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  if (focused) {
    box.focus();
    box.setSelectionRange(selectionStart, selectionEnd);
  }
  document.getElementById("skeleton").remove();
}

// What the stage shows when the page opens: the job that runs, what ended last, or the first start.
function decideView() {
  const { running, waiting, recent, view } = now();
  if (view.kind !== "empty") return;
  const own = (id) => job(id).workspace === boot.workspace;
  const mine = running && own(running.job) ? running.job : waiting.first.find((summary) => own(summary.id))?.id;
  if (mine) stage.showJob(mine);
  else if (recent.length) change({ view: { kind: "picture", picture: recent[0] } });
  else change({ view: { kind: "first" } });
}

// Something is made: the phone's strip and verbs take their place.
function leaveFirst() {
  root.classList.remove("no-pictures");
}

// A script's pictures laid out as one: the newest picture of all, and what the stage shows where it showed the cells.
async function showSheet(event) {
  const [known, told] = await Promise.all([live.know(event.job), verbs.details(event.images[0])]);
  const { id, seed, width, height, prompt } = told;
  const sheet = { id, prompt, seed, width, height, job: event.job, fresh: true };
  rail.add(sheet);
  const { view, following } = now();
  if (known.workspace !== boot.workspace || view.kind !== "job" || view.job !== event.job || !following) return;
  change({ view: { kind: "picture", picture: sheet } });
}

// Single events that others than the store care about.
function follow() {
  live.on("queued", leaveFirst);
  live.on("started", (event) => {
    const known = job(event.job);
    if (known.workspace === boot.workspace && now().following) stage.showJob(event.job);
  });
  live.on("image", async (event) => {
    const known = await live.know(event.job);
    const { prompt, count } = known.summary;
    rail.add({ id: event.image, prompt, seed: event.seed, width: event.width, height: event.height, job: event.job, fresh: true });
    if (known.workspace !== boot.workspace) return;
    const done = known.images.size;
    announce(count > 1 ? say("announce.finished", { k: done, n: count }) : say("announce.finished_one"));
  });
  live.on("cancelled", (event) => {
    if (job(event.job).workspace !== boot.workspace) return;
    announce(say("announce.stopped"));
    if (event.count > 0 && now().view.job === event.job) messages.stopped(event);
  });
  live.on("retried", messages.retried);
  live.on("warned", messages.warn);
  live.on("failed", (event) => {
    const text = messages.sentence(event);
    announce(text);
    const seen = now().view.kind === "job" && now().view.job === event.job && event.done === 0;
    if (!seen && job(event.job).workspace === boot.workspace) messages.failed(event);
  });
  live.on("gallery", (event) => {
    if (event.change === "trashed") verbs.forget(event.images);
    else if (event.job) showSheet(event);
    else rail.loadRecent();
  });
  live.on("page", (event) => event.build !== boot.build && messages.pageIsOld());
  live.on("lost", messages.connection);
  live.on("back", messages.connected);
}
