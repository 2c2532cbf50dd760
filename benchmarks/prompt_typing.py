"""What a key costs: from key to paint in the prompt, beside a plain textarea on the same page.

    python -m benchmarks.prompt_typing [keys]

A prompt of 3,000 characters is in each; keys are typed at the end, one at a time, in turns between the two. A key's
time is from the keydown event to the second animation frame after it, when its letter is painted.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

TEXT = "a small red house in the snow at night, " * 75
PLAIN = """() => { const box = document.createElement('textarea'); box.id = 'plain';
  box.style.cssText = 'position:fixed;left:500px;top:100px;width:367px;height:106px;z-index:50;' +
    'font:15px/22px sans-serif';
  document.body.append(box); }"""
WATCH = """(selector) => { const box = document.querySelector(selector); window.times = [];
  box.addEventListener('keydown', () => { const from = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => window.times.push(performance.now() - from))); }); }"""
BOXES = {"prompt": "#txt2img_prompt textarea", "plain": "#plain"}


def main(keys: int = 120) -> None:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import Opener, launch
    from tests.browser.program import running

    times: dict[str, list[float]] = {name: [] for name in BOXES}
    with tempfile.TemporaryDirectory() as data, running(Path(data)) as program, sync_playwright() as playwright:
        browser = launch(playwright)
        page = Opener(browser, program.url).open()
        page.evaluate(PLAIN)
        for selector in BOXES.values():
            page.locator(selector).fill(TEXT)
        for _ in range(4):
            for name, selector in BOXES.items():
                page.evaluate(WATCH, selector)
                page.locator(selector).press("End")
                page.wait_for_timeout(900)  # the save of the last turn is over
                page.evaluate("window.times = []")
                for _ in range(keys // 4):
                    page.keyboard.press("x")
                    page.wait_for_timeout(40)
                page.wait_for_timeout(200)
                times[name] += page.evaluate("window.times")
        browser.close()
    shown = {name: (statistics.median(found), statistics.quantiles(found, n=20)[18]) for name, found in times.items()}
    print(f"{'':8} {'p50 ms':>8} {'p95 ms':>8}")
    for name, (middle, late) in shown.items():
        print(f"{name:8} {middle:8.1f} {late:8.1f}")
    print(f"{'ratio':8} {shown['prompt'][0] / shown['plain'][0]:8.2f} {shown['prompt'][1] / shown['plain'][1]:8.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
