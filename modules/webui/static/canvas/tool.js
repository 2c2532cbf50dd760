// The tool in hand: what it does, how wide it is, and the colour that masks are shown in.
export const tool = { name: "paint", width: 48, colour: "mask" };
const listeners = new Set();

export function onTool(listener) {
  listeners.add(listener);
}

export function take(changes) {
  Object.assign(tool, changes);
  for (const listener of listeners) listener();
}

export const wider = (factor) => take({ width: Math.min(1024, Math.max(1, Math.round(tool.width * factor))) });

export const switchTool = () => take({ name: tool.name === "erase" ? "paint" : "erase" });
