"""For everybody: axe finds nothing serious in any state, everything works by keyboard, and state is said aloud."""

import re
from importlib.resources import files

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import settled
from tests.browser.test_making import generate, use_slow, write

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="package")
def axe():
    package = pytest.importorskip("axe_playwright_python", reason="axe is not installed")
    return (files(package) / "axe.min.js").read_text("utf-8")


def violations(page, axe):
    """What axe calls serious: rule, and the elements."""
    page.evaluate(axe)
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [(one["id"], [node["html"][:160] for node in one["nodes"]][:4]) for one in found if one["impact"] in SERIOUS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)])
def test_nothing_serious_in_any_state(opener, axe, size, scheme):
    page = opener.open(width=size[0], height=size[1], color_scheme=scheme, bypass_csp=True)
    assert violations(page, axe) == [], "as opened"
    page.get_by_role("radio", name="Pro").check()
    for fold in page.locator(".fold > button.label-wrap:visible").all():
        fold.click()
    settled(page)
    assert violations(page, axe) == [], "folds open"
    use_slow(page, 8)
    generate(page)
    expect(page.locator("#stage .frame img[src^='data:']")).to_be_visible()
    assert violations(page, axe) == [], "live"
    page.evaluate("document.getElementById('stop').click()")  # if it runs still
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    page.locator("#model_row button").click()
    expect(page.get_by_role("dialog").locator(".model-card").first).to_be_visible()
    settled(page)  # it fades in
    assert violations(page, axe) == [], "picker"
    page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
def test_nothing_serious_in_any_tab(opener, axe, scheme, language):
    page = opener.open(color_scheme=scheme, locale=language, bypass_csp=True)
    generate_named = page.locator("#txt2img_generate")
    generate_named.click()
    expect(page.locator("#stage_bar .info .part").first).to_be_visible()
    for index, tab in enumerate(page.locator("#tabs [role=tab]").all()[:5]):
        tab.click()
        page.wait_for_timeout(500)
        settled(page)
        if index == 1:
            page.locator("#gallery .tile").first.click()
            expect(page.locator("#gallery .details .verbs")).to_be_visible()
        assert violations(page, axe) == [], tab.inner_text()


def test_a_job_from_start_to_end_by_keyboard_alone(page):
    page.keyboard.press("Tab")
    for _ in range(40):
        if page.evaluate("document.activeElement.closest('#txt2img_prompt') !== null"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("typed by hand")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_alt_text("typed by hand")).to_be_visible()
    expect(page.locator("#announce")).to_have_text("Picture finished")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("g")
    expect(page.get_by_role("tab", name="Gallery")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("option", name=re.compile("typed by hand")).first).to_be_visible()
    page.locator("#gallery [role=listbox]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#gallery .details")).to_contain_text("typed by hand")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Create")).to_have_attribute("aria-selected", "true")


def test_the_picker_keeps_the_focus_and_gives_it_back(page):
    opener = page.locator("#model_row button")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("searchbox")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('[role=dialog]') !== null")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_keys_wait_for_the_input_method(page):
    box = page.get_by_label("Prompt", exact=True)
    box.focus()
    started = []
    page.on("request", lambda request: started.append(request.url) if "run/predict" in request.url else None)
    box.evaluate(
        """box => box.dispatchEvent(new KeyboardEvent('keydown',
             {key: 'Enter', ctrlKey: true, isComposing: true, bubbles: true}))"""
    )
    page.wait_for_timeout(300)
    assert started == []


def test_pictures_and_buttons_are_named(page):
    write(page, "a name for everything")
    page.get_by_label("Pictures", exact=True).fill("2")
    generate(page)
    expect(page.get_by_role("button", name=re.compile("a name for everything, seed")).first).to_be_visible()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button:not([hidden])')].filter((button) => button.offsetParent &&
             !button.textContent.trim() && !button.getAttribute('aria-label') && !button.title).length"""
    )
    assert nameless == 0


def test_there_is_one_heading_and_the_language_is_said(opener):
    english, chinese = opener.open(), opener.open(locale="zh-CN")
    for page, language in ((english, "en"), (chinese, "zh-CN")):
        expect(page.locator("h1")).to_have_count(1)
        assert page.locator("html").get_attribute("lang") == language
    expect(chinese.locator("#txt2img_generate")).to_have_text("生成")


def test_no_motion_where_none_is_wanted(opener):
    page = opener.open(reduced_motion="reduce")
    page.locator("#model_row button").click()
    assert page.locator("#panel").evaluate("panel => getComputedStyle(panel).animationName") == "none"
