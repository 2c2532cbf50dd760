// The Gallery tab: a grid that draws only the rows in sight, a search, and the selected picture's details.
import { get, media, thumbnail } from "./api.js";
import { duration, say } from "./boot.js";
import { appears, fill, h, icon } from "./dom.js";
import { number } from "./titles.js";
import { on } from "./live.js";
import { firstWords, showPicture } from "./stage.js";
import { onTab, openTab, openedTab } from "./tabs.js";
import { details, remove, verbs } from "./verbs.js";

const PAGE = 120;
const GAP = 8;
const EDGE = 224;
const ABOVE = 2; // rows kept drawn beyond the edge
const SEARCH_AFTER = 200;

let host = null;
let grid = null;
let scroller = null;
let search = null;
let side = null;
let count = null;
let items = [];
let cursor = null;
let loading = false;
let chosen = -1;
let stale = false;
let asked = 0;

export async function start() {
  host = await appears("#gallery");
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", say("gallery.region"));
  search = h("input", { type: "search", placeholder: say("gallery.search"), "aria-label": say("gallery.search_label"), oninput: searchSoon });
  count = h("span", { class: "count", role: "status" });
  grid = h("div", { class: "tiles", role: "listbox", "aria-label": say("gallery.region"), tabindex: "0", onkeydown: keys });
  scroller = h("div", { class: "scroller", onscroll: draw }, grid);
  side = h("aside", { class: "details", "aria-label": say("gallery.details"), hidden: true });
  host.append(h("div", { class: "listing" }, h("div", { class: "top" }, search, count), scroller), side);
  new ResizeObserver(draw).observe(scroller);
  onTab((tab) => tab === "gallery" && stale && reload());
  for (const type of ["image", "gallery"]) on(type, changed);
  await reload();
}

function changed() {
  stale = true;
  if (openedTab() === "gallery") setTimeout(() => stale && reload(), 150);
}

let searching = null;
function searchSoon() {
  clearTimeout(searching);
  searching = setTimeout(() => reload(true), SEARCH_AFTER);
}

export function focusSearch() {
  openTab("gallery");
  appears("#gallery input").then((box) => box.focus());
  return true;
}

async function reload(fromTop = false) {
  stale = false;
  const mine = ++asked;
  const query = search.value.trim();
  const wanted = fromTop ? PAGE : Math.max(PAGE, Math.min(items.length, 480));
  const q = encodeURIComponent(query);
  const [page, total] = await Promise.all([get(`images?limit=${Math.min(wanted, PAGE)}&q=${q}`), get(`images/count?q=${q}`)]);
  if (mine !== asked) return;
  const keep = chosen >= 0 ? items[chosen]?.id : null; // as it is now: it may have been chosen meanwhile
  items = page.items;
  cursor = page.next;
  chosen = items.findIndex((item) => item.id === keep);
  if (fromTop) scroller.scrollTop = 0;
  count.textContent = total.count === 1 ? say("gallery.count_one") : say("gallery.count", { n: total.count.toLocaleString() });
  drawn = "";
  draw();
  if (chosen < 0) showDetails(null);
  else if (fromTop) keepInSight(); // chosen while the search was on its way
}

async function loadMore() {
  if (loading || !cursor) return;
  loading = true;
  const mine = asked;
  const page = await get(`images?limit=${PAGE}&before=${encodeURIComponent(cursor)}&q=${encodeURIComponent(search.value.trim())}`);
  loading = false;
  if (mine !== asked) return;
  items.push(...page.items);
  cursor = page.next;
  draw();
}

// Tiles per row and their side in CSS pixels: about 224 on a desktop, three a row on a phone, the row always full.
function measure() {
  const style = getComputedStyle(scroller);
  const width = scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const columns = width < 480 ? 3 : Math.max(1, Math.round((width + GAP) / (EDGE + GAP)));
  return { columns, side: Math.floor((width - GAP * (columns - 1)) / columns) };
}

let drawn = "";
function draw() {
  if (!scroller.clientWidth) return;
  const { columns, side: edge } = measure();
  const step = edge + GAP;
  const rows = Math.ceil(items.length / columns);
  const first = Math.max(0, Math.floor(scroller.scrollTop / step) - ABOVE);
  const last = Math.min(rows, Math.ceil((scroller.scrollTop + scroller.clientHeight) / step) + ABOVE);
  if (last >= rows - 2) loadMore();
  const key = `${first} ${last} ${columns} ${edge} ${items.length} ${chosen} ${asked}`;
  if (key === drawn) return;
  drawn = key;
  if (!items.length) {
    grid.style.height = "";
    fill(grid, empty());
    return;
  }
  grid.style.height = `${rows * step - GAP}px`;
  const shown = items.slice(first * columns, last * columns);
  const offset = first * columns;
  const kept = new Map([...grid.querySelectorAll(".tile")].map((tile) => [tile.dataset.id, tile]));
  grid.replaceChildren(...shown.map((item, at) => place(kept.get(item.id) ?? tile(item), item, offset + at, columns, edge)));
  grid.setAttribute("aria-activedescendant", chosen >= 0 ? `tile-${items[chosen].id}` : "");
}

function place(element, item, index, columns, edge) {
  const step = edge + GAP;
  element.style.transform = `translate(${(index % columns) * step}px, ${Math.floor(index / columns) * step}px)`;
  element.style.width = element.style.height = `${edge}px`;
  element.setAttribute("aria-selected", String(index === chosen));
  return element;
}

function tile(item) {
  const name = say("stage.open_picture", { prompt: firstWords(item.prompt), seed: item.seed ?? "" });
  const broken = item.state !== "ok";
  return h(
    "div",
    { class: "tile", role: "option", id: `tile-${item.id}`, "data-id": item.id, "aria-label": name,
      onclick: () => choose(items.findIndex((other) => other.id === item.id)), ondblclick: () => openOnStage(item) },
    broken ? h("span", { class: "broken" }, say(`stage.${item.state}`)) : h("img", { src: thumbnail(item.id), alt: "", loading: "lazy", decoding: "async" }),
  );
}

function empty() {
  const query = search.value.trim();
  const clear = () => {
    search.value = "";
    reload(true);
    search.focus();
  };
  return h(
    "div",
    { class: "empty", role: "presentation" },
    h("p", {}, query ? say("gallery.no_hit", { q: query }) : say("gallery.empty")),
    query
      ? h("button", { type: "button", onclick: clear }, say("gallery.clear"))
      : h("button", { type: "button", onclick: () => openTab("create") }, say("gallery.make_one")),
  );
}

function choose(index) {
  chosen = index;
  showDetails(items[index] ?? null);
  draw();
  keepInSight();
}

function keepInSight() {
  if (chosen < 0) return;
  const { columns, side: edge } = measure();
  const top = Math.floor(chosen / columns) * (edge + GAP);
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + edge > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + edge - scroller.clientHeight + GAP;
  draw(); // a scroll there and back within one frame is no scroll event
}

function keys(event) {
  const { columns } = measure();
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
  if (step && items.length) {
    event.preventDefault();
    choose(chosen < 0 ? 0 : Math.min(Math.max(chosen + step, 0), items.length - 1));
  } else if (event.key === "Enter" && items[chosen]) openOnStage(items[chosen]);
  else if ((event.key === "Delete" || event.key === "Backspace") && items[chosen]) {
    event.preventDefault();
    removeChosen();
  }
}

function removeChosen() {
  const at = chosen;
  const item = items[at];
  remove([item.id], () => {
    items = items.filter((other) => other.id !== item.id);
    choose(Math.min(at, items.length - 1));
    grid.focus();
  });
}

function openOnStage(item) {
  showPicture(item);
  openTab("create");
}

export function closeDetails() {
  if (openedTab() !== "gallery" || chosen < 0) return false;
  choose(-1);
  grid.focus();
  return true;
}

async function showDetails(item) {
  side.hidden = !item;
  host.classList.toggle("with-details", !!item);
  if (!item) return;
  const told = await details(item.id);
  if (items[chosen]?.id !== item.id) return;
  fill(
    side,
    h("button", { class: "small close", type: "button", "aria-label": say("gallery.close"), onclick: closeDetails }, icon("close")),
    h("button", { class: "big", type: "button", "aria-label": say("verb.open_on_stage"), onclick: () => openOnStage(item) },
      h("img", { src: media(item.id), alt: (item.prompt || "").slice(0, 120), width: item.width, height: item.height })),
    verbs(item, { onDeleted: () => reload(), onUsed: () => openTab("create") }),
    facts(told),
  );
}

function facts(told) {
  const request = told.request;
  const texts = [[say("gallery.prompt"), told.prompt || say("rail.no_prompt")]];
  if (request?.negative_prompt) texts.push([say("gallery.negative"), request.negative_prompt]);
  const rows = request ? settingsOf(told, request) : [[say("gallery.size"), say("info.size", { w: told.width, h: told.height })]];
  return [
    ...texts.map(([name, text]) => h("section", {}, h("h3", {}, name), h("p", { class: "prompt" }, text))),
    h("dl", {}, rows.map(([name, value, kind]) => [h("dt", {}, name), h("dd", { class: kind || "" }, value)]).flat()),
    !request && h("p", { class: "state" }, say("gallery.elsewhere")),
  ].filter(Boolean);
}

function settingsOf(told, request) {
  const { sampling, hires } = request;
  return [
    [say("gallery.model"), told.facts?.model || request.model.checkpoint],
    [say("gallery.size"), say("info.size", { w: told.width, h: told.height })],
    [say("gallery.seed"), String(told.seed), "mono"],
    [say("gallery.sampler"), sampling.sampler],
    [say("gallery.schedule"), sampling.schedule],
    [say("gallery.steps"), String(sampling.steps)],
    [say("gallery.cfg_scale"), number(sampling.cfg_scale)],
    hires && [say("gallery.hires"), `${number(hires.scale)}×`],
    request.clip_skip > 1 && [say("gallery.clip_skip"), String(request.clip_skip)],
    [say("gallery.made"), new Date(told.created_at * 1000).toLocaleString()],
    told.facts?.elapsed_s && [say("gallery.took"), duration(told.facts.elapsed_s)],
  ].filter((row) => row && row[1]);
}
