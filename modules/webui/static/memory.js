// The memory ledger in the Models tab: what is loaded, where each part lies, what is left, and a button to let it go.
import { get, post } from "./api.js";
import { has, say } from "./boot.js";
import { fill, h } from "./dom.js";
import { size } from "./modellist.js";
import { notice } from "./notices.js";
import { now, onChange } from "./store.js";

// Where a checkpoint is: "device", "memory" or "" (on disk only).
export function placeOf(name) {
  const held = (now().engine?.held || []).find((one) => one.name === name);
  if (!held) return "";
  const onDevice = held.parts.some((part) => part.place === "device");
  return onDevice && hasDevice() ? "device" : "memory";
}

const hasDevice = () => Boolean(now().engine?.total_bytes);

// The section; it follows the engine's events while it is on the page.
export function ledger() {
  const host = h("section", { class: "ledger", "aria-label": say("memory.title") });
  let drawn = "";
  let told = null;
  const look = async () => {
    told = await get("memory").catch(() => told); // a lost connection is told elsewhere
    draw();
  };
  const draw = () => fill(host, told && summary(told), told && models(told.held));
  onChange(({ engine }) => {
    const key = JSON.stringify([engine?.state, engine?.held]);
    if (key === drawn) return;
    drawn = key;
    look();
  });
  return host;
}

function summary(told) {
  const [free, total] = told.total_bytes ? [told.free_bytes, told.total_bytes] : [told.computer.free_bytes, told.computer.total_bytes];
  const facts = { free: size(free), total: size(total), engine: size(told.engine_bytes), page: size(told.page_bytes) };
  return h(
    "div",
    { class: "line" },
    h("b", {}, say("memory.title")),
    h("span", {}, say(told.total_bytes ? "memory.device" : "memory.computer", facts)),
    h("span", {}, say("memory.processes", facts)),
    h("button", { type: "button", "data-key": "free", disabled: !told.held.length, onclick: letGo }, say("memory.free")),
  );
}

async function letGo() {
  await post("memory/free");
  notice("memory", say(now().running ? "memory.freed_later" : "memory.freed"), { forMs: 3000 });
}

function models(held) {
  if (!held.length) return h("p", {}, say("memory.nothing"));
  return h(
    "ul",
    {},
    [...held].reverse().map((one) =>
      h("li", {}, h("b", {}, one.name), h("span", {}, `${size(one.bytes)} · ${one.numerics}`), h("span", {}, one.parts.map(partText).join(" · "))),
    ),
  );
}

function partText({ part, bytes, place }) {
  const name = has(`memory.part_${part}`) ? say(`memory.part_${part}`) : part;
  return say("memory.part", { part: name, size: size(bytes), place: say(`memory.place_${hasDevice() ? place : "memory"}`) });
}
