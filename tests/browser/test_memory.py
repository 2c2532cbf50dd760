"""The memory ledger: a loaded model with its parts, gone after "Free memory", back with the next picture."""

from playwright.sync_api import expect


def test_the_ledger_shows_what_is_loaded_and_lets_it_go(page):
    generate = page.locator("#txt2img_generate")
    generate.click()
    expect(page.locator("#model_row .family")).to_contain_text("in memory")
    page.get_by_role("tab", name="Models").click()
    ledger = page.get_by_role("region", name="Memory")
    expect(ledger.locator("li")).to_contain_text(["network"])
    expect(ledger).to_contain_text("free")
    card = page.locator("#models .model-card.chosen .state")
    page.locator("#models input[type=search]").fill("quick")
    expect(card).to_contain_text("In use · in memory")
    ledger.get_by_role("button", name="Free memory").click()
    expect(ledger).to_contain_text("No model is loaded")
    expect(ledger.get_by_role("button", name="Free memory")).to_be_disabled()
    page.get_by_role("tab", name="Create").click()
    expect(page.locator("#model_row .family")).to_contain_text("on disk")
    generate.click()
    expect(page.locator("#model_row .family")).to_contain_text("in memory")


def test_another_prediction_is_one_press_and_is_kept(page):
    page.get_by_role("tab", name="Models").click()
    page.locator("#models input[type=search]").fill("starter")
    page.locator("#models .model-card").first.click()
    side = page.locator("#models .prediction")
    expect(side.get_by_role("button", name="as the file says")).to_have_attribute("aria-pressed", "true")
    side.get_by_role("button", name="v", exact=True).click()
    expect(side).to_contain_text("because you chose it")
    page.reload()
    page.get_by_role("tab", name="Models").click()
    page.locator("#models input[type=search]").fill("starter")
    page.locator("#models .model-card").first.click()
    expect(side.get_by_role("button", name="v", exact=True)).to_have_attribute("aria-pressed", "true")
    side.get_by_role("button", name="as the file says").click()
    expect(side).not_to_contain_text("because you chose it")
