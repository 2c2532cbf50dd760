// The checkpoints as the server knows them, and their cards in the picker and in the Models tab.
import { get } from "./api.js";
import { boot, has, say } from "./boot.js";
import { h } from "./dom.js";
import { values } from "./form.js";
import { notice } from "./notices.js";
import { placeOf } from "./memory.js";
import { picture } from "./picker.js";

let models = [];

// The server looks at its folders whenever it is asked; `anew` only says so.
export async function refresh(anew = false) {
  const told = await get("models");
  models = told.models.map((model) => ({
    ...model,
    starter: Boolean(model.vocabulary),
    family_title: has(`family.${model.family}`) ? say(`family.${model.family}`) : (model.family ?? say("models.unknown_family")),
  }));
  if (anew) notice("models", say("models.looked", { n: models.length }), { forMs: 2500 });
  return models;
}

export function names() {
  return {
    // "" is the program's own choice
    find: (name) => models.find((model) => model.name === (name || boot.checkpoint)) ?? null,
  };
}

export function size(bytes) {
  const mega = bytes / 1024 / 1024;
  if (mega < 1) return say("models.size_kb", { n: Math.max(1, Math.round(bytes / 1024)) });
  if (mega >= 1000) return say("models.size_gb", { n: (mega / 1024).toFixed(1) });
  return say("models.size_mb", { n: Math.round(mega) });
}

export function cards(query, { chosen, choose }) {
  const wanted = query.trim().toLowerCase();
  const found = models.filter((model) => `${model.title} ${model.name} ${model.family}`.toLowerCase().includes(wanted));
  if (!models.length) return h("p", { class: "none" }, say("models.none"));
  if (!found.length) return h("p", { class: "none" }, say("models.no_hit", { q: query }));
  const current = names().find(chosen);
  return found.map((model) => card(model, model === current, choose));
}

// In use or not, and where it is: on the device, in memory, or on disk only.
function stateText(model) {
  const place = say(`memory.state_${placeOf(model.name) || "disk"}`);
  return names().find(values.checkpoint) === model ? `${say("models.in_use")} · ${place}` : place;
}

function card(model, isChosen, choose) {
  const problem = model.problem && (model.problem.message || String(model.problem));
  const facts = [model.family_title, size(model.size_bytes)].join(" · ");
  return h(
    "button",
    {
      class: `model-card ${isChosen ? "chosen" : ""} ${problem ? "dimmed" : ""}`,
      type: "button",
      "data-key": model.name,
      "aria-pressed": String(isChosen),
      "aria-disabled": problem ? "true" : null,
      onclick: () => problem || choose(model),
    },
    picture(model),
    h(
      "span",
      { class: "text" },
      h("b", {}, model.title),
      h("span", {}, facts),
      h("span", { class: "state" }, stateText(model)),
      problem && h("span", { class: "problem" }, `${say("models.problem")}: ${problem}`),
    ),
  );
}
