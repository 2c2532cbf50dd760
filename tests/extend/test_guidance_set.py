"""The guidance extensions that ship: each computes what its paper says, costs what it says, and leaves no trace."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests.extend.test_builtin import load

torch = pytest.importorskip("torch")

from modules.engine.guidance import Guided, Upcoming, Weighted, guide  # noqa: E402
from modules.extend.hooks import Hooks  # noqa: E402


def upcoming(sigma=1.0, call=0, share=0.0, scale=7.0):
    return Upcoming(sigma, call, share, scale)


def noise(count=3, seed=1, shape=(2, 4, 8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def guided(scale=7.0, call=0, seed=1):
    x, cond, uncond = noise(seed=seed)
    return Guided(x, 1.3, cond, uncond, uncond + scale * (cond - uncond), scale, call)


@pytest.mark.parametrize(("sigma", "scale"), [(0.28, 1.0), (0.29, 7.0), (5.42, 7.0), (5.43, 1.0)])
def test_interval_guides_between_its_ends(sigma, scale):
    call = upcoming(sigma)
    load("guidance-interval").GuidanceInterval().before_guidance(call)
    assert call.scale == scale


@pytest.mark.parametrize(("share", "skips"), [(0.0, True), (0.1, True), (0.15, False), (None, False)])
def test_early_calls_are_skipped(share, skips):
    call = upcoming(share=share)
    load("skip-early-cfg").SkipEarlyCFG(share=0.1).before_guidance(call)
    assert call.skip == skips


def test_ngms_skips_odd_calls_below_its_sigma():
    kind = load("ngms").NegativeGuidanceMinimumSigma
    for extension, wanted in ((kind(below=2.0), [False, True] * 2), (kind(below=2.0, every_step=True), [True] * 4)):
        calls = [upcoming(1.9, n) for n in range(4)]
        for call in calls:
            extension.before_guidance(call)
        assert [call.skip for call in calls] == wanted
    high = upcoming(2.0, 1)
    kind(below=2.0).before_guidance(high)
    assert not high.skip


def test_with_and_the_first_part_stands_for_the_negative_prompt_where_that_is_skipped():
    """As A1111 has it: the first part's prediction takes the unconditional one's place under the same scale."""

    def predict(x, sigma, cond):
        return x * 0 + cond["context"].mean((1, 2)).view(-1, 1, 1, 1)

    hooks = Hooks([("ngms", load("ngms").NegativeGuidanceMinimumSigma(below=99.0, every_step=True))], pytest.fail)
    parts = [Weighted({"context": torch.full((1, 77, 4), value)}, weight) for value, weight in ((1.0, 1.0), (3.0, 0.5))]
    denoiser = guide(predict, lambda _: parts, lambda _: {"context": torch.zeros(1, 77, 4)}, 7.0,
                     before=hooks.before_guidance)  # fmt: skip
    assert float(denoiser(torch.zeros(1, 4, 2, 2), 1.0).x0.mean()) == pytest.approx(1.0 + 7.0 * 0.5 * (3.0 - 1.0))


def test_a_skipped_half_is_not_computed():
    """The whole point of NGMS and its kin: the network gets half as much to do."""
    rows = []

    def predict(x, sigma, cond):
        rows.append(len(x))
        return x * 0 + cond["context"].mean((1, 2)).view(-1, 1, 1, 1)

    hooks = Hooks([("ngms", load("ngms").NegativeGuidanceMinimumSigma(below=99.0))], pytest.fail)
    said = {"context": torch.ones(1, 77, 4)}
    denoiser = guide(predict, lambda _: [Weighted(said)], lambda _: said, 7.0, before=hooks.before_guidance)
    for _ in range(4):
        denoiser(torch.zeros(1, 4, 2, 2), 1.0)
    assert rows == [2, 1, 2, 1]


@pytest.mark.parametrize("left", [float("nan"), None, "7"])
def test_a_scale_that_is_no_number_is_undone_and_the_extension_named(left):
    extension = load("ngms").NegativeGuidanceMinimumSigma(below=99.0)

    class Sloppy(type(extension)):
        from modules.extend.api import hook

        @hook
        def before_guidance(self, upcoming):
            upcoming.scale = left

    failures, call = [], upcoming()
    Hooks([("sloppy", Sloppy())], failures.append).before_guidance(call)
    assert call.scale == 7.0
    assert [failure.name for failure in failures] == ["sloppy"]


def test_dynamic_thresholding_keeps_the_lower_scale_s_range():
    made = guided(scale=20.0)
    lower = made.uncond + 5.0 * (made.cond - made.uncond)
    load("dynamic-thresholding").DynamicThresholding(like=5.0, percentile=0.99).after_guidance(made)

    def reach(x0):
        return (x0 - x0.mean((2, 3), keepdim=True)).abs().amax((2, 3))

    assert bool((reach(made.denoised) <= reach(lower) * 1.15).all())
    assert bool((reach(made.denoised) > reach(lower) * 0.7).all())
    below = guided(scale=3.0)
    before = below.denoised.clone()
    load("dynamic-thresholding").DynamicThresholding(like=5.0).after_guidance(below)
    assert torch.equal(below.denoised, before)


def test_apg_is_plain_guidance_with_the_parallel_part_and_orthogonal_without():
    kind = load("apg").AdaptiveProjectedGuidance
    plain = guided()
    wanted = plain.denoised.clone()
    kind(parallel=1.0, limit=0.0, momentum=0.0).after_guidance(plain)
    torch.testing.assert_close(plain.denoised, wanted, atol=1e-4, rtol=1e-4)
    across = guided()
    kind(parallel=0.0, limit=0.0, momentum=0.0).after_guidance(across)
    added = across.denoised - across.cond
    assert (added * across.cond).sum((1, 2, 3)).abs().max() < 1e-2 * added.norm() * across.cond.norm()
    short = guided()
    kind(parallel=1.0, limit=2.0, momentum=0.0).after_guidance(short)
    torch.testing.assert_close((short.denoised - short.cond).flatten(1).norm(dim=1), torch.full((2,), 6 * 2.0))


def test_apg_s_momentum_starts_anew_with_each_walk():
    extension = load("apg").AdaptiveProjectedGuidance()
    first, again = guided(), guided()
    extension.after_guidance(first)
    extension.after_guidance(guided(call=1, seed=2))
    extension.after_guidance(again)
    assert torch.equal(first.denoised, again.denoised)
    moved, alone = guided(call=1, seed=2), guided(call=0, seed=2)
    extension.after_guidance(moved)
    load("apg").AdaptiveProjectedGuidance().after_guidance(alone)
    assert not torch.allclose(moved.denoised, alone.denoised)


@pytest.fixture(scope="module")
def unet():
    from modules.engine import attention
    from modules.training.networks import TINY, unet_of

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = unet_of(TINY).eval()
    attention.install(network, "sdpa")
    return network


def denoise(unet, extension, scale=4.0):
    """One guided call of the tiny UNet under an extension; how many rows each network call had, and x0."""
    rows, failures = [], []

    def predict(x, sigma, cond):
        rows.append(len(x))
        return unet(x / (1 + sigma**2) ** 0.5, 400, cond["context"]).sample

    x, *_ = noise(shape=(1, 4, 16, 8))
    told, empty = ({"context": value} for value in noise(2, seed=5, shape=(1, 77, 64)))
    hooks = Hooks([("one", extension)] if extension else [], failures.append)
    with torch.inference_mode(), ExitStack() as patches:
        hooks.patch_model(unet, patches)
        denoiser = guide(predict, lambda _: [Weighted(told)], lambda _: empty, scale, after=hooks.after_guidance)
        made = denoiser(x, 1.5).x0
    assert failures == []
    return made, rows


@pytest.mark.parametrize(
    ("name", "kind", "off", "rows"),
    [
        ("pag", "PerturbedAttentionGuidance", {"scale": 0.0}, [2, 1]),
        ("sag", "SelfAttentionGuidance", {"scale": 0.0}, [2, 1]),
        ("freeu", "FreeU", {"b1": 1.0, "b2": 1.0, "s1": 1.0, "s2": 1.0}, [2]),
    ],
)
def test_what_patches_the_network_acts_costs_what_it_says_and_leaves_it_as_it_was(unet, name, kind, off, rows):
    made = getattr(load(name), kind)
    plain, _ = denoise(unet, None)
    changed, calls = denoise(unet, made())
    assert calls == rows
    assert bool(changed.isfinite().all())
    assert (changed - plain).abs().mean() > 1e-4
    switched_off, _ = denoise(unet, made(**off))
    torch.testing.assert_close(switched_off, plain, atol=1e-4, rtol=1e-4)
    after, _ = denoise(unet, None)
    assert torch.equal(after, plain)


def test_pag_s_perturbed_call_sees_only_itself(unet):
    """With identity attention in the middle, what a token becomes there depends on no other token."""
    module = load("pag")
    attention = module.middle_self_attention(unet)[0]
    hidden, *_ = noise(1, shape=(1, 6, 64))
    other = hidden.clone()
    other[:, 3:] += 1.0
    blind = module.Blind()
    perturbed = module.Perturbed(attention.processor, blind)
    with torch.inference_mode(), blind:
        same = perturbed(attention, hidden)[:, :3], perturbed(attention, other)[:, :3]
    with torch.inference_mode():
        seeing = perturbed(attention, hidden)[:, :3], perturbed(attention, other)[:, :3]
    assert torch.equal(*same)
    assert not torch.allclose(*seeing)


def test_sag_takes_nothing_away_where_the_blur_changes_nothing():
    """A flat prediction blurs to itself, so the degraded input is the input and the two predictions are equal."""
    module = load("sag")
    extension = module.SelfAttentionGuidance(scale=1.0)
    x, cond, _ = noise(shape=(1, 4, 8, 8))
    flat = torch.full_like(x, 0.3)
    asked = []

    def again(other=None, *, uncond=False):
        asked.append(other)
        return flat

    extension.notes["maps"] = [torch.full((2, 16), 2.0)]
    made = Guided(x, 1.0, cond, flat, cond.clone(), 7.0, 0, again)
    extension.after_guidance(made)
    torch.testing.assert_close(asked[0], x)
    torch.testing.assert_close(made.denoised, cond)


@pytest.mark.parametrize("name", ["pag", "sag", "freeu"])
def test_a_model_without_a_unet_is_named_as_the_reason(name):
    module = load(name)
    kind = next(
        k
        for k in vars(module).values()
        if isinstance(k, type) and k.__module__ == module.__name__ and hasattr(k, "title")
    )
    failures = []
    with ExitStack() as patches:
        Hooks([(name, kind())], failures.append).patch_model(SimpleNamespace(), patches)
    assert "UNet" in failures[0].message
