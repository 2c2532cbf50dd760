"""Comments and network tags: what leaves, what stays, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.core.errors import BadValue
from modules.prompt.blocks import PRESETS, weight
from modules.prompt.excerpt import keep
from modules.prompt.grammar import When
from modules.prompt.tags import Lora, loras, split, without_comments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        ("a # b", "a "),
        ("a # b\nc", "a \nc"),
        ("# b\nc", "c"),
        ("a\n# b\nc", "a\nc"),
        ("a\n#", "a\n"),
        ("#", ""),
    ],
)
def test_comments(text, expected):
    assert without_comments(text).text == expected


def one(text: str) -> Lora:
    (lora,) = loras(split(text)[1])
    return lora


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<lora:ink>", Lora("ink", 1.0, 1.0)),
        ("<lyco:ink:0.5>", Lora("ink", 0.5, 0.5)),
        ("<lora:ink:0.5:0.8>", Lora("ink", 0.5, 0.8)),
        ("<lora:ink:0.5:0.8:16>", Lora("ink", 0.5, 0.8, 16)),
        ("<lora:ink:unet=0.8>", Lora("ink", 1.0, 0.8)),
        ("<lora:ink:te=0.2>", Lora("ink", 0.2, 0.2)),
        ("<lora:ink:0.5:te=0.2:dyn=4>", Lora("ink", 0.2, 0.2, 4)),
        ("<lora:te=0:ink>", Lora("ink", 0.0, 0.0)),
        ("<lora:a b, c:-1>", Lora("a b, c", -1.0, -1.0)),
    ],
)
def test_lora(text, expected):
    assert one(text) == expected


def test_split_keeps_the_rest_and_knows_where_it_was():
    rest, tags = split("a <lora:x:1>cat <hypernet:y> b")
    assert rest.text == "a cat  b"
    assert [tag.kind for tag in tags] == ["lora", "hypernet"]
    assert rest.sources([0, 2, 5, 8]) == [0, 2, 15, 30]  # an offset stands behind the character before it
    assert loras(tags) == (Lora("x"),)


@pytest.mark.parametrize("text", ["<lora>", "<lora:>", "a < b : c > d", "<:x>", "<lora:x", "<lo ra:x>"])
def test_what_is_no_tag_stays(text):
    rest, tags = split(text)
    assert (rest.text, tags) == (text, ())


@pytest.mark.parametrize(
    "text", ["<lora::1>", "<lora:te=1>", "<lora:x:nan>", "<lora:x:1e9>", "<lora:x:a>", "<lora:x:1:1:b>"]
)
def test_unusable_tags_are_refused_by_name(text):
    with pytest.raises(BadValue) as caught:
        loras(split(text)[1], field="negative_prompt")
    assert (caught.value.code, caught.value.field) == ("bad_tag", "negative_prompt")


def test_too_many_tags():
    _, tags = split("<lora:x:1>" * 33)
    with pytest.raises(BadValue) as caught:
        loras(tags)
    assert caught.value.code == "too_many_tags"
    assert len(loras(tags[:32])) == 32


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*"a <>:=#\n1", "<lora:x:1>", "# c"]), max_size=40).map("".join))
def test_nothing_raises_and_sources_hold(text):
    for kept in (without_comments(text), split(text)[0]):
        assert kept.text == "".join(text[start:end] for start, end in kept.spans)
        behind = kept.sources(range(1, len(kept.text) + 1))
        assert [text[place - 1] for place in behind] == list(kept.text)


def test_keep_drops_ranges():
    assert keep("abcdef", [(1, 2), (4, 6)]).text == "acd"
    assert keep("", []).sources([0]) == [0]


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("<lora:ink>", When(0.0, True), When(1.0, True)),
        ("<lora:ink:1:start=0.25:stop=10>", When(0.25, True), When(10.0, False)),
        ("<lora:ink:step=5-.8>", When(5.0, False), When(0.8, True)),
    ],
)
def test_a_lora_may_act_for_a_part_of_the_walk(text, start, stop):
    assert (one(text).start, one(text).stop) == (start, stop)


def test_block_weights_by_name_and_by_number():
    assert one("<lora:ink:1>").blocks == ()
    assert one("<lora:ink:1:lbw=MIDD>").blocks == PRESETS["MIDD"]
    assert one("<lora:ink:1:lbw=outall>").blocks == PRESETS["OUTALL"]
    numbers = ",".join(["0.5"] * 26)
    assert one(f"<lora:ink:lbw={numbers}>").blocks == (0.5,) * 26


@pytest.mark.parametrize("more", ["lbw=1,2", "lbw=NOSUCH", f"lbw={','.join(['99'] * 17)}", "start=x", "stop=-1"])
def test_moments_and_blocks_that_make_no_sense_are_refused(more):
    with pytest.raises(BadValue) as caught:
        one(f"<lora:ink:1:{more}>")
    assert caught.value.code == "bad_tag"


def test_blocks_that_a_list_leaves_out_go_with_their_neighbours():
    listed = [float(index) for index in range(17)]
    assert weight(listed, "BASE") == 0.0
    assert weight(listed, "IN04") == 3.0
    assert weight(listed, "M00") == 7.0
    assert weight(listed, "IN00") == listed[1]  # IN01 is nearest
    assert weight(listed, "OUT01") == listed[8]  # OUT03
    assert weight(listed, "") == weight((), "IN04") == 1.0
