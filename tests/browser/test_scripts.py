"""The Script fold: its rows follow the script, names are pressed instead of typed, and a plot is queued and shown."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import settled


@pytest.fixture
def fold(page):
    """The page with its Script fold open."""
    page.get_by_label("Pro", exact=True).check(force=True)
    page.locator("#fold_script > button").first.click()
    return page


def choose(page, id, name):
    page.locator(f"#{id} input").click()
    page.get_by_role("option", name=name, exact=True).click()
    expect(page.get_by_role("option")).to_have_count(0)  # the list fades


def test_rows_follow_the_script_and_names_are_pressed(fold):
    page = fold
    values = page.locator("#script_txt2img_xyz_plot_x_values textarea")
    expect(values).to_be_hidden()
    choose(page, "script_list", "X/Y/Z plot")
    expect(values).to_be_hidden()  # nothing is chosen along X
    choose(page, "script_txt2img_xyz_plot_x_type", "Sampler")
    expect(values).to_be_visible()
    page.locator("#help_x_values summary").click()
    page.locator("[data-key='value-x-Euler']").click()
    page.locator("[data-key='value-x-DPM++ 2M']").click()
    expect(values).to_have_value("Euler, DPM++ 2M")
    page.locator("[data-key='value-x-Euler']").click()
    expect(values).to_have_value("DPM++ 2M")
    page.locator("[data-key=swap-x]").click()
    expect(page.locator("#script_txt2img_xyz_plot_y_values textarea")).to_have_value("DPM++ 2M")
    settled(page)
    page.reload()
    expect(page.locator("#fold_script > button").first).to_contain_text("Script · X/Y/Z plot, Sampler")
    page.wait_for_selector("html.ready")
    page.locator("#fold_script > button").first.click()
    choose(page, "script_list", "Prompts from a text")
    expect(page.locator("#script_txt2img_xyz_plot_y_type")).to_be_hidden()
    with page.expect_file_chooser() as chooser:
        page.locator("[data-key=lines-load]").click()
    chooser.value.set_files({"name": "p.txt", "mimeType": "text/plain", "buffer": b"a cat\na dog"})
    box = page.locator("#script_txt2img_prompts_from_file_or_textbox_prompt_txt textarea")
    expect(box).to_have_value("a cat\na dog")
    expect(page.locator("#txt2img_generate")).to_contain_text("2 pictures")


def test_a_plot_is_made_and_its_sheet_is_shown(fold):
    page = fold
    page.get_by_label("Prompt", exact=True).fill("a plot of steps")
    choose(page, "script_list", "X/Y/Z plot")
    choose(page, "script_txt2img_xyz_plot_x_type", "Steps")
    values = page.locator("#script_txt2img_xyz_plot_x_values textarea")
    values.fill("2, x")
    page.locator("#txt2img_generate").click()
    expect(page.locator("#script_txt2img_xyz_plot_x_values .error")).to_be_visible()
    values.fill("2-4")
    expect(page.locator("#txt2img_generate")).to_contain_text("3 pictures")
    page.locator("#txt2img_generate").click()
    page.wait_for_function(
        """() => {  // the sheet, once all is done
          const shown = [...document.querySelectorAll("#stage .frame img:not([hidden])")];
          return shown.length === 1 && shown[0].naturalWidth > 2 * shown[0].naturalHeight;
        }""",
        timeout=60_000,
    )
    expect(page.locator("#rail .recent button").first).to_have_attribute("aria-label", re.compile("a plot of steps"))
