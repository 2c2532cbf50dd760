"""Styles and wildcards become words: by the picture's seed, one text a picture, the template kept."""

import pytest

from modules.core.errors import BadValue
from modules.core.request import GenerationRequest
from modules.planning.wording import longest, typed, word
from modules.prompt.styles import Style


class Phrases:
    def __init__(self, **lists):
        self.table = {
            "ink": Style("ink", "{prompt}, ink wash # as I like it", "photo"),
            "lucky": Style("lucky", "{sun|moon}"),
        }
        self.kept = lists or {"colour": ("red", "blue", "green"), "loop": ("__loop__",)}

    def styles(self):
        return self.table

    def lines(self, name):
        return self.kept.get(name)


PHRASES = Phrases()


def worded(**fields):
    return word(GenerationRequest(**{"seed": 7, **fields}), PHRASES)


def test_a_plain_prompt_stays_as_it_is():
    request = GenerationRequest(prompt="a {cat} # mine", seed=7)
    assert word(request, PHRASES).request is request


def test_styles_and_wildcards_are_words_and_the_template_is_kept():
    told = worded(prompt="a __colour__ cat # mine", negative_prompt="blur", styles=("ink",)).request
    assert told.prompt in {f"a {colour} cat, ink wash" for colour in PHRASES.kept["colour"]}
    assert told.negative_prompt == "blur, photo"
    assert (told.prompt_template, told.negative_prompt_template) == ("a __colour__ cat # mine", "blur")
    assert told.styles == ("ink",)
    assert word(told, PHRASES).request is told  # worded once
    assert GenerationRequest.from_json(told.to_json()) == told


def test_each_picture_has_the_words_of_its_seed():
    told = worded(prompt="{a|b|c|d} __colour__", negative_prompt="{a|b|c|d}", count=6).request
    assert len(set(told.prompts)) > 1
    for index, seed in enumerate(told.seeds()):
        alone = worded(prompt="{a|b|c|d} __colour__", negative_prompt="{a|b|c|d}", seed=seed).request
        own = told.at(index)
        assert (own.prompt, own.negative_prompt) == (alone.prompt, alone.negative_prompt)
        assert (own.prompts, own.count, own.seed) == ((), 6, 7)
    assert told.prompt == told.prompts[0]


def test_combinations_decide_how_many_pictures_there_are():
    told = worded(prompt="{a|b} __colour__", combinations=True).request
    assert told.prompts == ("a red", "a blue", "a green", "b red", "b blue", "b green")
    assert told.count == 6
    assert worded(prompt="plain", combinations=True, count=3).request.count == 3
    assert worded(prompt="{a|b}{a|b}{a|b}{a|b}{a|b}{a|b}{a|b}", combinations=True).request.count == 64


def test_what_there_is_none_of_is_noted_and_the_rest_is_made():
    told = worded(prompt="a __nope__ {cat|cat}", negative_prompt="__nil__", styles=("gone", "ink"))
    assert told.request.prompt == "a __nope__ cat, ink wash"
    assert [(note.code, note.field, note.facts["name"]) for note in told.notes] == [
        ("unknown_style", "styles", "gone"),
        ("unknown_wildcard", "prompt", "nope"),
        ("unknown_wildcard", "negative_prompt", "nil"),
    ]
    assert [note.code for note in worded(prompt="a", styles=("gone",)).notes] == ["unknown_style"]


def test_endless_words_are_refused_by_field():
    for fields, field in (({"prompt": "__loop__"}, "prompt"), ({"negative_prompt": "__loop__"}, "negative_prompt")):
        with pytest.raises(BadValue) as caught:
            worded(**fields)
        assert caught.value.field == field


def test_a_picture_gives_back_what_was_typed_only_while_it_means_the_same():
    told = worded(prompt="__colour__ cat", styles=("lucky",), count=4).request
    again = typed(told.at(2), PHRASES, told.seeds()[2])
    assert (again.prompt, again.styles, again.prompt_template) == ("__colour__ cat", ("lucky",), None)
    changed = typed(told.at(2), Phrases(colour=("grey",)), told.seeds()[2])
    assert (changed.prompt, changed.styles) == (told.prompts[2], ())
    broken = typed(told.at(2), Phrases(colour=("__colour__",)), told.seeds()[2])
    assert broken.prompt == told.prompts[2]


def test_counting_counts_styles():
    assert longest("a cat # x", "", ["ink", "gone"], PHRASES) == ("a cat, ink wash", "photo")
    assert longest("a # x", "", [], PHRASES) == ("a # x", "")


def test_the_hires_pass_has_words_of_its_own_that_pick_as_the_first_pass_does():
    asked = {"prompt": "{a|b|c|d} cat", "styles": ("ink",), "count": 6,
             "hires": {"prompt": "{a|b|c|d} fur # mine", "negative_prompt": "__colour__"}}  # fmt: skip
    told = word(GenerationRequest.from_data({"seed": 7, **asked, "styles": ["ink"]}), PHRASES).request
    assert len(set(told.hires.prompts)) > 1
    assert (told.hires.prompt_template, told.hires.negative_prompt_template) == ("{a|b|c|d} fur # mine", "__colour__")
    for index, seed in enumerate(told.seeds()):
        own = told.at(index)
        assert own.hires.prompt == own.prompt.replace("cat", "fur")
        assert own.hires.negative_prompt.removesuffix(", photo") in PHRASES.kept["colour"]
        assert own.hires.prompts == ()
        back = typed(own, PHRASES, seed)
        assert (back.prompt, back.hires.prompt, back.hires.negative_prompt) == (
            "{a|b|c|d} cat", "{a|b|c|d} fur # mine", "__colour__",
        )  # fmt: skip
        assert not back.is_worded()
    assert GenerationRequest.from_json(told.to_json()) == told


def test_hires_prompts_that_are_empty_stay_so_and_mean_the_first_pass_s():
    told = word(GenerationRequest.from_data({"seed": 7, "prompt": "{a|b}", "hires": {}}), PHRASES).request
    assert (told.hires.prompt, told.hires.prompt_template) == ("", None)
    alone = word(
        GenerationRequest.from_data({"seed": 7, "prompt": "a", "hires": {"prompt": "{b|b} __nope__"}}), PHRASES
    )
    assert (alone.request.hires.prompt, alone.request.prompt_template) == ("b __nope__", "a")
    assert [(note.code, note.field) for note in alone.notes] == [("unknown_wildcard", "hires.prompt")]
