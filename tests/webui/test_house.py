"""House rules of the page: every text in words/, every colour and type size in theme.py, styles and modules small."""

import re
import tomllib
from pathlib import Path

import pytest

from modules.core.settings import TABLE
from modules.webui import words
from modules.webui.controls import CONTROLS, FOLDS, TABS
from modules.webui.first import cards
from modules.webui.theme import COLOURS, TYPE

ROOM = Path(words.__file__).parents[1]
MODULES = sorted((ROOM / "static").glob("*.js"))
SHEETS = sorted((ROOM / "static").glob("*.css"))
CODE = [*MODULES, *SHEETS, *(path for path in ROOM.rglob("*.py") if path.name != "theme.py"), ROOM / "frame.html"]
BRACES = re.compile(r"\{(\w+)\}")


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def test_both_languages_have_the_same_keys_and_the_same_braces():
    english, chinese = words.table("en"), words.table("zh")
    assert set(english) == set(chinese)
    for key, text in english.items():
        assert set(BRACES.findall(text)) == set(BRACES.findall(chinese[key])), key


def test_chinese_is_chinese():
    neutral = re.compile(r"[\u4e00-\u9fff]|^[\W\d_]*$|^[\W\d_]*(\{\w+\}[\W\d_]*)+$")
    foreign = {
        "name", "header.other", "header.other_code", "header.other_lang", "control.noise.cpu", "control.noise.gpu",
        "family.sd1", "adapters.open", "models.size_kb", "models.size_mb", "models.size_gb", "settings.choice.en",
        "settings.choice.png", "settings.choice.jpeg", "settings.choice.webp",
    }  # fmt: skip
    assert {key for key, text in words.table("zh").items() if not neutral.search(text)} == foreign


@named(CODE)
def test_no_colour_outside_the_table(path):
    found = re.findall(
        r"#[0-9A-Fa-f]{6}\b|#[0-9A-Fa-f]{3}\b(?=[;\s,)])|\b(?:rgba?|hsla?|oklch)\(", path.read_text("utf-8")
    )
    assert found == []


@named([path for path in CODE if path.suffix != ".py"])
def test_no_type_size_outside_the_table(path):
    text = path.read_text("utf-8")
    allowed = {"0"}  # hides Gradio's own arrow, which is a letter
    assert {size for size in re.findall(r"font-size:\s*([^;}]+)", text)} <= allowed
    assert re.findall(r"font:\s*+(?!var\(--type)[^;}]+", text) == []


@named(MODULES)
def test_no_text_for_people_in_modules(path):
    text = re.sub(r"^\s*//.*$|(?<=[;{)\s])//\s.*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
    sentences = re.findall(r"""["'`]([A-Z][a-z]+(?: [\w{}$.]+)+[.!?]?)["'`]""", text)
    assert sentences == []
    assert re.findall("[\u4e00-\u9fff]", text) == []


@named(MODULES)
def test_every_text_that_modules_ask_for_exists(path):
    asked = set(re.findall(r"""\bsay\(\s*["']([\w.]+)["']""", path.read_text("utf-8")))
    assert asked <= set(words.table("en"))


def test_no_text_is_left_over():
    spoken = "\n".join(path.read_text("utf-8") for path in (*CODE,))
    built = re.compile(
        r"^(canvas|start|generate|control|fold|tab|phase|settings|notice|stage|family|error|script|memory|models\.predicts)\b|^header\.theme_|^taking\.row\b"
    )
    unused = [
        key for key in words.table("en")
        if key not in spoken and not built.match(key)
    ]  # fmt: skip
    assert unused == []


@named([*MODULES, *SHEETS, *ROOM.rglob("*.py")])
def test_files_are_small_and_say_what_they_are(path):
    text = path.read_text("utf-8")
    assert text.count("\n") <= 500
    assert text.startswith(("// ", "/* ", '"""'))


@named(MODULES)
def test_no_html_is_ever_made_from_text(path):
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", path.read_text("utf-8")
    )


def test_every_control_fold_tab_and_setting_has_its_words():
    table = words.table("en")
    wanted = [f"{row.words}.label" for row in CONTROLS]
    wanted += [
        f"{row.words}.{choice}"
        for row in CONTROLS
        if row.translated
        for choice in (name or "none" for name in row.choices)
    ]
    wanted += [f"fold.{fold.name}.{part}" for fold in FOLDS for part in ("name", "values")]
    wanted += [f"tab.{tab}" for tab in TABS]
    wanted += [f"settings.{part}.{name}" for name in TABLE for part in ("name", "reason")]
    wanted += [f"settings.choice.{choice}" for row in TABLE.values() for choice in row.metadata["choices"]]
    wanted += [f"settings.group_{row.metadata['group']}" for row in TABLE.values()]
    assert [key for key in wanted if key not in table] == []


def test_the_cards_are_in_both_languages():
    rows = tomllib.loads((ROOM / "words" / "first.toml").read_text("utf-8"))["card"]
    assert [row["language"] for row in rows] == (["en"] * 4 + ["zh"] * 4) * 2
    assert len({row["name"] for row in rows}) == 16


def test_cards_of_the_visitors_language_come_first_and_strange_words_last():
    assert [card["language"] for card in cards("zh")] == ["zh"] * 4 + ["en"] * 2
    small = {"things": [{"en": ["house", "mushroom", "boat", "balloon"], "zh": ["房子"]}],
             "words": ["red", "pink", "white", "yellow", "blue", "background", "meadow", "sea",
                       "mountains"]}  # fmt: skip
    assert [card["name"] for card in cards("en", small)][:4] == [
        "small-mushroom", "small-boat", "small-balloon", "small-house"
    ]  # fmt: skip


def luminance(colour):
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


TEXT_PAIRS = [
    *[(text, ground) for text in ("text", "text-2", "text-3") for ground in ("panel", "sunk", "page")],
    ("text", "stage"), ("text-2", "stage"), ("text", "soft"), ("text-2", "soft"), ("on-accent", "accent"),
    ("accent", "panel"), ("ok", "panel"), ("warn", "panel"), ("err", "panel"), ("warn", "warn-bg"), ("err", "err-bg"),
]  # fmt: skip


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_PAIRS)
def test_text_is_readable(text, ground, side):
    assert contrast(COLOURS[text][side], COLOURS[ground][side]) >= 4.5


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["panel", "sunk", "page"])
@pytest.mark.parametrize("mark", ["edge", "accent"])
def test_edges_and_focus_are_seen(mark, ground, side):
    assert contrast(COLOURS[mark][side], COLOURS[ground][side]) >= 3


def test_type_is_the_tables():
    assert TYPE["prompt"][:2] == ("15px", "22px")
    assert TYPE["touch"][0] == "16px"
