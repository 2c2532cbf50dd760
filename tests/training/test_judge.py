"""The judge reads colours off pixels: given the right regions, it names what the scene says."""

import numpy as np
import pytest
import torch
from torch import Tensor

from modules.training import judge as judging
from modules.training.scenes import paint
from modules.training.world import PAINT, TINTS, Placed, Scene


class Knowing(torch.nn.Module):
    """Stands in for a trained judge: it knows the regions and the place."""

    def __init__(self, labels: np.ndarray, place: str) -> None:
        super().__init__()
        self.labels, self.place = torch.from_numpy(labels), place

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        things = torch.nn.functional.one_hot(self.labels, len(judging.THING_NAMES) + 1).permute(2, 0, 1).float()
        places = torch.zeros(len(pictures), len(judging.PLACE_NAMES))
        places[:, judging.PLACE_NAMES.index(self.place)] = 1
        return 20 * things[None], places


@pytest.mark.parametrize("tint", TINTS)
@pytest.mark.parametrize("colour", ["red", "pink", "brown", "turquoise"])
def test_colour_ground_and_place_are_read_off_the_picture(tint: str, colour: str) -> None:
    scene = Scene((Placed("apple", colour, 0.3, 0.5, 0.2, "left"),), tint, None, "day", 3)
    painted = paint(scene)
    picture = torch.from_numpy(painted.pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    labels = judging._labels(painted.main, scene)
    verdict = judging.look(Knowing(labels, "plain"), picture)[0]  # type: ignore[arg-type]
    assert [thing.thing for thing in verdict.things] == ["apple"]
    assert verdict.things[0].colour == colour
    assert verdict.things[0].x == pytest.approx(0.3, abs=0.04)
    assert verdict.tint == tint
    assert verdict.place == "plain"


def test_lab_is_the_standards() -> None:
    assert judging.lab(np.array([1.0, 1.0, 1.0])) == pytest.approx([100, 0, 0], abs=0.02)
    assert judging.lab(np.array([1.0, 0.0, 0.0])) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)


def test_every_paint_is_nearest_to_itself() -> None:
    assert all(judging.nearest(np.array(rgb), PAINT) == name for name, rgb in PAINT.items())


def test_the_network_answers_for_each_pixel_of_half_the_side() -> None:
    things, places = judging.Judge().eval()(torch.zeros(1, 3, 64, 64))
    assert things.shape == (1, 13, 32, 32)
    assert places.shape == (1, 9)
