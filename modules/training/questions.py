"""What a caption says of its scene, as numbers: lessons from which the text encoder learns to read, without torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from modules.prompt import emphasis, tokens
from modules.training.captions import Mood, sample_mood, tell
from modules.training.scenes import sample_scene
from modules.training.world import COLOURS, LIGHTS, PLACES, SIZES, SPOTS, STYLES, THINGS, TINTS, WEATHERS, Scene

UNSAID = 0
POSITIONS = 77
END = tokens.END
EMPTY: list[int] = [tokens.START] + [END] * (POSITIONS - 1)
MOST = 3  # of one kind in a picture
_OF_THINGS = {"thing": THINGS, "colour": COLOURS, "spot": SPOTS, "size": SIZES}
_OF_SCENES = {"place": PLACES, "light": LIGHTS, "weather": WEATHERS, "style": STYLES}
_NUMBERS = {
    kind: {word.name: k for k, word in enumerate(table, 1)} for kind, table in (_OF_THINGS | _OF_SCENES).items()
}
QUESTIONS: dict[str, int] = {
    **{f"{kind}{k}": len(table) + 1 for k in (1, 2) for kind, table in _OF_THINGS.items()},
    "count": MOST + 1,
    "tint": len(TINTS) + 1,
    **{kind: len(table) + 1 for kind, table in _OF_SCENES.items()},
}
EVERYTHING = frozenset({"ground", "light", "weather", "style", "spot0", "spot1"})


def token_ids(text: str) -> list[list[int]]:
    """A caption as the engine will feed it: chunks of 77 token numbers, padded with the end token."""
    return [list(chunk.ids) for chunk in tokens.chunks(emphasis.runs(text))]


def answers(scene: Scene, said: Collection[str] = EVERYTHING) -> list[int]:
    """One number for each question: what a reader knows after a caption that names `said`; 0 where it cannot know.

    The two things are put in a fixed order (left before right, top before bottom), so that one question has one answer.
    With `EVERYTHING` said these are the facts of the picture.
    """
    numbers = dict.fromkeys(QUESTIONS, UNSAID)
    relation = len(scene.kinds) == 2 and bool({"spot0", "spot1"} & set(said))  # one's place tells the other's
    for k, placed in enumerate(scene.kinds):
        for kind in _OF_THINGS:
            value = getattr(placed, kind)
            if value is not None and (kind != "spot" or relation or f"spot{k}" in said):
                numbers[f"{kind}{k + 1}"] = _NUMBERS[kind][value]
    numbers["count"] = scene.count
    numbers["style"] = _NUMBERS["style"][scene.style]  # a picture book goes without saying
    if "ground" in said:
        if scene.tint:
            numbers["tint"] = 1 + list(TINTS).index(scene.tint)
        else:
            numbers["place"] = _NUMBERS["place"][scene.place or ""]
    for kind in ("light", "weather"):
        if kind in said and scene.place and getattr(scene, kind) is not None:
            numbers[kind] = _NUMBERS[kind][getattr(scene, kind)]
    return list(numbers.values())


@dataclass(frozen=True)
class Lesson:
    """One caption to be read: its 77 token numbers, the position of its end, the answers."""

    ids: list[int]
    end: int
    known: list[int]


def lesson(rng: np.random.Generator) -> Lesson:
    """The caption of a fresh scene; now and then among words from anywhere, which are to be read over."""
    while True:
        scene = sample_scene(int(rng.integers(1 << 40)))
        mood = sample_mood(rng)
        told = tell(scene, rng, Mood(mood.language, mood.form, mood.junk, False))
        chunk, *more = token_ids(told.text)
        if not more:
            ids = _with_strangers(chunk, rng)
            return Lesson(ids, ids.index(END), answers(scene, told.said))


def _with_strangers(ids: list[int], rng: np.random.Generator) -> list[int]:
    end = ids.index(END)
    if rng.random() > 0.12 or end > 60:
        return ids
    strangers = [int(k) for k in rng.integers(256, tokens.START, rng.integers(1, 9))]
    body = ids[1:end]
    body = strangers + body if rng.random() < 0.4 else body + strangers
    return ([ids[0], *body] + [END] * POSITIONS)[:POSITIONS]


def short_ids(scene: Scene, rng: np.random.Generator) -> list[int]:
    """A caption of the scene in one chunk: 77 token numbers."""
    while True:
        mood = sample_mood(rng)
        chunk, *more = token_ids(tell(scene, rng, Mood(mood.language, mood.form, mood.junk, False)).text)
        if not more:
            return chunk


def long_ids(scene: Scene, rng: np.random.Generator) -> list[int]:
    """A caption of the scene in two chunks: 154 token numbers."""
    for _ in range(20):
        mood = sample_mood(rng)
        cut = token_ids(tell(scene, rng, Mood(mood.language, mood.form, True, True)).text)
        if len(cut) == 2:
            return cut[0] + cut[1]
    return short_ids(scene, rng) + EMPTY
