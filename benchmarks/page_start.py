"""How fast the page is there: its HTML, the prompt typable and what moved, beside a Gradio page of one textbox.

    python -m benchmarks.page_start [rounds]

Both servers run in this process and both pages open in the same browser, in turns; medians and their ratio are
printed. "Typable" is the moment at which a key typed into the prompt is in its value; "shift" is the cumulative layout
shift of Chromium, of which docs/page.md allows 0.05.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

SHIFT = """window.shift = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({type: 'layout-shift', buffered: true});"""


def main(rounds: int = 7) -> None:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import launch
    from tests.browser.program import running

    with tempfile.TemporaryDirectory() as data, running(Path(data)) as program, sync_playwright() as playwright:
        pages = {
            "Atelier": (program.url + "/", "#early_prompt, #txt2img_prompt textarea"),
            "one textbox": (one_textbox(), "textarea"),
        }
        browser = launch(playwright)
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in pages}
        for turn in range(rounds + 1):  # the first turn builds and caches, and is not counted
            for name, (url, box) in pages.items():
                measured = opened(browser, url, box)
                if turn:
                    found[name].append(measured)
        browser.close()
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    print(f"{'':12} {'HTML s':>8} {'typable s':>10} {'shift':>8}")
    for name, (html, typable, shift) in medians.items():
        print(f"{name:12} {html:8.3f} {typable:10.3f} {shift:8.4f}")
    ours, theirs = medians["Atelier"], medians["one textbox"]
    print(f"{'ratio':12} {ours[0] / theirs[0]:8.2f} {ours[1] / theirs[1]:10.2f}")


def opened(browser, url: str, box: str) -> tuple[float, float, float]:
    """One opening in a browser that has nothing cached: seconds to the HTML, to the first key, and the layout shift."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(SHIFT)
    page = context.new_page()
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    html = time.perf_counter() - start
    page.locator(box).first.wait_for(state="visible")
    page.locator(box).first.press("x")
    typable = time.perf_counter() - start
    page.wait_for_timeout(2500)
    assert "x" in page.locator(box).input_value()  # kept, whatever the page did meanwhile
    shift = page.evaluate("window.shift")
    context.close()
    return html, typable, shift


def one_textbox() -> str:
    """A Gradio page with one textbox, served as simply as it can be; returns its address."""
    import fastapi
    import gradio
    import uvicorn

    from tests.browser.program import free_port

    with gradio.Blocks(analytics_enabled=False) as blocks:
        gradio.Textbox(label="Prompt", lines=4)
    port = free_port()
    app = gradio.mount_gradio_app(
        fastapi.FastAPI(), blocks, "/plain", footer_links=[], run_history=False, ssr_mode=False
    )
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{port}/plain/"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
