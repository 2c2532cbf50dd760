"""The gallery: every picture lands there, is found, looked at, used again, deleted and brought back."""

import re

import numpy
import pytest
from playwright.sync_api import expect

from modules.core.geometry import Size
from modules.core.request import GenerationRequest
from tests.browser.test_making import generate, write


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def make(page, prompt, seed=None):
    if seed is not None:
        page.get_by_role("radio", name="Pro").check()
        page.get_by_label("Seed", exact=True).fill(str(seed))
    write(page, prompt)
    generate(page)
    expect(page.get_by_alt_text(prompt).first).to_be_visible()


def found(page, text):
    tab(page, "Gallery")
    page.get_by_role("searchbox", name="Search the gallery").fill(text)
    return page.get_by_role("option", name=re.compile(text))


def test_a_picture_lands_there_and_its_settings_go_back_into_the_form(page):
    make(page, "settings travel back", seed=1234)
    page.get_by_label("Seed", exact=True).fill("")
    write(page, "something else")
    found(page, "settings travel back").click()
    details = page.get_by_role("complementary", name="Details")
    expect(details).to_contain_text("1234")
    details.get_by_role("button", name="Use settings").click()
    expect(page.get_by_role("tab", name="Create")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("settings travel back")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("1234")


def test_use_seed_takes_the_seed_alone(page):
    make(page, "only its seed", seed=77)
    page.get_by_label("Seed", exact=True).fill("")
    write(page, "kept words")
    page.locator("#stage_bar").get_by_role("button", name="Use seed").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("kept words")


def test_delete_on_the_stage_with_undo(page):
    make(page, "deleted and back")
    page.locator("#stage_bar").get_by_role("button", name="Delete").click()
    expect(page.get_by_alt_text("deleted and back")).to_have_count(0)
    expect(found(page, "deleted and back")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(found(page, "deleted and back")).to_have_count(1)


def test_delete_by_key_in_the_gallery(page):
    make(page, "deleted by key")
    option = found(page, "deleted by key")
    option.click()
    page.get_by_role("listbox").press("Delete")
    expect(option).to_have_count(0)
    expect(page.get_by_text('No picture matches "deleted by key".')).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(option).to_have_count(1)


def test_a_search_without_a_hit_is_cleared(page):
    make(page, "something to find")
    found(page, "qqqqqq")
    page.get_by_role("button", name="Clear search").click()
    expect(page.get_by_role("option").first).to_be_visible()
    expect(page.get_by_role("searchbox", name="Search the gallery")).to_have_value("")


def test_save_a_copy_downloads_the_file(page):
    make(page, "saved as a copy")
    with page.expect_download() as download:
        page.locator("#stage_bar .menu summary").click()
        page.locator("#stage_bar").get_by_role("menuitem", name="Save a copy", exact=True).click()
    assert download.value.suggested_filename.endswith(".png")


def test_a_part_of_the_info_line_is_copied(opener):
    page = opener.open(context=opener.context(permissions=["clipboard-read", "clipboard-write"]))
    make(page, "copied seed", seed=4321)
    page.locator("#stage_bar").get_by_role("button", name="seed 4321").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "4321"


def test_four_pictures_are_a_grid_and_one_is_looked_at_alone(page):
    page.get_by_label("Pictures", exact=True).fill("4")
    write(page, "four of them")
    generate(page)
    expect(page.locator("#stage .frame .pick")).to_have_count(4)
    picks = page.locator("#stage .frame .pick")
    picks.nth(2).click()
    expect(page.locator("#stage .frame.selected")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#stage .frame")).to_have_count(1)
    page.get_by_role("button", name="All 4").click()
    expect(page.locator("#stage .frame")).to_have_count(4)


@pytest.fixture(scope="module")
def many(program):
    """Some hundred pictures of one prompt."""
    pixels = numpy.zeros((64, 64, 3), numpy.uint8)
    for number in range(300):
        pixels[:] = number % 256
        request = GenerationRequest(prompt=f"one of many {number}", seed=number, size=Size(width=64, height=64))
        program.studio.outputs.save(
            pixels,
            request=request,
            facts={"model": "quick"},
            picture=0,
            seed=number,
            job=f"many{number}",
            elapsed_s=0.1,
        )


def test_only_the_rows_in_sight_are_drawn(opener, many):
    page = opener.open()
    options = found(page, "one of many")
    expect(page.get_by_text("300 pictures")).to_be_visible()
    assert 10 < options.count() < 60
    scroller = page.locator("#gallery .scroller")
    for _ in range(12):
        scroller.evaluate("element => { element.scrollTop = element.scrollHeight }")
        page.wait_for_timeout(120)
    expect(page.get_by_role("option", name="one of many 0, seed 0", exact=True)).to_be_visible()
    assert options.count() < 60


def test_what_is_chosen_while_a_search_is_on_its_way_stays_in_sight(opener, many):
    page = opener.open()
    tab(page, "Gallery")
    expect(page.get_by_role("option").first).to_be_visible()
    held = []
    page.route("**/images?*", lambda route: held.append(route))
    page.get_by_role("searchbox", name="Search the gallery").fill("one of many")
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("listbox").focus()
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    chosen = page.locator("#gallery [aria-selected=true]")
    expect(chosen).to_be_in_viewport()
    for route in held:
        route.continue_()
    page.unroute("**/images?*")
    expect(page.get_by_text("300 pictures")).to_be_visible()
    page.wait_for_timeout(200)
    expect(chosen).to_be_in_viewport()


def test_arrows_move_and_keep_the_selection_in_sight(opener, many):
    page = opener.open()
    options = found(page, "one of many")
    expect(options.first).to_be_visible()
    page.get_by_role("listbox").focus()
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    chosen = page.locator("#gallery [aria-selected=true]")
    expect(chosen).to_have_count(1)
    expect(chosen).to_be_in_viewport()
