"""A1111's dialect with pictures going in: img2img, inpainting, a finished first pass, Extras; and all of its fields."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.httpapi.dialect import SMALL, picture


def encoded(image, format="PNG"):
    out = io.BytesIO()
    image.save(out, format)
    return base64.b64encode(out.getvalue()).decode()


def gradient(width=64, height=64, blue=0):
    rows = np.zeros((height, width, 3), np.uint8)
    rows[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    rows[..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    rows[..., 2] = blue
    return Image.fromarray(rows)


def half(value=255):
    """A mask: the right half is white."""
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = value
    return Image.fromarray(mask)


@pytest.fixture
def made(call, studio):
    """POST a payload; answers (the answer, its info, the stored request of its first picture)."""

    def make(payload, path="txt2img"):
        answer = call(payload, path)
        assert answer.status_code == 200, answer.text
        info = json.loads(answer.json()["info"])
        return answer.json(), info, studio.queue.jobs(limit=1)[0].request

    return make


START = {**SMALL, "init_images": [encoded(gradient())], "denoising_strength": 0.5}


def test_a_client_starts_from_a_picture(client, studio):
    result = client.img2img(
        images=[gradient()], prompt="a red fox", seed=7, steps=4, width=64, height=64, denoising_strength=0.4,
        resize_mode=2, cfg_scale=4.0,
    )  # fmt: skip
    assert (result.image.size, result.info["denoising_strength"]) == ((64, 64), 0.4)
    start = studio.queue.jobs(limit=1)[0].request.start
    assert (start.resize, start.denoise_strength, start.inpaint) == ("fill", 0.4, None)
    assert "Denoising strength: 0.4" in result.image.info["parameters"]


def test_every_field_of_inpainting_reaches_the_request(made):
    asked = {**START, "mask": encoded(half()), "mask_blur": 6, "inpainting_fill": 2, "inpaint_full_res": True,
             "inpaint_full_res_padding": 8, "inpainting_mask_invert": 1, "initial_noise_multiplier": 0.9,
             "image_cfg_scale": 1.2, "resize_mode": 3,
             "override_settings": {"inpainting_mask_weight": 0.5, "overlay_inpaint": False, "img2img_fix_steps": True,
                                   "img2img_color_correction": True, "img2img_extra_noise": 0.1},
             "alwayson_scripts": {"soft inpainting": {"args": [True, 2, 0.25, 3, 0.1, 0.6, 1.5]}}}  # fmt: skip
    _, info, request = made(asked, "img2img")
    start = request.start.model_dump()
    inpaint = start.pop("inpaint")
    assert {**start, "picture": ""} == {
        "picture": "", "resize": "latent", "denoise_strength": 0.5, "exact_steps": True, "noise_multiplier": 0.9,
        "extra_noise": 0.1, "image_cfg_scale": 1.2, "color_correction": True, "frame": None,
    }  # fmt: skip
    assert {**inpaint, "mask": ""} == {
        "mask": "", "blur": 6, "invert": True, "fill": "noise", "area": "masked", "padding": 8,
        "conditioning_weight": 0.5, "overlay": False,
        "soft": {"schedule_bias": 2.0, "preservation_strength": 0.25, "transition_contrast_boost": 3.0,
                 "mask_influence": 0.1, "difference_threshold": 0.6, "difference_contrast": 1.5},
    }  # fmt: skip
    assert info["warnings"] == []


def test_what_is_not_masked_stays(made):
    answer, _, _ = made({**START, "mask": encoded(half()), "mask_blur": 0, "inpaint_full_res": False,
                         "inpainting_fill": 1}, "img2img")  # fmt: skip
    old, new = np.asarray(gradient()), np.asarray(picture(answer).convert("RGB"))
    assert np.array_equal(old[:, :32], new[:, :32])
    assert not np.array_equal(old[:, 32:], new[:, 32:])
    assert answer["parameters"]["init_images"] is None
    kept = made({**START, "include_init_images": True}, "img2img")[0]["parameters"]
    assert kept["init_images"] == START["init_images"]


def test_an_empty_mask_of_only_the_masked_part_means_the_whole_picture(made):
    asked = {**START, "mask": encoded(half(0)), "inpaint_full_res": True}
    _, info, request = made(asked, "img2img")
    assert request.start.inpaint is None
    assert "mask is empty" in info["warnings"][0]


def test_several_pictures_start_a_picture_each(made, studio):
    starts = [encoded(gradient(blue=0)), encoded(gradient(blue=250))]
    answer, info, _ = made({**START, "init_images": starts, "n_iter": 2, "denoising_strength": 0.1}, "img2img")
    assert info["all_seeds"] == [7, 8, 9, 10]
    blue = [np.asarray(picture(answer, index).convert("RGB"))[..., 2].mean() for index in range(4)]
    assert min(blue[1], blue[3]) > max(blue[0], blue[2]) + 50
    alone = made({**START, "init_images": starts[1:], "seed": 8, "denoising_strength": 0.1}, "img2img")[0]
    assert picture(alone).tobytes() == picture(answer, 1).tobytes()


def test_a_finished_first_pass_is_only_enlarged(made):
    asked = {**SMALL, "enable_hr": True, "firstpass_image": encoded(gradient()), "denoising_strength": 0,
             "hr_upscaler": "Lanczos", "hr_scale": 2}  # fmt: skip
    answer, _, request = made(asked)
    assert (request.start.denoise_strength, request.hires.upscaler) == (0.0, "Lanczos")
    large = np.asarray(picture(answer).convert("RGB"), float)
    wanted = np.asarray(gradient().resize((128, 128), Image.Resampling.LANCZOS), float)
    assert large.shape == (128, 128, 3)
    assert np.abs(large - wanted).mean() < 12


def test_every_field_of_txt2img_reaches_the_request(made, studio):
    (studio.settings.data / "styles.csv").write_text("name,prompt,negative_prompt\nfoggy,{prompt} in fog,sun\n")
    asked = {**SMALL, "styles": ["foggy"], "subseed": 11, "subseed_strength": 0.3, "seed_resize_from_w": 128,
             "seed_resize_from_h": 64, "tiling": True, "s_churn": 2, "s_tmin": 0.1, "s_tmax": 9, "s_noise": 1.01,
             "sampler_name": "Euler", "scheduler": "karras", "refiner_checkpoint": "slow", "refiner_switch_at": 0.6,
             "enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent (bicubic)", "hr_second_pass_steps": 3,
             "hr_checkpoint_name": "slow", "hr_sampler_name": "Heun", "hr_scheduler": "simple", "hr_prompt": "fur",
             "hr_negative_prompt": "blur", "denoising_strength": 0.5,
             "override_settings": {"sd_vae": "None", "randn_source": "CPU", "eta_noise_seed_delta": 31337,
                                   "emphasis": "No norm", "sigma_max": 10, "rho": 5, "sgm_noise_multiplier": True,
                                   "always_discard_next_to_last_sigma": True, "CLIP_stop_at_last_layers": 2,
                                   "sd_noise_schedule": "Zero Terminal SNR"}}  # fmt: skip
    _, info, request = made(asked)
    assert info["warnings"] == []
    assert (request.prompt, request.negative_prompt, request.styles) == ("a red fox in fog", "sun", ("foggy",))
    assert request.variation.model_dump() == {"seed": 11, "strength": 0.3}
    assert (request.seed_resize.width, request.seed_resize.height, request.tiling) == (128, 64, "both")
    sampling = request.sampling
    assert (sampling.s_churn, sampling.s_tmin, sampling.s_tmax, sampling.s_noise) == (2, 0.1, 9, 1.01)
    assert (sampling.sigma_max, sampling.rho, sampling.sgm_noise_multiplier) == (10, 5, True)
    assert (sampling.discard_penultimate, sampling.zero_terminal_snr) == (True, True)
    assert (request.vae, request.noise, request.ensd, request.emphasis) == ("none", "cpu", 31337, "no_norm")
    assert (request.clip_skip, request.refiner.checkpoint, request.refiner.switch_at) == (2, "slow", 0.6)
    hires = request.hires
    assert (hires.scale, hires.upscaler, hires.steps, hires.checkpoint) == (1.5, "Latent (bicubic)", 3, "slow")
    assert (hires.sampler, hires.schedule) == ("Heun", "Simple")
    assert (hires.prompt, hires.negative_prompt) == ("fur in fog", "blur, sun")  # styles reach both passes there, too
    assert (info["subseed"], info["subseed_strength"], info["styles"]) == (11, 0.3, ["foggy"])
    again = made({"infotext": info["infotexts"][0]})[2]
    assert (again.prompt, again.hires.prompt) == (request.prompt, hires.prompt)  # the words hold the style already
    assert again.sampling == request.sampling
    assert (again.refiner, again.variation, again.seed_resize, again.vae, again.ensd) == (
        request.refiner, request.variation, request.seed_resize, request.vae, request.ensd,
    )  # fmt: skip


def test_ngms_and_skip_early_are_extensions(made, studio):
    off = studio.settings.extensions_off
    studio.change_settings({"extensions_off": ()})
    asked = {**SMALL, "s_min_uncond": 2.5,
             "override_settings": {"s_min_uncond_all": True, "skip_early_cond": 0.25}}  # fmt: skip
    _, info, request = made(asked)
    wanted = {"ngms": {"below": 2.5, "every_step": True}, "skip-early-cfg": {"share": 0.25}}
    assert (request.extensions, info["warnings"]) == (wanted, [])
    assert "NGMS: 2.5, " in info["infotexts"][0]
    again = made({"infotext": info["infotexts"][0]})[2]
    assert again.extensions == wanted
    studio.change_settings({"extensions_off": off})
    left_out = made({"infotext": info["infotexts"][0]})
    assert (left_out[2].extensions, len(left_out[1]["warnings"])) == ({}, 2)


def test_an_infotext_carries_what_no_field_does(made):
    asked = {**SMALL, "override_settings": {"CLIP_stop_at_last_layers": 3, "emphasis": "Ignore"}, "tiling": True,
             "subseed": 4, "subseed_strength": 0.5}  # fmt: skip
    _, info, request = made(asked)
    again = made({"infotext": info["infotexts"][0]})[2]
    assert again == request
    changed = made({"infotext": info["infotexts"][0], "tiling": False, "override_settings": {"emphasis": "None"}})[2]
    assert (changed.tiling, changed.emphasis, changed.clip_skip) == ("none", "none", 3)


def test_networks_can_be_left_out(made):
    request = made({**SMALL, "prompt": "a fox <lora:gone:0.5>", "disable_extra_networks": True})[2]
    assert request.prompt.strip() == "a fox"


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"init_images": None}, 404, "init_images"), ({"init_images": []}, 404, "init_images"),
        ({"init_images": ["!"]}, 422, "init_images"), ({"init_images": ["QUJD"]}, 415, "init_images"),
        ({"init_images": ["https://example.org/a.png"]}, 422, "init_images"),
        ({"mask": "QUJD"}, 415, "mask"), ({"resize_mode": 9}, 422, "resize_mode"),
        ({"denoising_strength": 2}, 422, "denoising_strength"),
        ({"mask": encoded(half()), "inpainting_fill": 4}, 422, "inpainting_fill"),
        ({"mask": encoded(half()), "mask_blur": 999}, 422, "mask_blur"),
        ({"mask": encoded(half()), "inpaint_full_res_padding": -1}, 422, "inpaint_full_res_padding"),
        ({"mask": encoded(half(0)), "inpaint_full_res": False}, 422, "mask"),
        ({"initial_noise_multiplier": 9}, 422, "initial_noise_multiplier"),
        ({"alwayson_scripts": {"Soft inpainting": {"args": [True, 99]}}, "mask": encoded(half())}, 422,
         "start.inpaint.soft.schedule_bias"),
    ],
)  # fmt: skip
def test_bad_pictures_and_values_name_their_field(call, studio, change, status, field):
    jobs = sum(studio.queue.counts().values())
    answer = call({**START, **change}, "img2img")
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert sum(studio.queue.counts().values()) == jobs


def test_styles_are_listed(client, studio):
    (studio.settings.data / "styles.csv").write_text("name,prompt,negative_prompt\nfoggy,{prompt} in fog,sun\n")
    assert client.get_prompt_styles() == [{"name": "foggy", "prompt": "{prompt} in fog", "negative_prompt": "sun"}]


def test_nobody_describes_pictures(call):
    answer = call({"image": encoded(gradient()), "model": "clip"}, "interrogate")
    assert (answer.status_code, answer.json()["code"]) == (501, "no_interrogation")


def test_png_info_fills_what_silence_means(call, made):
    answer, info, _ = made(SMALL)
    told = call({"image": answer["images"][0]}, "png-info").json()
    assert told["info"] == info["infotexts"][0]
    assert {"Size-1": "64", "Size-2": "64", "Clip skip": "1", "Hires sampler": "Use same sampler",
            "Prompt": "a red fox"}.items() <= told["parameters"].items()  # fmt: skip


def test_options_are_kept_and_used(client, call, made):
    call({"randn_source": "CPU", "sd_vae": "None", "eta_ancestral": 0.5}, "options")
    assert client.get_options()["randn_source"] == "CPU"
    request = made({**SMALL, "sampler_name": "Euler a"})[2]
    assert (request.noise, request.vae, request.sampling.eta) == ("cpu", "none", 0.5)
    for wrong in ({"randn_source": "dice"}, {"rho": -1}, {"sgm_noise_multiplier": 3}):
        assert call(wrong, "options").json()["field"] == next(iter(wrong))
    call({"randn_source": "NV", "sd_vae": "Automatic", "eta_ancestral": 1.0}, "options")


def test_extras_enlarge_by_a_factor_and_to_a_size(client, call, made):
    source = made(SMALL)[0]["images"][0]
    large = call({"image": source, "upscaler_1": "Nearest", "upscaling_resize": 3}, "extra-single-image").json()
    found = Image.open(io.BytesIO(base64.b64decode(large["image"])))
    assert found.size == (192, 192)
    small = Image.open(io.BytesIO(base64.b64decode(source)))
    assert found.resize((64, 64), Image.Resampling.NEAREST).tobytes() == small.tobytes()
    assert found.info["parameters"].endswith("Postprocess upscale by: 3, Postprocess upscaler: Nearest")
    cut = client.extra_single_image(small, resize_mode=1, upscaling_resize_w=100, upscaling_resize_h=200,
                                    upscaling_crop=True, upscaler_1="Lanczos")  # fmt: skip
    assert cut.image.size == (100, 200)
    whole = client.extra_single_image(small, resize_mode=1, upscaling_resize_w=100, upscaling_resize_h=200,
                                      upscaling_crop=False, upscaler_1="Lanczos")  # fmt: skip
    assert whole.image.size == (200, 200)
    same = client.extra_single_image(small, upscaler_1="None")
    assert same.image.tobytes() == small.tobytes()


def test_extras_blend_two_and_take_many(client, call):
    edges = Image.new("RGB", (8, 8), "black")
    edges.paste("white", (4, 0, 8, 8))
    asked = {"image": encoded(edges), "upscaler_1": "Nearest", "upscaler_2": "Lanczos"}
    sharp, mixed, soft = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(
            call({**asked, "extras_upscaler_2_visibility": share}, "extra-single-image").json()["image"]))), float)
        for share in (0, 0.5, 1)
    )  # fmt: skip
    assert np.abs(mixed - (sharp + soft) / 2).max() <= 1
    many = client.extra_batch_images([gradient(), gradient(32, 16)], upscaler_1="Lanczos")
    assert [image.size for image in many.images] == [(128, 128), (64, 32)]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [({"image": "QUJD"}, 415, None), ({"image": "?"}, 422, "image"), ({"upscaler_1": "Magic"}, 422, "upscaler_1"),
     ({"upscaler_1": "Latent"}, 422, "upscaler_1"), ({"upscaling_resize": 99}, 422, "upscaling_resize"),
     ({"resize_mode": 7}, 422, "resize_mode"), ({"extras_upscaler_2_visibility": 2}, 422,
                                                "extras_upscaler_2_visibility"),
     ({"resize_mode": 1, "upscaling_resize_w": 16_000, "upscaling_resize_h": 16_000}, 422, "upscaling_resize")],
)  # fmt: skip
def test_bad_extras_are_4xx(call, change, status, field):
    answer = call({"image": encoded(gradient()), "upscaler_1": "Lanczos", **change}, "extra-single-image")
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_new_lists_have_their_shape(client):
    for path in ("sd-vae", "loras", "extensions", "hypernetworks"):
        assert isinstance(httpx.get(f"{client.baseurl}/{path}").json(), list)
    for path in ("refresh-vae", "refresh-loras", "refresh-embeddings"):
        assert httpx.post(f"{client.baseurl}/{path}", json={}).json() is None
