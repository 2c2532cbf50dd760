// The rail: what is made now and waits, and the session's pictures, newest first.
import { get, post, thumbnail } from "./api.js";
import { say } from "./boot.js";
import { appears, fill, h, icon } from "./dom.js";
import { showJob, showPicture, firstWords, selected } from "./stage.js";
import { change, job, now, onChange } from "./store.js";

const RECENT = 60;
let nowHost = null;
let recentHost = null;
const tiles = new Map(); // picture id -> element, kept so that nothing is drawn twice
let queueDrawn = "";

export async function start() {
  const host = await appears("#rail");
  host.setAttribute("role", "complementary");
  host.setAttribute("aria-label", say("rail.region"));
  nowHost = h("div", { class: "now" });
  recentHost = h("div", { class: "recent" });
  host.append(
    h("section", { class: "rail-now", hidden: true }, h("h2", {}, say("rail.now")), nowHost),
    h("section", { class: "rail-recent" }, h("h2", {}, say("rail.recent")), recentHost),
  );
  onChange(draw);
}

// The newest pictures of the gallery, so that a reload shows what was there.
export async function loadRecent() {
  const page = await get(`images?limit=${RECENT}`);
  const known = new Set(now().recent.map((picture) => picture.id));
  const older = page.items.filter((picture) => !known.has(picture.id));
  change({ recent: [...now().recent, ...older].slice(0, RECENT * 4) });
}

export function add(picture) {
  const rest = now().recent.filter((other) => other.id !== picture.id);
  change({ recent: [picture, ...rest].slice(0, RECENT * 4) });
}

function draw(state) {
  drawQueue(state);
  drawRecent(state);
}

function drawQueue(state) {
  const waiting = state.waiting.first;
  const key = JSON.stringify([state.running?.job, waiting.map((summary) => summary.id), state.waiting.count,
    state.running && !!job(state.running.job).summary]);
  if (key !== queueDrawn) {
    queueDrawn = key;
    const beyond = state.waiting.count - waiting.length;
    fill(
      nowHost,
      state.running && runningCard(state.running),
      waiting.map(waitingCard),
      beyond > 0 && h("p", { class: "more" }, say("rail.more", { n: beyond })),
    );
    nowHost.parentElement.hidden = !nowHost.children.length;
  }
  if (state.running) update(state.running);
}

function runningCard(running) {
  const known = job(running.job);
  const prompt = firstWords(known.summary?.prompt);
  return h(
    "div",
    { class: "running", "data-key": "running" },
    h(
      "button",
      {
        class: "tile",
        type: "button",
        "data-key": `open-${running.job}`,
        "aria-label": say("rail.running", { prompt }),
        title: prompt,
        onclick: () => change({ following: true }) || showJob(running.job),
      },
      h("img", { alt: "", hidden: true }),
    ),
    h("span", { class: "badge", hidden: true }),
    h("div", { class: "progress", role: "progressbar", "aria-label": say("rail.running", { prompt }) }, h("i")),
    cancelButton(running.job, say("rail.stop")),
  );
}

function update(running) {
  const card = nowHost.querySelector(".running");
  if (!card) return;
  const { step, preview } = running;
  const image = card.querySelector("img");
  if (preview) {
    image.src = `data:image/jpeg;base64,${preview.jpeg.replace(/-/g, "+").replace(/_/g, "/")}`;
    image.hidden = false;
  }
  const badge = card.querySelector(".badge");
  badge.hidden = !step;
  if (step) badge.textContent = step.calls ? say("header.working", step) : String(step.call);
  const bar = card.querySelector(".progress");
  const fraction = step ? step.progress : 0;
  bar.setAttribute("aria-valuenow", String(Math.round(fraction * 100)));
  bar.firstElementChild.style.transform = `scaleX(${fraction})`;
}

function waitingCard(summary) {
  const text = firstWords(summary.prompt);
  const count = summary.count > 1 ? ` ${say("rail.count", { n: summary.count })}` : "";
  return h(
    "div",
    { class: "waiting", draggable: "true", "data-job": summary.id, ondragstart: drag, ondragover: over, ondrop: drop },
    h("span", { class: "grip", "aria-hidden": "true" }, icon("grip")),
    h("span", { class: "words", title: summary.prompt }, text + count),
    cancelButton(summary.id, say("rail.cancel")),
  );
}

function cancelButton(id, name) {
  return h(
    "button",
    { class: "small", type: "button", "data-key": `cancel-${id}`, title: name, "aria-label": name,
      onclick: () => post(`jobs/${id}/cancel`) },
    icon("close"),
  );
}

let dragged = null;

function drag(event) {
  dragged = event.currentTarget.dataset.job;
  event.dataTransfer.effectAllowed = "move";
}

function over(event) {
  if (dragged && event.currentTarget.dataset.job !== dragged) event.preventDefault();
}

function drop(event) {
  event.preventDefault();
  const before = event.currentTarget.dataset.job;
  if (dragged && before !== dragged) post(`jobs/${dragged}/move`, { before });
  dragged = null;
}

function drawRecent(state) {
  const here = selected()?.id;
  const wanted = state.recent;
  const ids = new Set(wanted.map((picture) => picture.id));
  for (const [id, tile] of tiles) {
    if (ids.has(id)) continue;
    tile.remove();
    tiles.delete(id);
  }
  let place = recentHost.firstElementChild;
  for (const picture of wanted) {
    let tile = tiles.get(picture.id);
    if (!tile) tiles.set(picture.id, (tile = recentTile(picture)));
    if (tile === place) place = place.nextElementSibling;
    else recentHost.insertBefore(tile, place);
    tile.classList.toggle("selected", picture.id === here);
    tile.setAttribute("aria-pressed", String(picture.id === here));
    // what is on the stage, alone or among its job's pictures, is seen
    if (picture.id === here || (state.view.kind === "job" && state.view.job === picture.job)) picture.fresh = false;
    tile.classList.toggle("fresh", !!picture.fresh);
  }
  recentHost.parentElement.classList.toggle("none", !wanted.length);
}

function recentTile(picture) {
  const name = say("stage.open_picture", { prompt: firstWords(picture.prompt), seed: picture.seed ?? "" });
  return h(
    "button",
    { class: "tile", type: "button", "aria-label": name, title: firstWords(picture.prompt), onclick: () => open(picture) },
    h("img", { src: thumbnail(picture.id), alt: "", loading: "lazy", decoding: "async" }),
    h("span", { class: "mark", "aria-hidden": "true" }, say("rail.new")),
  );
}

function open(picture) {
  picture.fresh = false;
  showPicture(picture);
}
