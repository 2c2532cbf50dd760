// The panel with what a picture or a text says about how it was made, each row to take or to leave.
import { Refused, get, post, putBlob } from "./api.js";
import { has, say } from "./boot.js";
import { appears, h } from "./dom.js";
import { apply, controls, onForm, values } from "./form.js";
import { sentence } from "./messages.js";
import { notice } from "./notices.js";
import { closePanel, openPanel } from "./panel.js";
import { canStart, startFrom } from "./startfrom.js";

const INFOTEXT = /^Steps: \d+, .*\bSampler: /m; // how the last line of an infotext begins
const byField = new Map(controls.filter((row) => row.field).map((row) => [row.field, row]));
let link = null; // beside the prompt, while an infotext stands in it

export async function start() {
  link = h(
    "button",
    { class: "link", type: "button", id: "paste_settings", hidden: true, title: say("taking.paste_hint"), onclick: () => takeText(values.prompt) },
    say("taking.paste"),
  );
  (await appears("#beside_prompt")).prepend(link);
  onForm((names) => names.includes("prompt") && look());
  look();
}

function look() {
  link.hidden = !INFOTEXT.test(values.prompt || "");
}

// Show what a file says; it is kept by its content, so that it can be started from.
export async function takeFile(file) {
  const named = { f: file.name || say("taking.a_picture") };
  try {
    const { sha256 } = await putBlob(file);
    show(await get(`blobs/${sha256}/settings`), file);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    const text = problem.status === 415 ? say("taking.not_a_picture", named) : sentence(problem);
    notice("taking", text, { kind: "warn" });
  }
}

// The same of a text.
export async function takeText(text) {
  try {
    show(await post("infotext", { text }), null);
  } catch (problem) {
    if (!(problem instanceof Refused)) throw problem;
    notice("taking", sentence(problem), { kind: "warn" });
  }
}

function show(told, file) {
  const heading = h("h2", {}, say(file ? "taking.title" : "taking.title_text"));
  const begin = file && canStart() && h("button", { type: "button", onclick: () => (closePanel(), startFrom(file)) }, say("taking.start_from"));
  if (!told.rows.length) {
    openPanel(say("taking.title"), heading, h("div", { class: "taking" }, head(told, file), h("p", {}, say(file ? "error.no_settings" : "taking.no_text")), begin && h("div", { class: "actions" }, begin)));
    return;
  }
  const boxes = told.rows.map((row) => [row, tick(takes(row), takes(row))]);
  const rest = tick(true, Object.keys(told.rest).length > 0);
  const take = h("button", { type: "button", class: "primary", onclick: () => taken(told, boxes, rest) }, say("taking.take"));
  const body = h(
    "div",
    { class: "taking" },
    head(told, file),
    h("div", { class: "rows" }, boxes.map(([row, box]) => line(row, box)), !rest.disabled && restLine(rest)),
    told.warnings.map((problem) => h("p", { class: "warn" }, sentence(problem))),
    unknown(told.unknown),
    h("div", { class: "actions" }, take, begin),
  );
  openPanel(say("taking.title"), heading, body);
  take.focus({ preventScroll: true });
}

function head(told, file) {
  const picture = file && h("img", { src: URL.createObjectURL(file), alt: "" });
  picture?.addEventListener("load", () => URL.revokeObjectURL(picture.src), { once: true });
  const program = told.program && h("b", {}, say("taking.made_with", { program: told.program }));
  const size = told.width && h("span", {}, `${told.width} × ${told.height}`);
  return h("div", { class: "head" }, picture, h("span", { class: "text" }, program, size));
}

const takes = (row) => row.values.length > 0;

function tick(checked, enabled) {
  return h("input", { type: "checkbox", checked: checked && enabled, disabled: !enabled });
}

function line(row, box) {
  const text = said(row);
  return h(
    "label",
    { class: "row", "data-row": row.name },
    box,
    h("span", { class: "name" }, say(`taking.row.${row.name}`)),
    h(
      "span",
      { class: "value" },
      text,
      row.missing.length > 0 && h("span", { class: "warn" }, say(row.name === "extensions" ? "taking.off" : "taking.missing", { names: row.missing.join(", ") })),
    ),
  );
}

function restLine(box) {
  return h("label", { class: "row", "data-row": "rest" }, box, h("span", { class: "name" }, say("taking.rest")), h("span", { class: "value" }, say("taking.rest_hint")));
}

function unknown(pairs) {
  const names = Object.keys(pairs);
  if (!names.length) return null;
  return h(
    "details",
    {},
    h("summary", {}, say("taking.unknown", { n: names.length })),
    h("dl", {}, names.flatMap((name) => [h("dt", {}, name), h("dd", {}, pairs[name])])),
  );
}

// What a row says, in words where its control has words.
function said(row) {
  const shown = row.values.filter((one) => one.said || row.values.length === 1);
  if (row.name === "size") return row.values.map((one) => one.value).join(" × ");
  if (row.name === "extensions") return shown.flatMap((one) => Object.keys(one.value || {})).join(", ");
  const several = !["prompt", "negative_prompt", "sampler", "compat", "model"].includes(row.name) && shown.length > 1;
  const parts = shown.map((one) => (several ? `${name(one.field)} ${worded(one)}` : worded(one)));
  return (parts.length ? parts : row.values.slice(0, 1).map(worded)).filter(Boolean).join(row.name === "prompt" ? " · " : ", ");
}

function name(field) {
  const control = byField.get(field);
  return control ? say(`${control.words}.label`) : field.split(".").pop().replaceAll("_", " ");
}

function worded({ field, value, word }) {
  const control = byField.get(field);
  if (word) return say(`control.compat.${word}`);
  if (typeof value === "string" && control && has(`${control.words}.${value}`)) return say(`${control.words}.${value}`);
  if (Array.isArray(value)) return value.join(", ");
  if (value && typeof value === "object") return Object.entries(value).map(([key, one]) => `${key} ${one}`).join(", ");
  return value === null ? say("fold.off") : String(value);
}

async function taken(told, boxes, rest) {
  const rows = boxes.filter(([, box]) => box.checked).map(([row]) => row);
  const fields = Object.fromEntries(rows.flatMap((row) => row.values.map((one) => [one.field, one.value])));
  if (rest.checked) Object.assign(fields, told.rest);
  closePanel();
  const before = values.compat;
  const answer = await apply({ fields });
  if (answer.error) {
    notice("taking", sentence(answer.error), { kind: "err" });
    return;
  }
  const rules = values.compat !== before ? say("taking.rules", { rules: say(`control.compat.${values.compat}`) }) : "";
  notice("taking", [say("taking.taken"), rules].filter(Boolean).join(" "), { forMs: rules ? 12000 : 4000 });
}
