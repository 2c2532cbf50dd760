// The page's state outside the DOM: events change it, views draw from it, at most once a frame.
const state = {
  connected: true,
  engine: null, // {state, model, device, estimate_s}
  paused: false,
  reason: "",
  running: null, // {job, phase, step, preview, images: [events]}
  waiting: { count: 0, first: [] },
  jobs: new Map(), // id -> {id, summary, count, images: Map(picture -> image id), state, error, workspace}
  recent: [], // pictures of the session, newest first: {id, prompt, seed, width, height, job, fresh}
  view: { kind: "empty" }, // what the stage shows
  following: true, // the stage goes along with this workspace's jobs
  estimate_s: null,
};

const listeners = new Set();
let scheduled = false;

export function now() {
  return state;
}

export function change(changes = {}) {
  Object.assign(state, changes);
  if (scheduled) return;
  scheduled = true;
  // a hidden tab gets no frames, but its state must not wait
  (document.hidden ? setTimeout : requestAnimationFrame)(() => {
    scheduled = false;
    for (const listener of listeners) listener(state);
  });
}

export function onChange(listener) {
  listeners.add(listener);
  listener(state);
}

// What is known about one job; made where it is not known yet.
export function job(id) {
  if (!state.jobs.has(id)) {
    state.jobs.set(id, { id, summary: null, images: new Map(), state: "queued", error: null, warnings: [] });
  }
  return state.jobs.get(id);
}
