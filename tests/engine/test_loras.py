"""LoRAs and their kin on a loaded model: held against sums written out here, and off again to the last bit."""

import gc

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from modules.core.errors import ModelError, WorkbenchError
from modules.engine.adapters.changes import low_rank, weight_change
from modules.engine.run import run
from modules.families.base import Numerics
from modules.library import infotext
from modules.planning.compile import compile
from modules.prompt.tokens import clip
from modules.training.tinies import TINY_SDXL, write_checkpoint
from modules.training.tiny import tiny_checkpoint
from tests.engine.bench import Bench, KeepingJob, request

SAFE = Numerics()
BF16 = Numerics(name="bf16", network="bfloat16")
SMALL = {"size": {"width": 64, "height": 64}, "model": {"checkpoint": "tiny"}}
# what a trainer calls them -> the part and the module
SD1 = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q":
        ("network", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"),
    "lora_unet_mid_block_attentions_0_proj_in": ("network", "mid_block.attentions.0.proj_in"),
    "lora_unet_up_blocks_1_attentions_1_transformer_blocks_0_ff_net_2":
        ("network", "up_blocks.1.attentions.1.transformer_blocks.0.ff.net.2"),
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj": ("text", "encoder.layers.0.self_attn.q_proj"),
    "lora_te_text_model_encoder_layers_1_mlp_fc1": ("text", "encoder.layers.1.mlp.fc1"),
}  # fmt: skip
SDXL = {
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k":
        ("network", "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"),
    "lora_te1_text_model_encoder_layers_0_self_attn_v_proj": ("text", "encoder.layers.0.self_attn.v_proj"),
    "lora_te2_text_model_encoder_layers_1_self_attn_k_proj": ("text_2", "encoder.layers.1.self_attn.k_proj"),
    "lora_te2_text_model_encoder_layers_2_mlp_fc2": ("text_2", "encoder.layers.2.mlp.fc2"),
}  # fmt: skip


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    tiny_checkpoint(made.models / "tiny.safetensors", 1)
    made.catalogue.refresh()
    return made


def module(model, part, name):
    """The module of that name, whichever level the text encoder's version has."""
    network = model.parts()[part]
    names = dict(network.named_modules())
    return names.get(name) or names[f"text_model.{name}"]


def loaded(bench, numerics=SAFE, **changed):
    """The main model of a request, nothing on it."""
    plan = bench.plan(**{**SMALL, **changed})
    return plan, bench.workshop.residency.model(plan.models["model"], numerics)


def state(model):
    """A copy of all numbers of all parts."""
    return {
        f"{part}.{name}": value.clone()
        for part, network in model.parts().items() for name, value in network.state_dict().items()
    }  # fmt: skip


def is_same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def random(*shape, seed=0, spread=0.05):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


def write_lora(bench, model, names, name="paper", rank=4, alpha=2.0, seed=1, spread=0.05, **metadata):
    """A kohya LoRA for these modules; returns the changes that it means, by (part, module)."""
    tensors, meant = {}, {}
    for index, (written, (part, own)) in enumerate(names.items()):
        weight = module(model, part, own).weight
        kernel = weight.shape[2:]
        up = random(weight.shape[0], rank, *[1] * len(kernel), seed=seed + 2 * index, spread=spread)
        down = random(rank, weight.shape[1], *kernel, seed=seed + 2 * index + 1, spread=spread)
        tensors |= {f"{written}.lora_up.weight": up, f"{written}.lora_down.weight": down}
        tensors[f"{written}.alpha"] = torch.tensor(alpha)
        meant[part, own] = (up.flatten(1).double() @ down.flatten(1).double()).reshape(weight.shape) * (alpha / rank)
    folder = bench.models / "Lora"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / f"{name}.safetensors", metadata or None)
    bench.catalogue.adapters.refresh()
    return meant


def test_each_weight_is_the_files_plus_strength_times_the_change(bench):
    _, one = loaded(bench)
    before = state(one.model)
    meant = write_lora(bench, one.model, SD1)
    plan = bench.plan(**SMALL, prompt="cat <lora:paper:0.5:0.8>")
    one.adapted.wear(plan.adapters)
    for (part, own), change in meant.items():
        strength = 0.5 if part == "text" else 0.8
        found = module(one.model, part, own).weight.double()
        name = next(key for key in before if key.startswith(part) and key.endswith(own + ".weight"))
        torch.testing.assert_close(found, before[name].double() + strength * change, rtol=0, atol=1e-6)
    changed = {name for name, value in state(one.model).items() if not torch.equal(value, before[name])}
    assert len(changed) == len(SD1)
    one.adapted.wear(())
    assert is_same(state(one.model), before)


def test_an_sdxl_lora_reaches_both_text_encoders_and_an_original_unets_names(tmp_path):
    bench = Bench(tmp_path)
    write_checkpoint(bench.models / "tiny.safetensors", TINY_SDXL, 3)
    bench.catalogue.refresh()
    _, one = loaded(bench)
    before = state(one.model)
    meant = write_lora(bench, one.model, SDXL)
    one.adapted.wear(bench.plan(**SMALL, prompt="cat <lora:paper:1>").adapters)
    for (part, own), change in meant.items():
        name = next(key for key in before if key.startswith(f"{part}.") and key.endswith(own + ".weight"))
        torch.testing.assert_close(
            module(one.model, part, own).weight.double(), before[name].double() + change, rtol=0, atol=1e-6
        )
    one.adapted.wear(())
    assert is_same(state(one.model), before)


def test_a_small_change_survives_a_model_that_runs_in_16_bit(bench):
    _, one = loaded(bench, BF16)
    before = state(one.model)
    meant = write_lora(bench, one.model, SD1, spread=0.0047, alpha=4.0)  # changes with a spread of about 2e-5 ** 0.5
    one.adapted.wear(bench.plan(**SMALL, prompt="<lora:paper:1>").adapters)
    exact = load_file(bench.models / "tiny.safetensors")
    part, own = SD1["lora_unet_mid_block_attentions_0_proj_in"]
    base = exact["model.diffusion_model.middle_block.1.proj_in.weight"].double()
    wanted = (base + meant[part, own].reshape(base.shape)).to(torch.bfloat16)
    assert torch.equal(module(one.model, part, own).weight, wanted)  # rounded once, from the file's own numbers
    one.adapted.wear(())
    assert is_same(state(one.model), before)


def test_several_at_once_and_one_named_twice_add_up(bench):
    _, one = loaded(bench)
    before = state(one.model)
    first = write_lora(bench, one.model, SD1, "first", seed=1)
    second = write_lora(bench, one.model, SD1, "second", seed=50, rank=7)
    prompt = "<lora:first:0.3> <lora:second:-0.6> <lora:first:0.4>"
    one.adapted.wear(bench.plan(**SMALL, prompt=prompt).adapters)
    for place, change in first.items():
        name = next(key for key in before if key.startswith(place[0]) and key.endswith(place[1] + ".weight"))
        wanted = before[name].double() + 0.7 * change - 0.6 * second[place]
        torch.testing.assert_close(module(one.model, *place).weight.double(), wanted, rtol=0, atol=2e-6)


def test_block_weights_act_by_block(bench):
    _, one = loaded(bench)
    before = state(one.model)
    meant = write_lora(bench, one.model, SD1)
    one.adapted.wear(bench.plan(**SMALL, prompt="<lora:paper:1:lbw=NONE>").adapters)
    assert is_same(state(one.model), before)
    middle = ",".join("1" if name == 7 else "0" for name in range(17))
    one.adapted.wear(bench.plan(**SMALL, prompt=f"<lora:paper:1:lbw={middle}>").adapters)
    changed = {name for name, value in state(one.model).items() if not torch.equal(value, before[name])}
    assert changed == {"network.mid_block.attentions.0.proj_in.weight"}
    assert meant


def test_what_comes_and_goes_in_a_pass_leaves_the_weights_alone_and_acts_in_its_share(bench):
    _, one = loaded(bench)
    before = state(one.model)
    write_lora(bench, one.model, SD1, spread=0.5)

    def picture(prompt):
        job = KeepingJob()
        run(bench.plan(**SMALL, prompt=prompt), bench.workshop, job)
        return job.images()[0].astype(int)

    plain, always = picture("cat"), picture("cat <lora:paper:0:1>")
    late = picture("cat <lora:paper:0:1:start=0.5>")
    assert is_same(state(one.model), before)
    never = picture("cat <lora:paper:0:1:start=0.99999>")
    whole = picture("cat <lora:paper:0:1:stop=0.99999>")
    np.testing.assert_array_equal(never, plain)
    assert np.abs(whole - always).max() <= 2  # beside the weight, or in it: one sum in another order
    assert np.abs(always - plain).max() > 2
    assert np.abs(late - plain).max() > 0
    assert np.abs(late - always).max() > 0


def test_each_picture_of_a_batch_wears_its_own(bench):
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1, spread=0.5)

    def pictures(**changed):
        job = KeepingJob()
        run(bench.plan(**SMALL, **changed), bench.workshop, job)
        return {event.picture: event.pixels for event in job.of("image_made")}

    prompts = ["cat <lora:paper:1>", "cat", "cat <lora:paper:1>"]
    mixed = pictures(prompts=prompts, prompt=prompts[0], count=3, variation={"seed": 1, "strength": 0.5})
    with_it = pictures(prompt="cat <lora:paper:1>", count=3, variation={"seed": 1, "strength": 0.5})
    without = pictures(prompt="cat", count=3, variation={"seed": 1, "strength": 0.5})
    assert mixed == {0: with_it[0], 1: without[1], 2: with_it[2]}


def test_it_is_in_the_pictures_metadata(bench):
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1)
    job = KeepingJob()
    plan = bench.plan(**SMALL, prompt="cat <lora:paper:1>")
    known = tuple(worn.model_copy(update={"short_hash": "0123456789ab"}) for worn in plan.adapters)
    plan = plan.model_copy(update={"adapters": known})
    run(plan, bench.workshop, job)
    made = job.of("image_made")[0]
    assert made.facts["lora_hashes"] == {"paper": "0123456789ab"}
    assert 'Lora hashes: "paper: 0123456789ab"' in infotext.write(plan.request, made.facts, 0)


def test_one_made_for_another_model_is_refused_with_the_reason_and_nothing_is_on_the_model(bench):
    _, one = loaded(bench)
    before = state(one.model)
    write_lora(bench, one.model, SD1)
    file = bench.models / "Lora" / "paper.safetensors"
    tensors = load_file(file)
    strange = {f"lora_unet_nowhere_{k}.lora_up.weight": torch.zeros(2, 2) for k in range(18)}
    save_file({**tensors, **strange}, file)
    bench.catalogue.adapters.refresh()
    with pytest.raises(ModelError, match="lora_unet_nowhere_0") as caught:
        one.adapted.wear(bench.plan(**SMALL, prompt="<lora:paper:1>").adapters)
    assert caught.value.code == "adapter_keys"
    assert is_same(state(one.model), before)


def test_a_misshapen_tensor_is_named_and_what_was_on_is_off(bench):
    _, one = loaded(bench)
    before = state(one.model)
    write_lora(bench, one.model, SD1)
    file = bench.models / "Lora" / "paper.safetensors"
    tensors = load_file(file)
    name = "lora_te_text_model_encoder_layers_1_mlp_fc1.lora_up.weight"
    save_file({**tensors, name: tensors[name][:-3].clone()}, file)
    bench.catalogue.adapters.refresh()
    with pytest.raises(ModelError, match="lora_te_text_model_encoder_layers_1_mlp_fc1") as caught:
        one.adapted.wear(bench.plan(**SMALL, prompt="<lora:paper:1>").adapters)
    assert caught.value.code == "adapter_shape"
    assert is_same(state(one.model), before)


def test_a_file_replaced_after_the_plan_is_an_error_that_says_so(bench):
    _, one = loaded(bench)
    before = state(one.model)
    write_lora(bench, one.model, SD1)
    plan = bench.plan(**SMALL, prompt="<lora:paper:1>")
    write_lora(bench, one.model, SD1, rank=8)
    with pytest.raises(ModelError) as caught:
        one.adapted.wear(plan.adapters)
    assert caught.value.code == "adapter_changed"
    assert is_same(state(one.model), before)


def test_a_model_whose_file_was_replaced_under_its_loras_is_let_go(bench):
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1)
    run(bench.plan(**SMALL, prompt="<lora:paper:1>"), bench.workshop, KeepingJob())
    plain = bench.plan(**SMALL, prompt="cat")
    tiny_checkpoint(bench.models / "tiny.safetensors", 2)
    with pytest.raises(WorkbenchError) as caught:
        run(plain, bench.workshop, KeepingJob())
    assert caught.value.code == "model_changed"
    assert not bench.workshop.residency.has(plain.models["model"], SAFE)


def test_an_unknown_lora_is_told_and_the_picture_is_made(bench):
    job = KeepingJob()
    run(bench.plan(**SMALL, prompt="cat <lora:nothing like it:1>"), bench.workshop, job)
    assert [warning.code for warning in job.of("warned")] == ["unknown_adapter"]
    assert len(job.images()) == 1


def test_a_prompt_is_read_again_only_where_a_text_encoder_changed(bench):
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1, spread=0.5)
    read, made = one.model.read, []
    one.model.read = lambda ids, skip: made.append(1) or read(ids, skip)
    for prompt, reads in (("cat", 2), ("cat <lora:paper:0:1>", 0), ("cat <lora:paper:1>", 2), ("cat", 0)):
        made.clear()
        run(bench.plan(**SMALL, prompt=prompt), bench.workshop, KeepingJob())
        assert len(made) == reads, prompt


def test_an_embeddings_word_is_its_vectors(bench):
    _, one = loaded(bench)
    width = module(one.model, "text", "embeddings.token_embedding").weight.shape[1]
    folder = bench.models / "embeddings"
    folder.mkdir()
    cat = clip().encode("cat").ids
    table = module(one.model, "text", "embeddings.token_embedding").weight
    save_file({"emb_params": table[cat].clone()}, folder / "zorblax.safetensors")  # it means what "cat" means
    save_file({"emb_params": random(2, width, spread=0.5)}, folder / "quux.safetensors")
    bench.catalogue.adapters.refresh()

    def picture(prompt):
        job = KeepingJob()
        run(bench.plan(**SMALL, prompt=prompt), bench.workshop, job)
        return job.images()[0]

    np.testing.assert_array_equal(picture("a red zorblax here"), picture("a red cat here"))
    assert (picture("a red quux here") != picture("a red cat here")).any()


def test_swaps_with_loras_leave_nothing_alive(bench):
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1)
    write_checkpoint(bench.models / "other.safetensors", TINY_SDXL, 4)
    bench.catalogue.refresh()
    del one
    dead = []
    for index in range(6):
        run(bench.plan(**SMALL, prompt=f"<lora:paper:{index / 10 + 0.1}>"), bench.workshop, KeepingJob())
        kept = bench.workshop.residency.watch()
        bench.workshop.residency.unload()
        gc.collect()
        dead += [reference() is None for reference in kept]
    assert dead == [True] * 6


BASE = random(6, 8, seed=9, spread=1.0)


def test_every_kind_is_what_its_paper_says():
    u, d = random(6, 2, seed=1), random(2, 8, seed=2)
    group = {"up": u, "down": d, "alpha": torch.tensor(1.0)}
    torch.testing.assert_close(weight_change(group, BASE, 2.0), 2.0 * 0.5 * u @ d)
    magnitude = torch.rand(6, 1, generator=torch.Generator().manual_seed(3)) + 0.5
    merged = BASE + 0.5 * u @ d
    turned = merged / merged.norm(dim=1, keepdim=True) * magnitude - BASE
    torch.testing.assert_close(weight_change({**group, "dora": magnitude}, BASE, 0.7), 0.7 * turned)
    by_input = torch.rand(1, 8, generator=torch.Generator().manual_seed(4)) + 0.5
    turned = merged / merged.norm(dim=0, keepdim=True) * by_input - BASE
    torch.testing.assert_close(weight_change({**group, "dora": by_input}, BASE, 1.0), turned)
    a, b, c, e = random(6, 2, seed=5), random(2, 8, seed=6), random(6, 2, seed=7), random(2, 8, seed=8)
    loha = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": e, "alpha": torch.tensor(4.0)}
    torch.testing.assert_close(weight_change(loha, BASE, 1.0), 2.0 * (a @ b) * (c @ e))
    left, right = random(2, 4, seed=10), random(3, 2, seed=11)
    kron = torch.tensor(np.kron(left.numpy(), right.numpy()))
    torch.testing.assert_close(weight_change({"lokr_w1": left, "lokr_w2": right}, BASE, 1.0), kron)
    w2a, w2b = random(3, 2, seed=12), random(2, 2, seed=13)
    lokr = {"lokr_w1": left, "lokr_w2_a": w2a, "lokr_w2_b": w2b, "alpha": torch.tensor(1.0)}
    torch.testing.assert_close(
        weight_change(lokr, BASE, 1.0), torch.tensor(np.kron(left.numpy(), (w2a @ w2b).numpy())) * 0.5
    )
    torch.testing.assert_close(weight_change({"diff": u @ d}, BASE, 0.5), 0.5 * u @ d)
    scale = random(6, 1, seed=14)
    ia3 = {"ia3": scale, "on_input": torch.tensor(False)}
    torch.testing.assert_close(weight_change(ia3, BASE, 1.0), BASE * scale)
    a1, a2, b1, b2 = random(2, 8, seed=15), random(8, 2, seed=16), random(2, 8, seed=17), random(6, 2, seed=18)
    glora = {"a1": a1, "a2": a2, "b1": b1, "b2": b2, "alpha": torch.tensor(2.0)}
    torch.testing.assert_close(weight_change(glora, BASE, 1.0), b2 @ b1 + BASE @ a2 @ a1)


def test_oft_turns_the_outputs_and_keeps_their_lengths():
    skew = random(3, 2, 2, seed=20, spread=0.3)
    turned = BASE + weight_change({"oft": skew}, BASE, 1.0)
    torch.testing.assert_close(turned.reshape(3, 2, 8).norm(dim=1), BASE.reshape(3, 2, 8).norm(dim=1))
    q = skew[0] - skew[0].T
    cayley = (torch.eye(2) + q) @ torch.linalg.inv(torch.eye(2) - q)
    torch.testing.assert_close(turned[:2], torch.einsum("nm,nx->mx", cayley, BASE[:2]))


def test_convolutions_and_their_cores_and_a_wider_input():
    conv = random(5, 3, 3, 3, seed=21)
    up, down, mid = random(5, 2, 1, 1, seed=22), random(2, 3, 1, 1, seed=23), random(2, 2, 3, 3, seed=24)
    wanted = torch.einsum("or,rshw,si->oihw", up[..., 0, 0], mid, down[..., 0, 0])
    torch.testing.assert_close(weight_change({"up": up, "down": down, "mid": mid}, conv, 1.0), wanted)
    wide = random(5, 5, 3, 3, seed=25)  # two channels more: a model made for inpainting
    plain = {"up": random(5, 2, 1, 1, seed=26), "down": random(2, 3, 3, 3, seed=27)}
    made = weight_change(plain, wide, 1.0)
    assert made.shape == wide.shape
    assert not made[:, 3:].any()
    assert made[:, :3].any()
    with pytest.raises(ValueError, match="does not fit"):
        weight_change({"up": up, "down": random(2, 7, 3, 3, seed=28)}, conv, 1.0)


def test_a_part_of_the_rank():
    group = {"up": random(6, 4, seed=30), "down": random(4, 8, seed=31), "alpha": torch.tensor(4.0)}
    made = low_rank(group, 1.0, rank=2)
    torch.testing.assert_close(made.up @ made.down, group["up"][:, :2] @ group["down"][:2])


def test_hires_and_a_plain_plan_agree_on_what_is_worn(bench):
    _, one = loaded(bench)
    write_lora(bench, one.model, SD1)
    plan = compile(request(**SMALL, prompt="<lora:paper:1>", hires={"scale": 1.5}), bench.catalogue)
    run(plan, bench.workshop, KeepingJob())
    assert [worn.name for worn in one.adapted.on] == ["paper"]
