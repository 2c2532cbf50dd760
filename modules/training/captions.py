"""What a person might have typed for a scene: sentences, tags, bare words, in English, Chinese and a mix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.training.world import (
    COLOURS,
    LIGHTS,
    PLACES,
    SIZES,
    SPOTS,
    STYLES,
    THINGS,
    Placed,
    Scene,
    ThingWord,
    Word,
)

_THINGS: dict[str, ThingWord] = {word.name: word for word in THINGS}
_WORDS: dict[str, Word] = {f"{kind}/{word.name}": word for kind, words in {
    "colour": COLOURS, "place": PLACES, "light": LIGHTS, "spot": SPOTS, "size": SIZES, "style": STYLES,
}.items() for word in words}  # fmt: skip
JUNK_EN = (
    "masterpiece", "best quality", "highly detailed", "8k", "beautiful", "a picture of", "illustration", "trending",
    "professional", "sharp focus", "cute", "nice", "lovely", "for children", "hand drawn", "soft light", "photo of",
    "high resolution", "award winning", "cozy", "detailed", "simple", "artstation", "dreamy", "4k", "colorful",
)  # fmt: skip
JUNK_ZH = (
    "高清",
    "杰作",
    "最好质量",
    "可爱",
    "漂亮的画",
    "一幅画",
    "细节丰富",
    "给孩子看的",
    "温馨",
    "插画",
    "好看",
    "精美",
)
_SENTENCES_EN = ("{things} {where}", "{things}, {where}", "{where}, {things}", "there is {things} {where}")


@dataclass(frozen=True)
class Mood:
    """How one caption is phrased."""

    language: str  # en, zh or mixed
    form: str  # sentence, tags or bare
    junk: bool
    long: bool


def sample_mood(rng: np.random.Generator) -> Mood:
    """Languages 62 % English, 35 % Chinese, 3 % mixed; half sentences; one in seven with junk words, one in 17 long."""
    language = ("en", "zh", "mixed")[rng.choice(3, p=(0.62, 0.35, 0.03))]
    form = ("sentence", "tags", "bare")[rng.choice(3, p=(0.52, 0.33, 0.15))]
    return Mood(language, form, bool(rng.random() < 0.15), bool(rng.random() < 0.06))


def caption(scene: Scene, rng: np.random.Generator, mood: Mood | None = None) -> str:
    """A prompt for the scene. What it says is in the picture; bare ones leave the ground unsaid."""
    mood = mood or sample_mood(rng)
    text = _chinese(scene, rng, mood) if mood.language == "zh" else _english(scene, rng, mood)
    if mood.junk or mood.long:
        text = _with_junk(text, rng, mood)
    if mood.language != "zh" and rng.random() < 0.15:
        text = text.capitalize() if rng.random() < 0.7 else text.upper()
    return text + ("." if mood.language != "zh" and rng.random() < 0.1 else "")


def _say(kind: str, name: str, rng: np.random.Generator, language: str) -> str:
    words = getattr(_THINGS[name] if kind == "thing" else _WORDS[f"{kind}/{name}"], language)
    return words[0] if rng.random() < 0.7 else str(rng.choice(words))


def _english(scene: Scene, rng: np.random.Generator, mood: Mood) -> str:
    first = rng.permutation(len(scene.things))
    phrases = [_english_thing(scene.things[k], rng, mood) for k in first]
    where = _ground_en(scene, rng)
    if mood.form == "tags":
        parts = [*phrases, *where]
        return (", " if rng.random() < 0.85 else " ").join([parts[k] for k in _loose_order(len(parts), rng)])
    if len(phrases) == 2:
        things = _english_pair([scene.things[k] for k in first], phrases, rng, mood)
    else:
        things = phrases[0]
    if mood.form == "bare":
        return things
    return str(rng.choice(_SENTENCES_EN)).format(things=things, where=" ".join(where))


def _loose_order(n: int, rng: np.random.Generator) -> list[int]:
    return list(range(n)) if rng.random() < 0.6 else [int(k) for k in rng.permutation(n)]


def _english_thing(placed: Placed, rng: np.random.Generator, mood: Mood) -> str:
    language = "zh" if mood.language == "mixed" and rng.random() < 0.5 else "en"
    colour = _say("colour", placed.colour, rng, language)
    thing = _say("thing", placed.thing, rng, "en")
    size = _say("size", placed.size, rng, "en") + " " if placed.size else ""
    spot = _say("spot", placed.spot, rng, "en") if placed.spot and (mood.form != "bare" or rng.random() < 0.6) else ""
    name = f"{size}{colour} {thing}"
    if mood.form == "sentence" or (mood.form == "bare" and rng.random() < 0.4):
        name = ("an " if name[0] in "aeiou" else "a ") + name
    if not spot:
        return name
    if mood.form == "tags" and rng.random() < 0.5:
        return f"{spot} {name}" if rng.random() < 0.3 else f"{name}, {spot}"
    return f"{name} {spot}" if rng.random() < 0.75 else f"{spot} {name}"


def _english_pair(placed: list[Placed], phrases: list[str], rng: np.random.Generator, mood: Mood) -> str:
    if rng.random() < 0.3:
        relation = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}[placed[0].spot or "left"]
        bare = [_english_thing(Placed(p.thing, p.colour, 0, 0, 0), rng, mood) for p in placed]
        return f"{bare[0]} {relation} {bare[1]}"
    return (" and " if rng.random() < 0.6 else ", ").join(phrases)


def _ground_en(scene: Scene, rng: np.random.Generator) -> list[str]:
    """The ground, the night, and sometimes what goes without saying."""
    if scene.tint:
        tint = _say("colour", scene.tint, rng, "en")
        article = "an" if tint[0] in "aeiou" else "a"
        forms = (
            f"on {article} {tint} background",
            f"{tint} background",
            f"with {article} {tint} background",
            f"on {tint}",
        )
        said = [str(rng.choice(forms, p=(0.5, 0.3, 0.12, 0.08)))]
    else:
        said = [_say("place", scene.place or "", rng, "en")]
        if scene.light == "night" or rng.random() < 0.12:
            said.append(_say("light", scene.light, rng, "en"))
    if rng.random() < 0.1:
        said.append(_say("style", "picture book", rng, "en"))
    return said


def _chinese(scene: Scene, rng: np.random.Generator, mood: Mood) -> str:
    order = [int(k) for k in rng.permutation(len(scene.things))]
    phrases = [_chinese_thing(scene.things[k], rng, mood) for k in order]
    comma = "，" if rng.random() < 0.7 else ", "
    if len(phrases) == 2 and mood.form != "tags" and rng.random() < 0.5:
        phrases = ["和".join(phrases)]
    if mood.form == "bare":
        return comma.join(phrases)
    where = _ground_zh(scene, rng)
    if mood.form == "tags":
        parts = [*phrases, *where]
        return comma.join(parts[k] for k in _loose_order(len(parts), rng))
    ground = "".join(reversed(where)) if rng.random() < 0.5 else comma.join(where)
    if scene.place and rng.random() < 0.35:
        return ground + "的" + comma.join(phrases)
    parts = [ground, comma.join(phrases)] if rng.random() < 0.6 else [comma.join(phrases), ground]
    return comma.join(parts)


def _chinese_thing(placed: Placed, rng: np.random.Generator, mood: Mood) -> str:
    word = _THINGS[placed.thing]
    colour = _say("colour", placed.colour, rng, "zh")
    colour += "的" if rng.random() < (0.4 if mood.form == "sentence" else 0.15) else ""
    thing = _say("thing", placed.thing, rng, "zh")
    size = {"small": "小", "big": "大"}.get(placed.size or "", "")
    if size and thing[0] in "小大":
        thing = word.zh[0]
    counted = mood.form == "sentence" and rng.random() < 0.7
    measure = f"一{word.measure if rng.random() < 0.8 else '个'}" if counted else ""
    name = measure + (colour + size + thing if rng.random() < 0.6 or not size else f"{size}{colour}{thing}")
    if placed.spot and (mood.form != "bare" or rng.random() < 0.6):
        spot = _say("spot", placed.spot, rng, "zh")
        draw = rng.random()
        name = f"{spot}{name}" if draw < 0.5 else (f"{name}在{spot}" if draw < 0.75 else f"{spot}有{name}")
    return name


def _ground_zh(scene: Scene, rng: np.random.Generator) -> list[str]:
    if scene.tint:
        tint = _say("colour", scene.tint, rng, "zh")
        forms = (f"{tint}背景", f"在{tint}背景上", f"{tint}的背景")
        said = [str(rng.choice(forms, p=(0.6, 0.2, 0.2)))]
    else:
        said = [_say("place", scene.place or "", rng, "zh")]
        if scene.light == "night" or rng.random() < 0.12:
            said.append(_say("light", scene.light, rng, "zh"))
    if rng.random() < 0.1:
        said.append(_say("style", "picture book", rng, "zh"))
    return said


def _with_junk(text: str, rng: np.random.Generator, mood: Mood) -> str:
    words = JUNK_ZH if mood.language == "zh" else JUNK_EN
    count = rng.integers(20, 40) if mood.long else rng.integers(1, 6)
    junk = [str(rng.choice(words)) for _ in range(count)]
    cut = rng.integers(0, len(junk) + 1) if mood.long or rng.random() < 0.3 else 0
    return ", ".join([*junk[:cut], text, *junk[cut:]])
