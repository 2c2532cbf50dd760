"""A1111's dialect, spoken by a client that people use, over a real server and the real engine on exact pictures."""

import base64
import io
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import webuiapi
from PIL import Image

from modules.httpapi.sdpayload import TextToImage
from tests.httpapi.dialect import SLOW, SMALL, picture, until

INFO_KEYS = {
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed",
    "all_subseeds", "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size",
    "restore_faces", "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash",
    "seed_resize_from_w", "seed_resize_from_h", "denoising_strength", "extra_generation_params",
    "index_of_first_image", "infotexts", "styles", "job_timestamp", "clip_skip", "is_using_inpainting_conditioning",
    "version",
}  # fmt: skip


def test_a_client_makes_pictures(client, studio):
    result = client.txt2img(
        prompt="a red fox", negative_prompt="blur", seed=7, steps=4, width=64, height=96, batch_size=2, n_iter=2,
        sampler_name="DPM++ 2M Karras", cfg_scale=5.0,
    )  # fmt: skip
    assert [image.size for image in result.images] == [(64, 96)] * 4
    assert set(result.info) >= INFO_KEYS
    assert result.info["all_seeds"] == [7, 8, 9, 10]
    assert (result.info["sampler_name"], result.info["batch_size"], result.info["warnings"]) == ("DPM++ 2M", 2, [])
    assert result.info["extra_generation_params"]["Schedule type"] == "Karras"
    assert result.parameters["negative_prompt"] == "blur"
    text = result.images[0].info["parameters"]
    assert text == result.info["infotexts"][0]
    assert text.startswith("a red fox\nNegative prompt: blur\nSteps: 4, Sampler: DPM++ 2M, Schedule type: Karras")
    assert result.info["sd_model_name"] == "exact"


def test_its_defaults_raise_no_warning_and_mean_what_they_say(client):
    info = client.txt2img(prompt="x", steps=2, width=64, height=64).info
    assert (info["sampler_name"], info["warnings"], info["clip_skip"]) == ("Euler a", [], 1)
    assert "Eta" not in info["infotexts"][0]


def test_the_same_seed_is_the_same_picture(client):
    first, second = (client.txt2img(**SMALL).image for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_files_are_kept_only_when_asked(client, studio):
    before = studio.gallery.count(), studio.gallery.count(trashed=True)
    client.txt2img(**SMALL)
    assert (studio.gallery.count(), studio.gallery.count(trashed=True)) == (before[0], before[1] + 1)
    client.txt2img(**SMALL, save_images=True)
    assert studio.gallery.count() == before[0] + 1


def test_no_images_are_sent_when_not_wanted(call):
    answer = call({**SMALL, "send_images": False}).json()
    assert answer["images"] == []
    assert len(json.loads(answer["info"])["infotexts"]) == 1


def test_hires_enlarges(call):
    answer = call(
        {**SMALL, "enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
    ).json()
    info = json.loads(answer["info"])
    assert picture(answer).size == (128, 128)
    assert (info["width"], info["denoising_strength"], info["warnings"]) == (64, 0.5, [])
    resized = call({**SMALL, "enable_hr": True, "hr_resize_x": 96, "hr_resize_y": 128, "hr_upscaler": "Lanczos"}).json()
    assert picture(resized).size == (96, 128)
    assert json.loads(resized["info"])["warnings"] == []


def test_what_cannot_be_honoured_is_named(call):
    asked = {"restore_faces": True, "styles": ["x"], "s_min_uncond": 2, "override_settings": {"hide_everything": 1}}
    warnings = json.loads(call({**SMALL, **asked}).json()["info"])["warnings"]
    assert [warning.split()[0] for warning in warnings] == [
        "restore_faces", "override_settings.hide_everything", "s_min_uncond", "There",
    ]  # fmt: skip
    assert warnings[2] == "s_min_uncond was left out: the extension ngms is switched off."


def test_another_format_carries_its_text_along(call, client):
    answer = call({**SMALL, "override_settings": {"samples_format": "jpg"}}).json()
    found = picture(answer)
    assert found.format == "JPEG"
    assert client.png_info(found_with_exif(answer)).info.startswith("a red fox")


def found_with_exif(answer):
    """The client re-encodes what it sends as PNG; hand over the text as A1111's PNGs carry it."""
    info = json.loads(answer["info"])["infotexts"][0]
    image = picture(answer)
    image.info["parameters"] = info
    return image


def test_png_info_reads_bytes_of_every_format(call):
    for format in ("png", "jpg", "webp"):
        data = call({**SMALL, "override_settings": {"samples_format": format}}).json()["images"][0]
        answer = call({"image": f"data:image/png;base64,{data}"}, "png-info").json()
        assert answer["parameters"]["Steps"] == "4"
        assert answer["parameters"]["Size-1"] == "64"
        assert answer["info"].startswith("a red fox")


def test_an_infotext_fills_what_is_left_out(call):
    text = json.loads(call({**SMALL, "negative_prompt": "blur"}).json()["info"])["infotexts"][0]
    info = json.loads(call({"infotext": text, "steps": 3}).json()["info"])
    assert (info["prompt"], info["negative_prompt"], info["steps"], info["seed"], info["width"]) == (
        "a red fox", "blur", 3, 7, 64,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"sampler_name": "Magic"}, 400, "sampler_name"),
        ({"scheduler": "Magic"}, 400, "scheduler"),
        ({"width": -5}, 422, "width"), ({"width": 0}, 422, "width"), ({"height": 10**20}, 422, "height"),
        ({"width": True}, 422, "width"), ({"steps": 10**9}, 422, "steps"), ({"steps": 0}, 422, "steps"),
        ({"cfg_scale": "x"}, 422, "cfg_scale"), ({"cfg_scale": -1}, 422, "cfg_scale"),
        ({"seed": 2**40}, 422, "seed"), ({"seed": "abc"}, 422, "seed"),
        ({"eta": 5, "sampler_name": "DDIM"}, 422, "eta"),
        ({"batch_size": 0}, 422, "batch_size"), ({"n_iter": 65}, 422, "n_iter"),
        ({"batch_size": 64, "n_iter": 64}, 422, "batch_size"),
        ({"prompt": "x" * 20_001}, 422, "prompt"), ({"prompt": "\ud800"}, 422, "prompt"),
        ({"prompt": 3}, 422, "prompt"),
        ({"override_settings": {"sd_model_checkpoint": "gone"}}, 422, "model.checkpoint"),
        ({"override_settings": {"CLIP_stop_at_last_layers": "x"}}, 422, "CLIP_stop_at_last_layers"),
        ({"enable_hr": True, "hr_scale": 40}, 422, "hr_scale"),
        ({"enable_hr": True, "hr_upscaler": "ESRGAN_4x"}, 422, "hr_upscaler"),
        ({"enable_hr": True, "hr_sampler_name": "Magic"}, 422, "hr_sampler_name"),
        ({"enable_hr": True, "hr_checkpoint_name": "gone"}, 422, "hr_checkpoint_name"),
        ({"subseed_strength": 2}, 422, "subseed_strength"),
        ({"seed_resize_from_w": 5, "seed_resize_from_h": 64}, 422, "seed_resize.width"),
        ({"refiner_checkpoint": "gone"}, 422, "refiner_checkpoint"),
        ({"refiner_checkpoint": "slow", "refiner_switch_at": 7}, 422, "refiner_switch_at"),
        ({"s_churn": -1}, 422, "s_churn"),
        ({"override_settings": {"randn_source": "dice"}}, 422, "randn_source"),
        ({"override_settings": {"rho": -3}}, 422, "rho"),
        ({"enable_hr": True, "denoising_strength": 2}, 422, "denoising_strength"),
        ({"script_name": "Deforum"}, 422, "script_name"),
        ({"script_name": "X/Y/Z plot", "script_args": [14 + 20]}, 422, "script_args"),
        ({"script_name": "X/Y/Z plot", "script_args": [4, "1-x"]}, 422, "script_args"),
        ({"script_name": "Prompt matrix", "script_args": [False] * 6}, 422, "script_args"),
        ({"script_name": "Prompts from file or textbox", "script_args": ["yes"]}, 422, "script_args"),
        ({"alwayson_scripts": {"ADetailer": {"args": []}}}, 422, "alwayson_scripts"),
        ({"alwayson_scripts": {"Rescale CFG": 3}}, 422, "alwayson_scripts"),
    ],
)  # fmt: skip
def test_bad_values_are_4xx_naming_their_own_field(call, studio, change, status, field):
    jobs = sum(studio.queue.counts().values())
    answer = call({**SMALL, **change})
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert answer.json()["detail"] == answer.json()["message"] != ""
    assert sum(studio.queue.counts().values()) == jobs


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"cfg_scale":NaN}', b'{"steps":1e999}', b"[" * 99_999])
def test_what_is_no_payload_is_4xx(program, body):
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{program[1]}/sdapi/v1/txt2img", content=body, headers=headers)
    assert answer.status_code in (400, 422)


def test_numbers_as_clients_send_them_are_taken():
    taken = TextToImage.from_json(b'{"width":"512","steps":20.0,"seed":null,"restore_faces":null,"unknown":{"a":1}}')
    assert (taken.width, taken.steps, taken.seed) == (512, 20, -1)


def test_every_list_that_clients_ask_for_has_its_shape(client):
    assert "Euler a" in client.util_get_sampler_names()
    schedules = {row["name"]: row for row in client.get_schedulers()}
    assert client.get_schedulers()[1]["label"] == "Karras"
    assert schedules["align_your_steps_GITS"]["label"] == "Align Your Steps GITS"
    assert (schedules["sgm_uniform"]["aliases"], schedules["turbo"]["aliases"]) == (["SGMUniform"], None)
    assert (schedules["karras"]["default_rho"], schedules["turbo"]["default_rho"]) == (7.0, -1)
    assert {"IPNDM_V", "HeunPP2", "DEIS", "Euler CFG++"} <= set(client.util_get_sampler_names())
    models = client.get_sd_models()
    assert {"exact", "slow", "atelier-starter"} <= {row["model_name"] for row in models}
    assert not any("/" in row["filename"] for row in models)
    assert "soft inpainting" in client.get_scripts()["img2img"]
    assert client.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert client.get_memory()["ram"]["total"] > 0
    assert client.get_cmd_flags()["api"] is True
    assert len(client.get_latent_upscale_modes()) == 6
    assert {"None", "Lanczos", "Nearest"} <= {row["name"] for row in client.get_upscalers()}
    assert client.refresh_checkpoints() is None
    empty = (client.get_sd_vae, client.get_loras, client.get_hypernetworks, client.get_face_restorers,
             client.get_realesrgan_models, client.get_prompt_styles)  # fmt: skip
    assert [ask() for ask in empty] == [[]] * len(empty)


def test_options_choose_the_checkpoint(client, studio):
    client.util_set_model("slow")
    assert studio.settings.checkpoint == "slow"
    assert client.util_get_current_model().startswith("slow")
    client.set_options({"sd_model_checkpoint": "exact", "CLIP_stop_at_last_layers": 2, "some_future_option": 1})
    assert client.get_options()["CLIP_stop_at_last_layers"] == 2
    assert client.txt2img(**SMALL).info["clip_skip"] == 2
    client.set_options({"CLIP_stop_at_last_layers": 1})


@pytest.mark.parametrize(
    "options",
    [{"sd_model_checkpoint": "gone"}, {"sd_model_checkpoint": 3}, {"samples_format": "exe"}, {"jpeg_quality": 0},
     {"CLIP_stop_at_last_layers": 0}, {"CLIP_stop_at_last_layers": True}, []],
)  # fmt: skip
def test_bad_options_change_nothing(call, client, options):
    before = client.get_options()
    assert call(options, "options").status_code == 422
    assert client.get_options() == before


def test_progress_interrupt_and_what_was_finished(client, studio):
    idle = client.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(client.txt2img, **SLOW, n_iter=3)
        seen = until(lambda: (found := client.get_progress())["progress"] > 0 and found)
        assert seen["state"]["job_count"] == 3
        assert 0 < seen["state"]["sampling_step"] <= seen["state"]["sampling_steps"]
        shown = until(lambda: client.get_progress()["current_image"])
        assert Image.open(io.BytesIO(base64.b64decode(shown, validate=True))).format == "JPEG"
        assert client.interrupt() == {}
        result = making.result(30)
    assert len(result.images) < 3
    until(lambda: client.get_progress()["progress"] == 0)
    client.util_wait_for_ready(check_interval=0.01)


def test_skip_leaves_one_picture_out(client):
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(client.txt2img, **{**SLOW, "steps": 30}, n_iter=2)
        until(lambda: client.get_progress()["progress"] > 0)
        client.skip()
        result = making.result(30)
    assert result.info["all_seeds"] == [8]


def test_a_job_of_the_page_is_not_interrupted(client, studio):
    job = studio.queue.submit(request_of("slow", 40), client="page", workspace="w")
    until(lambda: client.get_progress()["progress"] > 0)
    client.interrupt()
    client.skip()
    until(lambda: studio.queue.job(job.id).has_ended)
    assert studio.queue.job(job.id).state == "finished"


def request_of(model, steps):
    from modules.core.request import GenerationRequest

    return GenerationRequest.from_data(
        {"seed": 1, "size": {"width": 64, "height": 64}, "sampling": {"steps": steps}, "model": {"checkpoint": model}}
    )


def test_a_client_that_leaves_takes_its_job_along(program, studio):
    body = json.dumps(SLOW).encode()
    with socket.create_connection(("127.0.0.1", studio.settings.port)) as wire:
        wire.sendall(
            b"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        (job,) = until(lambda: studio.queue.jobs(states=("running",)))
    until(lambda: studio.queue.job(job.id).has_ended)
    assert studio.queue.job(job.id).state == "cancelled"


def test_ten_clients_get_their_own_pictures(program):
    url = f"{program[1]}/sdapi/v1"
    barrier = threading.Barrier(10)

    def one(seed):
        client = webuiapi.WebUIApi(baseurl=url)
        barrier.wait(20)
        return client.txt2img(**{**SMALL, "seed": seed}).info["all_seeds"]

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(one, range(100, 110))) == [[seed] for seed in range(100, 110)]


def test_our_extensions_are_always_on_scripts(call, client):
    assert "rescale cfg" in client.get_scripts()["txt2img"]
    rows = [row for row in httpx.get(f"{client.baseurl}/script-info").json() if row["name"] == "rescale cfg"]
    assert [row["is_img2img"] for row in rows] == [False, True]
    assert [argument["label"] for argument in rows[0]["args"]] == ["Amount"]
    asked = {**SMALL, "alwayson_scripts": {"RESCALE cfg": {"args": [0.5]}}}
    plain, rescaled = call(SMALL).json(), call(asked).json()
    assert 'Extension rescale-cfg: "{\\"amount\\": 0.5}"' in json.loads(rescaled["info"])["infotexts"][0]
    assert picture(plain).tobytes() != picture(rescaled).tobytes()
    answer = call({**SMALL, "alwayson_scripts": {"Rescale CFG": {"args": [7]}}})
    assert (answer.status_code, answer.json()["field"]) == (422, "extensions.rescale-cfg.amount")


def test_a_failing_engine_is_told_without_any_folder(call, studio):
    file = studio.settings.models / "broken.safetensors"
    file.write_bytes((studio.settings.models / "exact.safetensors").read_bytes())
    studio.checkpoints.refresh()
    studio.queue.pause()
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(call, {**SMALL, "override_settings": {"sd_model_checkpoint": "broken"}})
        until(lambda: studio.queue.counts()["queued"])
        file.unlink()
        studio.checkpoints.refresh()
        studio.queue.resume()
        answer = making.result(30)
    assert answer.status_code == 500
    assert {"error", "detail", "code", "message", "request_id"} <= set(answer.json())
    assert str(studio.settings.data) not in answer.text


def test_an_xyz_plot_is_a_script_with_its_values_by_place(call, client):
    """Places are A1111's own: 4 is Steps, 6 CFG Scale in txt2img and 5 in img2img."""
    args = [4, "2, 3", [], 6, "", ["5", "7.5"], 0, "", [], True, True, False, False, False, False, False, 4, False]
    answer = call({**SMALL, "script_name": "x/y/z plot", "script_args": args}).json()
    info = json.loads(answer["info"])
    assert (len(answer["images"]), info["index_of_first_image"]) == (5, 1)
    made = [dict(pair.split(": ") for pair in text.splitlines()[-1].split(", ") if ": " in pair)
            for text in info["infotexts"][1:]]  # fmt: skip
    assert [(one["Steps"], one["CFG scale"]) for one in made] == [("2", "5"), ("3", "5"), ("2", "7.5"), ("3", "7.5")]
    sheet = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    cell = Image.open(io.BytesIO(base64.b64decode(answer["images"][1])))
    assert sheet.width > 2 * cell.width and sheet.height > 2 * cell.height  # noqa: PT018
    alone = call({**SMALL, "script_name": "x/y/z plot", "script_args": args[:10]}).json()
    assert len(alone["images"]) == 1
    known = client.get_scripts()
    assert {"x/y/z plot", "prompt matrix", "prompts from file or textbox"} <= set(known["txt2img"])


def test_prompt_matrix_and_prompts_from_a_text_are_scripts(call):
    matrix = call({**SMALL, "prompt": "a|b", "script_name": "Prompt matrix",
                   "script_args": [False, False, "positive", "space", 0]}).json()  # fmt: skip
    assert json.loads(matrix["info"])["all_prompts"][1:] == ["a", "a b"]
    lines = call({**SMALL, "prompt": "in snow", "script_name": "Prompts from file or textbox",
                  "script_args": [True, False, "start", "a cat\na dog"]}).json()  # fmt: skip
    info = json.loads(lines["info"])
    cells = info["index_of_first_image"]
    assert info["all_prompts"][cells:] == ["a cat in snow", "a dog in snow"]
    assert len(set(info["all_seeds"][cells:])) == 2
