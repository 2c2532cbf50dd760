// The bar under the stage: what is known about the picture, each part copied by a click, and what can be done with it.
import { Refused, get, media, post } from "./api.js";
import { duration, say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { apply } from "./form.js";
import { notice } from "./notices.js";
import { change, job, now, onChange } from "./store.js";
import { leaveSingle, selected } from "./stage.js";
import { startFromPicture } from "./start.js";

let host = null;
let drawn = "";
const known = new Map(); // id -> what the server says about a picture

export async function start() {
  host = await appears("#stage_bar");
  onChange(draw);
}

// Everything about one picture, asked for once.
export async function details(id) {
  if (!known.has(id)) known.set(id, get(`images/${id}`));
  try {
    return await known.get(id);
  } catch (problem) {
    known.delete(id);
    throw problem;
  }
}

function draw(state) {
  const picture = selected();
  const key = picture ? picture.id : `none ${state.view.kind} ${state.view.job}`;
  const back = state.view.kind === "job" && state.view.single;
  if (drawn === `${key} ${back}`) return;
  drawn = `${key} ${back}`;
  if (state.view.kind === "edit") {
    fill(host, h("div", { class: "info" }, h("span", { class: "hint" }, say("canvas.hint"))));
    return;
  }
  if (!picture) {
    const about = state.view.kind === "job" && job(state.view.job).summary;
    fill(host, about && h("div", { class: "info" }, parts(about)));
    return;
  }
  const info = h("div", { class: "info" });
  const count = back ? job(state.view.job).summary.count : 0;
  fill(
    host,
    back && h("button", { class: "small-text", type: "button", onclick: leaveSingle }, say("stage.back", { n: count })),
    info,
    verbs(picture),
  );
  details(picture.id).then((told) => selected()?.id === picture.id && fill(info, parts(told)), () => {});
}

export function parts(told) {
  const sampling = (told.request && told.request.sampling) || {};
  const shown = [
    [say("info.size", { w: told.width, h: told.height }), `${told.width}x${told.height}`],
    told.seed !== null && told.seed !== undefined && [say("info.seed", { seed: told.seed }), String(told.seed), "mono"],
    sampling.sampler && [sampling.sampler, sampling.sampler],
    sampling.steps && [say("info.steps", { n: sampling.steps }), String(sampling.steps)],
    told.facts && told.facts.elapsed_s && [duration(told.facts.elapsed_s), String(told.facts.elapsed_s)],
  ];
  return shown.filter(Boolean).map(([text, value, kind]) => copyable(text, value, kind));
}

function copyable(text, value, kind = "") {
  return h(
    "button",
    { class: `part ${kind}`, type: "button", title: say("info.copy"), onclick: () => copy(value) },
    text,
  );
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyByHand(text); // a page without TLS on the network has no clipboard of its own
  }
  notice("copied", say("info.copied"), { forMs: 1500, closable: false });
}

function copyByHand(text) {
  const box = h("textarea", { class: "unseen" });
  box.value = text;
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
}

// The verbs of a picture, the same on the stage and in the gallery.
export function verbs(picture, { onDeleted = () => {}, onUsed = () => {} } = {}) {
  const list = [
    [say("verb.use_settings"), () => useSettings(picture, onUsed), "use_settings"],
    [say("verb.use_seed"), () => useSeed(picture, onUsed), "use_seed"],
    [say("verb.start_from"), () => startFromPicture(picture), "start_from"],
    [say("verb.save"), () => save(picture), "save"],
    [say("verb.delete"), () => remove([picture.id], onDeleted), "delete"],
  ];
  const more = h("details", { class: "menu" });
  const items = [
    ...list.slice(2).map(([text, press, name]) => [text, press, `also-${name}`]),
    [say("verb.share"), () => download(`${media(picture.id)}/share`)],
    [say("verb.copy_settings"), () => details(picture.id).then((told) => copy(told.infotext || ""))],
    [say("verb.copy_prompt"), () => details(picture.id).then((told) => copy(told.prompt || ""))],
    [say("verb.copy_link"), () => copy(location.origin + media(picture.id))],
    [say("verb.open_new"), () => open(media(picture.id), "_blank", "noopener")],
  ];
  more.append(
    h("summary", { "aria-label": say("verb.more"), title: say("verb.more") }, "⋯"),
    h(
      "div",
      { class: "items", role: "menu" },
      items.map(([text, press, kind]) =>
        h("button", { type: "button", role: "menuitem", class: kind || "", onclick: () => (more.removeAttribute("open"), press()) }, text),
      ),
    ),
  );
  more.addEventListener("focusout", (event) => !more.contains(event.relatedTarget) && more.removeAttribute("open"));
  return h(
    "div",
    { class: "verbs", role: "group", "aria-label": say("verb.region") },
    list.map(([text, press, name]) => h("button", { type: "button", class: `verb ${name}`, onclick: press }, text)),
    more,
  );
}

async function useSettings(picture, onUsed) {
  const answer = await apply({ picture: picture.id });
  if (answer.error) notice("use", say("error.no_settings"), { kind: "warn" });
  else notice("use", say("verb.settings_used"), { forMs: 3000 });
  onUsed();
}

async function useSeed(picture, onUsed) {
  const told = await details(picture.id);
  if (told.seed === null || told.seed === undefined) {
    notice("use", say("error.no_settings"), { kind: "warn" });
    return;
  }
  await apply({ set: { seed: String(told.seed) } });
  notice("use", say("verb.seed_used", { seed: told.seed }), { forMs: 3000 });
  onUsed();
}

const save = (picture) => download(media(picture.id));

function download(path) {
  const link = h("a", { href: path, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

// Into the trash, with Undo.
export async function remove(ids, onDeleted = () => {}) {
  try {
    await post("images/trash", { ids });
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    notice("deleted", problem.message, { kind: "err" });
    return;
  }
  forget(ids);
  onDeleted();
  const text = ids.length === 1 ? say("verb.deleted_one") : say("verb.deleted_many", { n: ids.length });
  notice("deleted", text, { actions: [[say("verb.undo"), () => restore(ids)]], forMs: 10000 });
}

async function restore(ids) {
  await post("images/restore", { ids });
}

// A picture that went to the trash leaves the stage and the rail.
export function forget(ids) {
  const gone = new Set(ids);
  const state = now();
  const here = selected();
  const recent = state.recent.filter((picture) => !gone.has(picture.id));
  for (const row of state.jobs.values()) {
    for (const [index, id] of row.images) if (gone.has(id)) row.images.delete(index);
  }
  if (here && gone.has(here.id)) {
    const at = state.recent.findIndex((picture) => picture.id === here.id);
    const next = recent[Math.min(Math.max(at, 0), recent.length - 1)];
    change({ recent, view: next ? { kind: "picture", picture: next } : { kind: "empty" } });
  } else change({ recent });
}
