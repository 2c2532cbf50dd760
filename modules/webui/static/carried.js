// Chips under the prompt for settings that came with a picture and have no control: seen, and taken off by a press.
import { say } from "./boot.js";
import { appears, fill, h, icon } from "./dom.js";
import { apply, onForm, values } from "./form.js";

let row = null;

export async function start() {
  row = await appears("#carried_row");
  onForm((names) => names.includes("carried") && draw());
  draw();
}

function fields() {
  try {
    return JSON.parse(values.carried || "{}");
  } catch {
    return {};
  }
}

function draw() {
  const now = fields();
  fill(
    row,
    Object.entries(now).map(([path, value]) => {
      const text = `${path.split(".").slice(-2).join(" ").replaceAll("_", " ")}: ${shown(value)}`;
      const leave = say("carried.leave", { name: text });
      return h("button", { class: "style-chip", type: "button", "data-key": `carried-${path}`, title: leave, "aria-label": leave, onclick: () => drop(path) }, h("span", {}, text), icon("close"));
    }),
  );
}

function drop(path) {
  const left = Object.entries(fields()).filter(([one]) => one !== path && !(path === "start.picture" && one.startsWith("start.")));
  apply({ set: { carried: JSON.stringify(Object.fromEntries(left)) } });
}

function shown(value) {
  if (value && typeof value === "object") return Object.values(value).join(" × ");
  return /^[0-9a-f]{64}$/.test(value) ? value.slice(0, 8) : String(value);
}
