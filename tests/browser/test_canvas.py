"""The canvas: a picture and what is painted over it go to the server as they are, and come back after a reload."""

import hashlib
import io
import re

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import settled, wait_ready

GENERATE = "#txt2img_generate"


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A picture of 2048 x 2048 that nothing can guess, as a file."""
    path = tmp_path_factory.mktemp("canvas") / "noise.png"
    Image.effect_noise((2048, 2048), 60).convert("RGB").save(path)
    return path


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.png"
    Image.new("RGB", (64, 64), (40, 120, 200)).save(path)
    return path


def start_from(page, path):
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_selector(".editor canvas.mask", state="attached")
    settled(page)


def paint(page, dx=60):
    board = page.locator(".editor .board").bounding_box()
    x, y = board["x"] + board["width"] / 2, board["y"] + board["height"] / 2
    page.mouse.move(x - dx, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + 20, steps=5)
    page.mouse.up()


def kept(page, program):
    """The workspace's canvas as the server has it."""
    return httpx.get(f"{program.url}/api/v1/canvas?workspace={page.workspace}").json()["document"]


def until(page, program, is_so):
    """The canvas as the server has it, once it is so."""
    for _ in range(600):
        document = kept(page, program)
        if is_so(document):
            return document
        page.wait_for_timeout(100)
    raise AssertionError(document)


def test_a_large_picture_and_its_mask_are_on_the_server_byte_for_byte_and_back_after_a_reload(page, program, noise):
    sent = []
    page.on("request", lambda request: sent.append((request.method, request.url, len(request.post_data_buffer or b""))))
    start_from(page, noise)
    expect(page.locator(GENERATE)).to_contain_text("Refine")
    paint(page)
    document = until(page, program, lambda document: len(document["strokes"]) == 1)
    content = noise.read_bytes()
    assert document["picture"] == hashlib.sha256(content).hexdigest()
    assert httpx.get(f"{program.url}/api/v1/blobs/{document['picture']}").content == content
    assert document["size"] == {"width": 2048, "height": 2048}
    expect(page.locator(GENERATE)).to_contain_text("Fill")
    settled(page)
    page.reload()
    wait_ready(page)
    expect(page.locator(GENERATE)).to_contain_text("Fill")
    page.get_by_role("button", name="Edit", exact=True).click()
    page.wait_for_selector(".editor canvas.mask", state="attached")
    page.keyboard.press("Control+z")  # undo reaches over the reload
    until(page, program, lambda document: document["strokes"] == [] and len(document["undone"]) == 1)
    expect(page.locator(GENERATE)).to_contain_text("Refine")
    page.keyboard.press("Control+Shift+z")
    until(page, program, lambda document: len(document["strokes"]) == 1)
    puts = [(url, size) for method, url, size in sent if method == "PUT" and url.endswith("/blobs")]
    assert len(puts) >= 2  # the picture, and the mask
    assert all(size < 100_000 for method, url, size in sent if not url.endswith("/blobs"))  # no pixels anywhere else


def test_what_is_masked_is_filled_and_the_rest_stays(page, program, small):
    start_from(page, small)
    paint(page, dx=30)
    until(page, program, lambda document: len(document["strokes"]) == 1)
    page.get_by_label("Prompt", exact=True).fill("filled on the canvas")
    page.locator(GENERATE).click()
    expect(page.get_by_alt_text("filled on the canvas")).to_be_visible()
    made = program.studio.gallery.page(1).items[0]
    start = made.request.start
    assert start.picture == hashlib.sha256(small.read_bytes()).hexdigest()
    mask = Image.open(io.BytesIO(httpx.get(f"{program.url}/api/v1/blobs/{start.inpaint.mask}").content))
    assert mask.size == (64, 64)
    assert mask.getpixel((32, 34))[3] > 200
    assert mask.getpixel((2, 2))[3] == 0
    picture = Image.open(program.studio.gallery.path(made.id)).convert("RGB")
    assert picture.getpixel((2, 2)) == (40, 120, 200)


def test_a_frame_past_the_picture_extends_it_to_exactly_that_size(page, program, small):
    start_from(page, small)
    page.get_by_role("button", name=re.compile("What the picture will show")).click()
    page.get_by_label("Frame width").fill("96")
    page.get_by_label("Frame width").press("Tab")
    expect(page.locator(GENERATE)).to_contain_text("Extend")
    expect(page.locator("#beside_shape")).to_have_text("96 × 64")
    settled(page)
    page.get_by_label("Prompt", exact=True).fill("extended on the canvas")
    page.locator(GENERATE).click()
    expect(page.get_by_alt_text("extended on the canvas")).to_be_visible()
    made = program.studio.gallery.page(1).items[0]
    assert made.request.start.frame.width == 96
    assert (made.width, made.height) == (96, 64)


def test_keys_change_the_tool_and_zoom_keeps_the_point_under_the_wheel(page, small):
    start_from(page, small)
    tool = lambda name: page.locator(f".editor button[data-tool={name}]")  # noqa: E731
    page.locator(".editor .board").focus()
    page.keyboard.press("x")
    expect(tool("erase")).to_have_attribute("aria-pressed", "true")
    width = page.get_by_label("Brush width")
    before = int(width.input_value())
    page.keyboard.press("]")
    assert int(width.input_value()) > before
    page.keyboard.press("[")
    assert int(width.input_value()) == before
    where = """() => {
      const stage = Konva.stages.at(-1), box = stage.container().getBoundingClientRect(), scale = stage.scaleX();
      return [(400 - stage.x()) / scale, (200 - stage.y()) / scale, scale, box.left, box.top];
    }"""
    x, y, scale, left, top = page.evaluate(where)
    page.mouse.move(left + 400, top + 200)
    page.mouse.wheel(0, -300)
    page.wait_for_function("scale => Konva.stages.at(-1).scaleX() > scale", arg=scale)
    after = page.evaluate(where)
    assert after[:2] == pytest.approx([x, y], abs=0.01)


def test_settings_of_such_a_picture_bring_its_start_back(page, program, small):
    start_from(page, small)
    page.get_by_label("Prompt", exact=True).fill("refined on the canvas")
    page.locator(GENERATE).click()
    expect(page.get_by_alt_text("refined on the canvas")).to_be_visible()
    page.get_by_role("button", name="Start from the prompt alone").click()
    expect(page.locator(GENERATE)).to_contain_text("Generate")
    page.get_by_role("button", name="Use settings").first.click()
    expect(page.locator(GENERATE)).to_contain_text("Refine")
    until(page, program, lambda document: document["picture"] == hashlib.sha256(small.read_bytes()).hexdigest())
