"""Guidance: the weighted sum, what is skipped, what shares a call, and what a hook may edit."""

import pytest
import torch

from modules.engine.guidance import Guided, Weighted, guide


class Recorder:
    """A predictor whose x0 is its conditioning's mean, and which remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, sigma, cond):
        self.calls.append((len(x), tuple(cond["context"].shape)))
        return cond["context"].mean((1, 2)).reshape(-1, 1, 1, 1) + x * 0


def said(value, tokens=77, batch=1):
    return {"context": torch.full((batch, tokens, 4), float(value))}


def answer(scale, parts=((3.0, 1.0),), empty=1.0, pictures=1, tokens=77, **options):
    predict = Recorder()
    positive = [Weighted(said(value, tokens), weight) for value, weight in parts]
    denoise = guide(predict, lambda sigma: positive, lambda sigma: said(empty), scale, **options)
    return denoise(torch.zeros(pictures, 1, 2, 2), 1.0), predict.calls


def test_away_from_the_negative():
    denoised, calls = answer(7.0)
    assert float(denoised.x0.mean()) == 1 + 7 * (3 - 1)
    assert (float(denoised.cond.mean()), float(denoised.uncond.mean())) == (3.0, 1.0)
    assert calls == [(2, (2, 77, 4))]  # both halves in one call


def test_scale_1_skips_the_unconditional_half():
    denoised, calls = answer(1.0)
    assert float(denoised.x0.mean()) == 3.0
    assert denoised.uncond is None
    assert calls == [(1, (1, 77, 4))]


def test_a_sampler_may_need_it_all_the_same():
    denoised, calls = answer(1.0, keep_uncond=True)
    assert float(denoised.x0.mean()) == 3.0
    assert float(denoised.uncond.mean()) == 1.0
    assert calls == [(2, (2, 77, 4))]


def test_parts_add_up_by_their_weights():
    denoised, calls = answer(2.0, parts=((3.0, 1.0), (5.0, 0.5)))
    assert float(denoised.x0.mean()) == 1 + 2 * ((3 - 1) * 1.0 + (5 - 1) * 0.5)
    assert float(denoised.cond.mean()) == pytest.approx((3 * 1.0 + 5 * 0.5) / 1.5)
    assert calls == [(3, (3, 77, 4))]


def test_weights_that_leave_nothing_for_the_unconditional_half():
    denoised, calls = answer(1.0, parts=((3.0, 0.5), (5.0, 0.5)))
    assert float(denoised.x0.mean()) == 4.0
    assert denoised.uncond is None
    assert calls == [(2, (2, 77, 4))]


def test_scale_1_with_other_weights_still_needs_it():
    denoised, _ = answer(1.0, parts=((3.0, 0.5),))
    assert float(denoised.x0.mean()) == 1 + (3 - 1) * 0.5


def test_scale_0_is_the_negative_prompt():
    assert float(answer(0.0)[0].x0.mean()) == 1.0


def test_unequal_lengths_have_their_own_calls():
    denoised, calls = answer(7.0, tokens=154)
    assert float(denoised.x0.mean()) == 1 + 7 * (3 - 1)
    assert calls == [(1, (1, 154, 4)), (1, (1, 77, 4))]


def test_pictures_one_by_one_or_together():
    one, apart = answer(7.0, pictures=3)
    all_at_once, together = answer(7.0, pictures=3, one_by_one=False)
    assert apart == [(2, (2, 77, 4))] * 3
    assert together == [(6, (6, 77, 4))]
    assert torch.equal(one.x0, all_at_once.x0)


@pytest.mark.parametrize("one_by_one", [True, False])
def test_every_picture_has_its_own_conditioning(one_by_one):
    predict = Recorder()
    own = {"context": torch.tensor([3.0, 4.0, 5.0]).reshape(3, 1, 1).expand(3, 77, 4)}
    denoise = guide(predict, lambda sigma: [Weighted(own)], lambda sigma: said(1.0), 2.0, one_by_one=one_by_one)
    assert denoise(torch.zeros(3, 1, 2, 2), 1.0).x0.mean((1, 2, 3)).tolist() == [5.0, 7.0, 9.0]


def test_conditioning_is_asked_for_by_sigma_once_a_call():
    asked = []

    def positive(sigma):
        asked.append(sigma)
        return [Weighted(said(sigma))]

    denoise = guide(Recorder(), positive, lambda sigma: said(0.0), 2.0)
    assert [float(denoise(torch.zeros(2, 1, 2, 2), sigma).x0.mean()) for sigma in (3.0, 1.0)] == [6.0, 2.0]
    assert asked == [3.0, 1.0]


def test_a_hook_edits_the_result():
    def halve(guided: Guided):
        guided.denoised = guided.denoised / 2

    assert float(answer(7.0, after=halve)[0].x0.mean()) == 7.5


def test_a_hook_sees_both_halves_in_every_space():
    torch.manual_seed(1)
    x0, n, sigma = torch.randn(1, 4, 3, 3), torch.randn(1, 4, 3, 3), 1.7
    guided = Guided(x0 + sigma * n, sigma, x0, None, x0)
    alpha, spread = 1 / (1 + sigma**2) ** 0.5, sigma / (1 + sigma**2) ** 0.5
    assert torch.allclose(guided.as_eps(x0), n, atol=1e-5)
    assert torch.allclose(guided.as_v(x0), alpha * n - spread * x0, atol=1e-5)
    assert torch.allclose(guided.from_eps(guided.as_eps(x0)), x0, atol=1e-5)
    assert torch.allclose(guided.from_v(guided.as_v(x0)), x0, atol=1e-5)
