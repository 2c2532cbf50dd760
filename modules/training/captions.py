"""What a person might have typed for a scene: sentences, tags, bare words, in English, Chinese and a mix."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from modules.training.world import (
    COLOURS,
    LIGHTS,
    PLACES,
    SIZES,
    SPOTS,
    STYLES,
    THINGS,
    WEATHERS,
    Placed,
    Scene,
    ThingWord,
    Word,
)

_THINGS: dict[str, ThingWord] = {word.name: word for word in THINGS}
_WORDS: dict[str, Word] = {f"{kind}/{word.name}": word for kind, words in {
    "colour": COLOURS, "place": PLACES, "light": LIGHTS, "weather": WEATHERS, "spot": SPOTS, "size": SIZES,
    "style": STYLES,
}.items() for word in words}  # fmt: skip
JUNK_EN = (
    "masterpiece", "best quality", "highly detailed", "8k", "beautiful", "a picture of", "illustration", "trending",
    "professional", "sharp focus", "cute", "nice", "lovely", "for children", "hand drawn", "soft light", "photo of",
    "high resolution", "award winning", "cozy", "detailed", "simple", "artstation", "dreamy", "4k", "colorful",
    "please draw", "charming", "intricate", "wallpaper", "very pretty", "whimsical", "aesthetic", "ultra hd",
)  # fmt: skip
JUNK_ZH = (
    "高清", "杰作", "最好质量", "可爱", "漂亮的画", "一幅画", "细节丰富", "给孩子看的", "温馨", "插画", "好看", "精美",
    "请画", "童话", "梦幻", "超清", "壁纸", "获奖作品",
)  # fmt: skip
_SENTENCES = (
    "{things} {where}", "{things}, {where}", "{where}, {things}", "there {is_} {things} {where}",
    "{first} {where}{rest}", "{first} {where}{rest}",
)  # fmt: skip
_STYLED = ("{text}, {style}", "{text}, {style}", "{text}, {style}", "{style}, {text}", "{text} in {style} style",
           "{style} of {text}")  # fmt: skip
_RELATIONS_EN = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "top": ("above", "over"),
    "bottom": ("below", "under"),
}


@dataclass(frozen=True)
class Mood:
    """How one caption is phrased."""

    language: str  # en, zh or mixed
    form: str  # sentence, tags or bare
    junk: bool
    long: bool


@dataclass(frozen=True)
class Told:
    """A caption and what it says: of `ground light weather style` those named, and `spot0 spot1` by thing."""

    text: str
    said: frozenset[str]


def sample_mood(rng: np.random.Generator) -> Mood:
    """Languages 62 % English, 35 % Chinese, 3 % mixed; half sentences; one in seven each with junk words or long."""
    language = ("en", "zh", "mixed")[rng.choice(3, p=(0.62, 0.35, 0.03))]
    form = ("sentence", "tags", "bare")[rng.choice(3, p=(0.54, 0.3, 0.16))]
    return Mood(language, form, bool(rng.random() < 0.15), bool(rng.random() < 0.15))


def caption(scene: Scene, rng: np.random.Generator, mood: Mood | None = None) -> str:
    """A prompt for the scene. What it says is in the picture; bare ones leave the ground unsaid."""
    return tell(scene, rng, mood).text


def tell(scene: Scene, rng: np.random.Generator, mood: Mood | None = None) -> Told:
    """A prompt for the scene, with a list of what it names."""
    mood = mood or sample_mood(rng)
    teller = _Teller(scene, rng, mood)
    text = teller.chinese() if mood.language == "zh" else teller.english()
    if mood.long and rng.random() < 0.5:
        text = teller.again(text)
    if mood.junk or mood.long:
        text = _with_junk(text, rng, mood)
    if mood.language != "zh" and rng.random() < 0.15:
        text = text.capitalize() if rng.random() < 0.7 else text.upper()
    if mood.language != "zh" and rng.random() < 0.1:
        text += "."
    return Told(text, frozenset(teller.said))


def plural(noun: str) -> str:
    """The English plural of a thing's name."""
    if noun.endswith("fish"):
        return noun
    if noun.endswith("y"):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "s", "sh", "ch")) else "s")


def _an(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


@dataclass
class _Teller:
    """Phrases one scene in one mood, noting what it says."""

    scene: Scene
    rng: np.random.Generator
    mood: Mood
    said: set[str] = field(default_factory=set)
    loose_spots: bool | None = None

    def say(self, kind: str, name: str, language: str) -> str:
        """One of the names of an idea: mostly the usual one."""
        words = getattr(_THINGS[name] if kind == "thing" else _WORDS[f"{kind}/{name}"], language)
        return self.one(words) if self.chance(0.35) else words[0]

    def one(self, choices: tuple[str, ...]) -> str:
        """Any of several."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        """True for this share of the calls."""
        return bool(self.rng.random() < share)

    def loose(self, parts: list[str]) -> list[str]:
        """The parts in their order, or in any."""
        return parts if self.chance(0.6) else [parts[int(k)] for k in self.rng.permutation(len(parts))]

    def settings(self, language: str) -> list[str]:
        """Ground, light and weather: what was sampled, and now and then what goes without saying."""
        scene, said = self.scene, []
        unusual = scene.weather is not None or scene.light != "day"
        if not self.chance(0.25 if unusual else 0.06):
            self.said.add("ground")
            said.append(self.ground(language))
        if scene.light != "day" or (scene.place and self.chance(0.1)):
            self.said.add("light")
            said.append(self.say("light", scene.light, language))
        if scene.weather:
            self.said.add("weather")
            said.append(self.say("weather", scene.weather, language))
        return said

    def ground(self, language: str) -> str:
        """The place, or the plain ground and its tint."""
        scene = self.scene
        if scene.place:
            return self.say("place", scene.place, language)
        tint = self.say("colour", scene.tint or "", language)
        if language == "zh":
            return self.one((f"{tint}背景", f"{tint}背景", f"在{tint}背景上", f"{tint}的背景"))
        return self.one((f"on {_an(tint)} background", f"{tint} background", f"with {_an(tint)} background",
                         f"on {_an(tint)} background"))  # fmt: skip

    def style(self, language: str) -> str:
        """The style's name, or nothing for a picture book."""
        if self.scene.style == "picture book" and not self.chance(0.12):
            return ""
        self.said.add("style")
        return self.say("style", self.scene.style, language)

    def spot(self, index: int, language: str) -> str:
        """Where a thing is, or nothing."""
        placed = self.scene.kinds[index]
        if self.loose_spots is None:  # of two things, sometimes neither is placed; under a flying one, mostly none
            self.loose_spots = self.chance(0.12)
        if self.loose_spots and len(self.scene.kinds) == 2:
            return ""
        if placed.spot == "bottom" and self.scene.place and self.chance(0.5):
            return ""
        if placed.spot is None or not self.chance(0.6 if self.mood.form == "bare" else 0.85):
            return ""
        self.said.add(f"spot{index}")
        return self.say("spot", placed.spot, language)

    # English

    def english(self) -> str:
        """The caption in English, or in a mix."""
        kinds = self.scene.kinds
        order = [int(k) for k in self.rng.permutation(len(kinds))]
        if len(kinds) == 2 and self.mood.form != "tags" and self.chance(0.3):
            phrases = [self.relation_en(order)]
        else:
            phrases = [self.thing_en(k) for k in order]
        style = self.style("en")
        joint = " and " if self.chance(0.6) else ", "
        if self.mood.form == "bare":
            return ", ".join(part for part in (joint.join(phrases), style) if part)
        where = self.settings("zh" if self.mood.language == "mixed" and self.chance(0.3) else "en")
        if self.mood.form == "tags":
            parts = self.loose([*phrases, *where, *([style] if style else [])])
            return (", " if self.chance(0.85) else " ").join(parts)
        text = self.sentence(phrases, joint, where)
        if not style:
            return text
        forms = _STYLED if text.startswith(("a ", "an ", "two ", "three ")) else _STYLED[:4]
        return self.one(forms).format(text=text, style=style)

    def sentence(self, phrases: list[str], joint: str, where: list[str]) -> str:
        """Things and where they are as one English clause."""
        things = joint.join(phrases)
        if not where:
            return things
        is_ = "are" if len(self.scene.things) > 1 else "is"
        rest = "".join(f", {phrase}" for phrase in phrases[1:])
        between = ", " if self.chance(0.25) else " "
        return self.one(_SENTENCES).format(
            things=things, where=between.join(where), first=phrases[0], rest=rest, is_=is_
        )

    def noun_en(self, placed: Placed) -> str:
        """How many, how big, which colour, what: "two small red apples"."""
        colour = self.say("colour", placed.colour, "zh" if self.mood.language == "mixed" and self.chance(0.4) else "en")
        noun = self.say("thing", placed.thing, "en")
        size = self.say("size", placed.size, "en") + " " if placed.size else ""
        if (count := self.scene.count) > 1:
            number = self.one((("two", "two", "2", "a pair of"), ("three", "three", "3"))[count - 2])
            return f"{number} {size}{colour} {plural(noun)}"
        name = f"{size}{colour} {noun}"
        if self.mood.language == "mixed" and self.chance(0.6):
            return f"一{_THINGS[placed.thing].measure} {name}"
        if self.mood.form == "sentence" and self.chance(0.92):
            return _an(name) if self.chance(0.95) else f"one {name}"
        return _an(name) if self.chance(0.2) else name

    def thing_en(self, index: int) -> str:
        """A thing with where it is."""
        name, spot = self.noun_en(self.scene.kinds[index]), self.spot(index, "en")
        if not spot:
            return name
        if self.mood.form == "tags" and self.chance(0.5):
            return f"{name}, {spot}"
        return f"{name} {spot}" if self.chance(0.8) else f"{spot} {name}"

    def relation_en(self, order: list[int]) -> str:
        """Two things by where one is from the other."""
        one, other = (self.scene.kinds[k] for k in order)
        self.said.update(("spot0", "spot1"))
        relation = self.one(_RELATIONS_EN[one.spot or "left"])
        return f"{self.noun_en(one)} {relation} {self.noun_en(other)}"

    # Chinese

    def chinese(self) -> str:
        """The caption in Chinese."""
        kinds = self.scene.kinds
        order = [int(k) for k in self.rng.permutation(len(kinds))]
        comma = "，" if self.chance(0.55) else ("," if self.chance(0.6) else ", ")
        if len(kinds) == 2 and self.mood.form != "tags" and self.chance(0.25):
            phrases = [self.relation_zh(order)]
        else:
            phrases = [self.thing_zh(k) for k in order]
        style = [s] if (s := self.style("zh")) else []
        if self.mood.form == "bare":
            things = ["和".join(phrases)] if self.chance(0.5) else phrases
            return comma.join([*things, *style])
        where = self.settings("zh")
        if self.mood.form == "tags":
            return comma.join(self.loose([*phrases, *where, *style]))
        if len(phrases) == 2 and self.chance(0.5):
            phrases = ["和".join(phrases)]
        if not where:
            return comma.join([*phrases, *style])
        first, *more = where
        draw = self.rng.random()
        if self.scene.place and "ground" in self.said and draw < 0.4:
            parts = [f"{first}的{phrases[0]}", *self.loose([*more, *phrases[1:]])]
        elif (
            self.scene.place and "ground" in self.said and len(phrases) == 1 and draw < 0.55 and "在" not in phrases[0]
        ):
            parts = [f"{phrases[0]}在{first}", *more]
        elif draw < 0.8:
            parts = [*phrases, *where]
        else:
            parts = ["".join(reversed(where)), *phrases]
        return comma.join([*parts, *style] if self.chance(0.85) else [*style, *parts])

    def noun_zh(self, placed: Placed) -> str:
        """How many with the measure word, which colour with or without 的, how big, what."""
        word = _THINGS[placed.thing]
        colour = self.say("colour", placed.colour, "zh")
        noun = self.say("thing", placed.thing, "zh")
        if placed.size:  # 大小船 and 小大船 say two things at once
            noun = next(n for n in (noun, *word.zh) if n[0] != "小")
        of = "的" if self.chance(0.45 if self.mood.form == "sentence" else 0.15) else ""
        size = {"small": "小", "big": "大"}.get(placed.size or "", "")
        count = self.scene.count
        number = ""
        if count > 1 or self.chance(0.5 if self.mood.form == "sentence" else 0.1):
            measure = word.measure if self.chance(0.85) else "个"
            number = (("一", "两", "三") if self.chance(0.9) else ("1", "2", "3"))[count - 1] + measure
        if size and of and self.chance(0.2):
            return f"{number}{size}{colour}{of}{noun}" if self.chance(0.5) else f"{number}{size}的{colour}{of}{noun}"
        return f"{number}{colour}{of}{size}{noun}"

    def thing_zh(self, index: int) -> str:
        """A thing with where it is."""
        name, spot = self.noun_zh(self.scene.kinds[index]), self.spot(index, "zh")
        if not spot:
            return name
        return self.one((f"{spot}{name}", f"{spot}{name}", f"{spot}有{name}", f"{name}在{spot}", f"{spot}的{name}"))

    def relation_zh(self, order: list[int]) -> str:
        """Two things by where one is from the other."""
        one, other = (self.scene.kinds[k] for k in order)
        self.said.update(("spot0", "spot1"))
        spot = self.say("spot", one.spot or "left", "zh")
        a, b = self.noun_zh(one), self.noun_zh(other)
        return self.one((f"{a}在{b}{spot}", f"{a}在{b}的{spot}", f"{b}{spot}的{a}", f"{b}{spot}有{a}"))

    # Longer

    def again(self, text: str) -> str:
        """The caption with plain sentences after it that say the same once more."""
        scene, facts = self.scene, []
        is_zh = self.mood.language == "zh"
        many = scene.count > 1
        for placed in scene.kinds:
            if is_zh:
                noun, colour = self.say("thing", placed.thing, "zh"), _WORDS[f"colour/{placed.colour}"].zh[0]
                noun = next(n for n in (noun, *_THINGS[placed.thing].zh) if n[0] != "小" or placed.thing == "boat")
                facts.append(f"{noun}是{colour}的")
            else:
                noun, colour = self.say("thing", placed.thing, "en"), self.say("colour", placed.colour, "en")
                facts.append(f"the {plural(noun)} are {colour}" if many else f"the {noun} is {colour}")
        if "ground" in self.said:
            facts.append(
                f"背景是{self.ground('zh').removeprefix('在')}" if is_zh else f"the scene is {self.ground('en')}"
            )
        if "light" in self.said:
            facts.append(self.say("light", scene.light, "zh" if is_zh else "en"))
        return ("。" if is_zh else ". ").join([text, *facts])


def _with_junk(text: str, rng: np.random.Generator, mood: Mood) -> str:
    """Quality words and chatter around the caption; enough for a second chunk where it is to be long."""
    words = JUNK_ZH if mood.language == "zh" else JUNK_EN
    least, most = ((12, 22) if mood.language == "zh" else (24, 40)) if mood.long else (1, 6)
    junk = [words[int(k)] for k in rng.integers(0, len(words), rng.integers(least, most))]
    cut = int(rng.integers(0, len(junk) + 1)) if mood.long or rng.random() < 0.3 else 0
    return ", ".join([*junk[:cut], text, *junk[cut:]])
