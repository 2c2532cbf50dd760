"""The rows of a request's parts: every field comes back, absent parts stay absent, and mistakes name their field."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.core.geometry import Box, Size
from modules.core.request import (
    GenerationRequest,
    Hires,
    Inpaint,
    Refiner,
    Sampling,
    SoftInpaint,
    StartFrom,
    Variation,
)
from modules.families.base import Defaults
from modules.webui import forms
from modules.webui.controls import Form

FORM = Form.build()
DEFAULTS = Defaults(size=Size(width=256, height=256), steps={"draft": 12, "good": 20, "best": 28}, cfg_scale=6.0,
                    sampler="DPM++ 2M")  # fmt: skip
PICTURE, MASK = "a" * 64, "b" * 64
share = st.integers(min_value=0, max_value=100).map(lambda n: n / 100)


def again(request, base=None):
    values = {**(base or forms.start(FORM, DEFAULTS, "")), **forms.values_of(request, FORM, DEFAULTS)}
    return forms.request_of(values, FORM)


soft = st.builds(SoftInpaint, schedule_bias=share, preservation_strength=share, mask_influence=share,
                 difference_threshold=share, difference_contrast=share)  # fmt: skip
inpaints = st.builds(
    Inpaint, mask=st.just(MASK), blur=st.integers(0, 64), invert=st.booleans(),
    fill=st.sampled_from(["fill", "original", "noise", "nothing"]), area=st.sampled_from(["whole", "masked"]),
    padding=st.integers(0, 256), conditioning_weight=share, overlay=st.booleans(), soft=st.none() | soft,
)  # fmt: skip
starts = st.builds(
    StartFrom, picture=st.just(PICTURE), resize=st.sampled_from(["stretch", "crop", "fill", "latent"]),
    denoise_strength=share, exact_steps=st.booleans(), noise_multiplier=share, extra_noise=share,
    image_cfg_scale=share, color_correction=st.booleans(),
    frame=st.none() | st.builds(Box, left=st.integers(-99, 99), top=st.integers(-99, 99), width=st.integers(1, 99),
                                height=st.integers(1, 99)),
    inpaint=st.none() | inpaints,
)  # fmt: skip
samplings = st.builds(
    Sampling, eta=st.none() | share, s_churn=st.none() | share, s_tmin=st.none() | share, s_tmax=st.none() | share,
    s_noise=st.none() | share, sigma_min=st.none() | share, sigma_max=st.none() | share,
    rho=st.none() | st.just(7.5), beta_alpha=st.just(0.7), beta_beta=st.just(0.8),
    discard_penultimate=st.none() | st.booleans(), zero_terminal_snr=st.booleans(),
    sgm_noise_multiplier=st.booleans(), unipc_order=st.none() | st.integers(1, 50),
    unipc_variant=st.sampled_from(["bh1", "bh2"]),
    unipc_skip=st.sampled_from(["time_uniform", "time_quadratic", "logSNR"]), unipc_lower_order_final=st.booleans(),
)  # fmt: skip
hires = st.builds(
    Hires, width=st.sampled_from([0, 512]), height=st.sampled_from([0, 768]), upscaler=st.just("Lanczos"),
    sampler=st.sampled_from(["", "Euler"]), schedule=st.sampled_from(["", "Karras"]), cfg_scale=st.none() | share,
    checkpoint=st.sampled_from(["", "other"]), prompt=st.sampled_from(["", "finer"]),
    negative_prompt=st.sampled_from(["", "coarse"]),
)  # fmt: skip
requests = st.builds(
    GenerationRequest, seed=st.just(3), start=st.none() | starts, sampling=samplings, hires=st.none() | hires,
    refiner=st.none() | st.builds(Refiner, checkpoint=st.just("fine"), switch_at=share),
    variation=st.none() | st.builds(Variation, seed=st.integers(0, 9), strength=share),
    seed_resize=st.none() | st.just(Size(width=128, height=192)), ensd=st.integers(-9, 31337),
    tiling=st.sampled_from(["none", "both", "x", "y"]), vae=st.sampled_from(["", "none", "mine"]),
)  # fmt: skip


@settings(deadline=None)  # what is measured here is whether, not how fast
@given(request=requests, before=requests)
def test_every_part_comes_back_whatever_the_form_held(request, before):
    held = {**forms.start(FORM, DEFAULTS, ""), **forms.values_of(before, FORM, DEFAULTS)}
    assert again(request, held) == request


def test_an_untouched_form_asks_for_no_part():
    request = forms.request_of(forms.start(FORM, DEFAULTS, "a house"), FORM)
    assert (request.start, request.refiner, request.variation, request.seed_resize, request.hires) == (None,) * 5
    assert request.sampling == Sampling(sampler="DPM++ 2M", steps=20, cfg_scale=6.0)


@pytest.mark.parametrize(
    ("values", "field"),
    [({"start_picture": "nonsense"}, "start.picture"),
     ({"start_picture": PICTURE, "start_frame": "[1]"}, "start.frame"),
     ({"start_picture": PICTURE, "denoise": 2.0}, "start.denoise_strength"), ({"eta": 3.0}, "sampling.eta"),
     ({"start_picture": PICTURE, "start_inpaint": "on"}, "start"), ({"seed_width": 8}, "seed_resize"),
     ({"variation_seed": "x"}, "seed"), ({"ensd": None}, "ensd")],
)  # fmt: skip
def test_a_bad_value_names_its_field(values, field):
    with pytest.raises(BadValue) as problem:
        forms.request_of({**forms.start(FORM, DEFAULTS, ""), **values}, FORM)
    assert problem.value.field.startswith(field)


def test_a_variation_without_a_seed_gets_one_that_differs():
    values = {**forms.start(FORM, DEFAULTS, ""), "variation_strength": 0.25}
    seeds = {forms.request_of(values, FORM).variation.seed for _ in range(4)}
    assert len(seeds) == 4


def test_fields_of_a_dropped_picture_leave_the_chosen_one():
    said = {"start.denoise_strength": 0.4, "start.inpaint.blur": 9}
    values = forms.values_saying(said, FORM, DEFAULTS)
    assert (values["denoise"], values["mask_blur"]) == (0.4, 9)
    assert "start_picture" not in values
