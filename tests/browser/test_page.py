"""The page around everything: old builds, lost connections, failures, strangers' text, and what it never does."""

import re

import pytest
from playwright.sync_api import expect

from modules.families.analytic import write_checkpoint
from tests.browser.conftest import settled, wait_ready
from tests.browser.program import free_port, running
from tests.browser.test_making import generate, use_slow, write

NASTY = [
    "<img src=x onerror=marked()>", "<script>marked()</script>", "</script><script>marked()</script>",
    "\"><svg onload=marked()>", "{{constructor.constructor('marked()')()}}", "javascript:marked()",
    "<iframe srcdoc='<script>parent.marked()</script>'>", "'-marked()-'", "</textarea><script>marked()</script>",
    "[x](javascript:marked())", "${marked()}", "\u2028<b onmouseover=marked()>x</b>",
]  # fmt: skip


def test_strangers_text_is_only_ever_text(opener):
    page = opener.open(context=opener.context())
    page.evaluate("() => { window.marks = 0; window.marked = () => window.marks++ }")
    for text in NASTY:
        write(page, text)
        generate(page)
        expect(page.get_by_alt_text(text[:120]).first).to_be_visible()
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_role("searchbox", name="Search the gallery").fill(NASTY[0])
    page.locator("#gallery .tile").first.click()
    page.wait_for_timeout(400)
    assert page.evaluate("window.marks") == 0
    page.reload()
    wait_ready(page)
    assert page.get_by_label("Prompt", exact=True).input_value() == NASTY[-1]
    assert page.evaluate("typeof window.marks") == "undefined"


def test_the_document_carries_the_policy_and_nobody_elses_address(page, program):
    answer = page.request.get(program.url + "/")
    policy = answer.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([^']+)'", policy)[1]
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'self'" in policy
    text = answer.text()
    assert all(nonce in tag for tag in re.findall(r"<script[^>]*>", text))
    assert not re.findall(r"https?://(?!127\.0\.0\.1|www\.w3\.org)[\w.]+", text)
    other = page.request.get(program.url + "/").headers["content-security-policy"]
    assert other != policy


def test_no_request_leaves_this_computer(opener):
    page = opener.open(ready=False)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    wait_ready(page)
    for tab in page.locator("#tabs [role=tab]").all():
        tab.click()
        page.wait_for_timeout(250)
    assert asked
    assert not [url for url in asked if not url.startswith(("http://127.0.0.1", "data:", "blob:"))]


def test_a_job_that_fails_says_why_and_offers_another_try(page, program):
    shelf = program.data / "models" / "Stable-diffusion" / "passing.safetensors"
    write_checkpoint(shelf)
    program.studio.checkpoints.refresh()
    page.reload()
    wait_ready(page)
    page.get_by_role("button", name="quick").click()
    page.get_by_role("dialog").get_by_role("button", name="passing").click()
    expect(page.locator("#model_row .name")).to_have_text("passing")
    program.studio.queue.pause()
    try:
        write(page, "its model goes away")
        generate(page)
        expect(page.get_by_text("The queue is paused")).to_be_visible()
        shelf.write_bytes(shelf.read_bytes()[:40])
    finally:
        program.studio.queue.resume()
    failed = page.locator("#stage .failed")
    expect(failed).to_contain_text("This picture could not be made.")
    expect(failed.locator("p")).not_to_be_empty()
    expect(failed.get_by_role("button", name="Try again")).to_be_visible()
    shelf.unlink()
    program.studio.checkpoints.refresh()


def test_an_answer_from_before_a_pause_does_not_undo_it(page):
    held = []

    def hold(route):
        held.append((route, route.fetch())) if not held else route.continue_()

    use_slow(page, 8)
    generate(page)
    chip = page.locator("#chip_queue")
    expect(chip).to_be_visible()
    page.route("**/api/v1/state", hold)
    generate(page)
    while not held:
        page.wait_for_timeout(20)
    chip.click()
    expect(chip).to_contain_text("Paused")
    page.wait_for_timeout(500)  # the page asks again after a pause; only the older answer is still on its way
    route, answer = held[0]
    route.fulfill(response=answer)
    page.wait_for_timeout(100)
    assert "Paused" in chip.inner_text()  # at this moment: any later event would repair it
    page.unroute("**/api/v1/state")
    chip.click()
    expect(chip).not_to_contain_text("Paused")


def test_the_queue_is_paused_and_goes_on(page):
    use_slow(page, 8)
    generate(page)
    chip = page.locator("#chip_queue")
    expect(chip).to_be_visible()
    chip.click()
    expect(chip).to_contain_text("Paused")
    chip.click()
    expect(chip).not_to_contain_text("Paused")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(chip).to_be_hidden()


def test_switching_an_extension_rebuilds_the_page_and_older_ones_say_so(opener, program):
    page, other = opener.open(), opener.open()
    opener.allowed.append("410")
    write(other, "typed before the change")
    switch = lambda: page.get_by_role("switch", name=re.compile("Rescale CFG"))  # noqa: E731
    try:
        page.get_by_role("tab", name="Extensions").click()
        switch().click()
        expect(switch()).to_have_attribute("aria-checked", "false")
        page.get_by_role("button", name="Reload", exact=True).click()
        wait_ready(page)
        expect(page.locator("#fold_extensions_rescale-cfg")).to_have_count(0)
        expect(other.get_by_text("Atelier changed since this page was opened.")).to_be_visible()
        generate(other)  # the last two builds still answer
        expect(other.get_by_alt_text("typed before the change")).to_be_visible()
        other.get_by_role("button", name="Reload", exact=True).click()
        wait_ready(other)
        assert other.get_by_label("Prompt", exact=True).input_value() == "typed before the change"
    finally:
        program.studio.extensions.set_enabled("rescale-cfg", True)
        program.studio.change_settings({"extensions_off": program.studio.extensions.names_off()})


def test_a_build_that_is_gone_answers_410(page, program):
    answer = page.request.get(program.url + "/p/12345/gradio_api/run/predict")
    assert answer.status == 410
    assert answer.json()["code"] == "page_is_old"


def test_the_theme_is_chosen_and_there_before_the_first_paint(page):
    assert not page.evaluate("document.documentElement.classList.contains('dark')")
    theme = page.locator("#chip_theme")
    while "Dark" not in theme.get_attribute("aria-label"):
        theme.click()
    page.reload(wait_until="commit")
    page.wait_for_selector("#header")
    assert page.evaluate("document.documentElement.classList.contains('dark')")
    assert page.evaluate("getComputedStyle(document.querySelector('#header')).backgroundColor") == "rgb(31, 31, 31)"


def test_the_language_is_switched_and_kept(page):
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#txt2img_generate")).to_have_text("生成")
    wait_ready(page)
    page.reload()
    wait_ready(page)
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    for text in page.locator("#tabs [role=tab]").all_inner_texts():
        assert re.search("[\u4e00-\u9fff]", text)


def test_settings_are_searched_changed_and_told_why(page, program):
    page.get_by_role("tab", name="Settings").click()
    search = page.get_by_role("searchbox", name="Search settings")
    search.fill("preview")
    expect(page.get_by_text("Shows pictures while they are made")).to_be_visible()
    expect(page.get_by_text("Default: yes")).to_be_visible()
    page.get_by_role("switch", name="Live previews").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert program.studio.settings.previews is False
    page.get_by_role("switch", name="Live previews").click()
    expect(page.get_by_role("switch", name="Live previews")).to_have_attribute("aria-checked", "true")
    search.fill("nothing like it")
    expect(page.get_by_text('No setting matches "nothing like it".')).to_be_visible()


@pytest.mark.timeout(180)
def test_a_restart_under_an_open_page_loses_nothing(chromium, tmp_path):
    from tests.browser.conftest import Opener

    port = free_port()
    with running(tmp_path, port) as first:
        opener = Opener(chromium, first.url)
        opener.allowed += ["Failed to load resource", "ERR_", "network"]
        page = opener.open(workspace="kept")
        write(page, "survives a restart")
        settled(page)
    expect(page.get_by_text("Connection lost.")).to_be_visible()
    with running(tmp_path, port):
        expect(page.get_by_text("Back. Nothing was lost.")).to_be_visible(timeout=30_000)
        assert page.get_by_label("Prompt", exact=True).input_value() == "survives a restart"
        generate(page)  # the same form has the same build, so the open page goes on
        expect(page.get_by_alt_text("survives a restart")).to_be_visible()
        page.reload()
        wait_ready(page)
        assert page.get_by_label("Prompt", exact=True).input_value() == "survives a restart"
        page.context.close()


@pytest.mark.timeout(180)
def test_a_damaged_database_is_told_once(chromium, tmp_path):
    from tests.browser.conftest import Opener

    with running(tmp_path):
        pass
    gallery = tmp_path / ".atelier" / "gallery.sqlite"
    gallery.write_bytes(b"not a database at all" * 1000)
    with running(tmp_path) as program:
        page = Opener(chromium, program.url).open()
        told = page.locator("#notices").get_by_text("The gallery's index was damaged")
        expect(told).to_be_visible()
        page.reload()
        expect(told).to_be_visible()
        page.locator("#notices .notice", has_text="The gallery's index").get_by_role("button").click()
        expect(told).to_have_count(0)
        page.reload()
        wait_ready(page)
        expect(told).to_have_count(0)
        page.context.close()
