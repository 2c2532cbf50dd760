// The Extensions tab: name, one sentence, a switch, and the state.
import { get, post } from "./api.js";
import { boot, say } from "./boot.js";
import { appears, fill, h } from "./dom.js";
import { notice } from "./notices.js";

let host = null;

export async function start() {
  host = await appears("#extensions");
  host.setAttribute("role", "region");
  host.setAttribute("aria-label", say("extensions.region"));
  await draw();
}

async function draw() {
  const { extensions } = await get("extensions");
  fill(
    host,
    h(
      "div",
      { class: "page" },
      h("h2", {}, say("extensions.title")),
      h("p", { class: "about" }, say("extensions.about")),
      extensions.length ? h("ul", { class: "rows" }, extensions.map(row)) : h("p", { class: "none" }, say("extensions.none")),
    ),
  );
}

function row(extension) {
  const words = boot.extensions[extension.name] || {};
  const title = words.title || extension.title;
  const toggle = h("button", {
    class: "switch", type: "button", role: "switch", "data-key": extension.name, "aria-checked": String(extension.enabled),
    "aria-label": say("extensions.switch", { name: title }), onclick: () => flip(extension),
  }, h("i"));
  const state = extension.problem
    ? say("extensions.failed", { problem: extension.problem })
    : say(extension.builtin ? "extensions.builtin" : "extensions.installed");
  return h(
    "li",
    { class: extension.problem ? "broken" : "" },
    h("div", {}, h("b", {}, title), h("p", {}, words.about || extension.about), h("p", { class: "state" }, state)),
    toggle,
  );
}

async function flip(extension) {
  await post(`extensions/${extension.name}`, { enabled: !extension.enabled });
  await draw();
  notice("extensions", say("extensions.reload"), { actions: [[say("notice.reload"), () => location.reload()]] });
}
