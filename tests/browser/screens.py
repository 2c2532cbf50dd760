"""Takes a picture of every state of the page, in both themes and three sizes.

python -m tests.browser.screens FOLDER
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import Opener, launch, wait_ready
from tests.browser.program import SLOW, running
from tests.browser.test_making import generate, write

SIZES = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


def states(page, program):
    """Bring the page into each state in turn, and name it."""
    yield "first start"
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_timeout(300)
    yield "gallery empty"
    page.get_by_role("tab", name="Create").click()
    write(page, "a small red house beside a tall green tree, snowy mountains, night sky, paper cut, and a cat")
    page.get_by_label("Prompt", exact=True).focus()
    page.wait_for_timeout(700)
    yield "typing"
    program.studio.queue.pause()
    page.get_by_role("radio", name="3:2").check()
    page.locator("#model_row button").click()
    page.get_by_role("dialog").get_by_role("button", name=SLOW).click()
    page.wait_for_timeout(400)
    generate(page)
    page.locator("#stage .frame").wait_for()
    page.wait_for_timeout(300)
    yield "waiting"
    program.studio.queue.resume()
    page.locator("#stage img[src^='data:']").wait_for()
    generate(page)
    generate(page)
    page.wait_for_timeout(400)
    yield "live"
    page.locator("#chip_queue").wait_for(state="hidden", timeout=60_000)
    page.locator("#stage_bar .part").first.wait_for()
    yield "one picture"
    page.get_by_label("Pictures", exact=True).fill("4")
    generate(page)
    page.locator("#stage .pick").nth(3).wait_for(timeout=60_000)
    page.wait_for_timeout(300)
    yield "four pictures"
    page.get_by_role("radio", name="Pro").check()
    page.wait_for_timeout(200)
    yield "pro"
    page.locator("#fold_sampling button").first.click()
    page.wait_for_timeout(300)
    yield "fold open"
    page.locator("#model_row button").click()
    page.wait_for_timeout(400)
    yield "picker"
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_timeout(500)
    yield "gallery full"
    page.locator("#gallery .tile").nth(1).click()
    page.wait_for_timeout(500)
    yield "gallery details"
    page.evaluate(
        """async () => { const root = JSON.parse(document.getElementById("boot").textContent).static;
          const { now, change, job } = await import(root + "store.js");
          const one = job(now().view.job); one.images.clear(); one.state = "failed"; change({recent: []});
          one.error = {code: "out_of_memory", message: "", facts: {}}; }"""
    )
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Create").click()
    page.wait_for_timeout(300)
    yield "failed"


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for scheme in sys.argv[2:] or ("light", "dark"):
            for name, (width, height) in SIZES.items():
                with tempfile.TemporaryDirectory() as data, running(Path(data)) as program:
                    opener = Opener(browser, program.url)
                    page = opener.open(width=width, height=height, color_scheme=scheme, has_touch=name == "phone")
                    wait_ready(page)
                    made = []
                    for state in states(page, program):
                        made.append(folder / f"{name}-{scheme}-{state.replace(' ', '-')}.png")
                        page.screenshot(path=made[-1])
                    page.context.close()
                    sheet(made, folder / f"sheet-{name}-{scheme}.png", 6 if name == "phone" else 3)
                    print(name, scheme, opener.wrong or "nothing in the console", flush=True)


def sheet(paths, target, columns):
    """All pictures of one size on one sheet."""
    shown = [Image.open(path) for path in paths]
    width, height = shown[0].width * 2 // 3, shown[0].height * 2 // 3
    rows = -(-len(shown) // columns)
    made = Image.new("RGB", (columns * width, rows * height))
    for index, picture in enumerate(shown):
        made.paste(picture.resize((width, height)), (index % columns * width, index // columns * height))
    made.save(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
