"""Other programs' metadata, made here by their written rules, in their containers, and read as fields of a request."""

import gzip
import html
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from modules.core.compat import PRESETS
from modules.core.request import GenerationRequest
from modules.library import foreign, infotext, metadata, reading
from modules.library.recall import flat

BASE = GenerationRequest(seed=0)


def png(texts=(), image=None, international=()):
    info = PngInfo()
    for name, text in dict(texts).items():
        info.add_text(name, text)
    for name, text in dict(international).items():
        info.add_itxt(name, text)
    out = io.BytesIO()
    (image or Image.new("RGB", (8, 8))).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def with_exif(format, private, base=()):
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = dict(private)
    for tag, value in dict(base).items():
        exif[tag] = value
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, format, exif=exif.tobytes())
    return out.getvalue()


def told(data):
    """(program, the fields as a whole request, what was left over)."""
    found = reading.from_file(data)
    assert found.recall is not None
    assert not [warning for warning in found.recall.warnings if warning.code != "foreign_settings"]
    return found.program, found.recall, found.recall.apply(BASE)


FOOOCUS = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "base_model_hash": "aeb7e9e689",
    "clip_skip": 2, "full_negative_prompt": ["worst quality", "blur"],
    "full_prompt": ["a fox", "cinematic still a fox . film grain"], "guidance_scale": 4.0,
    "loras": [["offset_1.0", 0.1, "4852686128"]], "metadata_scheme": "fooocus", "negative_prompt": "",
    "performance": "Speed", "prompt": "a fox", "prompt_expansion": "a fox, intricate", "refiner_model": "None",
    "refiner_switch": 0.5, "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras",
    "seed": "4107422612", "sharpness": 2.0, "steps": 30, "styles": "['Fooocus V2']", "vae": "Default (model)",
    "version": "Fooocus v2.5.5",
}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        png({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}),
        with_exif("JPEG", {ExifTags.Base.UserComment: json.dumps(FOOOCUS).encode(),
                           ExifTags.Base.MakerNote: b"fooocus"}),
    ],
    ids=["png", "jpeg"],
)  # fmt: skip
def test_fooocus(data):
    program, recall, request = told(data)
    assert program == "Fooocus v2.5.5"
    assert request.prompt == "a fox, cinematic still a fox . film grain, <lora:offset_1.0:0.1>"
    assert request.negative_prompt == "worst quality, blur"
    assert (request.sampling.sampler, request.sampling.schedule, request.sampling.steps) == (
        "DPM++ 2M SDE", "Karras", 30,
    )  # fmt: skip
    assert (request.sampling.cfg_scale, request.seed, request.clip_skip) == (4.0, 4107422612, 2)
    assert (request.size.width, request.size.height) == (1152, 896)
    assert (request.model.checkpoint, recall.model_hash, request.vae, request.refiner) == (
        "juggernautXL_v8", "aeb7e9e689", "", None,
    )  # fmt: skip
    assert {"sharpness": "2.0", "performance": "Speed"}.items() <= recall.unknown.items()


NOVEL = {
    "prompt": "{{fox}}, [snow], (round)", "uc": "{blur}", "steps": 28, "height": 1216, "width": 832, "scale": 5.0,
    "cfg_rescale": 0.2, "seed": 2747538093, "noise_schedule": "karras", "sampler": "k_euler_ancestral", "sm": True,
}  # fmt: skip


def test_novelai():
    texts = {"Title": "AI generated image", "Description": NOVEL["prompt"], "Software": "NovelAI",
             "Source": "Stable Diffusion XL C1E1DE52", "Comment": json.dumps(NOVEL)}  # fmt: skip
    program, recall, request = told(png(texts))
    assert program == "NovelAI Stable Diffusion XL C1E1DE52"
    assert request.prompt == r"((fox:1.05):1.05), (snow:0.952), \(round\)"
    assert request.negative_prompt == "(blur:1.05)"
    assert (request.sampling.sampler, request.sampling.schedule, request.sampling.cfg_scale) == (
        "Euler a", "Karras", 5.0,
    )  # fmt: skip
    assert (request.seed, request.size.width, request.size.height) == (2747538093, 832, 1216)
    assert (request.clip_skip, request.ensd, request.extensions) == (2, 31337, {"rescale-cfg": {"amount": 0.2}})
    assert recall.unknown == {"sm": "true"}


def test_novelai_s_characters_join_the_prompt():
    comment = {**NOVEL, "v4_prompt": {"caption": {"base_caption": "two people", "char_captions": [
        {"char_caption": "a girl"}, {"char_caption": "a boy"}]}}}  # fmt: skip
    assert told(png({"Software": "NovelAI", "Comment": json.dumps(comment)}))[2].prompt == "two people, a girl, a boy"


def hidden(content, sign, size=(64, 48)):
    """A picture with a text in its lowest bits: down the first column, then the next."""
    bits = np.unpackbits(np.frombuffer(sign + (len(content) * 8).to_bytes(4, "big") + content, np.uint8))
    width, height = size
    generator = np.random.default_rng(1)
    pixels = generator.integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] |= 0xFE
    channels = [3] if b"_png" in sign else [0, 1, 2]
    columns = pixels.transpose(1, 0, 2)[..., channels].reshape(-1)
    columns[: len(bits)] = (columns[: len(bits)] & 0xFE) | bits
    turned = pixels.transpose(1, 0, 2)
    turned[..., channels] = columns.reshape(width, height, len(channels))
    return Image.fromarray(turned.transpose(1, 0, 2).copy())


def test_novelai_s_data_in_the_alpha_channel():
    texts = {"Description": "x", "Software": "NovelAI", "Source": "Stable Diffusion", "Comment": json.dumps(NOVEL)}
    image = hidden(gzip.compress(json.dumps(texts).encode()), b"stealth_pngcomp")
    assert told(png(image=image))[2].seed == 2747538093


@pytest.mark.parametrize("sign", [b"stealth_pnginfo", b"stealth_pngcomp", b"stealth_rgbinfo", b"stealth_rgbcomp"])
def test_an_infotext_in_the_pixels(sign):
    text = "a fox in snow\nNegative prompt: blur\nSteps: 9, Sampler: Euler a, CFG scale: 5, Seed: 77, Size: 64x64"
    content = gzip.compress(text.encode()) if sign.endswith(b"comp") else text.encode()
    program, _, request = told(png(image=hidden(content, sign)))
    assert (program, request.prompt, request.seed) == ("A1111", "a fox in snow", 77)


@pytest.mark.parametrize("content", [b"stealth_pngcomp", b"stealth_pngcomp\xff\xff\xff\xff", b"nothing at all" * 3])
def test_pixels_that_only_look_like_it_say_nothing(content):
    image = hidden(b"", content[:15], (16, 16))
    assert reading.from_file(png(image=image)).recall is None
    assert reading.from_file(png(image=Image.new("RGBA", (1, 1)))).recall is None


INVOKE = {
    "app_version": "4.2.0", "generation_mode": "txt2img", "positive_prompt": "a fox++ in (deep snow)1.3, (ice)-",
    "negative_prompt": "blur", "width": 1024, "height": 768, "seed": 11, "rand_device": "cpu", "cfg_scale": 6.5,
    "steps": 25, "scheduler": "dpmpp_2m_k", "clip_skip": 1,
    "model": {"key": "k", "hash": "blake3:ab", "name": "dreamshaper", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"name": "ink"}, "weight": 0.75}],
}  # fmt: skip


def test_invokeai():
    program, recall, request = told(png(international={"invokeai_metadata": json.dumps(INVOKE)}))
    assert program == "InvokeAI 4.2.0"
    assert request.prompt == "a (fox:1.21) in (deep snow:1.3), (ice:0.9), <lora:ink:0.75>"
    assert (request.sampling.sampler, request.sampling.schedule) == ("DPM++ 2M", "Karras")
    assert (request.model.checkpoint, request.clip_skip, request.noise) == ("dreamshaper", 2, "cpu")
    assert recall.unknown["generation_mode"] == "txt2img"


def test_invokeai_of_early_days():
    data = {"model_weights": "sd-1.4", "app_version": "2.2.5", "image": {
        "prompt": [{"prompt": "a fox [blur] in snow", "weight": 1.0}], "steps": 50, "cfg_scale": 7.5, "seed": 5,
        "width": 512, "height": 640, "sampler": "k_euler_a"}}  # fmt: skip
    request = told(png({"sd-metadata": json.dumps(data)}))[2]
    assert (request.prompt, request.negative_prompt, request.sampling.sampler) == ("a fox  in snow", "blur", "Euler a")
    assert (request.size.height, request.model.checkpoint) == (640, "sd-1.4")


def test_draw_things():
    data = {"c": 'a "fox" & snow', "uc": "blur", "seed": 9, "steps": 20, "scale": 7.5, "size": "512x768",
            "sampler": "DPM++ 2M Karras", "model": "sd_v1.5_f16.ckpt", "strength": 1,
            "lora": [{"model": "ink_lora.ckpt", "weight": 0.6}], "seed_mode": "Scale Alike"}  # fmt: skip
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description><exif:UserComment><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{html.escape(json.dumps(data))}</rdf:li></rdf:Alt></exif:UserComment>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    program, recall, request = told(png(international={"XML:com.adobe.xmp": xmp}))
    assert (program, request.prompt) == ("Draw Things", 'a "fox" & snow, <lora:ink_lora:0.6>')
    assert (request.sampling.sampler, request.sampling.schedule, request.sampling.cfg_scale) == (
        "DPM++ 2M", "Karras", 7.5,
    )  # fmt: skip
    assert (request.model.checkpoint, request.size.width, request.size.height) == ("sd_v1.5_f16", 512, 768)
    assert recall.unknown == {"seed_mode": "Scale Alike"}


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


GRAPH = {
    "3": node("KSampler", seed=2**40 + 5, steps=20, cfg=8.0, sampler_name="dpmpp_2m", scheduler="karras", denoise=1,
              model=["10", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "4": node("CheckpointLoaderSimple", ckpt_name="folder/v1-5.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "6": node("CLIPTextEncode", text="a fox [in snow], embedding:easy.pt", clip=["11", 0]),
    "7": node("CLIPTextEncode", text=["20", 0], clip=["11", 0]),
    "8": node("VAEDecode", samples=["13", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="x", images=["8", 0]),
    "10": node("LoraLoader", lora_name="ink.safetensors", strength_model=0.8, strength_clip=0.5, model=["4", 0],
               clip=["4", 1]),
    "11": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["10", 1]),
    "12": node("LatentUpscaleBy", upscale_method="nearest-exact", scale_by=1.5, samples=["3", 0]),
    "13": node("KSampler", seed=4, steps=12, cfg=7.0, sampler_name="euler_ancestral", scheduler="normal", denoise=0.5,
               model=["10", 0], positive=["6", 0], negative=["7", 0], latent_image=["12", 0]),
    "20": node("PrimitiveString", value="blur"),
}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [png({"prompt": json.dumps(GRAPH), "workflow": "{}"}),
     with_exif("WEBP", {}, {ExifTags.Base.Model: "prompt:" + json.dumps(GRAPH)})],
    ids=["png", "webp"],
)  # fmt: skip
def test_comfyui(data):
    program, recall, request = told(data)
    assert program == "ComfyUI"
    assert request.prompt == r"a fox \[in snow\], easy, <lora:ink:0.5:0.8>"
    assert request.negative_prompt == "blur"
    assert (request.seed, request.noise, request.compat) == (5, "cpu", PRESETS["comfy"])
    assert (request.sampling.sampler, request.sampling.schedule, request.sampling.steps) == ("DPM++ 2M", "Karras", 20)
    assert (request.model.checkpoint, request.clip_skip, request.size.height) == ("v1-5", 2, 768)
    hires = request.hires
    assert (hires.scale, hires.steps, hires.denoise_strength, hires.cfg_scale) == (1.5, 12, 0.5, 7.0)
    assert (hires.sampler, hires.schedule, hires.upscaler) == ("Euler a", "Normal", "Latent (nearest-exact)")
    assert recall.unknown["seed"].startswith(str(2**40 + 5))


def test_comfyui_s_sampler_of_parts():
    graph = {
        "1": node("SamplerCustomAdvanced", noise=["2", 0], guider=["3", 0], sampler=["4", 0], sigmas=["5", 0],
                  latent_image=["6", 0]),
        "2": node("RandomNoise", noise_seed=42),
        "3": node("CFGGuider", cfg=4.5, model=["7", 0], positive=["8", 0], negative=["9", 0]),
        "4": node("KSamplerSelect", sampler_name="euler"),
        "5": node("BasicScheduler", scheduler="sgm_uniform", steps=15, denoise=1, model=["7", 0]),
        "6": node("EmptySD3LatentImage", width=1024, height=1024, batch_size=1),
        "7": node("UNETLoader", unet_name="net.safetensors"),
        "8": node("CLIPTextEncode", text="a fox", clip=["10", 0]),
        "9": node("CLIPTextEncode", text="", clip=["10", 0]),
        "10": node("DualCLIPLoader"),
    }  # fmt: skip
    request = told(png({"prompt": json.dumps(graph).replace("4.5", '4.5, "is_changed": [NaN]')}))[2]
    assert (request.prompt, request.negative_prompt, request.seed) == ("a fox", "", 42)
    assert (request.sampling.sampler, request.sampling.schedule, request.sampling.steps) == (
        "Euler", "SGM Uniform", 15,
    )  # fmt: skip
    assert (request.sampling.cfg_scale, request.model.checkpoint, request.size.width) == (4.5, "net", 1024)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("euler_cfg_pp", "Euler CFG++"), ("euler_ancestral_cfg_pp", "Euler a CFG++"), ("dpmpp_2m_cfg_pp", "DPM++ 2M"),
     ("dpmpp_2s_ancestral_cfg_pp", "DPM++ 2S a CFG++"), ("heunpp2", "HeunPP2"), ("ipndm_v", "IPNDM_V"),
     ("gradient_estimation", "Gradient Estimation")],
)  # fmt: skip
def test_comfyui_s_samplers_under_our_names(theirs, ours):
    """Of CFG++ that there is none of here the sampler without it is left."""
    graph = {
        "1": node("KSampler", seed=1, steps=20, cfg=1.2, sampler_name=theirs, scheduler="linear_quadratic", denoise=1,
                  model=["2", 0], positive=["3", 0], negative=["3", 0], latent_image=["4", 0]),
        "2": node("CheckpointLoaderSimple", ckpt_name="net.safetensors"),
        "3": node("CLIPTextEncode", text="a fox", clip=["2", 1]),
        "4": node("EmptyLatentImage", width=512, height=512, batch_size=1),
    }  # fmt: skip
    sampling = told(png({"prompt": json.dumps(graph)}))[2].sampling
    assert (sampling.sampler, sampling.schedule, sampling.cfg_scale) == (ours, "Linear Quadratic", 1.2)


def test_a_graph_in_circles_or_without_a_sampler_is_read_as_far_as_it_goes():
    circle = {"1": node("KSampler", positive=["2", 0], latent_image=["1", 0], seed=["2", 0], model=["1", 0]),
              "2": node("Any", positive=["1", 0], value=["1", 0], model=["2", 0])}  # fmt: skip
    assert foreign.read({"prompt": json.dumps(circle)}) is not None
    none = foreign.read({"prompt": json.dumps({"1": node("SaveImage")})})
    assert [warning.code for warning in none.warnings] == ["foreign_settings"]


def test_our_own_record_counts_first():
    request = GenerationRequest(prompt="ours", seed=3)
    text = infotext.write(request.model_copy(update={"prompt": "theirs"}), {}, 0)
    options, _ = metadata.pack("png", text, {"request": request.model_dump(mode="json"), "seed": 9})
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", **options)
    found = reading.from_file(out.getvalue())
    assert (found.request, found.seed, found.program, found.infotext) == (request, 9, "Atelier", text)


def test_a_pasted_text_is_read_and_a_prompt_is_only_a_prompt():
    text = infotext.write(GenerationRequest(prompt="a fox", seed=3), {}, 0)
    assert reading.from_text(text).recall.fields["seed"] == 3
    assert reading.from_text(json.dumps(GRAPH)).program == "ComfyUI"
    assert reading.from_text(json.dumps(FOOOCUS)).program == "Fooocus v2.5.5"
    for plain in ("a red fox", "", "{", '{"a": 1}', "a ratio of 16:9, yes"):
        assert reading.from_text(plain).recall is None


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [*FOOOCUS, *NOVEL, *INVOKE, "image", "model_weights", "v4_prompt", "c", "lora", "class_type", "inputs", "1", "2"]
)
INPUTS = st.sampled_from(["seed", "steps", "positive", "model", "latent_image", "text", "scale_by", "width", "height"])
NODES = st.dictionaries(
    st.sampled_from("123"),
    st.fixed_dictionaries({
        "class_type": st.sampled_from(["KSampler", "CLIPTextEncode", "LatentUpscaleBy", "EmptyLatentImage", "X"]),
        "inputs": st.dictionaries(INPUTS, ANY | st.tuples(st.sampled_from("123"), st.integers(0, 2)).map(list)),
    }),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(data=st.dictionaries(KEYS, ANY, max_size=6) | NODES)
def test_any_data_is_read_without_an_exception_into_fields_that_are_valid(data):
    text = json.dumps(data)
    for name in ("parameters", "prompt", "invokeai_metadata", "sd-metadata", "Comment"):
        found = foreign.read({name: text, "Software": "NovelAI"})
        if found is not None:
            found.apply(BASE)
            flat(dict(found.fields))


TEXT = "a fox in snow\nNegative prompt: blur\nSteps: 9, Sampler: Euler a, CFG scale: 5, Seed: 77, Size: 64x64"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_an_infotext_is_read_from_every_container(format):
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.UserComment: b"UNICODE\0" + TEXT.encode("utf-16-be")}
    info = PngInfo()
    info.add_text("parameters", TEXT)
    out = io.BytesIO()
    options = {"PNG": {"pnginfo": info}, "GIF": {"comment": TEXT.encode()}}.get(format, {"exif": exif.tobytes()})
    Image.new("RGB", (8, 8)).save(out, format, **options)
    program, _, request = told(out.getvalue())
    assert (program, request.prompt, request.negative_prompt, request.seed) == ("A1111", "a fox in snow", "blur", 77)
