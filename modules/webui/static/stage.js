// The stage: first start, waiting, live, one picture, a job's pictures, failed. Its frames keep their box throughout.
import { media } from "./api.js";
import { boot, estimate, say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { apply } from "./form.js";
import { grid } from "./geometry.js";
import { remedies, sentence } from "./messages.js";
import { editing } from "./start.js";
import { change, job, now, onChange } from "./store.js";

const MARGIN = 24;
const GAP = 8;
const PHONE = matchMedia("(max-width: 760px)");

let host = null;
let drawn = ""; // what the frames were drawn for: redrawn only when that changes
let frames = [];
let real = false; // shown pixel for pixel instead of fitted

export async function start() {
  host = await appears("#stage");
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", say("stage.region"));
  new ResizeObserver(() => place()).observe(host);
  onChange(draw);
}

// The picture that verbs, keys and the info line are about: {id, ...} or null.
export function selected() {
  const { view } = now();
  if (view.kind === "picture") return view.picture;
  if (view.kind !== "job") return null;
  const known = job(view.job);
  const index = view.picture ?? firstFinished(known);
  return index === null ? null : pictureOf(known, index);
}

function firstFinished(known) {
  const done = [...known.images.keys()].sort((one, other) => one - other);
  return done.length ? done[0] : null;
}

export function pictureOf(known, index) {
  const id = known.images.get(index);
  if (!id) return null;
  const recent = now().recent.find((picture) => picture.id === id);
  const { width, height, prompt, seed } = known.summary || {};
  return { id, width, height, prompt, seed: seed === undefined ? undefined : (seed + index) % 2 ** 32, ...recent };
}

export function showJob(id, picture = null) {
  change({ view: { kind: "job", job: id, picture, single: false } });
}

export function showPicture(picture) {
  change({ view: { kind: "picture", picture }, following: false });
}

export function setReal(isReal) {
  real = isReal;
  place();
}

// Move the selection inside a job's grid, or to the neighbour among the recent pictures.
export function move(step) {
  const { view, recent } = now();
  if (view.kind === "job") {
    const known = job(view.job);
    const done = [...known.images.keys()].sort((one, other) => one - other);
    if (done.length > 1) {
      const at = done.indexOf(view.picture ?? done[0]);
      const next = done[Math.min(Math.max(at + step, 0), done.length - 1)];
      change({ view: { ...view, picture: next } });
      frames.find((frame) => frame.index === next)?.button?.focus();
      return;
    }
  }
  const here = selected();
  const at = here ? recent.findIndex((picture) => picture.id === here.id) : -1;
  const next = recent[at + step];
  if (next) showPicture(next);
}

function draw(state) {
  const { view } = state;
  if (view.kind === "first") once("first", () => [firstStart()]);
  else if (view.kind === "picture") once(`picture ${view.picture.id}`, () => onePicture(view.picture));
  else if (view.kind === "job") drawJob(state, view);
  else if (view.kind === "edit") once("edit", editing);
  else once("empty", () => []);
}

function once(key, make) {
  if (drawn === key) return;
  drawn = key;
  frames = [];
  real = false;
  host.classList.remove("has-frames");
  fill(host, make());
  place();
}

function firstStart() {
  return h(
    "div",
    { class: "first" },
    h("h2", {}, say("stage.first_title")),
    h("p", {}, say("stage.first_text")),
    h("div", { class: "cards" }, boot.cards.map(card)),
  );
}

function card(row) {
  const picture = row.picture
    ? h("img", { src: boot.static + row.picture, alt: "", width: 144, height: 144 })
    : h("span", { class: "no-picture", "aria-hidden": "true" });
  const press = () => apply({ set: { prompt: row.prompt, seed: String(row.seed) }, generate: true });
  return h(
    "button",
    { class: "card", type: "button", lang: row.language === "zh" ? "zh-CN" : "en", onclick: press },
    picture,
    h("span", {}, row.prompt),
  );
}

function onePicture(picture) {
  const frame = makeFrame(0, picture.width, picture.height);
  frame.show(picture);
  return [frame.element];
}

function drawJob(state, view) {
  const known = job(view.job);
  if (!known.summary) return;
  const { count, width, height } = known.summary;
  const single = view.single ? (view.picture ?? 0) : null;
  if (known.state === "failed" && known.images.size === 0) {
    once(`failed ${view.job}`, () => [failed(known)]);
    return;
  }
  once(`job ${view.job} ${single}`, () => {
    const indexes = single === null ? [...Array(count).keys()] : [single];
    const made = indexes.map((index) => makeFrame(index, width, height, count > 1 ? view.job : null));
    return h("div", { class: "grid" }, made.map((frame) => frame.element));
  });
  const running = state.running && state.running.job === view.job ? state.running : null;
  const active = running ? (running.step ?? running.phase)?.picture ?? nextUnmade(known, count) : null;
  for (const frame of frames) {
    const picture = pictureOf(known, frame.index);
    frame.element.classList.toggle("selected", count > 1 && single === null && selected()?.id === picture?.id && !!picture);
    if (picture) frame.show(picture);
    else if (running && frame.index === active) frame.live(running, state.engine);
    else frame.wait(known, state, running);
  }
}

function nextUnmade(known, count) {
  for (let index = 0; index < count; index++) if (!known.images.has(index)) return index;
  return null;
}

function failed(known) {
  const problem = known.error || {};
  return h(
    "div",
    { class: "failed", role: "alert" },
    h("h2", {}, say("notice.failed")),
    h("p", {}, sentence(problem)),
    h(
      "div",
      { class: "actions" },
      remedies(problem, known.id).map(([name, press]) => h("button", { type: "button", onclick: press }, name)),
    ),
  );
}

// A frame has the finished picture's shape from the start; text, preview and picture take turns inside it.
function makeFrame(index, width, height, grouped = null) {
  const image = h("img", { alt: "", hidden: true, draggable: "false" });
  const phase = h("span", { class: "phase" });
  const bar = h("div", { class: "progress", role: "progressbar", "aria-label": say("stage.progress_bar"), hidden: true });
  const line = h("i");
  const steps = h("span", { class: "steps" });
  bar.append(line);
  const element = h("div", { class: "frame" }, image, phase, steps, bar);
  const frame = { index, element, width, height, button: null, live, show, wait };
  frames.push(frame);
  host.classList.add("has-frames");
  return frame;

  function wait(known, state, running) {
    steps.textContent = "";
    bar.hidden = true;
    if (known.state === "cancelled" || known.state === "failed") phase.textContent = "";
    else if (running) phase.textContent = "";
    else if (state.paused) phase.textContent = say("stage.queued_paused");
    else phase.textContent = placeInLine(known, state);
  }

  function live(running, engine) {
    const { step, preview } = running;
    phase.textContent = preview ? "" : phaseText(running, engine);
    const fraction = step && step.calls ? step.call / step.calls : 0;
    bar.hidden = !step;
    bar.setAttribute("aria-valuenow", String(Math.round(fraction * 100)));
    line.style.transform = `scaleX(${fraction})`;
    steps.textContent = step ? stepText(step) : "";
    if (preview && preview.picture === index) {
      image.src = `data:image/jpeg;base64,${preview.jpeg.replace(/-/g, "+").replace(/_/g, "/")}`;
      image.hidden = false;
    }
  }

  function show(picture) {
    if (image.dataset.id === picture.id) return;
    image.dataset.id = picture.id;
    const loaded = new Image();
    const swap = () => {
      image.src = loaded.src;
      image.alt = (picture.prompt || "").slice(0, 120);
      image.hidden = false;
      phase.textContent = steps.textContent = "";
      bar.hidden = true;
    };
    // the preview stays until the picture can be painted, so that nothing flashes
    loaded.src = media(picture.id);
    loaded.decode().then(swap, () => (phase.textContent = say("stage.missing")));
    if (grouped && !frame.button) makeSelectable(frame, grouped, picture);
  }
}

function makeSelectable(frame, jobId, picture) {
  const name = say("stage.open_picture", { prompt: firstWords(picture.prompt), seed: picture.seed });
  frame.button = h("button", { class: "pick", type: "button", "aria-label": name, onclick: () => pick(jobId, frame.index) });
  frame.element.append(frame.button);
}

export function firstWords(prompt) {
  return (prompt || "").slice(0, 60) || say("rail.no_prompt");
}

function pick(jobId, index) {
  const { view } = now();
  const again = view.kind === "job" && (view.picture ?? firstFinished(job(jobId))) === index;
  change({ view: { kind: "job", job: jobId, picture: index, single: again ? !view.single : view.single } });
}

// Back from one picture of a job to all of them; true where there was something to leave.
export function leaveSingle() {
  const { view } = now();
  if (view.kind !== "job" || !view.single) return false;
  change({ view: { ...view, single: false } });
  return true;
}

function placeInLine(known, state) {
  const at = state.waiting.first.findIndex((summary) => summary.id === known.id);
  const front = (at < 0 ? state.waiting.count - 1 : at) + (state.running ? 1 : 0);
  return front > 0 ? say("stage.waiting", { n: front }) : say("stage.waiting_next");
}

function phaseText({ phase }, engine) {
  if (engine && engine.state === "starting") return say("phase.starting");
  if (!phase) return say("stage.waiting_next");
  if (phase.phase === "loading" && phase.detail && phase.estimate_s >= 2) {
    return say("notice.engine_starting", { model: phase.detail, n: Math.ceil(phase.estimate_s) });
  }
  const key = phase.phase === "loading" && !phase.detail ? "phase.loading_plain" : `phase.${phase.phase}`;
  const text = say(key, { model: phase.detail });
  return phase.estimate_s >= 1 ? say("phase.about", { phase: text, time: estimate(phase.estimate_s) }) : text;
}

function stepText(step) {
  if (!step.calls) return say("stage.progress_unknown", { call: step.call });
  if (step.eta_s === null || step.eta_s === undefined) return say("header.working", step);
  return say("stage.progress", { call: step.call, calls: step.calls, time: estimate(step.eta_s) });
}

function place() {
  if (!host || !frames.length) return;
  const margin = PHONE.matches ? 0 : MARGIN;
  const box = { width: host.clientWidth - 2 * margin, height: host.clientHeight - 2 * margin };
  const { width, height } = frames[0];
  const shape = grid(frames.length, width, height, box, PHONE.matches ? 4 : GAP);
  const size = real && frames.length === 1 ? { width, height } : shape;
  host.classList.toggle("real", real);
  const group = host.querySelector(".grid");
  if (group) group.style.gridTemplateColumns = `repeat(${shape.columns}, ${size.width}px)`;
  for (const frame of frames) {
    frame.element.style.width = `${size.width}px`;
    frame.element.style.height = `${size.height}px`;
  }
}
