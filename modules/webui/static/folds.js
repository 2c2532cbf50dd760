// The folds' titles with their values, a dot where something is not the default, and a reset at the right.
import { say } from "./boot.js";
import { h, icon } from "./dom.js";
import { apply, controls, folds, fresh, onForm, values } from "./form.js";
import { foldTitle } from "./titles.js";

export function start() {
  for (const fold of folds) decorate(fold);
  onForm(() => folds.forEach(draw));
}

function nameOf(fold) {
  // the document wrote "name · values"; the name alone comes from the same words
  const title = fold.button.querySelector("span").textContent;
  return title.split(" · ")[0];
}

function decorate(fold) {
  const host = document.getElementById(fold.id);
  fold.button = host.querySelector("button.label-wrap");
  fold.label = fold.button.querySelector("span");
  fold.title = nameOf(fold);
  fold.button.setAttribute("aria-expanded", String(fold.button.classList.contains("open")));
  new MutationObserver(() =>
    fold.button.setAttribute("aria-expanded", String(fold.button.classList.contains("open"))),
  ).observe(fold.button, { attributes: true, attributeFilter: ["class"] });
  const name = say("fold.reset", { name: fold.title });
  fold.reset = h(
    "button",
    { class: "reset", type: "button", title: name, "aria-label": name, onclick: () => apply({ reset: fold.name }) },
    icon("reset"),
  );
  fold.button.after(fold.reset);
  draw(fold);
}

// What a chosen shape or quality brought is no change of the fold's own.
const FOLLOWS = {
  shape: ["width", "height"],
  quality: ["steps", "sampler", "schedule", "hires", "hires_scale", "hires_steps", "hires_denoise"],
};

function isFresh(fold) {
  const followed = Object.entries(FOLLOWS).flatMap(([name, rows]) => (values[name] ? rows : []));
  const own = controls.filter((row) => row.fold === fold.name && !followed.includes(row.name));
  return own.every((row) => same(values[row.name], fresh[row.name]));
}

function same(one, other) {
  return one === other || (typeof one === "number" && Math.abs(one - other) < 1e-6);
}

function draw(fold) {
  const changed = !isFresh(fold);
  fold.label.textContent = foldTitle(fold, fold.title, values, controls);
  fold.button.classList.toggle("changed", changed);
  if (changed) fold.label.title = say("fold.changed");
  else fold.label.removeAttribute("title");
  fold.reset.hidden = !changed;
}
