"""What a stroke costs on a canvas of 4096 x 4096: from each pointer event to its pixels, while a brush is pulled.

    python -m benchmarks.canvas_strokes [strokes]

The page's own listeners and Konva's drawing are timed around each pointermove, and around the next drawing of the mask.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

SIDE = 4096
WATCH = """() => {
  window.times = [];
  let from = 0;
  addEventListener('pointermove', () => (from = performance.now()), { capture: true });
  const layer = Konva.stages.at(-1).getLayers()[1];
  const draw = layer.draw.bind(layer);
  layer.batchDraw = () => { window.times.push(performance.now() - from); const at = performance.now(); draw();
    window.times[window.times.length - 1] += performance.now() - at; };
}"""


def main(strokes: int = 20) -> None:
    from PIL import Image
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import Opener, launch, settled
    from tests.browser.program import running

    with tempfile.TemporaryDirectory() as data, running(Path(data)) as program, sync_playwright() as playwright:
        picture = Path(data, "large.png")
        Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB").save(picture)
        browser = launch(playwright)
        page = Opener(browser, program.url).open()
        page.locator("input[type=file]").set_input_files(picture)
        page.wait_for_selector(".editor canvas.mask", state="attached")
        settled(page)
        page.evaluate(WATCH)
        board = page.locator(".editor .board").bounding_box()
        assert board is not None
        for stroke in range(strokes):
            y = board["y"] + 40 + (board["height"] - 80) * stroke / strokes
            page.mouse.move(board["x"] + 60, y)
            page.mouse.down()
            page.mouse.move(board["x"] + board["width"] - 60, y + 20, steps=40)
            page.mouse.up()
        times = page.evaluate("window.times")
        browser.close()
    print(f"{len(times)} events on {SIDE} x {SIDE}")
    print(f"p50 {statistics.median(times):.1f} ms, p95 {statistics.quantiles(times, n=20)[18]:.1f} ms (target 16 ms)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
