"""Golden plans (request in, plan out, as JSON) and every mistake that a request can hold, all at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modules.core.errors import ModelError, NotFound, WorkbenchError
from modules.core.geometry import Box, Size
from modules.core.request import GenerationRequest
from modules.library.checkpoints import Checkpoint
from modules.library.vaes import Vaes
from modules.planning.canvas import canvas_for, crop, enlarged
from modules.planning.check import check
from modules.planning.compile import compile

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
HASHES = {"one": "1" * 64, "two": "2" * 64}


class NoAdapters:
    """A library without LoRAs."""

    def find(self, kind, name):
        raise ModelError(f"There is no LoRA {name!r}.", code="unknown_adapter", field="prompt", name=name)

    def embeddings(self, family):
        return {}


class Shelf:
    """A library of two checkpoints."""

    adapters, vaes = NoAdapters(), Vaes(())

    def find(self, name_or_hash):
        for name, sha256 in HASHES.items():
            if name_or_hash in (name, sha256) or (not name_or_hash and name == "one"):
                path = Path(f"/models/{name}.safetensors")
                return Checkpoint(name, path, 1000, 5, "sd1", sha256=sha256)
        raise ModelError(f"There is no checkpoint {name_or_hash!r}.", "The nearest is 'one'.", code="unknown_model",
                         field="model.checkpoint", nearest="one")  # fmt: skip


SHELF = Shelf()


def request(**changed):
    return GenerationRequest.from_data({"seed": 1, **changed})


def problems(**changed):
    return check(request(**changed), SHELF)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_plans(path):
    """To change one on purpose: write the plan that the message shows into the file, and say why in the commit."""
    golden = json.loads(path.read_text("utf-8"))
    plan = compile(GenerationRequest.from_data(golden["request"]), SHELF, golden.get("pictures"))
    made = plan.model_dump(mode="json", exclude={"request"})
    assert made == golden["plan"], json.dumps(made, indent=1)


def test_there_are_golden_plans():
    assert len(GOLDEN) >= 5


def test_the_same_request_gives_the_same_plan_and_hash():
    one, other = (compile(request(prompt="cat"), SHELF) for _ in range(2))
    assert (one, one.hash()) == (other, other.hash())
    assert one.hash() != compile(request(prompt="dog"), SHELF).hash()


def test_a_retry_keeps_the_seeds_and_the_hash_of_its_pictures():
    plan = compile(request(seed=2**32 - 1, count=4), SHELF, [1, 3])
    assert (plan.pictures, plan.seeds) == ((1, 3), (0, 2))


def test_a_request_without_mistakes_has_no_problems():
    assert problems(prompt="a (red:1.2) cat AND [dog|bird]", hires={"scale": 2.0}) == []


def test_all_mistakes_are_told_at_once_each_with_its_field():
    found = problems(
        prompt="(" * 65, negative_prompt="[" * 65, model={"checkpoint": "three"},
        size={"width": 4096, "height": 4096}, hires={"scale": 4.0},
    )  # fmt: skip
    fields = [problem.field for problem in found]
    assert fields == ["prompt", "negative_prompt", "model.checkpoint", "hires.scale"]
    assert all(problem.message and problem.hint and problem.code for problem in found)
    nearest = {problem.field: problem.facts.get("nearest") for problem in found}
    assert nearest["model.checkpoint"] == "one"
    assert nearest["hires.scale"] == 1.0


def test_compile_raises_the_first_problem():
    with pytest.raises(WorkbenchError) as caught:
        compile(request(model={"checkpoint": "three"}, size={"width": 4096, "height": 4096}), SHELF)
    assert (caught.value.field, caught.value.status) == ("model.checkpoint", 422)
    assert caught.value.facts["nearest"] == "one"


@pytest.mark.parametrize(("width", "height", "scale"), [(1024, 1100, 4.0), (2048, 512, 3.0), (4096, 4096, 1.5)])
def test_the_nearest_scale_is_one_that_is_allowed(width, height, scale):
    changed = {"size": {"width": width, "height": height}, "hires": {"scale": scale}}
    (problem,) = problems(**changed)
    nearest = problem.facts["nearest"]
    assert problem.field == "hires.scale"
    if nearest > 1.0:
        assert problems(size=changed["size"], hires={"scale": nearest}) == []


class Pictures:
    """Input pictures of 100 x 80; "b" is a painted mask, "c" an empty one, "f" a full one."""

    def size(self, sha256):
        if sha256[0] not in "abcf":
            raise NotFound("There is no input picture of that hash.", "Send the picture again.", code="no_blob")
        return Size(width=100, height=80)

    def mask_range(self, sha256):
        self.size(sha256)
        return {"b": (0, 255), "c": (0, 0), "f": (255, 255)}[sha256[0]]


def start(picture="a", frame=None, **inpaint):
    box = dict(zip(("left", "top", "width", "height"), frame, strict=True)) if frame else None
    if "mask" in inpaint:
        inpaint["mask"] = inpaint["mask"] * 64
    return {"picture": picture * 64, "frame": box, "inpaint": inpaint or None}


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        (start(), None, None),
        (start("e"), "start.picture", "no_blob"),
        (start(mask="b"), None, None),
        (start(mask="e"), "start.inpaint.mask", "no_blob"),
        (start(mask="c"), "start.inpaint.mask", "mask_empty"),
        (start(mask="c", invert=True), None, None),
        (start(mask="f", invert=True), "start.inpaint.mask", "mask_empty"),
        (start(frame=(0, 0, 100, 80), blur=4), "start.inpaint.mask", "mask_empty"),
        (start(frame=(0, 0, 101, 80), blur=4), None, None),
        (start(frame=(-9, 0, 50, 50), mask="c"), None, None),
        (start(frame=(100, 0, 50, 50)), "start.frame", "bad_value"),
        (start(frame=(-50, 0, 50, 50)), "start.frame", "bad_value"),
    ],
)
def test_pictures_that_are_started_from_are_looked_at_first(given, field, code):
    found = check(request(start=given), SHELF, Pictures())
    assert [(problem.field, problem.code) for problem in found] == ([(field, code)] if field else [])
    assert all(problem.as_error().status == 422 for problem in found)


def test_the_largest_picture_is_allowed():
    assert problems(size={"width": 4096, "height": 4096}) == []


def test_a_hash_that_the_name_does_not_have_finds_the_file_that_has_it():
    plan = compile(request(model={"checkpoint": "one", "sha256": HASHES["two"]}), SHELF)
    assert plan.models["model"].name == "two"
    (problem,) = problems(model={"checkpoint": "one", "sha256": "3" * 64})
    assert (problem.field, problem.code) == ("model.checkpoint", "model_differs")


def test_canvases_cover_the_picture_and_the_crop_is_its_middle():
    for side in range(64, 140):
        size = Size(width=side, height=200 - side)
        canvas = canvas_for(size, 8)
        assert canvas.width % 8 == canvas.height % 8 == 0
        assert 0 <= canvas.width - size.width < 8
        box = crop(canvas, size)
        assert min(box.left, box.top, canvas.width - box.right, canvas.height - box.bottom) >= 0
    assert crop(Size(width=104, height=64), Size(width=100, height=64)) == Box(left=2, top=0, width=100, height=64)


@pytest.mark.parametrize("scale", [1.0, 1.25, 1.3333333, 1.5, 2.0, 3.9])
def test_an_enlarged_canvas_covers_the_enlarged_picture(scale):
    for side in range(64, 140, 3):
        size = Size(width=side, height=100)
        canvas = enlarged(canvas_for(size, 8), size.times(scale), scale, 8)
        final = size.times(scale)
        assert min(canvas.width - final.width, canvas.height - final.height) >= 0
        assert canvas.width % 8 == 0


def test_planning_never_imports_torch():
    code = "import sys, modules.planning.compile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
