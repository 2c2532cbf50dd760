"""LoRAs and embeddings as people keep them: found without opening weights, told apart, named, searched, hashed."""

import hashlib
import json
import os
import struct
import time

import pytest

from modules.core.errors import ModelError
from modules.core.settings import Settings
from modules.library.adapterkeys import Place, family, groups, kind, place
from modules.library.adapternotes import FILE, PLACE, Notes
from modules.library.adapters import Adapters
from modules.library.adaptersearch import search

KOHYA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 768),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (320, 4),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha": (),
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 768),
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": (3072, 4),
}


def write(path, shapes=KOHYA, metadata=None, fill=0):
    entries, end = {"__metadata__": metadata or {}}, 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * end)
    return path


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def open_adapters(tmp_path, models):
    opened = []

    def open_it(*, hashing=False):
        opened.append(Adapters(Settings(data_dir=str(tmp_path)), [models], hashing=hashing))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def wait_for(condition):
    for _ in range(1000):
        if found := condition():
            return found
        time.sleep(0.01)
    return pytest.fail("it did not happen within 10 s")


def names(adapters, kind="lora"):
    return [one.name for one in adapters.list(kind)]


@pytest.mark.parametrize(
    ("name", "part", "module", "role"),
    [
        ("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", "network", "mid_block_attentions_0_proj_in", "up"),
        ("lora_unet_input_blocks_4_1_proj_in.alpha", "network", "input_blocks_4_1_proj_in", "alpha"),
        ("lora_te_text_model_encoder_layers_1_mlp_fc1.hada_w1_a", "text", "encoder_layers_1_mlp_fc1", "hada_w1_a"),
        ("lora_te1_text_model_encoder_layers_1_mlp_fc1.dora_scale", "text", "encoder_layers_1_mlp_fc1", "dora"),
        ("lora_te2_text_model_encoder_layers_1_mlp_fc1.diff_b", "text_2", "encoder_layers_1_mlp_fc1", "diff_b"),
        ("unet.down_blocks.0.resnets.0.conv1.lora_A.weight", "network", "down_blocks_0_resnets_0_conv1", "down"),
        ("unet.mid_block.attentions.0.proj_in.lora.up.weight", "network", "mid_block_attentions_0_proj_in", "up"),
        ("base_model.model.mid_block.attentions.0.proj_in.lora_B.default.weight", "network",
         "mid_block_attentions_0_proj_in", "up"),
        ("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight", "network",
         "up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0", "down"),
        ("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight", "network",
         "up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", "up"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight", "text",
         "encoder_layers_0_self_attn_q_proj", "down"),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.to_v_lora.up.weight", "text_2",
         "encoder_layers_0_self_attn_v_proj", "up"),
        ("diffusion_model.input_blocks.1.0.in_layers.2.lora_A.weight", "network", "input_blocks_1_0_in_layers_2",
         "down"),
    ],
)  # fmt: skip
def test_every_style_names_the_same_place(name, part, module, role):
    assert place(name) == (Place(part, module), role)


def test_what_is_no_adapters_tensor_has_no_place():
    _, strange = groups(["model.diffusion_model.out.2.weight", "first", "x.lora_up.bias", "bundle_emb.w.emb_params"])
    assert sorted(strange) == ["first", "model.diffusion_model.out.2.weight", "x.lora_up.bias"]


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("up down alpha", "LoRA"), ("up down mid", "LoCon"), ("up down dora", "DoRA"), ("up", ""),
        ("hada_w1_a hada_w1_b hada_w2_a hada_w2_b", "LoHa"), ("lokr_w1 lokr_w2_a lokr_w2_b", "LoKr"), ("lokr_w1", ""),
        ("ia3 on_input", "IA3"), ("oft alpha", "OFT"), ("a1 a2 b1 b2", "GLoRA"), ("diff diff_b", "Full"),
    ],
)  # fmt: skip
def test_kinds(roles, expected):
    assert kind(roles.split()) == expected


def lora(module, width=64, rank=4):
    return {f"{module}.lora_down.weight": (rank, width), f"{module}.lora_up.weight": (64, rank)}


@pytest.mark.parametrize(
    ("shapes", "metadata", "expected"),
    [
        (KOHYA, {}, "sd1"),
        (lora("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 1024), {}, "sd2"),
        (lora("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_k"), {}, "sdxl"),
        (lora("unet.down_blocks.2.attentions.0.transformer_blocks.7.attn1.to_k"), {}, "sdxl"),
        (lora("lora_te2_text_model_encoder_layers_0_mlp_fc1"), {}, "sdxl"),
        (lora("lora_unet_double_blocks_0_img_attn_qkv"), {}, "flux"),
        (lora("transformer.single_transformer_blocks.3.attn.to_q"), {}, "flux"),
        (lora("lora_unet_joint_blocks_0_x_block_attn_qkv"), {}, "sd3"),
        (lora("lora_unet_down_blocks_0_attentions_0_proj_in"), {}, "sd1"),
        (lora("lora_te_text_model_encoder_layers_0_mlp_fc1"), {"ss_base_model_version": "sd_v1"}, "sd1"),
        (lora("lora_te_text_model_encoder_layers_0_mlp_fc1"),
         {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        (lora("lora_te_text_model_encoder_layers_0_mlp_fc1"), {}, None),
    ],
)  # fmt: skip
def test_the_family_follows_from_names_and_widths(shapes, metadata, expected):
    assert family(groups(shapes)[0], shapes, metadata) == expected


def test_folders_as_people_have_them(models, open_adapters):
    write(models / "Lora" / "ink.safetensors")
    write(models / "LyCORIS" / "deep" / "er" / "wash.SAFETENSORS")
    write(models / "loras" / "comfy.safetensors")
    write(models / "embeddings" / "word.safetensors", {"emb_params": (3, 768)})
    write(models / "Stable-diffusion" / "no.safetensors")
    (models / "Lora" / "old.pt").write_bytes(b"PK")
    adapters = open_adapters()
    assert names(adapters) == ["comfy", "deep/er/wash", "ink", "old"]
    assert names(adapters, "embedding") == ["word"]


def test_listing_opens_no_file_and_finding_one_reads_only_that(models, open_adapters, monkeypatch):
    for index in range(5):
        write(models / "Lora" / f"a{index}.safetensors")
    read = []
    monkeypatch.setattr(
        "modules.library.adaptercards.header.read",
        lambda path, real=__import__("modules.library.header", fromlist=["read"]).read: (read.append(path), real(path))[
            1
        ],
    )
    adapters = open_adapters()
    assert len(adapters.list("lora")) == 5
    assert read == []
    assert adapters.find("lora", "a3").family == "sd1"
    assert adapters.find("lora", "a3").facts.rank == 4
    assert [path.name for path in read] == ["a3.safetensors"]


def test_what_was_learnt_is_remembered_until_the_file_changes(models, open_adapters, monkeypatch):
    path = write(models / "Lora" / "ink.safetensors")
    assert open_adapters().find("lora", "ink").facts.rank == 4
    with monkeypatch.context() as patch:
        patch.setattr("modules.library.adapters._read", lambda one: pytest.fail("it was read again"))
        assert open_adapters().find("lora", "ink").facts.kinds == ("LoRA",)
    write(path, {**KOHYA, "more.diff": (3,)})
    os.utime(path, ns=(1, 1))
    assert open_adapters().find("lora", "ink").facts.kinds == ("LoRA", "Full")


def test_find_by_every_name_that_people_write(models, open_adapters):
    path = write(models / "Lora" / "sub" / "Ink V2.safetensors", metadata={"ss_output_name": "inky_v2"})
    write(models / "Lora" / "other.safetensors", fill=1)
    adapters = open_adapters(hashing=True)
    found = wait_for(lambda: (one := adapters.find("lora", "Ink V2")).sha256 and one)
    content = path.read_bytes()
    payload = hashlib.sha256(content[8 + struct.unpack("<Q", content[:8])[0] :]).hexdigest()
    assert (found.sha256, found.payload_sha256) == (hashlib.sha256(content).hexdigest(), payload)
    assert found.short_hash == payload[:12]
    for text in ("ink v2", "sub/Ink V2", "sub\\ink v2.safetensors", "INKY_V2", payload[:12], found.sha256):
        assert adapters.find("lora", text).path == path


def test_an_unknown_name_gets_the_nearest(models, open_adapters):
    write(models / "Lora" / "watercolour.safetensors")
    with pytest.raises(ModelError) as caught:
        open_adapters().find("lora", "watercolor")
    assert caught.value.code == "unknown_adapter"
    assert caught.value.facts == {"name": "watercolor", "nearest": "watercolour"}


def test_problems_belong_to_the_file(models, open_adapters):
    good = write(models / "Lora" / "good.safetensors")
    (models / "Lora" / "cut.safetensors").write_bytes(good.read_bytes()[:-1])
    (models / "Lora" / "pickle.pt").write_bytes(b"PK\x03\x04")
    write(models / "Lora" / "checkpoint.safetensors", {"model.diffusion_model.out.2.weight": (4, 4)})
    write(models / "embeddings" / "lora.safetensors")
    write(models / "embeddings" / "old.pt", {})
    adapters = open_adapters()
    for kind_, name, code in (
        ("lora", "cut", "model_incomplete"), ("lora", "pickle", "unsafe_format"),
        ("lora", "checkpoint", "adapter_unknown_layout"), ("embedding", "lora", "adapter_unknown_layout"),
        ("embedding", "old", "unsafe_format"),
    ):  # fmt: skip
        with pytest.raises(ModelError) as caught:
            adapters.find(kind_, name)
        assert (caught.value.code, caught.value.field) == (code, "prompt")
        assert str(models) not in caught.value.message


def test_a_file_that_goes_or_comes_shows_within_seconds_and_one_that_changes_says_so(models, open_adapters):
    ink = write(models / "Lora" / "ink.safetensors")
    adapters = open_adapters()
    (found,) = adapters.list("lora")
    assert adapters.state(found) == "here"
    os.utime(ink, ns=(5, 5))
    assert adapters.state(found) == "changed"
    write(models / "Lora" / "new.safetensors")
    ink.unlink()
    assert adapters.state(found) == "missing"
    wait_for(lambda: names(adapters) == ["new"])


CARD = {"activation text": "inkstyle", "preferred weight": 0.7, "negative text": "photo", "notes": "mine",
        "sd version": "SDXL", "description": "<b>drawn</b>"}  # fmt: skip


def test_what_lies_beside_a_file(models, open_adapters):
    folder = models / "Lora"
    write(folder / "ink.safetensors", lora("lora_te_text_model_encoder_layers_0_mlp_fc1"))
    (folder / "ink.json").write_text(json.dumps(CARD))
    (folder / "ink.civitai.info").write_text(
        json.dumps({"trainedWords": ["ink, wash", 5], "model": {"name": "Ink!"}, "baseModel": "SD 1.5"})
    )
    (folder / "ink.preview.png").write_bytes(b"png")
    adapters = open_adapters()
    found = adapters.find("lora", "ink")
    assert (found.card.activation, found.card.weight, found.card.negative) == ("inkstyle", 0.7, "photo")
    assert (found.card.title, found.card.words, found.card.notes) == ("Ink!", ("ink, wash",), "mine")
    assert found.family == "sdxl"
    assert found.preview == folder / "ink.preview.png"
    (folder / "ink.json").write_text("{broken")
    os.utime(folder / "ink.json", ns=(7, 7))
    adapters.refresh()
    assert adapters.find("lora", "ink").card.activation == "ink, wash"


def test_training_tags_by_how_often_they_came_even_from_cut_metadata(models, open_adapters):
    said = json.dumps({"10_ink": {"ink": 90, 'a "b"': 3}, "5_more": {"ink": 5, "wash": 40}})
    write(models / "Lora" / "ink.safetensors", metadata={"ss_tag_frequency": said})
    long = json.dumps({"x": {f"tag {index}": 100_000 - index for index in range(9_000)}})
    write(models / "Lora" / "long.safetensors", metadata={"ss_tag_frequency": long})
    adapters = open_adapters()
    assert adapters.find("lora", "ink").facts.tags == ("ink", "wash", 'a "b"')
    assert adapters.find("lora", "long").facts.tags[:2] == ("tag 0", "tag 1")


def test_search_finds_words_anywhere_and_pages(models, open_adapters):
    for index in range(5):
        write(models / "Lora" / f"ink {index}.safetensors", metadata={"ss_output_name": f"alias{index}"})
    write(models / "Lora" / "wide.safetensors", lora("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_k"))
    adapters = open_adapters(hashing=True)
    wait_for(lambda: all(one.facts for one in adapters.list("lora")))
    assert [one.name for one in search(adapters, kind="lora", query="INK 3").adapters] == ["ink 3"]
    assert [one.name for one in search(adapters, kind="lora", query="alias2").adapters] == ["ink 2"]
    page = search(adapters, kind="lora", query="ink", offset=1, limit=2)
    assert ([one.name for one in page.adapters], page.total) == (["ink 1", "ink 2"], 5)
    assert search(adapters, kind="lora", family="sd1").total == 5
    assert [one.name for one in search(adapters, kind="lora", family="sdxl").adapters] == ["wide"]


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"emb_params": (3, 768)}, (3, "sd1")),
        ({"<word>": (768,)}, (1, "sd1")),
        ({"string_to_param.*": (2, 1024)}, (2, "sd2")),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, (4, "sdxl")),
        ({"emb_params": (2, 64)}, (2, None)),
    ],
)
def test_embeddings(models, open_adapters, shapes, expected):
    write(models / "embeddings" / "sub" / "word.safetensors", shapes)
    adapters = open_adapters()
    found = adapters.find("embedding", "word")
    assert (found.facts.embeddings[""][0], found.family) == expected
    assert adapters.embeddings(expected[1]) == {"word": expected[0]}
    assert adapters.embeddings("flux") == ({"word": expected[0]} if expected[1] is None else {})


def test_embeddings_bundled_in_a_lora_are_known(models, open_adapters):
    bundled = {"bundle_emb.my word.string_to_param.*": (2, 768), "bundle_emb.pair.clip_l": (3, 768),
               "bundle_emb.pair.clip_g": (3, 1280)}  # fmt: skip
    write(models / "Lora" / "ink.safetensors", {**KOHYA, **bundled})
    found = open_adapters().find("lora", "ink").facts.embeddings
    assert found == {"my word": (2, {"text": 768}), "pair": (3, {"text": 768, "text_2": 1280})}


def test_what_a_person_says_is_found_kept_and_never_written_beside_the_file(open_adapters, models, tmp_path):
    for number in range(3):
        write(models / "Lora" / f"ink {number}.safetensors")
    before = sorted(path.name for path in (models / "Lora").iterdir())
    adapters, notes = open_adapters(), Notes(tmp_path)
    notes.keep(adapters.list("lora")[2], {"favourite": True, "words": "Brush Strokes", "weight": 0.7})
    told = Notes(tmp_path).all()  # as another start reads it
    assert told["lora", "ink 2"] == (0.7, "Brush Strokes", None, True)
    assert [one.name for one in search(adapters, notes=told).adapters] == ["ink 2", "ink 0", "ink 1"]
    assert [one.name for one in search(adapters, "brush", notes=told).adapters] == ["ink 2"]
    notes.keep(adapters.list("lora")[2], {"favourite": False, "words": None, "weight": None})
    assert notes.all() == {}
    assert sorted(path.name for path in (models / "Lora").iterdir()) == before


def test_notes_that_were_edited_into_nonsense_are_as_if_not_there(tmp_path):
    (tmp_path / PLACE).mkdir()
    file = tmp_path / PLACE / FILE
    file.write_text('[{"kind": "lora", "name": "a", "weight": 1e9, "favourite": 1}, {"kind": "x"}, 3]')
    assert Notes(tmp_path).all() == {("lora", "a"): (None, None, None, False)}
    file.write_text("{")
    assert Notes(tmp_path).all() == {}
