"""What a file is, predicts and needs: from shapes, metadata, marks, one bias and the name, each with its reason."""

import pytest

from modules.families.base import Evidence, recognise
from modules.families.sd1 import UNET
from modules.families.sd2 import SIGN
from modules.families.sdxl import REFINER_G, VECTOR, L

FIRST, ENTER = UNET + "input_blocks.0.0.weight", UNET + "input_blocks.1.1.proj_in.weight"
XL = {FIRST: (320, 4, 3, 3), VECTOR: (1280, 2816), L + "text_model.final_layer_norm.weight": (768,)}
REFINER = {FIRST: (384, 4, 3, 3), VECTOR: (1536, 2560), REFINER_G + "ln_final.weight": (1280,)}
ONE = {FIRST: (320, 4, 3, 3), ENTER: (320, 320, 1, 1)}
TWO = {FIRST: (320, 4, 3, 3), ENTER: (320, 320)}


def with_channels(shapes, channels):
    return {**shapes, FIRST: (320, channels, 3, 3)}


@pytest.mark.parametrize(("shapes", "name"), [(XL, "sdxl"), (REFINER, "sdxl-refiner"), (ONE, "sd1"), (TWO, "sd2")])
@pytest.mark.parametrize(("channels", "variant"), [(4, "text"), (9, "inpaint"), (8, "edit")])
def test_family_and_variant_come_from_shapes(shapes, name, channels, variant):
    match = recognise(Evidence(with_channels(shapes, channels)))
    assert (match.family, match.variant) == (name, variant)


def test_a_network_of_other_channels_is_nobodys():
    assert recognise(Evidence(with_channels(ONE, 16))) is None


def test_metadata_counts_before_marks():
    said = recognise(Evidence({**XL, "v_pred": ()}, {"modelspec.prediction_type": "epsilon"}))
    assert said.diffusion.prediction == "eps"
    assert "eps, because its metadata says so" in said.reasons


def test_marks_say_v_and_noise_at_the_last_time():
    match = recognise(Evidence({**XL, "v_pred": (), "ztsnr": ()}))
    assert (match.diffusion.prediction, match.diffusion.zero_snr) == ("v", True)
    assert "v, because the file has the key v_pred" in match.reasons


@pytest.mark.parametrize(
    ("numbers", "prediction", "side"), [([0.2, -0.2] * 8, "v", 768), ([0.05, -0.05] * 8, "eps", 512)]
)
def test_one_bias_tells_sd2s_prediction(numbers, prediction, side):
    match = recognise(Evidence(TWO, peek={SIGN: numbers}.get))
    assert match.diffusion.prediction == prediction
    assert match.defaults.size.width == side
    assert any(reason.startswith(f"{prediction}, because a bias") for reason in match.reasons)


def test_without_signs_it_is_the_usual_and_says_so():
    match = recognise(Evidence(TWO))
    assert match.diffusion.prediction == "eps"
    assert "eps, because nothing in the file says otherwise" in match.reasons


@pytest.mark.parametrize(
    ("name", "steps", "scale", "sampler"),
    [
        ("sd_xl_turbo_1.0", 4, 1.0, "Euler a"),
        ("dreamshaperXL_lightningDPMSDE", 8, 1.0, "Euler"),
        ("someXL-LCM", 8, 1.5, "LCM"),
        ("ponyDiffusionV6XL", 25, 7.0, "Euler a"),
        ("Illustrious-XL-v1", 25, 5.5, "Euler a"),
        ("falcmodel", 25, 6.0, "DPM++ 2M"),
        ("hyperrealism", 25, 6.0, "DPM++ 2M"),
    ],
)
def test_words_in_the_name_decide_defaults_and_nothing_else(name, steps, scale, sampler):
    match = recognise(Evidence(XL, name=name))
    defaults = match.defaults
    assert (defaults.steps["good"], defaults.cfg_scale, defaults.sampler) == (steps, scale, sampler)
    assert (match.family, match.diffusion.prediction) == ("sdxl", "eps")
    assert any("because its name says" in reason for reason in match.reasons) == (scale != 6.0)
    assert defaults.size.width == 1024
