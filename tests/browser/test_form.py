"""The form: what it keeps, what follows what, and folds that say their values."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import settled, wait_ready


def fold(page, name):
    return page.get_by_role("button", name=re.compile(f"^{name} ·"))


def pro(page):
    page.get_by_role("radio", name="Pro").check()


def test_everything_comes_back_after_a_reload_folded_controls_too(page):
    pro(page)
    page.get_by_label("Prompt", exact=True).fill("kept 雪 <b>&\"'")
    page.get_by_label("Seed", exact=True).fill("42")
    fold(page, "Sampling").click()
    page.get_by_label("number input for Steps").fill("33")
    page.get_by_label("number input for Steps").press("Tab")
    settled(page)
    page.reload()
    wait_ready(page)
    assert page.get_by_label("Prompt", exact=True).input_value() == "kept 雪 <b>&\"'"
    assert page.get_by_label("Seed", exact=True).input_value() == "42"
    expect(fold(page, "Sampling")).to_have_text(re.compile("33 steps"))
    fold(page, "Sampling").click()
    assert page.get_by_label("number input for Steps").input_value() == "33"


def test_the_first_value_ever_shown_is_the_saved_one(page, opener):
    page.get_by_label("Prompt", exact=True).fill("no jump")
    settled(page)
    again = opener.open(context=page.context, workspace=page.workspace, ready=False)
    again.wait_for_selector("#txt2img_prompt textarea")
    assert again.locator("#txt2img_prompt textarea").input_value() == "no jump"


def test_quality_brings_steps_and_steps_by_hand_read_custom(page):
    pro(page)
    page.get_by_role("radio", name="Draft").check()
    expect(fold(page, "Sampling")).to_contain_text("4 steps")
    page.get_by_role("radio", name="Best").check()
    expect(fold(page, "Sampling")).to_contain_text("20 steps")
    expect(fold(page, "Hires fix")).not_to_contain_text("off")
    fold(page, "Sampling").click()
    page.get_by_label("number input for Steps").fill("7")
    page.get_by_label("number input for Steps").press("Tab")
    expect(page.locator("#beside_quality")).to_have_text("Custom")
    expect(page.get_by_role("radio", name="Best")).not_to_be_checked()


def test_a_shape_brings_its_size(page):
    page.get_by_role("radio", name="16:9").check()
    expect(page.locator("#beside_shape")).to_have_text("112 × 64")
    page.get_by_role("radio", name="1:1").check()
    expect(page.locator("#beside_shape")).to_have_text("64 × 64")


def test_arrow_keys_move_a_segmented_row(page):
    page.get_by_role("radio", name="1:1").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="4:3")).to_be_checked()
    expect(page.get_by_role("radio", name="4:3")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("radio", name="16:9")).to_be_checked()


def test_a_changed_fold_has_a_dot_and_a_reset(page):
    pro(page)
    reset = page.get_by_role("button", name="Reset Size")
    page.get_by_role("radio", name="4:3").check()
    expect(page.locator("#beside_shape")).to_have_text("80 × 64")
    settled(page)
    expect(reset).to_be_hidden()  # a chosen shape brings its size: that is no change by hand
    fold(page, "Size").click()
    page.get_by_label("Width", exact=True).fill("208")
    reset.click()
    expect(page.locator("#beside_shape")).to_have_text("64 × 64")
    expect(page.get_by_role("radio", name="1:1")).to_be_checked()
    expect(reset).to_be_hidden()


def test_weights_of_selected_words(page):
    box = page.get_by_label("Prompt", exact=True)
    box.fill("a red house")
    box.evaluate("box => box.setSelectionRange(2, 5)")
    box.press("Control+ArrowUp")
    assert box.input_value() == "a (red:1.1) house"
    box.press("Control+ArrowUp")
    assert box.input_value() == "a (red:1.2) house"
    box.press("Control+ArrowDown")
    box.press("Control+ArrowDown")
    assert box.input_value() == "a red house"


def test_typing_is_saved_once_after_it_rests(page):
    calls = []
    page.on("request", lambda request: calls.append(request.post_data) if "run/predict" in request.url else None)
    page.get_by_label("Prompt", exact=True).press_sequentially("thirty characters of typing ..", delay=12)
    settled(page)
    assert len(calls) == 1
    assert "thirty characters of typing .." in calls[0]


def test_the_prompt_opens_over_the_stage_and_escape_closes_it(page):
    page.get_by_role("button", name="Write over the stage").click()
    wide = page.locator("#txt2img_prompt").bounding_box()
    assert wide["width"] > 800
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    assert page.locator("#txt2img_prompt").bounding_box()["width"] < 400


def test_tokens_are_counted(page):
    page.get_by_label("Prompt", exact=True).fill("a red house")
    expect(page.locator("#tokens")).to_have_text("3/75")


def test_an_extensions_field_reaches_the_picture(page, program):
    pro(page)
    fold(page, "Rescale CFG").click()
    page.get_by_label("On", exact=True).check()
    expect(fold(page, "Rescale CFG")).to_contain_text("0.7")
    page.get_by_label("Prompt", exact=True).fill("with an extension")
    page.get_by_role("button", name=re.compile("^Generate")).click()
    expect(page.get_by_alt_text("with an extension")).to_be_visible()
    made = program.studio.gallery.page(1).items[0]
    assert made.request.extensions == {"rescale-cfg": {"amount": 0.7}}


def test_workspaces_do_not_mix(page, opener):
    page.get_by_label("Prompt", exact=True).fill("only here")
    settled(page)
    other = opener.open(context=page.context)
    assert other.get_by_label("Prompt", exact=True).input_value() != "only here"


def test_what_is_typed_before_the_form_is_there_is_kept_with_the_cursor(opener):
    context = opener.context()
    held = []
    context.route(
        "**/main.js*", lambda route: held.append(route)
    )  # else the form may be there before anything is typed
    page = opener.open(context, ready=False, until="commit")
    early = page.locator("#early_prompt")
    early.fill("typed early")
    early.evaluate("box => box.setSelectionRange(5, 5)")
    expect(early).to_have_value("typed early")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    context.unroute("**/main.js*")
    wait_ready(page)
    box = page.get_by_label("Prompt", exact=True)
    expect(box).to_have_value("typed early")
    expect(box).to_be_focused()
    assert box.evaluate("box => box.selectionStart") == 5
    settled(page)
    page.reload()
    wait_ready(page)
    expect(box).to_have_value("typed early")
