// Events become state: joins the stream, keeps the store true, and tells others about single events.
import { get, newestBuild } from "./api.js";
import { boot } from "./boot.js";
import { change, job, now } from "./store.js";

const TURNS = new Set(["queued", "started", "finished", "cancelled", "failed", "queue"]);
const listeners = new Map(); // event type -> [function]
let seq = 0;
let turned = 0; // the last event after which an older answer about the queue is wrong
let reading = null;

// Hear events of one type as they come; "lost" and "back" tell about the connection.
export function on(type, listener) {
  listeners.set(type, [...(listeners.get(type) || []), listener]);
}

export async function start() {
  await readState();
  const tell = (news) => hear(news);
  if (typeof SharedWorker !== "undefined") {
    const worker = new SharedWorker(boot.static + "live-worker.js", { type: "module", name: "atelier-events" });
    worker.port.onmessage = ({ data }) => tell(data);
    worker.port.postMessage({ seq });
    addEventListener("pagehide", () => worker.port.postMessage({ bye: true }));
    addEventListener("pageshow", (shown) => shown.persisted && worker.port.postMessage({ seq }));
  } else {
    const { Stream } = await import("./live-worker.js");
    new Stream(tell).start(seq);
  }
}

// The present as the server tells it: at the start, after a gap, and when the queue's order changed.
export async function readState() {
  const told = await get("state");
  if (told.seq < turned) {
    readSoon(); // an answer from before the last turn would undo it
    return told;
  }
  seq = Math.max(seq, told.seq);
  const running = told.running && { ...told.running, images: told.running.images || [] };
  for (const summary of told.waiting.first) learn(summary.id, summary);
  change({ engine: told.engine, paused: told.paused, reason: told.reason, running, waiting: told.waiting });
  if (running) await know(running.job);
  return told;
}

// Ask for a job that was queued before this page was opened.
export async function know(id) {
  const known = job(id);
  if (known.summary) return known;
  const told = await get(`jobs/${id}`);
  const isMerge = told.request.kind === "merge"; // told by its result's name, as the queue does
  const size = isMerge ? { width: 0, height: 0 } : told.request.size;
  const scale = told.request.hires ? told.request.hires.scale : 1;
  known.summary = {
    prompt: isMerge ? told.request.name : told.request.prompt,
    count: told.pictures ? told.pictures.length : told.request.count,
    width: Math.round(size.width * scale),
    height: Math.round(size.height * scale),
    seed: told.request.seed,
  };
  known.workspace = told.workspace;
  known.state = told.state;
  known.error = told.error;
  for (const [picture, image] of told.images.map((row) => (Array.isArray(row) ? row : [row.picture, row.image]))) {
    known.images.set(picture, image);
  }
  change();
  return known;
}

function learn(id, summary) {
  const known = job(id);
  known.summary = summary;
  if (summary.workspace !== undefined) known.workspace = summary.workspace;
}

function hear({ event, status }) {
  if (status === "lost" && now().connected) {
    change({ connected: false });
    tellAll("lost", {});
  } else if (status === "open" && !now().connected) {
    change({ connected: true });
    tellAll("back", {});
    turned = 0;
    readState();
    newestBuild().then((build) => build !== boot.build && tellAll("page", { build }));
  } else if (status === "gap") {
    turned = 0; // what was missed decides, whatever number it has
    readState();
  }
  if (!event || event.seq <= seq) return;
  seq = event.seq;
  if (TURNS.has(event.type)) turned = seq;
  (reducers[event.type] || (() => {}))(event);
  change();
  tellAll(event.type, event);
}

function tellAll(type, event) {
  for (const listener of listeners.get(type) || []) listener(event);
}

// Many jobs may be queued at once: their order is asked for when it is quiet for a moment.
function readSoon() {
  clearTimeout(reading);
  reading = setTimeout(readState, 120);
}

function current(event) {
  const running = now().running;
  return running && running.job === event.job ? running : null;
}

function ended(event, state) {
  const known = job(event.job);
  known.state = state;
  known.ended = event;
  if (current(event)) change({ running: null });
  readSoon();
}

const reducers = {
  queued(event) {
    learn(event.job, { ...event.summary, id: event.job });
    job(event.job).workspace = event.workspace;
    job(event.job).state = "queued";
    readSoon();
  },
  started(event) {
    const known = job(event.job);
    known.state = "running";
    known.attempt = event.attempt;
    const before = current(event);
    const images = before ? before.images : [];
    change({ running: { job: event.job, phase: null, step: null, preview: null, images } });
    if (!known.summary) know(event.job);
    readSoon();
  },
  phase(event) {
    const running = current(event);
    if (!running) return;
    running.phase = event;
    if (running.step && running.step.picture !== event.picture) running.step = running.preview = null;
  },
  step(event) {
    const running = current(event);
    if (running) running.step = event;
  },
  preview(event) {
    const running = current(event);
    if (running) running.preview = event;
  },
  image(event) {
    const running = current(event);
    if (running) running.images = [...running.images, event];
    if (running && running.preview && running.preview.picture === event.picture) running.preview = null;
    job(event.job).images.set(event.picture, event.image);
  },
  warned(event) {
    job(event.job).warnings.push(event);
  },
  finished: (event) => ended(event, "finished"),
  cancelled: (event) => ended(event, "cancelled"),
  failed(event) {
    job(event.job).error = event;
    ended(event, "failed");
  },
  queue(event) {
    change({ paused: event.paused, reason: event.reason });
    readSoon();
  },
  engine(event) {
    change({ engine: event });
  },
};
