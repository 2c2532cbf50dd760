// Strokes as pixels: opaque where something is masked, clear elsewhere.
const LEAST = 0.3; // of the brush's width at no pressure

// Everything that was painted, on a context whose pixels are `scale` of the picture's.
export function render(context, document, base, scale) {
  const { width, height } = context.canvas;
  context.clearRect(0, 0, width, height);
  if (base) context.drawImage(opaque(base), 0, 0, width, height);
  for (const stroke of document.strokes) {
    for (let at = 0; at < stroke.points.length; at += 3) segment(context, stroke, at, scale);
  }
}

// The part of a stroke that ends at its point `at` (an index into its numbers).
export function segment(context, stroke, at, scale) {
  const [x, y, pressure] = stroke.points.slice(at, at + 3);
  const from = at >= 3 ? stroke.points.slice(at - 3, at) : [x, y];
  context.globalCompositeOperation = stroke.tool === "erase" ? "destination-out" : "source-over";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = stroke.width * (LEAST + (1 - LEAST) * pressure) * scale;
  context.beginPath();
  context.moveTo(from[0] * scale, from[1] * scale);
  context.lineTo(x * scale + 0.001, y * scale); // a line of no length is not drawn
  context.stroke();
  context.globalCompositeOperation = "source-over";
}

// A mask as people send it: its alpha where that says anything, else its brightness, as alpha.
function opaque(base) {
  const drawn = new OffscreenCanvas(base.width, base.height);
  const context = drawn.getContext("2d");
  context.drawImage(base, 0, 0);
  const pixels = context.getImageData(0, 0, base.width, base.height);
  const { data } = pixels;
  let clear = false;
  for (let at = 3; at < data.length && !clear; at += 4) clear = data[at] < 255;
  for (let at = 0; at < data.length; at += 4) {
    if (!clear) data[at + 3] = data[at];
    data[at] = data[at + 1] = data[at + 2] = 0;
  }
  context.putImageData(pixels, 0, 0);
  return drawn;
}
