"""Noise: Philox against published words, one generator per image, and the sources apart."""

import math

import numpy as np
import pytest
import torch

from modules.engine.noise import ImageNoise, Mixture, PhiloxGenerator, box_muller, generator, philox_4x32, slerp

KNOWN = [  # Random123's kat_vectors for philox4x32, 10 rounds: counter, key, answer
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_as_published(counter, key, answer):
    assert philox_4x32(words(counter)[:, None], words(key))[:, 0].tolist() == words(answer).tolist()


def test_nv_is_what_a_gpu_draws():
    """torch.randn(10, device="cuda") after manual_seed(0), as PyTorch users know it."""
    gpu = [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631]
    assert PhiloxGenerator(0).normal((10,)).tolist() == pytest.approx(gpu, abs=5e-5)


def test_nv_counts_draws_and_reads_all_of_the_seed():
    one = PhiloxGenerator(2**32 + 5)
    first, second = one.normal((2, 3, 4)), one.normal((2, 3, 4))
    assert not torch.equal(first, second)
    assert not torch.equal(first, PhiloxGenerator(5).normal((2, 3, 4)))
    counter = np.zeros((4, 1), dtype=np.uint32)
    counter[0], counter[2] = 1, 7  # the second draw, the eighth value
    a, b, _, _ = philox_4x32(counter, np.array([5, 1], dtype=np.uint32))
    assert second.flatten()[7] == float(box_muller(a, b)[0])


def test_nv_numbers_values_on_through_large_tensors():
    values = PhiloxGenerator(3).normal((4, 100, 100)).flatten()
    for place in (16383, 16384, 39999):
        counter = np.zeros((4, 1), dtype=np.uint32)
        counter[2] = place
        a, b, _, _ = philox_4x32(counter, np.array([3, 0], dtype=np.uint32))
        assert values[place] == float(box_muller(a, b)[0])


def test_box_muller_never_takes_the_log_of_zero():
    edge = np.array([0, 2**32 - 1], dtype=np.uint32)
    values = box_muller(edge, edge)
    assert np.isfinite(values).all()
    quarter = np.array([2**30], dtype=np.uint32)
    assert box_muller(quarter, quarter)[0] == pytest.approx(math.sqrt(2 * math.log(4)), rel=1e-6)


@pytest.mark.parametrize("source", ["nv", "cpu"])
def test_unit_normal(source):
    values = generator(source, 12345).normal((4, 128, 128))
    assert values.dtype == torch.float32
    assert float(values.mean()) == pytest.approx(0, abs=0.02)
    assert float(values.std()) == pytest.approx(1, abs=0.02)


def test_cpu_source_is_torchs_own():
    assert torch.equal(generator("cpu", 9).normal((3, 4)), torch.randn(3, 4, generator=torch.manual_seed(9)))


def test_gpu_source_without_a_gpu_is_nv():
    assert torch.equal(generator("gpu", 9, "cpu").normal((3, 4)), PhiloxGenerator(9).normal((3, 4)))


@pytest.mark.parametrize("source", ["nv", "cpu"])
def test_an_image_draws_the_same_alone_and_in_a_batch(source):
    batch, alone = ImageNoise([1, 2, 3], (4, 8, 8), source), ImageNoise([2], (4, 8, 8), source)
    for _ in range(3):
        assert torch.equal(batch.draw()[1:2], alone.draw())
    assert torch.equal(batch(2.0, 1.0)[1:2], alone(2.0, 1.0))


def test_drawing_leaves_torchs_global_state_alone():
    before = torch.get_rng_state()
    for source in ("nv", "cpu"):
        ImageNoise([1], (4, 8, 8), source).draw()
    assert torch.equal(torch.get_rng_state(), before)


def arc(share, low, high):
    """docs/parity.md, Seeds: column by column along the arc between two noises [c h w], in float64."""
    made = np.empty_like(low)
    for channel in range(low.shape[0]):
        for column in range(low.shape[2]):
            a, b = low[channel, :, column], high[channel, :, column]
            angle = math.acos(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
            made[channel, :, column] = (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(
                angle
            )
    return made


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_variation_lies_on_the_arc_between_two_seeds(share):
    shape = (4, 8, 6)
    varied = ImageNoise([1, 1], shape, mixture=Mixture((7, 8), share)).first().numpy()
    low = PhiloxGenerator(1).normal(shape).double().numpy()
    for image, seed in enumerate((7, 8)):
        high = PhiloxGenerator(seed).normal(shape).double().numpy()
        np.testing.assert_allclose(varied[image], arc(share, low, high), atol=2e-5)


def test_a_variation_of_strength_0_or_1_is_one_of_both_and_leaves_later_draws_alone():
    shape = (4, 8, 8)
    plain, other = ImageNoise([1], shape), ImageNoise([9], shape)
    first = plain.first()
    none = ImageNoise([1], shape, mixture=Mixture((9,), 0.0))
    assert torch.equal(none.first(), first)
    whole = ImageNoise([1], shape, mixture=Mixture((9,), 1.0))
    torch.testing.assert_close(whole.first(), other.first(), atol=1e-5, rtol=0)
    assert torch.equal(whole.draw(), plain.draw())


def test_two_noises_all_but_equal_are_mixed_the_wrong_way_round_as_in_a1111():
    low = PhiloxGenerator(1).normal((4, 8, 8))
    high = low * 1.5
    torch.testing.assert_close(slerp(0.25, low, high), low * 0.25 + high * 0.75)


@pytest.mark.parametrize(
    ("small", "large"), [((4, 6, 4), (4, 8, 8)), ((4, 12, 11), (4, 8, 8)), ((4, 4, 12), (4, 9, 8))]
)
def test_noise_of_another_size_lies_in_the_middle(small, large):
    laid = ImageNoise([5], large, drawn_at=small)
    first = laid.first()[0]
    drawn, ground = PhiloxGenerator(5).normal(small), PhiloxGenerator(5).normal(large)
    expected = ground.clone()
    for row in range(large[1]):
        for column in range(large[2]):
            above, left = (large[1] - small[1]) // 2, (large[2] - small[2]) // 2
            in_rows = 0 <= row - above < small[1] and (above >= 0 or row < small[1] + 2 * above)
            in_columns = 0 <= column - left < small[2] and (left >= 0 or column < small[2] + 2 * left)
            if in_rows and in_columns:
                expected[:, row, column] = drawn[:, row - above, column - left]
    assert torch.equal(first, expected)
    later = PhiloxGenerator(5)
    later.normal(large)
    assert torch.equal(laid.draw()[0], later.normal(large))  # the second draw of the image's own generator


def test_a_delta_changes_every_draw_but_the_first():
    shifted, plain, other = (ImageNoise([s], (4, 8, 8), delta=d) for s, d in ((5, 31337), (5, 0), (5 + 31337, 0)))
    assert torch.equal(shifted.first(), plain.first())
    assert torch.equal(shifted.draw(), other.first())
    assert torch.equal(shifted.draw(), other.draw())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_nv_equals_this_gpu():
    shape = (4, 96, 96)
    torch_gpu = generator("gpu", 1234567, "cuda")
    ours = PhiloxGenerator(1234567)
    for _ in range(3):
        assert torch.allclose(torch_gpu.normal(shape).cpu(), ours.normal(shape), atol=2e-6)
