// The Models tab: every checkpoint with its state, what lies in memory, and the details of the selected one.
import { Refused, put } from "./api.js";
import { say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { apply, values } from "./form.js";
import { ledger } from "./memory.js";
import { sentence } from "./messages.js";
import { notice } from "./notices.js";
import { cards, names, refresh, size } from "./modellist.js";

let host = null;
let shown = null;

export async function start() {
  host = await appears("#models");
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", say("models.region"));
  const search = h("input", { type: "search", placeholder: say("models.search"), "aria-label": say("models.search") });
  const grid = h("div", { class: "models" });
  const side = h("div", { class: "details" });
  const draw = () => {
    fill(grid, cards(search.value, { chosen: shown?.name ?? values.checkpoint, choose: (model) => select(model, draw) }));
    fill(side, shown && details(shown, draw));
    side.hidden = !shown;
  };
  search.addEventListener("input", draw);
  host.append(
    h(
      "div",
      { class: "listing" },
      h(
        "div",
        { class: "top" },
        search,
        h("button", { type: "button", onclick: async () => (await refresh(true), draw()) }, say("models.look_again")),
      ),
      ledger(),
      grid,
    ),
    side,
  );
  await refresh();
  shown = names().find(values.checkpoint) ?? null;
  draw();
}

function select(model, draw) {
  shown = model;
  draw();
}

function details(model, draw) {
  const rows = [
    [say("models.family"), model.family_title],
    [say("models.file_size"), size(model.size_bytes)],
    model.sha256 && [say("models.hash"), model.sha256.slice(0, 10), "mono"],
    model.size && [say("gallery.size"), say("info.size", { w: model.size.width, h: model.size.height })],
  ].filter(Boolean);
  const inUse = names().find(values.checkpoint)?.name === model.name;
  return [
    h("h2", {}, model.title),
    h("dl", {}, rows.map(([name, value, kind]) => [h("dt", {}, name), h("dd", { class: kind || "" }, value)]).flat()),
    !inUse &&
      h("button", { type: "button", onclick: async () => (await apply({ set: { checkpoint: model.name } }), draw()) }, say("models.use")),
    prediction(model, draw),
    vocabulary(model),
  ].filter(Boolean);
}

// What the network predicts, why that was decided, and another choice, which is kept with the file.
function prediction(model, draw) {
  if (!model.prediction) return null;
  const choose = async (wanted) => {
    try {
      await put(`models/${encodeURIComponent(model.name)}/prediction`, { prediction: wanted });
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      notice("models", sentence(problem), { kind: "warn" });
      return;
    }
    await refresh();
    select(names().find(model.name), draw);
  };
  const options = [["eps", "eps"], ["v", "v"], ["auto", null]];
  const isChosen = (word) => (word === "auto" ? !model.is_chosen : model.is_chosen && model.prediction === word);
  return h(
    "section",
    { class: "prediction" },
    h("h3", {}, say("models.prediction", { name: model.prediction })),
    model.reasons.map((reason) => h("p", { lang: "en" }, reason)),
    h(
      "div",
      { class: "choice-row", role: "group", "aria-label": say("models.prediction", { name: model.prediction }) },
      options.map(([word, wanted]) =>
        h("button", { type: "button", "data-key": `prediction-${word}`, "aria-pressed": String(isChosen(word)), onclick: () => choose(wanted) }, say(`models.predicts.${word}`)),
      ),
    ),
  );
}

// What the starter was taught, where the file says so: lists of words by kind.
function vocabulary(model) {
  if (!model.vocabulary) return null;
  const groups = Object.entries(model.vocabulary).filter(([, words]) => Array.isArray(words) || typeof words === "object");
  return h(
    "section",
    { class: "vocabulary" },
    h("h3", {}, say("models.vocabulary")),
    groups.map(([, words]) => h("p", {}, wordsOf(words).join(" · "))),
  );
}

function wordsOf(words) {
  if (Array.isArray(words)) return words.map((word) => (Array.isArray(word) ? word.join(" ") : typeof word === "object" ? Object.values(word).flat().join(" ") : String(word)));
  return Object.entries(words).map(([name, other]) => `${name} ${[other].flat().join(" ")}`);
}
