// Ctrl+Up and Ctrl+Down: the weight of the selected words, "(words:1.1)".
const WEIGHTED = /^\(([\s\S]*):(-?\d+(?:\.\d+)?)\)$/;

export function weigh(step) {
  const box = document.activeElement;
  if (!box?.matches("#txt2img_prompt textarea, #txt2img_neg_prompt textarea")) return false;
  let [from, to] = around(box);
  if (from === to) return false;
  const text = box.value.slice(from, to);
  const found = WEIGHTED.exec(text);
  const words = found ? found[1] : text;
  const weight = Math.round(((found ? Number(found[2]) : 1) + step) * 100) / 100;
  const made = weight === 1 ? words : `(${words}:${weight})`;
  box.setRangeText(made, from, to, "select");
  box.dispatchEvent(new Event("input", { bubbles: true }));
  return true;
}

// The selection, widened to brackets that already weigh it; without one the word under the cursor.
function around(box) {
  const text = box.value;
  let from = box.selectionStart;
  let to = box.selectionEnd;
  if (from === to) {
    const open = text.lastIndexOf("(", from - 1);
    const close = text.indexOf(")", from);
    if (open >= 0 && close >= 0 && WEIGHTED.test(text.slice(open, close + 1)) && !text.slice(open + 1, close).includes("(")) {
      return [open, close + 1];
    }
    while (from > 0 && /[^\s,.()[\]:|，。]/.test(text[from - 1])) from--;
    while (to < text.length && /[^\s,.()[\]:|，。]/.test(text[to])) to++;
    return [from, to];
  }
  while (from < to && /\s/.test(text[from])) from++;
  while (to > from && /\s/.test(text[to - 1])) to--;
  const tail = /^:-?\d+(?:\.\d+)?\)/.exec(text.slice(to));
  if (text[from - 1] === "(" && tail) return [from - 1, to + tail[0].length];
  return [from, to];
}
