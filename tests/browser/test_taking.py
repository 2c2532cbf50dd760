"""Settings of dropped pictures and pasted texts, taken or left row by row."""

import base64
import io
import json

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import expect

from tests.browser.test_form import settled

TEXT = """a fox in the snow
Negative prompt: blur
Steps: 31, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.5, Seed: 99, Size: 640x512, \
Model: nowhere-to-be-found, Clip skip: 2, Hires upscale: 1.5, Hires upscaler: Latent, Denoising strength: 0.4, \
ControlNet 0: "x: y", \
Version: v1.10.1"""


def png(**texts):
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    out = io.BytesIO()
    Image.new("RGB", (240, 160), "teal").save(out, "PNG", pnginfo=info)
    return out.getvalue()


def drop(page, data, name="fox.png", kind="image/png", event="drop"):
    """A file let go over the page, as the browser tells it."""
    page.evaluate(
        """([data, name, kind, event]) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const held = new DataTransfer();
          held.items.add(new File([bytes], name, { type: kind }));
          const about = { bubbles: true, cancelable: true };
          document.body.dispatchEvent(event === "paste"
            ? new ClipboardEvent("paste", { ...about, clipboardData: held })
            : new DragEvent(event, { ...about, dataTransfer: held })); }""",
        [base64.b64encode(data).decode(), name, kind, event],
    )


def panel(page):
    return page.get_by_role("dialog")


def value(page, name):
    return page.evaluate(
        """async (name) => { const root = JSON.parse(document.getElementById("boot").textContent).static;
           return (await import(root + "form.js")).values[name]; }""",
        name,
    )


def test_a_dropped_picture_s_settings_are_taken_row_by_row(page):
    drop(page, png(parameters=TEXT))
    expect(panel(page)).to_contain_text("Made with A1111")
    row = panel(page).locator("[data-row=sampler]")
    expect(row).to_contain_text("Euler a, Karras")
    expect(panel(page).locator("[data-row=model]")).to_contain_text("Not here: nowhere-to-be-found")
    expect(panel(page).locator("[data-row=model] input")).to_be_disabled()
    expect(panel(page).locator("[data-row=compat]")).to_contain_text("A1111")
    expect(panel(page)).to_contain_text("ControlNet 0")
    panel(page).locator("[data-row=seed] input").uncheck()
    panel(page).get_by_role("button", name="Use settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox in the snow")
    expect(page.locator("#notices")).to_contain_text("Pictures are now made by these rules: A1111")
    settled(page)
    found = {name: value(page, name) for name in ("steps", "sampler", "width", "height", "seed", "compat", "hires")}
    assert found == {"steps": 31, "sampler": "Euler a", "width": 640, "height": 512, "seed": "", "compat": "a1111",
                     "hires": True}  # fmt: skip


def test_what_the_file_does_not_mention_goes_back_unless_it_is_left(page):
    page.evaluate(
        """async () => { const root = JSON.parse(document.getElementById("boot").textContent).static;
           await (await import(root + "form.js")).apply({ set: { clip_skip: 5, negative_prompt: "mine" } }); }"""
    )
    short = "a fox\nSteps: 31, Sampler: Euler a, CFG scale: 5.5, Seed: 99, Size: 640x512, Version: v1.10.1"
    for keeps, wanted in ((True, 5), (False, 1)):
        drop(page, png(parameters=short))
        if keeps:
            panel(page).locator("[data-row=rest] input").uncheck()
        panel(page).get_by_role("button", name="Use settings").click()
        expect(page.locator("#notices")).to_contain_text("The settings are in the form.")
        settled(page)
        assert value(page, "clip_skip") == wanted


def test_a_pasted_picture_and_one_without_settings(page):
    drop(page, png(), event="paste")
    expect(panel(page)).to_contain_text("This picture carries no settings.")
    expect(panel(page).get_by_role("button", name="Start from the picture")).to_be_visible()
    page.keyboard.press("Escape")
    expect(panel(page)).to_have_count(0)
    page.evaluate(
        """async () => { const root = JSON.parse(document.getElementById("boot").textContent).static;
           (await import(root + "startfrom.js")).offer((blob) => { window.startedFrom = blob.size; }); }"""
    )
    drop(page, png())
    panel(page).get_by_role("button", name="Start from the picture").click()
    assert page.evaluate("window.startedFrom") == len(png())


def test_what_is_no_picture_is_said_in_words(page, opener):
    opener.allowed.append("415")
    drop(page, b"hello", "notes.txt", "text/plain")
    expect(page.locator("#notices")).to_contain_text('"notes.txt" is not a picture.')
    expect(panel(page)).to_have_count(0)


def test_settings_pasted_into_the_prompt_become_the_form(page):
    box = page.get_by_label("Prompt", exact=True)
    button = page.locator("#paste_settings")
    box.fill("a plain prompt")
    expect(button).to_be_hidden()
    box.fill(TEXT)
    button.click()
    expect(panel(page)).to_contain_text("Settings in the text")
    panel(page).get_by_role("button", name="Use settings").click()
    expect(box).to_have_value("a fox in the snow")
    expect(button).to_be_hidden()
    settled(page)
    assert value(page, "seed") == "99"


def test_a_graph_of_another_program_brings_its_rules(page):
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 12, "cfg": 4, "sampler_name": "heun",
              "scheduler": "simple", "positive": ["2", 0], "latent_image": ["3", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 384}},
    }  # fmt: skip
    drop(page, png(prompt=json.dumps(graph)))
    expect(panel(page)).to_contain_text("Made with ComfyUI")
    panel(page).get_by_role("button", name="Use settings").click()
    expect(page.locator("#notices")).to_contain_text("ComfyUI")
    settled(page)
    found = {name: value(page, name) for name in ("sampler", "schedule", "steps", "noise", "compat", "height")}
    assert found == {"sampler": "Heun", "schedule": "Simple", "steps": 12, "noise": "cpu", "compat": "comfy",
                     "height": 384}  # fmt: skip


def test_the_veil_shows_while_a_file_is_over_the_page(page):
    drop(page, png(), event="dragover")
    expect(page.locator("#veil")).to_contain_text("Drop a picture")
    expect(page.locator("#veil")).to_have_count(0)


def test_finer_settings_come_into_their_controls(page):
    drop(page, png(parameters=TEXT.replace("Clip skip: 2", "Clip skip: 2, Schedule rho: 5, Tiling: True")))
    panel(page).get_by_role("button", name="Use settings").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fox in the snow")
    settled(page)
    assert [value(page, name) for name in ("rho", "tiling", "hires_upscaler", "carried")] == [5, "both", "Latent", "{}"]


def test_what_has_no_control_is_a_chip_that_can_be_taken_off(page):
    page.evaluate(
        """async () => { const root = JSON.parse(document.getElementById("boot").textContent).static;
           const { apply } = await import(root + "form.js");
           await apply({ set: { carried: '{"sampling.rho": 5, "tiling": "both"}' } }); }"""
    )
    chips = page.locator("#carried_row button")
    expect(chips).to_have_count(2)
    expect(chips.nth(1)).to_contain_text("tiling: both")
    chips.nth(1).click()
    expect(chips).to_have_count(1)
    settled(page)
    assert json.loads(value(page, "carried")) == {"sampling.rho": 5}
