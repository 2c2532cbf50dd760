"""How soon a page is live again after a reload in the middle of a job, with ten tabs open, and what it missed.

    python -m benchmarks.page_live [rounds]

"Live" is from the start of the navigation to the running picture's own progress on the stage, drawn from an event;
"missing" counts pictures of the job that the page does not know when the job is over. Target: 1 s, none.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

PICTURES = 6


def main(rounds: int = 5) -> None:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import Opener, launch, wait_ready
    from tests.browser.program import running

    with tempfile.TemporaryDirectory() as data, running(Path(data)) as program, sync_playwright() as playwright:
        browser = launch(playwright)
        opener = Opener(browser, program.url)
        context = opener.context()
        pages = [opener.open(context=context, workspace="ten") for _ in range(10)]
        page = pages[0]
        page.locator("#model_row button").click()
        page.get_by_role("dialog").get_by_role("button", name="slow").click()
        page.get_by_label("Pictures", exact=True).fill(str(PICTURES))
        live, missing = [], 0
        for _ in range(rounds):
            page.locator("#txt2img_generate").click()
            page.locator("#stage .frame img[src*='/media/']").first.wait_for()
            start = time.perf_counter()
            page.reload(wait_until="commit")
            page.locator("#stage .frame .progress:not([hidden])").wait_for()
            live.append(time.perf_counter() - start)
            wait_ready(page)
            page.locator("#chip_queue").wait_for(state="hidden", timeout=120_000)
            page.wait_for_timeout(500)
            missing += PICTURES - page.locator("#stage .frame img[src*='/media/']").count()
        browser.close()
    print(f"live again after {statistics.median(live):.2f} s (worst {max(live):.2f} s), "
          f"pictures missing {missing} of {rounds * PICTURES}")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
