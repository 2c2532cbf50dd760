// The Settings tab: a search, groups, and for each setting its value, its default and the reason it is there.
import { Refused, get, patch } from "./api.js";
import { has, say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { remember, showTheme } from "./header.js";
import { notice } from "./notices.js";

const GROUPS = ["page", "pictures", "models", "extensions", "start"];
let rows = [];
let search = null;
let list = null;

export async function start() {
  const host = await appears("#settings");
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", say("settings.region"));
  search = h("input", { type: "search", placeholder: say("settings.search"), "aria-label": say("settings.search"), oninput: draw });
  list = h("div");
  host.append(h("div", { class: "page" }, h("h2", {}, say("settings.title")), search, list));
  rows = (await get("settings")).settings;
  draw();
}

function draw() {
  const wanted = search.value.trim().toLowerCase();
  const found = rows.filter((row) => `${nameOf(row)} ${reasonOf(row)} ${row.name}`.toLowerCase().includes(wanted));
  if (!found.length) {
    fill(list, h("p", { class: "none" }, say("settings.no_hit", { q: search.value })));
    return;
  }
  const groups = GROUPS.map((group) => [group, found.filter((row) => row.group === group)]).filter(([, own]) => own.length);
  fill(
    list,
    groups.map(([group, own]) =>
      h("section", {}, h("h3", {}, say(`settings.group_${group}`)), h("ul", { class: "rows" }, own.map(item))),
    ),
  );
}

const nameOf = (row) => (has(`settings.name.${row.name}`) ? say(`settings.name.${row.name}`) : row.name);
const reasonOf = (row) => (has(`settings.reason.${row.name}`) ? say(`settings.reason.${row.name}`) : row.help);

function shown(value) {
  if (value === true) return say("settings.yes");
  if (value === false) return say("settings.no");
  if (value === "" || (Array.isArray(value) && !value.length)) return say("settings.empty_value");
  return has(`settings.choice.${value}`) ? say(`settings.choice.${value}`) : String(value);
}

function item(row) {
  const id = `setting-${row.name}`;
  const fixed = row.group === "start" || Array.isArray(row.value);
  const variable = `ATELIER_${row.name.toUpperCase()}`;
  return h(
    "li",
    {},
    h(
      "div",
      {},
      h("label", { for: fixed ? null : id }, nameOf(row)),
      h("p", {}, reasonOf(row)),
      h("p", { class: "state" }, say("settings.default", { value: shown(row.default) })),
      row.group === "start" && h("p", { class: "state" }, say("settings.from_start", { variable })),
    ),
    fixed ? h("span", { class: "fixed" }, shown(row.value)) : input(row, id),
  );
}

function input(row, id) {
  if (typeof row.value === "boolean") {
    return h("button", {
      id, class: "switch", type: "button", role: "switch", "data-key": id, "aria-checked": String(row.value),
      "aria-label": nameOf(row), onclick: () => save(row, !row.value),
    }, h("i"));
  }
  if (row.choices.length) {
    const options = row.choices.map((choice) => h("option", { value: choice, selected: choice === row.value }, shown(choice)));
    return h("select", { id, "data-key": id, onchange: (event) => save(row, event.target.value) }, options);
  }
  const kind = typeof row.value === "number" ? "number" : "text";
  const read = (text) => (kind === "number" ? Number(text) : text);
  return h("input", { id, type: kind, value: String(row.value), "data-key": id, onchange: (event) => save(row, read(event.target.value)) });
}

async function save(row, value) {
  try {
    const told = await patch("settings", { [row.name]: value });
    Object.assign(row, told.settings[0]);
    felt(row);
    notice("settings", say(row.live ? "settings.saved" : "settings.restart"), { forMs: 2500 });
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    notice("settings", [problem.message, problem.hint].join(" "), { kind: "err" });
  }
  draw();
}

// The browser's own choices of theme and language would hide the new setting.
function felt(row) {
  if (row.name === "theme") {
    remember("atelier_theme", row.value);
    showTheme(row.value);
  }
  if (row.name === "language") {
    remember("atelier_language", row.value === "auto" ? "" : row.value);
    location.reload();
  }
}
