// Where frames stand on the stage: the largest grid that fits, all frames of one shape.

// n frames of width x height (any unit) in a box, with gaps: columns, and each frame's size in CSS pixels.
export function grid(n, width, height, box, gap) {
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns);
    const wide = (box.width - gap * (columns - 1)) / columns;
    const high = (box.height - gap * (rows - 1)) / rows;
    const scale = Math.min(wide / width, high / height);
    if (scale * width > best.width + 0.5) {
      best = { columns, width: Math.floor(scale * width), height: Math.floor(scale * height) };
    }
  }
  return best;
}
