// What stands at the right of a label: tokens, pixels, "Custom", and the seed's two buttons.
import { Refused, post } from "./api.js";
import { say } from "./boot.js";
import { h, icon } from "./dom.js";
import { apply, controls, element, onForm, values } from "./form.js";
import { now } from "./store.js";
import { chosen } from "./styles.js";

const TOKENS_AFTER = 250; // ms of quiet
let counting = null;

export function start(column) {
  for (const row of controls) {
    const host = document.getElementById(row.id);
    if (!host || row.kind === "hidden") continue;
    host.append(h("span", { class: "beside", id: `beside_${row.name}` }));
  }
  const prompt = document.getElementById("beside_prompt");
  prompt.append(
    h("span", { id: "tokens", title: say("control.prompt.tokens_hint") }),
    button("wide", say("control.prompt.wide_hint"), toggleWide),
  );
  prompt.querySelector("button").id = "prompt_wide";
  document.getElementById("beside_seed").append(
    button("dice", say("control.seed.random"), () => apply({ set: { seed: "" } })),
    button("again", say("control.seed.last"), useLastSeed),
  );
  column.querySelector("#txt2img_prompt textarea").setAttribute("enterkeyhint", "enter");
  onForm(draw);
  draw(controls.map((row) => row.name));
}

function button(name, title, press) {
  return h("button", { class: "small", type: "button", title, "aria-label": title, onclick: press }, icon(name));
}

function useLastSeed() {
  const last = now().recent.find((picture) => picture.seed !== undefined);
  if (last) apply({ set: { seed: String(last.seed) } });
}

export function toggleWide() {
  const isWide = document.documentElement.classList.toggle("wide-prompt");
  element("prompt").querySelector("textarea").focus();
  return isWide;
}

export function closeWide() {
  if (!document.documentElement.classList.contains("wide-prompt")) return false;
  document.documentElement.classList.remove("wide-prompt");
  return true;
}

function draw(names, byHand = false) {
  const changed = new Set(names);
  if (changed.has("width") || changed.has("height") || changed.has("shape")) {
    const { width, height } = values;
    document.getElementById("beside_shape").textContent = say("control.shape.pixels", { w: width, h: height });
  }
  document.getElementById("beside_quality").textContent = values.quality ? "" : say("control.quality.custom");
  if (changed.has("face")) {
    document.documentElement.classList.toggle("face-pro", values.face === "pro");
    document.documentElement.classList.toggle("face-simple", values.face !== "pro");
  }
  if (["prompt", "checkpoint", "styles"].some((name) => changed.has(name))) countSoon();
  if (byHand) follow(changed);
}

// A shape brings its size and a quality its steps; sizes and steps set by hand take the word away again.
function follow(changed) {
  const own = (names) => names.some((name) => changed.has(name));
  const follow = [];
  if (own(["shape"]) && values.shape && !own(["width", "height"])) follow.push("shape");
  if (own(["quality"]) && values.quality && !own(["steps", "sampler", "hires"])) follow.push("quality");
  if (own(["compat"]) && !own(["noise"])) follow.push("compat"); // other programs draw their noise elsewhere
  const byHand = ["width", "height", "steps", "sampler", "schedule", "hires", "hires_scale", "hires_denoise"];
  if (follow.length || (own(byHand) && !own(["shape", "quality"]))) settle(follow);
}

let settling = null;
const wanted = new Set();

// The server follows what the form holds when the press leaves, not when it was wished: a person may be faster.
function settle(follow) {
  for (const name of follow) wanted.add(name);
  clearTimeout(settling);
  settling = setTimeout(
    () => {
      apply({ follow: [...wanted] });
      wanted.clear();
    },
    follow.length ? 0 : 300,
  );
}

function countSoon() {
  clearTimeout(counting);
  counting = setTimeout(count, TOKENS_AFTER);
}

const noteListeners = new Set();

// Called with what the server noticed in the prompt: {used, capacity, boundaries, unknown}.
export function onTokens(listener) {
  noteListeners.add(listener);
}

async function count() {
  const host = document.getElementById("tokens");
  try {
    const told = await post("tokens", { text: values.prompt || "", checkpoint: values.checkpoint || "", styles: chosen() });
    host.textContent = say("control.prompt.tokens", { used: told.used, capacity: told.capacity });
    for (const listener of noteListeners) listener(told);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    host.textContent = ""; // a prompt that cannot be read is told about beside the field
  }
}

