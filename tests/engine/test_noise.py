"""Noise: Philox against published words, one generator per image, and the sources apart."""

import math

import numpy as np
import pytest
import torch

from modules.engine.noise import ImageNoise, PhiloxGenerator, box_muller, generator, philox_4x32

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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_nv_equals_this_gpu():
    shape = (4, 96, 96)
    torch_gpu = generator("gpu", 1234567, "cuda")
    ours = PhiloxGenerator(1234567)
    for _ in range(3):
        assert torch.allclose(torch_gpu.normal(shape).cpu(), ours.normal(shape), atol=2e-6)
