"""What the network is told over the walk: schedules on both clocks, weights with their mean kept, chunks, the cache."""

import pytest
import torch

from modules.core.geometry import Size
from modules.core.plan import Pass
from modules.core.request import GenerationRequest
from modules.engine.conditioning import Cache, Reader, over_calls, over_sigma, read
from modules.families.base import Model
from modules.families.sd1 import SD1

SIGMAS = [8.0, 4.0, 2.0, 1.0, 0.0]
WIDTH = 8


class Encoder:
    """Stands for a model: every token's state is a row that only its id decides; counts how often it is asked."""

    family, encoders = SD1, ()
    read, tell = Model.read, Model.tell

    def __init__(self):
        self.asked = []

    def encode(self, ids, clip_skip):
        self.asked.append((tuple(ids[0].tolist()), clip_skip))
        rows = [torch.rand(WIDTH, generator=torch.Generator().manual_seed(int(token))) + 0.5 for token in ids[0]]
        return torch.stack(rows)[None] / clip_skip


def one_pass(steps=4, start="noise", sampler="Euler"):
    size = Size(width=64, height=64)
    return Pass(
        model="model", start=start, size=size, canvas=size, sampler=sampler, schedule="Karras", steps=steps,
        cfg_scale=7.0,
    )  # fmt: skip


@pytest.fixture
def encoder():
    return Encoder()


def told(encoder, prompt, passes=(one_pass(),), number=0, clip_skip=1, **more):
    request = GenerationRequest(prompt=prompt, seed=1, **more)
    return read(request, passes, number, Reader(encoder, Cache(), clip_skip))


def context(encoder, prompt, **more):
    (part,) = told(encoder, prompt, **more).positive
    (entry,) = part.entries
    return entry.cond["context"]


def shown(conditioning, sigmas=SIGMAS, second_pass=False):
    """The prompt's context at each sigma of the walk but the last, by the native clock."""
    positive, _ = over_sigma(conditioning, sigmas, second_pass)
    return [positive(sigma)[0].cond["context"] for sigma in sigmas[:-1]]


def expect(encoder, contexts, *prompts):
    expected = [context(encoder, prompt) for prompt in prompts]
    assert [bool(torch.equal(one, other)) for one, other in zip(contexts, expected, strict=True)] == [True] * len(
        prompts
    )


def test_a_schedule_switches_where_the_sigmas_say(encoder):
    expect(encoder, shown(told(encoder, "[cat:dog:0.5]")), "cat", "cat", "dog", "dog")
    expect(encoder, shown(told(encoder, "[cat:dog:1]")), "cat", "dog", "dog", "dog")


def test_an_alternation_shows_one_option_a_step(encoder):
    expect(encoder, shown(told(encoder, "[cat|dog]")), "cat", "dog", "cat", "dog")


def test_the_native_clock_is_a_pure_function_of_sigma(encoder):
    positive, _ = over_sigma(told(encoder, "[cat:dog:0.5]"), SIGMAS, False)
    expect(encoder, [positive(sigma)[0].cond["context"] for sigma in (1.0, 8.0, 3.0, 1.5, 5.0)],
           "dog", "cat", "cat", "dog", "cat")  # fmt: skip


def test_the_hires_pass_has_its_own_moments(encoder):
    passes = (one_pass(), one_pass(start="latents"))
    assert len({tuple(one.flatten().tolist()) for one in shown(told(encoder, "[cat:dog:1.5]", passes))}) == 1
    expect(encoder, shown(told(encoder, "[cat:dog:1.5]", passes, 1), second_pass=True), "cat", "cat", "dog", "dog")


def test_a1111s_clock_counts_calls_and_includes_the_end(encoder):
    conditioning = told(encoder, "[cat:dog:10]", (one_pass(20),), compat=("a1111",))
    positive, _ = over_calls(conditioning)
    seen = [positive(1.0)[0].cond["context"] for _ in range(20)]
    cat, dog = context(encoder, "cat"), context(encoder, "dog")
    assert [bool(torch.equal(one, cat)) for one in seen] == [True] * 11 + [False] * 9
    assert torch.equal(seen[-1], dog)


def test_a1111_counts_two_calls_a_step_of_heun(encoder):
    conditioning = told(encoder, "[cat:dog:0.5]", (one_pass(10, sampler="Heun"),), compat=("a1111",))
    positive, _ = over_calls(conditioning)
    cat = context(encoder, "cat")
    assert sum(bool(torch.equal(positive(1.0)[0].cond["context"], cat)) for _ in range(20)) == 11


def test_weights_scale_tokens_and_keep_the_mean(encoder):
    plain, weighted = context(encoder, "cat dog"), context(encoder, "cat (dog:1.5)")
    torch.testing.assert_close(weighted.mean(), plain.mean())
    ratio = (weighted / plain)[0, :, 0]
    torch.testing.assert_close(ratio[2] / ratio[1], torch.tensor(1.5))  # START, cat, dog
    torch.testing.assert_close(ratio[0], ratio[1])


def test_a_prompt_of_plain_weights_is_not_touched(encoder):
    seen = context(encoder, "cat")
    assert torch.equal(seen, encoder.encode(torch.tensor([encoder.asked[-1][0]]), 1))


def test_long_prompts_and_break_make_more_chunks(encoder):
    assert context(encoder, "cat BREAK dog").shape == (1, 154, WIDTH)
    assert context(encoder, "cat " * 76).shape == (1, 154, WIDTH)
    assert context(encoder, "").shape == (1, 77, WIDTH)


def test_in_a1111_mode_all_texts_of_a_schedule_are_equally_long(encoder):
    long = "[cat:" + "dog " * 80 + ":0.5]"
    lengths = {entry.cond["context"].shape[1] for entry in told(encoder, long).positive[0].entries}
    same = {entry.cond["context"].shape[1] for entry in told(encoder, long, compat=("a1111",)).positive[0].entries}
    assert (lengths, same) == ({77, 154}, {154})


def test_and_parts_keep_their_weights_and_negatives_are_one(encoder):
    conditioning = told(encoder, "cat AND dog:0.5", negative_prompt="x AND y")
    assert [part.weight for part in conditioning.positive] == [1.0, 0.5]
    assert len(conditioning.negative.entries) == 1


def test_network_tags_and_comments_are_not_read_out(encoder):
    expect(encoder, shown(told(encoder, "cat<lora:x:1> # a remark"))[:1], "cat")


def test_a_text_is_read_once_and_forgotten_in_turn():
    encoder, cache = Encoder(), Cache(size=2)
    request = GenerationRequest(prompt="cat", negative_prompt="dog", seed=1)
    for _ in range(3):
        read(request, (one_pass(),), 0, Reader(encoder, cache))
    assert len(encoder.asked) == 2
    read(GenerationRequest(prompt="bird", negative_prompt="dog", seed=1), (one_pass(),), 0, Reader(encoder, cache))
    read(request, (one_pass(),), 0, Reader(encoder, cache))
    assert len(encoder.asked) == 4  # bird, and cat again


def test_clip_skip_is_passed_on_and_part_of_the_key(encoder):
    cache = Cache()
    for clip_skip in (1, 2):
        read(GenerationRequest(prompt="cat", seed=1), (one_pass(),), 0, Reader(encoder, cache, clip_skip))
    assert {skip for _, skip in encoder.asked} == {1, 2}


def test_emphasis_modes_say_what_brackets_do(encoder):
    plain, weighted = context(encoder, "cat dog"), context(encoder, "cat (dog:1.5)")
    no_norm = context(encoder, "cat (dog:1.5)", emphasis="no_norm")
    torch.testing.assert_close(no_norm[0, 1], plain[0, 1])
    torch.testing.assert_close(no_norm[0, 2], plain[0, 2] * 1.5)
    assert not torch.equal(weighted, no_norm)
    assert torch.equal(context(encoder, "cat (dog:1.5)", emphasis="ignore"), plain)
    asked = encoder.asked
    context(encoder, "cat (dog:1.5)", emphasis="none")
    assert asked[-1][0] != asked[0][0]  # the brackets are tokens
    assert torch.equal(context(encoder, "cat dog", emphasis="none"), plain)


def test_a_word_moves_away_from_what_an_empty_prompt_says(encoder):
    plain, empty = context(encoder, "cat dog"), context(encoder, "")
    weighted = context(encoder, "cat (dog:1.5)", compat=("empty-emphasis",))
    wanted = plain.clone()
    wanted[0, 2] = (plain[0, 2] - empty[0, 2]) * 1.5 + empty[0, 2]
    torch.testing.assert_close(weighted, wanted)
    long = "(cat:1.2) " + "dog " * 80
    assert context(encoder, long, compat=("empty-emphasis",)).shape == (1, 154, WIDTH)
    assert torch.equal(context(encoder, "cat dog", compat=("comfy",)), plain)


def test_an_empty_negative_prompt_is_told_as_empty_unless_it_shall_be_encoded(encoder):
    seen = []
    encoder.tell = lambda cond, frame: (seen.append((frame.negative, frame.empty)), cond)[1]
    told(encoder, "cat")
    told(encoder, "cat", compat=("encoded-negative",))
    told(encoder, "cat", negative_prompt="dog")
    assert [empty for negative, empty in seen if negative] == [True, False, False]
