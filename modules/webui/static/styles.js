// The chosen styles under the prompt, and the panel in which styles are chosen, written, changed and taken out.
import { Refused, get, post } from "./api.js";
import { say } from "./boot.js";
import { appears, fill, h, icon } from "./dom.js";
import { apply, onForm, values } from "./form.js";
import { sentence } from "./messages.js";
import { notice } from "./notices.js";
import { openPanel } from "./panel.js";

let row = null; // under the prompt: a chip for each chosen style, nothing where there is none
let known = []; // [{name, prompt, negative_prompt, own}]
let lists = []; // names of wildcard lists

export async function start() {
  row = await appears("#styles_row");
  (await appears("#beside_prompt")).prepend(
    h("button", { class: "link", type: "button", id: "styles_open", "aria-haspopup": "dialog", title: say("styles.title"), onclick: open }, say("control.styles.label")),
  );
  onForm((names) => names.includes("styles") && draw());
  await refresh();
  draw();
}

export function chosen() {
  try {
    const names = JSON.parse(values.styles || "[]");
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

let turn = Promise.resolve(); // presses may be faster than answers: each alters what the one before left

function alter(how) {
  const altered = turn.then(() => apply({ set: { styles: JSON.stringify(how(chosen())) } }));
  turn = altered.catch(() => null);
  return altered;
}

const without = (name) => (names) => names.filter((other) => other !== name);

async function refresh() {
  const [told, words] = await Promise.all([get("styles"), get("wildcards")]);
  lists = words.wildcards;
  take(told);
}

function take(told) {
  known = told.styles;
  for (const problem of told.problems) notice(`styles-${problem.facts?.file}`, sentence(problem), { kind: "warn" });
}

function draw() {
  const names = chosen();
  const gone = (name) => known.length > 0 && !known.some((style) => style.name === name);
  fill(
    row,
    names.map((name) =>
      h(
        "button",
        {
          class: `style-chip ${gone(name) ? "gone" : ""}`, type: "button", "data-key": `style-${name}`,
          title: say("styles.leave", { name }), "aria-label": say("styles.leave", { name }),
          onclick: () => alter(without(name)),
        },
        name,
        icon("close"),
      ),
    ),
    names.length > 0 &&
      h("button", { class: "link", type: "button", "data-key": "styles-write", title: say("styles.write_hint"), onclick: () => apply({ write_styles: true }) }, say("styles.write")),
  );
}

async function open() {
  const search = h("input", {
    type: "search", placeholder: say("styles.search"), "aria-label": say("styles.search"), oninput: () => list(),
  });
  const body = h("div", { class: "styles" });
  const list = () => fill(body, cards(search.value, list, edit), wildcards(search.value));
  const edit = (style) => fill(body, editor(style, list));
  const fresh = { name: "", prompt: values.prompt || "", negative_prompt: values.negative_prompt || "", own: true };
  const add = h("button", { type: "button", onclick: () => edit(fresh) }, say("styles.add"));
  openPanel(say("styles.title"), [search, add], body);
  await refresh();
  list();
  draw();
}

function cards(query, redraw, edit) {
  const wanted = query.trim().toLowerCase();
  const found = known.filter((style) => `${style.name} ${style.prompt} ${style.negative_prompt}`.toLowerCase().includes(wanted));
  if (!known.length) return h("p", { class: "none" }, say("styles.none"));
  if (!found.length) return h("p", { class: "none" }, say("styles.no_hit", { q: query }));
  const names = chosen();
  const toggle = async (name) => {
    await alter((now) => (now.includes(name) ? without(name)(now) : [...now, name]));
    redraw();
  };
  return found.map((style) =>
    h(
      "div",
      { class: "style-card" },
      h(
        "button",
        {
          class: `model-card ${names.includes(style.name) ? "chosen" : ""}`, type: "button", "data-key": `card-${style.name}`,
          "aria-pressed": String(names.includes(style.name)), onclick: () => toggle(style.name),
        },
        h("span", { class: "text" }, h("b", {}, style.name), h("span", {}, style.prompt), style.negative_prompt && h("span", {}, `− ${style.negative_prompt}`)),
      ),
      h("button", { class: "small-text", type: "button", "data-key": `edit-${style.name}`, "aria-label": say("styles.edit_one", { name: style.name }), onclick: () => edit(style) }, say("styles.edit")),
    ),
  );
}

// The wildcard lists below the styles: pressing one puts it at the prompt's end.
function wildcards(query) {
  const wanted = query.trim().toLowerCase();
  const found = lists.filter((name) => name.toLowerCase().includes(wanted));
  if (!found.length && lists.length) return null;
  const put = (name) => apply({ set: { prompt: [(values.prompt || "").trimEnd(), `__${name}__`].filter(Boolean).join(" ") } });
  return h(
    "section",
    { class: "wildcards", "aria-labelledby": "wildcards_title" },
    h("h3", { id: "wildcards_title" }, say("styles.wildcards")),
    h("div", { class: "names" }, found.map((name) => h("button", { type: "button", "data-key": `list-${name}`, title: say("styles.put_list"), onclick: () => put(name) }, name))),
    h("p", {}, say(lists.length ? "styles.put_list" : "styles.no_lists")),
  );
}

// A style's three texts; the file keeps the old one beside it whenever one is written.
function editor(style, back) {
  const box = (name, label, rows) => {
    const input = rows ? h("textarea", { rows, id: `style_${name}` }) : h("input", { type: "text", id: `style_${name}` });
    input.value = style[name];
    return [h("label", { for: `style_${name}` }, label), input];
  };
  const [nameLabel, name] = box("name", say("styles.name"), 0);
  const [promptLabel, prompt] = box("prompt", say("control.prompt.label"), 5);
  const [negativeLabel, negative] = box("negative_prompt", say("control.negative_prompt.label"), 3);
  const wrong = h("p", { class: "error", role: "alert" });
  const settle = async (path, body) => {
    try {
      take(await post(path, body));
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      wrong.textContent = sentence(problem);
      return;
    }
    const names = chosen();
    const renamed = style.name && body.name !== style.name && names.includes(style.name);
    if (renamed) await alter((now) => now.map((other) => (other === style.name ? body.name : other)));
    draw();
    back();
  };
  const keep = () =>
    settle("styles", { name: name.value.trim(), prompt: prompt.value, negative_prompt: negative.value, instead_of: style.name });
  return h(
    "div",
    { class: "style-form" },
    nameLabel, name, promptLabel, prompt,
    h("p", { class: "hint" }, say("styles.place")),
    negativeLabel, negative, wrong,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "primary", onclick: keep }, say("styles.keep")),
      h("button", { type: "button", onclick: back }, say("styles.back")),
      style.name && style.own && h("button", { type: "button", onclick: () => settle("styles/remove", { name: style.name }) }, say("styles.remove")),
    ),
    !style.own && h("p", { class: "hint" }, say("styles.elsewhere")),
  );
}
