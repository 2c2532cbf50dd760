// A fold's title with its values, as titles.py writes it into the document.
import { has, say } from "./boot.js";

export function number(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "number" ? String(Math.round(value * 100) / 100) : String(value);
}

export function foldTitle(fold, name, values, controls) {
  return say("fold.title", { name, values: foldValues(fold, values, controls) });
}

function foldValues(fold, values, controls) {
  if (fold.toggle && !values[fold.toggle]) return say("fold.off");
  const rows = controls.filter((row) => row.fold === fold.name);
  if (!has(`fold.${fold.name}.values`)) {
    const shown = rows.filter((row) => row.kind === "slider").map((row) => number(values[row.name]));
    return shown.join(", ") || say("fold.on");
  }
  if (fold.name === "compatibility" && rows.every((row) => values[row.name] === row.default)) {
    return say("fold.compatibility.native");
  }
  const facts = {};
  for (const row of rows) {
    const value = values[row.name];
    facts[row.name] = row.choices && value ? say(`${row.words}.${value}`) : number(value);
  }
  if (fold.name === "script") return [facts.script, ...axes(values)].join(", ");
  return say(`fold.${fold.name}.values`, facts);
}

// What an X/Y/Z plot goes along, as one text; nothing for other scripts.
function axes(values) {
  const named = values.script === "xyz" ? ["x", "y", "z"].map((side) => values[`${side}_axis`]) : [];
  const shown = named.filter((name) => name && name !== "Nothing");
  return shown.length ? [shown.join(" × ")] : [];
}
