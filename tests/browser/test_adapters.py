"""The LoRA panel: thousands listed but few drawn, put into the prompt and taken out, told about."""

import json

import pytest
from playwright.sync_api import expect

from tests.library.test_adapters import write


@pytest.fixture(scope="module")
def shelf(program):
    room = program.data / "models" / "Lora"
    for number in range(300):
        write(room / f"ink {number:03}.safetensors")
    (room / "ink 007.json").write_text(json.dumps({"activation text": "ink wash", "preferred weight": 0.6}))
    program.studio.checkpoints.adapters.refresh()
    return program.data


def test_a_lora_goes_into_the_prompt_and_out_and_is_told_about(page, shelf):
    box = page.get_by_label("Prompt", exact=True)
    box.fill("a fox")
    page.locator("#adapters_open").click()
    panel = page.get_by_role("dialog")
    cards = panel.locator(".model-card")
    expect(cards.first).to_contain_text("ink 000")
    assert cards.count() < 40
    page.evaluate("document.getElementById('panel').scrollTop = 1e6")
    expect(panel.locator("[data-key='adapter-lora-ink 299']")).to_be_visible()
    panel.get_by_role("searchbox").fill("wash")
    card = panel.locator("[data-key='adapter-lora-ink 007']")
    expect(cards).to_have_count(1)
    card.click()
    expect(box).to_have_value("a fox <lora:ink 007:0.6> ink wash")
    expect(card).to_have_attribute("aria-pressed", "true")
    card.click()
    expect(box).to_have_value("a fox")
    panel.get_by_role("button", name="About ink 007").click()
    panel.get_by_label("Usual strength").fill("0.8")
    panel.get_by_role("button", name="Save").click()
    card.click()
    expect(box).to_have_value("a fox <lora:ink 007:0.8> ink wash")
    page.keyboard.press("Escape")
    expect(page.locator("#adapters_open")).to_be_focused()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_the_label_row_has_room(opener, language, width):
    locale = {"en": "en-US", "zh": "zh-CN"}[language]
    page = opener.open(width=width, height=900, locale=locale)
    page.locator("#txt2img_prompt textarea").fill("a red fox in the snow " * 8)
    page.wait_for_timeout(600)
    page.screenshot(path=f"/tmp/row-{language}-{width}.png")
    edges = page.evaluate(
        """() => { const words = document.createRange();
          words.selectNodeContents(document.querySelector("#txt2img_prompt span[data-testid=block-info]"));
          const [label, beside] = [words, document.getElementById("beside_prompt")];
          return [label.getBoundingClientRect().right, beside.getBoundingClientRect().left]; }"""
    )
    assert edges[0] <= edges[1]
