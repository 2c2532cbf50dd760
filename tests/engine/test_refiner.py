"""The refiner takes over once, at the share of the network's time that was said, and never gives back."""

import pytest
import torch

from modules.engine.denoise import Denoised
from modules.engine.prediction import DiscreteTimes, FlowTimes
from modules.engine.refiner import past, switching

SD = DiscreteTimes.scaled_linear()


def speaking(value, heard):
    def denoiser(x, sigma):
        heard.append((value, sigma))
        return Denoised(torch.full_like(x, value))

    return denoiser


def test_the_second_takes_over_for_good():
    """Also where a sampler climbs up again, as Restart does."""
    heard = []
    both = switching(speaking(1.0, heard), speaking(2.0, heard), lambda sigma: sigma < 1)
    answers = [float(both(torch.zeros(1, 1, 1, 1), sigma).x0) for sigma in (10.0, 2.0, 0.9, 0.1, 2.0, 10.0, 0.5)]
    assert answers == [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    assert [value for value, _ in heard] == answers


def test_one_that_is_never_due_is_never_asked():
    heard = []
    both = switching(speaking(1.0, heard), speaking(2.0, heard), lambda sigma: False)
    for sigma in (10.0, 0.1):
        both(torch.zeros(1, 1, 1, 1), sigma)
    assert [value for value, _ in heard] == [1.0, 1.0]


def test_each_picture_begins_with_the_first():
    heard = []
    for _ in range(2):
        both = switching(speaking(1.0, heard), speaking(2.0, heard), lambda sigma: sigma < 1)
        both(torch.zeros(1, 1, 1, 1), 5.0)
        both(torch.zeros(1, 1, 1, 1), 0.5)
    assert [value for value, _ in heard] == [1.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_due_at_the_share_of_the_trained_times(share):
    """(999 - t) / 1000 >= share for the trained t nearest to the present."""
    due = past(share, SD)
    edge = round(999 - share * 1000)
    assert due(SD.sigma(edge))
    assert not due(SD.sigma(edge + 1))
    between = (SD.sigma(edge) + SD.sigma(edge + 1)) / 2
    assert due(between * 0.999)
    assert not due(between * 1.001)


def test_a_flow_counts_its_own_time():
    due = past(0.4, FlowTimes(3.0))
    assert not due(0.61 / 0.39)
    assert due(0.59 / 0.41)
