// The LoRA panel: cards searched by the server, drawn only where they are seen, put into the prompt and taken out.
import { Refused, get, patch } from "./api.js";
import { has, say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { element, values } from "./form.js";
import { sentence } from "./messages.js";
import { size } from "./modellist.js";
import { openPanel } from "./panel.js";

const WINDOW = 60; // cards asked for at once
const SEARCH_AFTER = 120; // ms of quiet
const CARD = 122; // px of a card with the gap below it, as the stylesheet says
const EXTRA = 3; // rows drawn above and below what is seen

export async function start() {
  (await appears("#beside_prompt")).prepend(
    h("button", { class: "link", type: "button", id: "adapters_open", "aria-haspopup": "dialog", title: say("adapters.title"), onclick: open }, say("adapters.open")),
  );
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const wordOf = (one) => (one.kind === "lora" ? `<lora:${one.name}:${one.weight}>` : one.name.split("/").at(-1));
const textOf = (one) => [wordOf(one), one.words].filter(Boolean).join(" ");

// Where the prompt names an adapter, with the words that came with it.
function named(one) {
  const own = one.kind === "lora" ? `<lora:${escaped(one.name)}(?::[^>]*)?>` : `(?<!\\w)${escaped(wordOf(one))}(?!\\w)`;
  return new RegExp(`[ ,]*${own}(?: ${escaped(one.words)})?`, "i");
}

const isIn = (one) => named(one).test(element("prompt").querySelector("textarea").value);

function toggle(one) {
  const box = element("prompt").querySelector("textarea");
  const found = named(one).exec(box.value);
  if (found) box.setRangeText("", found.index, found.index + found[0].length, "end");
  else {
    const before = box.value.slice(0, box.selectionEnd);
    box.setRangeText(`${before && !/\s$/.test(before) ? " " : ""}${textOf(one)}`, box.selectionEnd, box.selectionEnd, "end");
  }
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

function open() {
  let turn = 0;
  let rows = []; // sparse: what the server told so far, by place
  let total = 0;
  let resting = null;
  const search = h("input", { type: "search", placeholder: say("adapters.search"), "aria-label": say("adapters.search") });
  const list = h("div", { class: "adapters" });
  const body = h("div", {}, list);
  const ask = async (offset) => {
    const mine = turn;
    const query = new URLSearchParams({ q: search.value.slice(0, 200), checkpoint: values.checkpoint || "", offset, limit: WINDOW });
    const told = await get(`adapters?${query}`);
    if (mine !== turn) return;
    told.adapters.forEach((row, place) => (rows[offset + place] = row));
    total = told.total;
    draw();
  };
  const again = () => {
    turn += 1;
    rows = [];
    ask(0);
  };
  const draw = () => {
    const panel = document.getElementById("panel");
    if (!panel || !list.isConnected) return;
    if (!total) return fill(list, h("p", { class: "none" }, search.value ? say("adapters.no_hit", { q: search.value }) : say("adapters.none")));
    const from = Math.max(0, Math.floor((panel.scrollTop - list.offsetTop) / CARD) - EXTRA);
    const to = Math.min(total, from + Math.ceil(panel.clientHeight / CARD) + 2 * EXTRA);
    const seen = Array.from({ length: to - from }, (_, place) => rows[from + place]);
    const gap = (count) => {
      const made = h("div", { "aria-hidden": "true" });
      made.style.height = `${count * CARD}px`;
      return made;
    };
    fill(list, gap(from), seen.map((one) => (one ? card(one) : gap(1))), gap(total - to));
    const missing = seen.findIndex((one) => !one);
    if (missing >= 0 && !rows.asked?.has(from + missing)) {
      (rows.asked ??= new Set()).add(from + missing);
      ask(from + missing);
    }
  };
  const card = (one) => {
    const reason = one.problem ?? one.incompatible;
    const press = () => {
      if (reason && !isIn(one)) return;
      toggle(one);
      draw();
    };
    const family = has(`family.${one.family}`) ? say(`family.${one.family}`) : say("models.unknown_family");
    return h(
      "div",
      { class: "style-card" },
      h(
        "button",
        { class: `model-card ${isIn(one) ? "chosen" : ""} ${reason ? "dimmed" : ""}`, type: "button", "data-key": `adapter-${one.kind}-${one.name}`, "aria-pressed": String(isIn(one)), "aria-disabled": reason ? "true" : null, onclick: press },
        thumb(one),
        h(
          "span",
          { class: "text" },
          h("b", {}, `${one.favourite ? "★ " : ""}${one.name}`),
          h("span", {}, [family, size(one.size_bytes), one.kind === "lora" && one.weight].filter(Boolean).join(" · ")),
          h("span", {}, one.words),
          reason && h("span", { class: "problem" }, sentence(reason)),
        ),
      ),
      h("button", { class: "small-text", type: "button", "data-key": `about-${one.kind}-${one.name}`, "aria-label": say("adapters.about_one", { name: one.name }), onclick: () => fill(body, about(one, back)) }, say("adapters.about")),
    );
  };
  const back = () => {
    fill(body, list);
    again();
  };
  search.addEventListener("input", () => {
    clearTimeout(resting);
    resting = setTimeout(() => (fill(body, list), again()), SEARCH_AFTER);
  });
  openPanel(say("adapters.title"), [search], body);
  document.getElementById("panel").addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  again();
}

const place = (one) => `adapters/${one.kind}/${one.name.split("/").map(encodeURIComponent).join("/")}`;

function thumb(one) {
  if (one.preview === null) return h("span", { class: "thumb", "aria-hidden": "true" }, one.name.split("/").at(-1).slice(0, 1));
  return h("img", { class: "thumb", alt: "", src: `/api/v1/${place(one)}/preview?v=${one.preview}` });
}

// What a person says about one; an emptied weight leaves it to the cards beside the file.
function about(one, back) {
  const field = (label, made) => [h("label", { for: made.id }, label), made];
  const weight = h("input", { type: "number", step: "0.05", id: "adapter_weight", value: String(one.weight) });
  const words = h("textarea", { rows: 2, id: "adapter_words" });
  const notes = h("textarea", { rows: 4, id: "adapter_notes" });
  words.value = one.words;
  notes.value = one.notes;
  const favourite = h("button", { type: "button", "aria-pressed": String(one.favourite), onclick: () => favourite.setAttribute("aria-pressed", String(favourite.ariaPressed !== "true")) }, say("adapters.favourite"));
  const wrong = h("p", { class: "error", role: "alert" });
  const keep = async () => {
    const changed = { favourite: favourite.ariaPressed === "true" };
    if (weight.value !== String(one.weight)) changed.weight = weight.value === "" ? null : Number(weight.value);
    if (words.value !== one.words) changed.words = words.value;
    if (notes.value !== one.notes) changed.notes = notes.value;
    try {
      await patch(place(one), changed);
    } catch (problem) {
      if (!(problem instanceof Refused)) throw problem;
      wrong.textContent = sentence(problem);
      return;
    }
    back();
  };
  return h(
    "div",
    { class: "style-form" },
    h("b", {}, one.name),
    field(say("adapters.weight"), weight), field(say("adapters.words"), words), field(say("adapters.notes"), notes), wrong,
    h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: keep }, say("styles.keep")), h("button", { type: "button", onclick: back }, say("styles.back")), favourite),
  );
}
