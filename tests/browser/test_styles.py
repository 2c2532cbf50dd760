"""The styles panel: kept, chosen, written into the prompt and taken out; wildcard lists put into the prompt."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.test_form import settled


@pytest.fixture
def shelf(program):
    """A style of another file and two wildcard lists; what a test writes is taken away again."""
    (program.data / "styles").mkdir(exist_ok=True)
    (program.data / "styles" / "more.csv").write_text("name,prompt,negative_prompt\nfoggy,{prompt} in fog,sun\n")
    lists = program.data / "wildcards"
    (lists / "animals").mkdir(parents=True, exist_ok=True)
    (lists / "colour.txt").write_text("red\n")
    (lists / "animals" / "cats.txt").write_text("tabby\n")
    yield program.data
    (program.data / "styles.csv").unlink(missing_ok=True)


def opened(page):
    page.locator("#styles_open").click()
    return page.get_by_role("dialog")


def test_a_style_is_kept_chosen_written_and_deleted(page, shelf):
    box = page.get_by_label("Prompt", exact=True)
    box.fill("a fox")
    panel = opened(page)
    panel.get_by_role("button", name="New").click()
    panel.locator("#style_name").fill("inked")
    panel.locator("#style_prompt").fill("{prompt}, ink")
    panel.get_by_role("button", name="Save").click()
    panel.get_by_role("button", name="inked").first.click()
    panel.locator("[data-key=card-foggy]").click()
    chips = page.locator("#styles_row .style-chip")
    expect(chips).to_have_count(2)
    page.keyboard.press("Escape")
    chips.nth(0).click()
    expect(chips).to_have_count(1)
    settled(page)
    page.locator("#styles_row .link").click()
    expect(box).to_have_value("a fox in fog")
    expect(chips).to_have_count(0)
    panel = opened(page)
    panel.get_by_role("button", name="Edit inked").click()
    panel.get_by_role("button", name="Delete").click()
    expect(panel.locator("[data-key=card-foggy]")).to_be_visible()  # the list again, after the answer
    expect(panel.get_by_role("button", name="Edit inked")).to_have_count(0)
    assert "inked" not in (shelf / "styles.csv").read_text()


def test_wildcard_lists_go_into_the_prompt(page, shelf):
    box = page.get_by_label("Prompt", exact=True)
    box.fill("a fox")
    panel = opened(page)
    panel.get_by_role("button", name="animals/cats").click()
    expect(box).to_have_value("a fox __animals/cats__")
    panel.get_by_role("searchbox").fill("colour")
    expect(panel.get_by_role("button", name="animals/cats")).to_have_count(0)
    panel.get_by_role("button", name="colour", exact=True).click()
    expect(box).to_have_value("a fox __animals/cats__ __colour__")
    assert json.loads(page.evaluate("JSON.stringify(document.activeElement.dataset.key)")) == "list-colour"
