"""CLIP's tokens: equal to the reference tokenizer's, cut into chunks as A1111 cuts them, counted as typed."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.prompt import tokens
from modules.prompt.dialect import A1111, NATIVE
from modules.prompt.emphasis import runs
from modules.prompt.tokens import CHUNK, COMMA, END, START, Count, Embedding, chunks, clip, count
from tests.effort import effort

CAT, DOG = 2368, 1929


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The tokenizer of the transformers library, from a vocab.json and merges.txt made of the same merges."""
    from transformers import CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    lines = tokens._MERGES.read_text(encoding="utf-8").splitlines()
    letters = [chr(b) for b in [*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 256 + 68)]]
    words = letters + [f"{c}</w>" for c in letters] + [line.replace(" ", "") for line in lines]
    words += ["<|startoftext|>", "<|endoftext|>"]
    assert len(words) == 49408
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


TEXTS = [
    "a photo of a cat",
    "A Photo, of: 12 CATS'   tails!!! don't we'll",
    "雪地里的红色小房子 夜晚",
    "naïve café e\u0301 İstanbul ß",
    "👩\u200d👩\u200d👧 한국어 \u0301\u0301",
    "a_b-c... (x) [y] {z} <|x|> \\ /",
    "\t\n  \u3000 ",
    "",
]


def plain(text: str) -> list[int]:
    return clip().encode(text, dialect=A1111).ids


@pytest.mark.parametrize("text", TEXTS)
def test_equal_to_the_reference(reference, text):
    assert plain(text) == reference(text, add_special_tokens=False).input_ids


SAFE = st.characters(exclude_categories=["Cs"]).filter(lambda char: char.translate(tokens._FOLD_A1111) == char)


@settings(max_examples=300, deadline=None)
@given(text=st.text(SAFE | st.sampled_from("ab',. 's猫12"), max_size=40))
def test_any_text_is_equal_to_the_reference(reference, text):
    assert plain(text) == reference(text, add_special_tokens=False).input_ids


def test_width_and_ligatures_fold_inside_the_tokenizer():
    assert plain("ｃａｔ，ﬁn “x”") == plain('cat,fin "x"')
    found = clip().encode("ﬁn，x", dialect=A1111)
    assert list(zip(found.starts, found.ends, strict=True)) == [(0, 2), (2, 3), (3, 4)]
    assert clip().encode("红。蓝、", dialect=NATIVE).ids == plain("红.蓝,")
    assert plain("红。蓝、") != plain("红.蓝,")


def test_half_surrogates_do_not_raise():
    assert plain("a \ud800 cat") == plain("a \ufffd cat")


def cut(text: str, **options):
    return chunks(runs(text, dialect=options.get("dialect", A1111)), **{"dialect": A1111, **options})


def test_empty_prompt_is_one_empty_chunk():
    (chunk,) = cut("")
    assert chunk.ids == (START, *[END] * 76)
    assert chunk.weights == (1.0,) * 77
    assert (chunk.used, chunk.end) == (0, 0)


def test_zero_padding_for_openclip():
    (chunk,) = cut("cat", padding="zero")
    assert chunk.ids == (START, CAT, END, *[0] * 74)


def test_weights_per_token():
    (chunk,) = cut("cat (dog cat:1.5)")
    assert chunk.ids[:5] == (START, CAT, DOG, CAT, END)
    assert chunk.weights[:5] == (1.0, 1.0, 1.5, 1.5, 1.0)


def test_seventy_five_fit_and_one_more_makes_two():
    assert [chunk.used for chunk in cut("cat " * 75)] == [75]
    first, second = cut("cat " * 76)
    assert first.ids == (START, *[CAT] * 75, END)
    assert second.ids == (START, CAT, *[END] * 75)


def test_break_pads_the_chunk():
    assert [chunk.used for chunk in cut("cat BREAK dog BREAK BREAK cat")] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("before", "after", "used"),
    [
        (60, 30, [61, 30]),  # the comma is 15 tokens back: what follows it moves on
        (55, 30, [56, 30]),  # 75 - 55 = 20: still
        (54, 30, [75, 10]),  # 21: too far
        (74, 30, [75, 30]),  # the comma is the last token
        (75, 30, [75, 31]),  # the comma itself opens the next chunk
    ],
)
def test_comma_backtrack(before, after, used):
    made = cut("cat " * before + ", " + "dog " * after)
    assert [chunk.used for chunk in made] == used
    assert sum(chunk.ids.count(COMMA) for chunk in made) == 1


def test_backtrack_can_be_off():
    assert [chunk.used for chunk in cut("cat " * 60 + ", " + "dog " * 30, backtrack=0)] == [75, 16]


def test_weights_move_with_their_tokens():
    first, second = cut("cat " * 70 + ", (dog:2) " + "dog " * 10)
    assert first.used == 71
    assert second.weights[1:4] == (2.0, 1.0, 1.0)


def test_a_chunk_never_ends_inside_a_character():
    text = "cat " * 74 + "猫"  # three tokens for one character
    assert len(plain("猫")) == 3
    assert [chunk.used for chunk in cut(text)] == [75, 2]
    made = cut(text, dialect=NATIVE)
    assert [chunk.used for chunk in made] == [74, 3]
    assert made[0].end == 74 * 4 - 1
    assert [chunk.used for chunk in cut("cat " * 73 + "猫", dialect=NATIVE)] == [73, 3]


def test_embeddings_take_slots_and_move_whole():
    names = {"ink": 4, "ink wash": 70}
    (chunk,) = cut("cat (ink:1.5) dog", embeddings=names)
    assert chunk.ids[:8] == (START, CAT, 0, 0, 0, 0, DOG, END)
    assert chunk.weights[2:7] == (1.5, 1.5, 1.5, 1.5, 1.0)
    assert chunk.embeddings == (Embedding(1, "ink", 4),)
    first, second = cut("cat " * 10 + "Ink Wash dog", embeddings=names)
    assert (first.used, first.embeddings) == (10, ())
    assert (second.used, second.embeddings) == (71, (Embedding(0, "ink wash", 70),))


def test_embeddings_behind_a_comma_move_with_it():
    first, second = cut("cat " * 66 + ", cat ink" + " dog" * 10, embeddings={"ink": 4})
    assert first.used == 67
    assert second.embeddings == (Embedding(1, "ink", 4),)
    assert second.ids[1:7] == (CAT, 0, 0, 0, 0, DOG)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["cat ", "猫", ", ", "(dog:1.2) ", "🦊"]), max_size=200).map("".join),
    st.sampled_from([NATIVE, A1111]),
)
def test_chunks_lose_nothing(text, dialect):
    found = runs(text, dialect=dialect)
    whole = [token for run in found for token in clip().encode(run.text, dialect=dialect).ids]
    made = chunks(found, dialect=dialect)
    assert [token for chunk in made for token in chunk.ids[1 : chunk.used + 1]] == whole
    assert all(len(chunk.ids) == len(chunk.weights) == CHUNK + 2 for chunk in made)
    assert [chunk.end for chunk in made] == sorted(chunk.end for chunk in made)


def test_count():
    assert count("") == Count(0, 75, ())
    assert count("a cat") == Count(2, 75, ())
    assert count("cat " * 76) == Count(76, 150, (299,))
    assert count("[cat:dog dog dog:0.5] x") == Count(4, 75, ())  # the longest moment
    assert count("cat AND dog dog") == Count(2, 75, ())
    assert count("cat AND dog", composable=False) == Count(3, 75, ())
    assert count("a AND " + "cat " * 76) == Count(76, 150, (6 + 299,))


def test_count_of_many_texts_is_bounded():
    primes = [2, 3, 5, 7, 11, 13]
    text = "".join(f"[{'|'.join('cat ' * (option + 1) for option in range(prime))}]" for prime in primes)
    with effort(20.0):
        found = count(text + "dog " * 4_000, steps=150)
    assert found.used > 4_000 + 30


def test_count_ignores_comments_and_tags_but_points_into_the_typed_text():
    head = "# red\n<lora:ink:1>"
    assert count(head + "cat " * 76) == Count(76, 150, (len(head) + 299,))
    text = "(cat:1.2) " * 75 + "<lora:ink:1>[dog:cat:0.5]"
    found = count(text)
    assert (found.used, found.capacity) == (76, 150)
    assert text[: found.boundaries[0]].endswith("(cat")


def test_no_torch_and_no_transformers():
    code = (
        "import sys; from modules.prompt.tokens import count; count('a cat');"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
