"""The judge reads colours off pixels: given the right regions, it names what the scene says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from modules.training import judge as judging
from modules.training.pool import COVERED, marks_of
from modules.training.questions import QUESTIONS
from modules.training.scenes import paint
from modules.training.world import PAINT, THINGS, TINTS, Placed, Scene


class Knowing(torch.nn.Module):
    """Stands in for a trained judge: it knows the regions and the place."""

    def __init__(self, labels: np.ndarray, place: str | None) -> None:
        super().__init__()
        self.labels, self.place = torch.from_numpy(labels), place

    def forward(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        numbers = len(judging.THING_NAMES) + 1
        things = torch.nn.functional.one_hot(self.labels.long(), numbers).permute(2, 0, 1).float()
        looks = {kind: torch.zeros(len(pictures), len(names)) for kind, names in judging.LOOKS.items()}
        looks["place"][:, judging.LOOKS["place"].index(self.place)] = 1
        return 20 * things[None], looks


def seen_in(scene: Scene, size: int | tuple[int, int] = 128) -> judging.Verdict:
    painted = paint(scene, size)
    picture = torch.from_numpy(painted.pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    judge = Knowing(marks_of(painted, scene) % COVERED, scene.place)
    return judging.look(judge, picture)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("tint", TINTS)
@pytest.mark.parametrize("colour", ["red", "pink", "brown", "turquoise"])
def test_colour_ground_and_place_are_read_off_the_picture(tint: str, colour: str) -> None:
    verdict = seen_in(Scene((Placed("apple", colour, 0.3, 0.5, 0.2, "left"),), tint, None, "day", 3))
    assert [thing.thing for thing in verdict.things] == ["apple"]
    assert verdict.things[0].colour == colour
    assert verdict.things[0].x == pytest.approx(0.3, abs=0.04)
    assert verdict.rim == tint
    assert verdict.looks["place"] is None


@pytest.mark.parametrize("thing", ["apple", "lighthouse", "fox"])
def test_things_of_one_kind_are_counted_in_any_ratio(thing: str) -> None:
    for count in (1, 2, 3):
        placed = tuple(Placed(thing, "red", (k + 0.5) / count, 0.5, 0.14) for k in range(count))
        verdict = seen_in(Scene(placed, None, "meadow", "day", 4, ratio=5 / 3), (320, 192))
        assert [(seen.thing, seen.count) for seen in verdict.things] == [(thing, count)]
        assert verdict.looks["place"] == "meadow"


def test_lab_is_the_standards() -> None:
    assert judging.lab(np.array([1.0, 1.0, 1.0])) == pytest.approx([100, 0, 0], abs=0.02)
    assert judging.lab(np.array([1.0, 0.0, 0.0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


def test_every_paint_is_nearest_to_itself() -> None:
    assert all(judging.nearest(np.array(rgb), PAINT) == name for name, rgb in PAINT.items())


def test_the_network_answers_for_each_pixel_of_half_the_side() -> None:
    things, looks = judging.Judge().eval()(torch.zeros(1, 3, 64, 96))
    assert things.shape == (1, 1 + len(THINGS), 32, 48)
    assert {kind: scores.shape for kind, scores in looks.items()} == {
        kind: (1, len(names)) for kind, names in judging.LOOKS.items()
    }
    assert all(len(names) == QUESTIONS[kind] for kind, names in judging.LOOKS.items())
