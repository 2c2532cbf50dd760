"""The loop and its watch: progress by calls, cancel before any call, hooks between steps."""

import pytest
import torch
from mixture import denoiser, exact_x0

from modules.core.errors import Cancelled
from modules.engine.denoise import Denoised, denoise, watch
from modules.engine.noise import ImageNoise
from modules.engine.samplers import SAMPLERS
from modules.engine.schedules import karras_between

SIGMAS = [*karras_between(14.6, 0.03, 10), 0.0]


class Listener:
    """A job that remembers what it heard, and stops before the call after ``until``."""

    def __init__(self, until=None):
        self.heard, self.until = [], until

    def check(self):
        if self.until is not None and len(self.heard) >= self.until:
            raise Cancelled

    def called(self, call):
        self.heard.append(call)


class Edits:
    def __init__(self, edit=lambda step: None):
        self.after_step = edit


def start():
    noise = ImageNoise([3], (4, 8, 8))
    return noise.draw() * SIGMAS[0], noise


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_progress_reaches_1_and_never_falls(name):
    job, (x, noise) = Listener(), start()
    denoise(denoiser, x, SIGMAS, SAMPLERS[name], noise, Edits(), job)
    shares = [call.share for call in job.heard]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    total = SAMPLERS[name].calls(SIGMAS)
    assert {call.total for call in job.heard} == {total}
    assert [call.number for call in job.heard] == list(range(1, len(job.heard) + 1))
    assert shares[-1] == 1 if total else shares[-1] > 0.8


@pytest.mark.parametrize("until", [0, 1, 4])
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_cancel_stops_before_the_next_call(name, until):
    made, job = [], Listener(until)

    def counted(x, sigma):
        made.append(sigma)
        return denoiser(x, sigma)

    x, noise = start()
    with pytest.raises(Cancelled):
        denoise(counted, x, SIGMAS, SAMPLERS[name], noise, Edits(), job)
    assert len(made) == until


def test_a_call_carries_what_a_preview_needs():
    job, (x, _) = Listener(), start()
    answered = watch(denoiser, job, 5, SIGMAS)(x, 2.0)
    call = job.heard[0]
    assert (call.number, call.total, call.share, call.sigma) == (1, 5, 0.2, 2.0)
    assert call.denoised is answered
    assert torch.equal(answered.x0, exact_x0(x, 2.0))


def test_hooks_edit_between_steps_and_the_last_edit_is_the_picture():
    steps = []

    def edit(step):
        steps.append((step.index, step.sigma, step.sigma_next))
        step.x = step.x + 1

    x, noise = start()
    still = Denoised(torch.zeros_like(x))
    end = denoise(lambda x, sigma: still, x, SIGMAS, SAMPLERS["Euler"], noise, Edits(edit), Listener())
    assert torch.equal(end, torch.ones_like(x))
    assert steps == [(i, SIGMAS[i], SIGMAS[i + 1]) for i in range(10)]


def test_options_reach_the_sampler():
    (x, noise), (_, other) = start(), start()
    plain = denoise(denoiser, x, SIGMAS, SAMPLERS["Euler"], noise, Edits(), Listener())
    quiet = denoise(denoiser, x, SIGMAS, SAMPLERS["Euler a"], other, Edits(), Listener(), eta=0.0)
    assert torch.allclose(plain, quiet, atol=1e-5)


def test_nothing_to_walk_gives_x_back():
    x, noise = start()
    assert denoise(denoiser, x, [0.0], SAMPLERS["Heun"], noise, Edits(), Listener()) is x
