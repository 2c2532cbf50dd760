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
    ThingWord("fox", ("fox",), ("狐狸", "小狐狸"), "只"),
    ThingWord("rabbit", ("rabbit", "bunny"), ("兔子", "小兔子", "兔"), "只"),
    ThingWord("bird", ("bird", "songbird"), ("鸟", "小鸟", "鸟儿"), "只", "air"),
    ThingWord("fish", ("fish",), ("鱼", "小鱼", "鱼儿"), "条", "water"),
    ThingWord("whale", ("whale",), ("鲸鱼", "鲸"), "头", "water"),
    ThingWord("tree", ("tree",), ("树", "树木"), "棵"),
    ThingWord("flower", ("flower", "blossom"), ("花", "花朵", "小花"), "朵"),
    ThingWord("mushroom", ("mushroom", "toadstool"), ("蘑菇", "小蘑菇"), "朵"),
    ThingWord("apple", ("apple",), ("苹果",), "个"),
    ThingWord("house", ("house", "cottage"), ("房子", "小屋", "小房子"), "座"),
    ThingWord("lighthouse", ("lighthouse",), ("灯塔",), "座"),
    ThingWord("boat", ("boat", "sailboat", "sailing boat"), ("小船", "帆船", "船"), "艘", "water"),
    ThingWord("car", ("car", "automobile"), ("汽车", "小汽车", "轿车"), "辆"),
    ThingWord("balloon", ("hot air balloon", "balloon"), ("热气球", "气球"), "个", "air"),
    ThingWord("umbrella", ("umbrella", "parasol"), ("雨伞", "伞"), "把"),
    ThingWord("lantern", ("lantern", "paper lantern"), ("灯笼",), "盏"),
    ThingWord("teapot", ("teapot", "tea pot"), ("茶壶", "壶"), "把"),
    ThingWord("moon", ("moon", "crescent moon"), ("月亮", "月牙"), "轮", "air"),
    ThingWord("star", ("star",), ("星星", "星"), "颗", "air"),
)
COLOURS: tuple[Word, ...] = (
    Word("red", ("red", "scarlet"), ("红色", "红")),
    Word("orange", ("orange",), ("橙色", "橘色", "橙")),
    Word("yellow", ("yellow", "golden"), ("黄色", "黄")),
    Word("green", ("green",), ("绿色", "绿")),
    Word("turquoise", ("turquoise", "teal"), ("青绿色", "青绿", "青色")),
    Word("blue", ("blue",), ("蓝色", "蓝")),
    Word("purple", ("purple", "violet"), ("紫色", "紫")),
    Word("pink", ("pink",), ("粉色", "粉红色", "粉")),
    Word("brown", ("brown",), ("棕色", "褐色", "棕")),
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
    Word("beach", ("on the beach", "at the beach", "beach"), ("沙滩上", "沙滩", "海滩上")),
    Word("desert", ("in the desert", "desert", "among sand dunes"), ("沙漠里", "沙漠", "沙漠中")),
    Word("snow", ("in the snow", "on snow", "snow"), ("雪地里", "雪地", "雪地上")),
    Word("mountains", ("in the mountains", "mountains"), ("山里", "山中", "群山")),
    Word("street", ("on a city street", "in the street", "in the city", "city street"), ("街道", "街道上", "街上")),
    Word("room", ("in a room", "in the room", "room", "indoors"), ("房间里", "房间", "室内")),
)
LIGHTS: tuple[Word, ...] = (
    Word("day", ("by day", "day", "daytime"), ("白天",)),
    Word("sunset", ("at sunset", "sunset", "at dusk"), ("日落", "黄昏", "日落时分")),
    Word("night", ("at night", "night"), ("夜晚", "晚上", "夜里")),
    Word("fog", ("in fog", "fog", "foggy", "in the mist"), ("雾", "雾中", "大雾")),
)
WEATHERS: tuple[Word, ...] = (
    Word("rain", ("rain", "in the rain", "rainy"), ("下雨", "雨中", "雨天")),
    Word("snowfall", ("snowfall", "snowing", "falling snow"), ("下雪", "飘雪", "下着雪")),
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
STYLES: tuple[Word, ...] = (
    Word("picture book", ("picture book", "storybook illustration"), ("绘本", "绘本风格")),
    Word("paper cut", ("paper cut", "papercut", "cut paper"), ("剪纸", "剪纸风格")),
    Word("crayon", ("crayon", "crayon drawing"), ("蜡笔", "蜡笔画")),
    Word("watercolour", ("watercolor", "watercolour", "watercolor painting"), ("水彩", "水彩画")),
    Word("ink", ("ink", "ink wash", "ink painting"), ("水墨", "水墨画")),
    Word("pixel art", ("pixel art", "pixels"), ("像素画", "像素", "像素风")),
)
# the lights and the weather that a place can have; plain grounds have daylight and no weather
PLACE_LIGHTS: dict[str, tuple[str, ...]] = {
    place.name: ("day", "sunset", "night") if place.name == "room" else ("day", "sunset", "night", "fog")
    for place in PLACES
}
PLACE_WEATHERS: dict[str, tuple[str, ...]] = {
    "meadow": ("rain",),
    "sea": ("rain",),
    "beach": ("rain",),
    "snow": ("snowfall",),
    "mountains": ("rain", "snowfall"),
    "street": ("rain", "snowfall"),
}


@dataclass(frozen=True)
class Placed:
    """One thing in a scene: its centre `x`, `y` as shares of the picture's width and height, and half its height `r`
    as a share of the shorter side."""

    thing: str
    colour: str
    x: float
    y: float
    r: float
    spot: str | None = None  # what the caption may say about where it is
    size: str | None = None


@dataclass(frozen=True)
class Scene:
    """Everything that is in one picture, before it is drawn. Exactly one of `tint` and `place` is set.

    One to three things: one, two different ones, or two or three of one kind and colour. `ratio` is the width of the
    picture over its height.
    """

    things: tuple[Placed, ...]
    tint: str | None
    place: str | None
    light: str
    seed: int
    weather: str | None = None
    style: str = "picture book"
    ratio: float = 1.0

    @property
    def kinds(self) -> tuple[Placed, ...]:
        """The different things: one, or two; of several of one kind the first."""
        first = {placed.thing: placed for placed in reversed(self.things)}
        return tuple(reversed(first.values()))

    @property
    def count(self) -> int:
        """How many there are of the first kind: 1, 2 or 3."""
        return sum(placed.thing == self.things[0].thing for placed in self.things)

    @property
    def ground(self) -> str:
        """The name of the tint or of the place."""
        return self.tint or self.place or ""
