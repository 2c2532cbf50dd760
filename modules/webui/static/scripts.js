// The Script fold: which rows its script has, values to choose from under each axis, sides to swap, lines from a file.
import { get } from "./api.js";
import { say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { apply, element, onForm, values } from "./form.js";

const SIDES = ["x", "y", "z"];
const root = document.documentElement;
let axes = null; // by name, asked for when the fold is first opened

export function start() {
  onForm(follow);
  follow();
  appears("#help_x_values").then(ready);
}

// The stylesheet shows a script's own rows by this word.
function follow() {
  root.dataset.script = values.script || "";
  if (axes) SIDES.forEach(draw);
}

async function ready() {
  const lines = h("input", { type: "file", accept: ".txt,text/plain", hidden: true, onchange: () => load(lines) });
  fill(document.getElementById("help_lines_text"), lines, link("lines-load", say("script.load"), () => lines.click()));
  axes = new Map((await get("axes")).axes.map((axis) => [axis.name, axis]));
  SIDES.forEach(draw);
}

const link = (key, text, onclick) => h("button", { class: "link", type: "button", "data-key": key, onclick }, text);

// A text of prompts takes the place of the box's; Gradio hears of it as of typing.
async function load(input) {
  write("lines_text", await input.files[0].text());
  input.value = "";
}

function write(name, text) {
  const box = element(name).querySelector("textarea, input");
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

function draw(side) {
  const host = document.getElementById(`help_${side}_values`);
  const axis = axes.get(values[`${side}_axis`]);
  const next = SIDES[SIDES.indexOf(side) + 1];
  const open = host.querySelector("details")?.open;
  fill(host, axis && help(side, axis, open), next && link(`swap-${side}`, say("script.swap", { one: side.toUpperCase(), other: next.toUpperCase() }), () => swap(side, next)));
  element(`${side}_values`).hidden = !axis || axis.kind === "nothing";
}

function help(side, axis, open) {
  if (axis.choices.length) return choices(side, axis, open);
  const text = say(`script.kind_${axis.kind}`);
  return text && h("span", { class: "hint" }, text);
}

// Names to press instead of typing them; one that is there already goes again.
function choices(side, axis, open) {
  const taken = split(values[`${side}_values`] || "");
  const all = taken.length === 1 && taken[0] === "*";
  const press = (name) => {
    const kept = all ? axis.choices : taken;
    const left = kept.includes(name) ? kept.filter((other) => other !== name) : [...kept, name];
    write(`${side}_values`, left.map(quoted).join(", "));
  };
  return h(
    "details",
    { open },
    h("summary", {}, say("script.choices", { n: axis.choices.length })),
    h(
      "div",
      { class: "names" },
      h("button", { type: "button", "data-key": `all-${side}`, "aria-pressed": String(all), onclick: () => write(`${side}_values`, all ? "" : "*") }, say("script.all")),
      axis.choices.map((name) =>
        h("button", { type: "button", "data-key": `value-${side}-${name}`, "aria-pressed": String(all || taken.includes(name)), onclick: () => press(name) }, name),
      ),
    ),
  );
}

const quoted = (name) => (/[,"]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name);

// Values between commas; quotes hold one together.
function split(text) {
  const found = text.match(/"(?:[^"]|"")*"|[^,]+/g) || [];
  return found.map((one) => one.trim().replace(/^"|"$/g, "").replaceAll('""', '"')).filter(Boolean);
}

function swap(one, other) {
  const now = (side) => [values[`${side}_axis`], values[`${side}_values`]];
  const [[axisOne, valuesOne], [axisOther, valuesOther]] = [now(one), now(other)];
  apply({
    set: {
      [`${one}_axis`]: axisOther, [`${one}_values`]: valuesOther,
      [`${other}_axis`]: axisOne, [`${other}_values`]: valuesOne,
    },
  });
}
