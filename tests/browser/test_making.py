"""From a press of Generate to a file, through reloads, stops and a second press."""

import io
import re

from PIL import Image
from playwright.sync_api import expect

from modules.core.events import Preview
from tests.browser.conftest import wait_ready


def use_slow(page, count=1):
    """Let the job take long enough to be watched."""
    page.get_by_role("button", name="quick").click()
    page.get_by_role("dialog").get_by_role("button", name="slow").click()
    expect(page.locator("#model_row .name")).to_have_text("slow")
    page.get_by_label("Pictures", exact=True).fill(str(count))


def generate(page):
    page.get_by_role("button", name=re.compile("^Generate")).click()


def write(page, text):
    page.get_by_label("Prompt", exact=True).fill(text)


def test_generate_shows_the_preview_sharpen_and_the_picture_arrive(page, program):
    write(page, "a lighthouse in the fog")
    use_slow(page)
    generate(page)
    stage = page.get_by_role("region", name="Picture")
    expect(stage.get_by_role("progressbar")).to_be_visible()
    preview = stage.locator("img[src^='data:image/jpeg']")
    expect(preview).to_be_visible()
    box = stage.locator(".frame").bounding_box()
    picture = stage.get_by_alt_text("a lighthouse in the fog")
    expect(picture).to_be_visible()
    assert stage.locator(".frame").bounding_box() == box  # the frame never moved
    expect(page.locator("#stage_bar")).to_contain_text("seed")
    files = list((program.data / "outputs").rglob("*.png"))
    assert files
    expect(page.get_by_role("complementary").locator(".recent .tile.selected")).to_have_count(1)


def test_control_enter_makes_a_picture(page):
    write(page, "by the keyboard")
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    expect(page.get_by_alt_text("by the keyboard")).to_be_visible()
    assert page.get_by_label("Prompt", exact=True).input_value() == "by the keyboard"
    expect(page.get_by_role("button", name=re.compile("^Generate · about"))).to_be_visible()  # learnt from this job


def test_a_reload_in_the_middle_finds_the_job_running_and_the_form_as_it_was(page):
    write(page, "survives a reload")
    use_slow(page, 8)  # it must run still when the page is there again
    generate(page)
    expect(page.locator("#stage .frame img[src*='/media/']").first).to_be_visible()
    page.reload()
    wait_ready(page)
    assert page.get_by_label("Prompt", exact=True).input_value() == "survives a reload"
    assert page.get_by_label("Pictures", exact=True).input_value() == "8"
    expect(page.locator("#stage .frame")).to_have_count(8)
    expect(page.locator("#stage .frame img[src*='/media/']")).to_have_count(8, timeout=60_000)


def test_queueing_more_while_one_runs(page):
    write(page, "first in line")
    use_slow(page, 4)
    generate(page)
    write(page, "second in line")
    generate(page)
    expect(page.locator("#rail .waiting", has_text="second in line")).to_be_visible()
    expect(page.locator("#chip_queue")).to_contain_text("1 waiting")
    expect(page.get_by_alt_text("second in line").first).to_be_visible()
    expect(page.locator("#chip_queue")).to_be_hidden()


def test_stop_keeps_what_is_finished_and_offers_the_rest(page):
    write(page, "stopped halfway")
    use_slow(page, 8)
    generate(page)
    expect(page.locator("#stage .frame img[src*='/media/']").first).to_be_visible()
    bar = page.locator("#generate_bar").bounding_box()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text(re.compile(r"Stopped\. \d of 8 pictures were finished and kept\."))).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    assert page.locator("#generate_bar").bounding_box() == bar
    page.get_by_role("button", name="Make the rest").click()
    expect(page.locator("#rail .running")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#rail .running")).to_be_hidden()


def test_a_waiting_job_is_taken_out_of_the_queue(page):
    use_slow(page, 8)
    generate(page)
    write(page, "never made")
    generate(page)
    card = page.locator("#rail .waiting", has_text="never made")
    card.get_by_role("button", name="Take out of the queue").click()
    expect(card).to_have_count(0)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#chip_queue")).to_be_hidden()


def test_a_bad_value_is_told_beside_its_field_and_put_right_by_one_press(page):
    page.get_by_role("radio", name="Pro").check()
    page.get_by_role("button", name=re.compile("^Size")).click()
    page.get_by_label("Width", exact=True).fill("30")
    generate(page)
    width = page.locator("#txt2img_width")
    expect(width.get_by_role("alert")).to_contain_text("30 is outside 64-4096")
    width.get_by_role("button", name="Use 64").click()
    expect(page.get_by_label("Width", exact=True)).to_have_value("64")
    expect(width.get_by_role("alert")).to_have_count(0)


def test_ten_tabs_are_all_live(opener):
    context = opener.context()
    pages = [opener.open(context=context, workspace="ten") for _ in range(10)]
    write(pages[0], "seen by ten")
    generate(pages[0])
    for page in pages:
        expect(page.get_by_alt_text("seen by ten").first).to_be_visible()


def files_of(*folders):
    """Every file below these folders but what SQLite, the log and the browser write for themselves."""
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path for path in found if ".sqlite" not in path.name and path.suffix != ".log"}


def test_two_hundred_previews_leave_no_file(page, program):
    page.evaluate("() => window.performance.clearResourceTimings()")
    before = files_of(program.data)
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(jpeg, "JPEG")
    write(page, "many previews")
    use_slow(page)
    generate(page)
    expect(page.get_by_role("region", name="Picture").get_by_role("progressbar")).to_be_visible()
    job = program.studio.bus.snapshot()["running"]["job"]
    for _ in range(200):
        program.studio.bus.publish(Preview(job=job, picture=0, width=64, height=64, jpeg=jpeg.getvalue()))
    expect(page.get_by_alt_text("many previews").first).to_be_visible()
    made = files_of(program.data) - before
    assert {path.suffix for path in made} <= {".png", ".webp", ".jpg"}
    assert len([path for path in made if path.suffix == ".png"]) == 1  # the picture itself; the rest is its thumbnail
    assert len(made) <= 2
