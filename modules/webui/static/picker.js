// The model row in the form, and the panel over the stage in which a model is chosen.
import { say } from "./boot.js";
import { appears, fill, h, icon } from "./dom.js";
import { apply, onForm, values } from "./form.js";
import { placeOf } from "./memory.js";
import { cards, names, refresh } from "./modellist.js";
import { closePanel, openPanel } from "./panel.js";
import { now, onChange } from "./store.js";

let row = null;
let held = ""; // what the engine held when the row was drawn

export async function start() {
  row = await appears("#model_row");
  onForm((changed) => changed.includes("checkpoint") && drawRow());
  await refresh();
  drawRow();
  onChange(({ engine }) => JSON.stringify(engine?.held) !== held && drawRow());
}

function drawRow() {
  held = JSON.stringify(now().engine?.held);
  const chosen = names().find(values.checkpoint);
  const name = chosen ? chosen.title : values.checkpoint || say("control.checkpoint.none");
  fill(
    row,
    h("span", { class: "row-label", id: "model_label" }, say("control.checkpoint.label")),
    h(
      "button",
      { class: "model", type: "button", "data-key": "model", "aria-haspopup": "dialog", "aria-describedby": "model_label", onclick: open },
      picture(chosen),
      h("span", { class: "name" }, name),
      h("span", { class: "family" }, [chosen?.family && chosen.family_title, chosen && say(`memory.state_${placeOf(chosen.name) || "disk"}`)].filter(Boolean).join(" · ")),
      icon("down"),
    ),
  );
}

export function picture(model) {
  return h("span", { class: `thumb ${model?.starter ? "starter" : ""}`, "aria-hidden": "true" }, (model?.title || "?").slice(0, 1));
}

export async function open() {
  const search = h("input", {
    type: "search", placeholder: say("models.search"), "aria-label": say("models.search"), oninput: () => list(),
  });
  const grid = h("div", { class: "models" });
  const list = () => fill(grid, cards(search.value, { chosen: values.checkpoint, choose }));
  const again = h("button", { type: "button", onclick: async () => (await refresh(true), list()) }, say("models.look_again"));
  openPanel(say("models.title"), [search, again], grid);
  await refresh();
  list();
}

function choose(model) {
  apply({ set: { checkpoint: model.name } });
  closePanel();
}
