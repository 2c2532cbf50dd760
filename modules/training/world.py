"""The starter's world as tables: its things, colours, grounds, places and lights, and how likely each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Rgb = tuple[float, float, float]


def rgb(code: str) -> Rgb:
    """`#RRGGBB` as three numbers in 0..1 (sRGB)."""
    return tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]


@dataclass(frozen=True)
class Word:
    """One idea of the world with its names: the first of each language is the usual one."""

    name: str
    en: tuple[str, ...]
    zh: tuple[str, ...]


@dataclass(frozen=True)
class ThingWord(Word):
    """A thing: its Chinese measure word and where it is found unless told otherwise."""

    measure: str = "个"
    home: Literal["ground", "air", "water"] = "ground"


THINGS: tuple[ThingWord, ...] = (
    ThingWord("cat", ("cat", "kitten", "kitty"), ("猫", "小猫", "猫咪"), "只"),
    ThingWord("fish", ("fish",), ("鱼", "小鱼"), "条", "water"),
    ThingWord("tree", ("tree",), ("树", "大树", "树木"), "棵"),
    ThingWord("flower", ("flower", "blossom"), ("花", "花朵", "小花"), "朵"),
    ThingWord("mushroom", ("mushroom", "toadstool"), ("蘑菇",), "朵"),
    ThingWord("apple", ("apple",), ("苹果",), "个"),
    ThingWord("house", ("house", "cottage", "little house"), ("房子", "小屋", "小房子"), "座"),
    ThingWord("boat", ("boat", "sailboat", "ship"), ("小船", "帆船", "船"), "艘", "water"),
    ThingWord("balloon", ("balloon", "hot air balloon"), ("热气球", "气球"), "个", "air"),
    ThingWord("umbrella", ("umbrella", "parasol"), ("雨伞", "伞"), "把"),
    ThingWord("moon", ("moon", "crescent moon"), ("月亮", "月牙"), "轮", "air"),
    ThingWord("star", ("star",), ("星星", "星"), "颗", "air"),
)
COLOURS: tuple[Word, ...] = (
    Word("red", ("red", "scarlet"), ("红色", "红")),
    Word("orange", ("orange",), ("橙色", "橘色", "橙")),
    Word("yellow", ("yellow", "golden"), ("黄色", "黄")),
    Word("green", ("green",), ("绿色", "绿")),
    Word("turquoise", ("turquoise", "teal"), ("青绿色", "青色")),
    Word("blue", ("blue",), ("蓝色", "蓝")),
    Word("purple", ("purple", "violet"), ("紫色", "紫")),
    Word("pink", ("pink",), ("粉色", "粉红色")),
    Word("brown", ("brown",), ("棕色", "褐色")),
    Word("black", ("black",), ("黑色", "黑")),
    Word("white", ("white",), ("白色", "白")),
    Word("gray", ("gray", "grey"), ("灰色", "灰")),
)
PAINT: dict[str, Rgb] = {
    "red": rgb("#D8352F"),
    "orange": rgb("#EE8A2C"),
    "yellow": rgb("#F2CB3B"),
    "green": rgb("#3E9B53"),
    "turquoise": rgb("#2FB5AE"),
    "blue": rgb("#2F62C9"),
    "purple": rgb("#8149B5"),
    "pink": rgb("#F08DB2"),
    "brown": rgb("#86583A"),
    "black": rgb("#26262A"),
    "white": rgb("#F5F3EC"),
    "gray": rgb("#8C8F94"),
}
TINTS: dict[str, Rgb] = {
    "blue": rgb("#A6C3E8"),
    "green": rgb("#B2D6A8"),
    "yellow": rgb("#F4E39C"),
    "pink": rgb("#F6C3D2"),
    "purple": rgb("#C9B4E2"),
    "orange": rgb("#F3BD8E"),
    "gray": rgb("#BFC2C6"),
    "white": rgb("#F6F3EA"),
}
PLACES: tuple[Word, ...] = (
    Word("meadow", ("on a meadow", "in a meadow", "in the grass", "meadow"), ("草地上", "草地", "草原上")),
    Word("sea", ("at sea", "on the sea", "by the sea", "sea"), ("海上", "大海", "海边")),
    Word("snow", ("in the snow", "on snow", "snow"), ("雪地里", "雪地", "雪中")),
    Word("mountains", ("in the mountains", "mountains"), ("山里", "山中", "群山")),
)
LIGHTS: tuple[Word, ...] = (
    Word("day", ("by day", "day", "daytime"), ("白天",)),
    Word("night", ("at night", "night"), ("夜晚", "晚上", "夜里")),
)
SPOTS: tuple[Word, ...] = (
    Word("middle", ("in the middle", "middle", "in the center"), ("中间", "中央")),
    Word("left", ("on the left", "left"), ("左边", "左侧")),
    Word("right", ("on the right", "right"), ("右边", "右侧")),
    Word("top", ("at the top", "top", "above"), ("上方", "上面")),
    Word("bottom", ("at the bottom", "bottom", "below"), ("下方", "下面")),
)
SIZES: tuple[Word, ...] = (
    Word("small", ("small", "little", "tiny"), ("小",)),
    Word("big", ("big", "large"), ("大",)),
)
STYLES: tuple[Word, ...] = (Word("picture book", ("picture book", "storybook illustration"), ("绘本", "绘本风格")),)


@dataclass(frozen=True)
class Placed:
    """One thing in a scene: `x`, `y` of its centre and half its height `r`, as shares of the picture's side."""

    thing: str
    colour: str
    x: float
    y: float
    r: float
    spot: str | None = None  # what the caption may say about where it is
    size: str | None = None


@dataclass(frozen=True)
class Scene:
    """Everything that is in one picture, before it is drawn. Exactly one of `tint` and `place` is set."""

    things: tuple[Placed, ...]
    tint: str | None
    place: str | None
    light: str
    seed: int
