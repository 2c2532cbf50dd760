"""Where things stand: the regions of docs/page.md within 4 px, nothing wider than the window, nothing that moves."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import settled
from tests.browser.test_making import generate, use_slow, write

NEAR = 4  # px

DESKTOP = {
    "#header": (0, 0, 1440, 48),
    "#controls": (0, 48, 400, 784),
    "#generate_bar": (0, 832, 400, 68),
    "#stage": (400, 48, 904, 804),
    "#stage_bar": (400, 852, 904, 48),
    "#rail": (1304, 48, 136, 852),
}
TABLET = {
    "#header": (0, 0, 1024, 48),
    "#controls": (0, 48, 360, 652),
    "#generate_bar": (0, 700, 360, 68),
    "#stage": (360, 48, 560, 672),
    "#stage_bar": (360, 720, 560, 48),
    "#rail": (920, 48, 104, 720),
}


def box(page, selector):
    found = page.locator(selector).bounding_box()
    return found["x"], found["y"], found["width"], found["height"]


def near(measured, wanted):
    return all(abs(one - other) <= NEAR for one, other in zip(measured, wanted, strict=True))


def assert_regions(page, regions):
    for selector, wanted in regions.items():
        assert near(box(page, selector), wanted), (selector, box(page, selector))


@pytest.mark.parametrize(("size", "regions"), [((1440, 900), DESKTOP), ((1024, 768), TABLET)])
def test_regions_at_first_start_and_while_a_job_runs(opener, size, regions):
    page = opener.open(width=size[0], height=size[1])
    assert_regions(page, regions)
    use_slow(page, 8)
    generate(page)
    expect(page.locator("#rail .running")).to_be_visible()
    assert_regions(page, regions)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#rail .running")).to_be_hidden()
    assert_regions(page, regions)


def test_the_skeleton_has_the_same_boxes(opener):
    opener.allowed.append("Failed to load resource")
    context = opener.context()
    context.route("**/main.js", lambda route: route.abort())  # else it is gone before it can be measured
    page = opener.open(context=context, ready=False)
    parts = {"#controls": ".s-column", "#generate_bar": ".s-generate", "#stage": ".s-stage", "#stage_bar": ".s-bar",
             "#rail": ".s-rail"}  # fmt: skip
    for selector, skeleton in parts.items():
        assert near(box(page, skeleton), DESKTOP[selector]), skeleton


def test_the_phones_own_order(opener):
    page = opener.open(width=390, height=844, has_touch=True)
    write(page, "on a phone")
    generate(page)
    expect(page.get_by_alt_text("on a phone").first).to_be_visible()
    page.wait_for_function("document.getElementById('create').scrollTop === 0")  # it goes up to the stage
    assert near(box(page, "#stage"), (0, 48, 390, min(390, round(844 * 0.46))))
    order = [box(page, selector)[1] for selector in ("#stage", "#stage_bar", "#rail", "#controls")]
    assert order == sorted(order)
    assert box(page, "#rail")[3] == 88
    assert near(box(page, "#generate_bar"), (0, 780, 390, 64))
    assert near(box(page, "#txt2img_generate"), (12, 788, 366, 48))
    for target in page.locator("#stage_bar .verbs > *:visible, #generate_bar button:visible").all():
        assert target.bounding_box()["height"] >= 44
    for field in page.locator("#controls :is(textarea, input[type=text], input[type=number]):visible").all():
        assert field.evaluate("field => getComputedStyle(field).fontSize") == "16px"


@pytest.mark.parametrize("width", [320, 390, 760, 761, 1024, 1180, 1440, 2560])
def test_nothing_is_wider_than_the_window(opener, width):
    page = opener.open(width=width, height=800)
    page.get_by_role("radio", name="Pro").check()
    for _ in ("create", "gallery"):
        wide = page.evaluate(
            """() => [...document.querySelectorAll('body *')].filter((element) => {
                const box = element.getBoundingClientRect();
                if (box.width === 0 || box.right <= innerWidth + 1) return false;
                for (let parent = element; parent; parent = parent.parentElement) {
                  const style = getComputedStyle(parent);
                  if (style.overflowX !== 'visible' || style.visibility === 'hidden') return false;
                  if (parent.className === 'unseen') return false;
                }
                return true;
              }).map((element) => element.outerHTML.slice(0, 120))"""
        )
        assert wide == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("g")


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_nothing_jumps_while_the_page_opens(opener, size):
    context = opener.context(*size)
    context.add_init_script(
        """window.shift = 0; new PerformanceObserver((list) => {
             for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
           }).observe({type: 'layout-shift', buffered: true});"""
    )
    page = opener.open(context=context)
    page.wait_for_timeout(800)
    settled(page)
    assert page.evaluate("window.shift") < 0.05


def test_six_closed_folds_fit_without_scrolling(opener):
    page = opener.open()
    page.get_by_role("radio", name="Pro").check()
    for fold in page.locator(".fold > button.label-wrap").locator("visible=true").all():
        assert 40 <= fold.bounding_box()["height"] <= 46
    sixth = page.locator(".fold").locator("visible=true").nth(5).bounding_box()
    column = page.locator("#controls").bounding_box()
    assert sixth["y"] + sixth["height"] <= column["y"] + column["height"]


def test_the_column_is_dragged_and_kept(opener):
    page = opener.open()
    handle = page.locator("#column_handle").bounding_box()
    page.mouse.move(handle["x"] + 4, 500)
    page.mouse.down()
    page.mouse.move(520, 500, steps=4)
    page.mouse.up()
    assert near(box(page, "#controls")[2:3], (520,))
    page.mouse.dblclick(520, 500)
    assert near(box(page, "#controls")[2:3], (400,))
