// A picture dropped or pasted anywhere on the page shows its settings, unless somebody else took it.
import { say } from "./boot.js";
import { h } from "./dom.js";
import { takeFile } from "./taking.js";

let veil = null;
let leaving = null;

export function start() {
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && lift());
  document.addEventListener("drop", (event) => {
    lift();
    if (event.defaultPrevented) return;
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    takeFile(file);
  });
  document.addEventListener("paste", (event) => {
    if (event.defaultPrevented || event.clipboardData?.types.includes("text/plain")) return; // text with its picture is text
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    takeFile(file);
  });
}

function over(event) {
  if (!event.dataTransfer.types.includes("Files") || event.defaultPrevented) return;
  event.preventDefault(); // else the browser would open the file
  event.dataTransfer.dropEffect = "copy";
  clearTimeout(leaving);
  leaving = setTimeout(lift, 400); // a drag that ends outside says nothing
  if (veil) return;
  veil = h("div", { id: "veil", "aria-hidden": "true" }, h("p", {}, say("taking.drop_here")));
  document.body.append(veil);
}

function lift() {
  clearTimeout(leaving);
  veil?.remove();
  veil = null;
}
