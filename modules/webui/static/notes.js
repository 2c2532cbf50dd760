// Chips under the prompt for what will be noticed: words that the model was not taught, and what cannot be read.
import { say } from "./boot.js";
import { onTokens } from "./beside.js";
import { fill, h } from "./dom.js";
import { apply, element, onForm, onOutlook, values } from "./form.js";
import { sentence } from "./messages.js";
import { names } from "./modellist.js";
import { openPanel } from "./panel.js";

let host = null;
let unknown = [];
let problems = [];
let combinations = 0; // how many pictures the prompt's wildcards can make

export function start() {
  host = h("div", { class: "notes", role: "status" });
  element("prompt").append(host);
  onTokens((told) => {
    unknown = told.unknown || [];
    combinations = told.combinations || 0;
    draw();
  });
  onOutlook((said) => {
    const here = ["prompt", "negative_prompt", "styles", "model.checkpoint"];
    problems = [...said.problems, ...(said.notes ?? [])].filter((problem) => here.includes(problem.field));
    draw();
  });
  onForm((names) => names.includes("chance") && draw());
}

function draw() {
  const starter = names().find(values.checkpoint);
  const see = h("button", { class: "link", type: "button", "data-key": "world", onclick: showWorld }, say("notice.see_world"));
  fill(
    host,
    problems.map((problem) => h("p", { class: "note warn" }, sentence(problem))),
    unknown.length > 0 &&
      h("p", { class: "note" }, say("notice.unknown_word", { x: unknown.join(say("notice.between_words")) }), starter?.vocabulary && see),
    chance(),
  );
}

// A prompt with wildcards: some of its texts by seed, or all of them, one a picture.
function chance() {
  if (combinations < 2) return null;
  const all = values.chance === "all";
  const press = () => apply({ set: { chance: all ? "" : "all" } });
  const facts = { n: combinations };
  return h(
    "p",
    { class: "note" },
    say(all ? "notice.all_combinations" : "notice.combinations", facts),
    h("button", { class: "link", type: "button", "data-key": "chance", onclick: press }, say(all ? "notice.by_chance" : "notice.make_all", facts)),
  );
}

// Everything that the model was taught, in both languages; a press writes the word into the prompt.
function showWorld() {
  const { vocabulary } = names().find(values.checkpoint);
  const groups = Object.values(vocabulary).filter(Array.isArray);
  const language = document.documentElement.lang.slice(0, 2);
  const word = (entry) => (typeof entry === "string" ? entry : [entry[language] ?? entry.en ?? Object.values(entry)[0]].flat()[0]);
  const sheet = groups.map((group) =>
    h("div", { class: "words" }, group.map((entry) => h("button", { type: "button", onclick: () => add(word(entry)) }, word(entry)))),
  );
  openPanel(say("models.vocabulary"), h("h2", {}, say("models.vocabulary")), h("div", { class: "world" }, sheet));
}

function add(word) {
  const prompt = (values.prompt || "").trim();
  apply({ set: { prompt: prompt ? `${prompt.replace(/[,，]$/, "")}, ${word}` : word } });
}
