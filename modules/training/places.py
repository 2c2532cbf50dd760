"""The eight places and the plain ground, each a few layers from far to near that any style can lay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modules.training.draw import Floats, Paper, band, box, ellipse, smooth
from modules.training.lights import sky_colours, tone
from modules.training.styles import Style, mixed
from modules.training.world import TINTS, Rgb, Scene, rgb


class Ground:
    """The paper, the style and the light with which a place is drawn. Heights are shares of the picture's height."""

    def __init__(self, paper: Paper, style: Style, scene: Scene) -> None:
        self.paper, self.style, self.scene, self.rng = paper, style, scene, paper.rng
        self.wide, self.tall = paper.wide, paper.tall

    def tone(self, colour: Rgb, far: float = 0.0) -> Rgb:
        """A colour in this light and style."""
        return self.style.tone(tone(colour, self.scene, far), is_plain=False)

    def sky(self, high: str, low: str, horizon: float = 0.6) -> None:
        """The sky down to the horizon; the colours are those of a fine day."""
        top, bottom = sky_colours(self.scene, rgb(high), rgb(low))
        self.style.sky(self.paper, self.style.tone(top, False), self.style.tone(bottom, False), horizon * self.tall)

    def layer(self, outline: Floats | list[Floats], colour: str | Rgb, far: float = 0.0, depth: float = 0.1) -> None:
        """One shape of the ground."""
        outlines = outline if isinstance(outline, list) else [outline]
        hue = rgb(colour) if isinstance(colour, str) else colour
        patch = self.style.shape(self.paper, outlines)
        self.style.lay(self.paper, patch, self.tone(hue, far), depth, "ground", None)

    def marks(self, outlines: list[Floats], colour: str, lamp: bool = False) -> None:
        """Small flat shapes in one colour; lamps keep theirs at night."""
        hue = rgb(colour) if lamp else self.tone(rgb(colour))
        self.style.lay(self.paper, self.style.shape(self.paper, outlines), hue, 0.0, "mark", None)

    def hill(self, height: float, swing: float, colour: str, far: float = 0.0, depth: float = 0.1) -> None:
        """A wavy band from `height` down to the picture's foot."""
        x = np.linspace(-0.5, self.wide + 0.5, 13)
        y = height * self.tall + self.rng.normal(0, 1.3 * swing, 13)
        y[1:-1] = (y[:-2] + 2 * y[1:-1] + y[2:]) / 4
        line = smooth([*zip(x, y, strict=True), (self.wide + 0.7, self.tall + 0.5), (-0.7, self.tall + 0.5)])
        self.layer(line, colour, far, depth)

    def spread(self, count: int, top: float, bottom: float) -> list[tuple[float, float]]:
        """Points here and there between two heights, in the paper's units; more on wide pictures."""
        n = max(1, round(count * self.wide))
        x = (np.arange(n) + self.rng.uniform(0.15, 0.85, n)) * self.wide / n
        y = self.rng.uniform(top, bottom, n) * self.tall
        return list(zip(x.tolist(), y.tolist(), strict=True))

    def clouds(self, count: int) -> None:
        """Small flat clouds, on fine days and at sunset."""
        if self.scene.light not in ("day", "sunset") or self.scene.weather:
            return
        for x, y in self.spread(count, 0.08, 0.26):
            w = self.rng.uniform(0.09, 0.14)
            puffs = [ellipse(x, y, w, 0.026), ellipse(x - 0.35 * w, y - 0.02, 0.4 * w, 0.03),
                     ellipse(x + 0.2 * w, y - 0.032, 0.45 * w, 0.038)]  # fmt: skip
            self.layer(puffs, "#F3F4F1" if self.scene.light == "day" else "#F6D9C4", depth=0.04)


def plain(g: Ground) -> None:
    """One tint, lighter in the middle, as of a sheet held to a window."""
    tint = TINTS[g.scene.tint or ""]
    hue = g.style.tone(tint, is_plain=True)
    g.style.sky(g.paper, mixed(hue, (1.0, 1.0, 1.0), 0.07), mixed(hue, (0.5, 0.45, 0.4), 0.05), g.tall)
    if g.style.block(256) == 1:
        for placed in g.scene.things:
            g.paper.glow(placed.x * g.wide, placed.y * g.tall, 1.9 * placed.r, mixed(hue, (1.0, 1.0, 1.0), 0.6), 0.4)


def meadow(g: Ground) -> None:
    """Green hills under a pale sky, with tufts of grass and clover."""
    g.sky("#A9D0EA", "#DDEBE0")
    g.clouds(2)
    g.hill(0.52, 0.05, "#BFD9A2", far=0.6)
    g.hill(0.6, 0.03, "#A9CC88", far=0.3)
    g.hill(0.72, 0.016, "#97C078")
    for x, y in g.spread(7, 0.78, 0.97):
        tuft = [(x - 0.026, y), (x - 0.036, y - 0.052), (x - 0.008, y - 0.02), (x + 0.002, y - 0.07),
                (x + 0.016, y - 0.02), (x + 0.042, y - 0.048), (x + 0.03, y)]  # fmt: skip
        g.layer(np.asarray(tuft, np.float32), "#77A95F", depth=0.0)


def sea(g: Ground) -> None:
    """Water in bands with pale wave crests."""
    g.sky("#AFD3EA", "#E6E6D6", 0.5)
    g.clouds(2)
    g.hill(0.5, 0.003, "#8DBAD3", far=0.6)
    g.hill(0.62, 0.012, "#76A9C9", far=0.2)
    g.hill(0.79, 0.014, "#6299C0")
    for x, y in g.spread(8, 0.56, 0.96):
        w = g.rng.uniform(0.05, 0.085)
        crest = smooth([(x - w, y), (x - 0.5 * w, y - 0.024), (x, y - 0.006), (x + 0.5 * w, y - 0.026), (x + w, y),
                        (x + 0.5 * w, y - 0.004), (x, y + 0.018), (x - 0.5 * w, y - 0.002)])  # fmt: skip
        g.layer(crest, "#CFE4EE", depth=0.0)


def beach(g: Ground) -> None:
    """Sand with shells, a line of foam and a strip of sea."""
    g.sky("#A6D3E8", "#E3ECE2", 0.44)
    g.clouds(2)
    g.hill(0.42, 0.002, "#86BCCB", far=0.5)
    g.hill(0.5, 0.006, "#8FC9CC", far=0.3)
    g.hill(0.575, 0.02, "#EAF1EC", far=0.1)
    g.hill(0.605, 0.02, "#E8D5A8")
    g.hill(0.78, 0.02, "#E2CB99")
    for x, y in g.spread(5, 0.72, 0.96):
        a = np.linspace(np.pi, 2 * np.pi, 9)
        r = g.rng.uniform(0.018, 0.026)
        fan = np.stack([x + 1.2 * r * np.cos(a), y + 1.3 * r * np.sin(a)], 1).astype(np.float32)
        g.layer(fan, ("#D9A58C", "#F4EADB", "#C9AE86")[int(g.rng.integers(3))], depth=0.0)


def desert(g: Ground) -> None:
    """Dunes with a lit and a shaded side, a far mesa."""
    g.sky("#B5D4E2", "#F0E3C8", 0.55)
    x = g.rng.uniform(0.1, 0.9) * g.wide
    top = 0.36 * g.tall
    g.layer(smooth([(x - 0.2, 0.6 * g.tall), (x - 0.14, top), (x - 0.1, top - 0.01), (x + 0.1, top - 0.01),
                    (x + 0.14, top), (x + 0.22, 0.6 * g.tall)], 4), "#D2A98A", far=0.7)  # fmt: skip
    g.hill(0.53, 0.05, "#E6C794", far=0.5)
    for height, colour, shadow in ((0.62, "#DDB87F", "#CBA26B"), (0.74, "#E2C08A", "#D2AD74")):
        peak = g.rng.uniform(0.15, 0.85) * g.wide
        y = height * g.tall
        g.hill(height + 0.02, 0.012, colour, far=0.15)
        ridge = smooth([(peak - 0.5, y + 0.06), (peak, y - 0.035), (peak + 0.42, y + 0.05), (peak + 0.1, y + 0.1)])
        g.layer(ridge, colour, depth=0.05)
        g.layer(smooth([(peak, y - 0.03), (peak + 0.42, y + 0.05), (peak + 0.16, y + 0.09), (peak + 0.06, y + 0.04)]),
                shadow, depth=0.03)  # fmt: skip
    for x, y in g.spread(4, 0.82, 0.96):
        g.layer(band([(x - 0.08, y), (x, y - 0.012), (x + 0.08, y)], 0.02), "#CFAA72", depth=0.0)


def snow(g: Ground) -> None:
    """White drifts with blue shadows under a cold sky."""
    g.sky("#9DB8CF", "#CBDAE4")
    g.hill(0.52, 0.05, "#D3DFE9", far=0.5, depth=0.1)
    g.hill(0.61, 0.035, "#E2EAF1", far=0.2, depth=0.12)
    g.hill(0.73, 0.02, "#F3F6F9", depth=0.12)
    for x, y in g.spread(4, 0.8, 0.96):
        w = g.rng.uniform(0.06, 0.1)
        g.layer(smooth([(x - w, y), (x, y - 0.018), (x + w, y), (x, y + 0.008)]), "#D6E1EC", depth=0.0)


def mountains(g: Ground) -> None:
    """Blue peaks with white caps behind a moss-coloured foot."""
    g.sky("#B4D0E4", "#EFE6D8")
    peaks = [(0.2, 0.24, 0.34, "#A3B1C9", 0.6), (0.82, 0.2, 0.36, "#94A5C1", 0.5), (0.52, 0.34, 0.3, "#8193B3", 0.35)]
    for share, height, w, colour, far in peaks:
        x = share * g.wide + g.rng.normal(0, 0.04)
        y, foot, w = height * g.tall + g.rng.normal(0, 0.02), 0.8 * g.tall, w * max(g.wide, 0.8)
        slope = (foot - y) / w
        edge = [
            (x, y),
            (x + 0.4 * w, y + 0.37 * (foot - y)),
            (x + w, foot),
            (x - w, foot),
            (x - 0.45 * w, y + 0.5 * (foot - y)),
        ]
        g.layer(np.asarray(edge, np.float32), colour, far, depth=0.12)
        d = 0.12 / slope
        cap = [(x, y), (x + d, y + 0.12), (x + 0.45 * d, y + 0.085), (x + 0.1 * d, y + 0.14), (x - 0.4 * d, y + 0.09),
               (x - 0.95 * d, y + 0.12)]  # fmt: skip
        g.layer(np.asarray(cap, np.float32), "#F0F3F6", far * 0.5, depth=0.04)
    g.hill(0.66, 0.02, "#AFC09B", far=0.25)
    g.hill(0.74, 0.014, "#A0B487")
    for x, y in g.spread(5, 0.82, 0.96):
        r = g.rng.uniform(0.018, 0.03)
        g.layer(smooth([(x - r, y), (x - 0.7 * r, y - 0.9 * r), (x + 0.3 * r, y - 1.1 * r), (x + r, y)]), "#8E9890")


def street(g: Ground) -> None:
    """Flat-roofed blocks with windows, lit at night, behind a pavement and a road."""
    g.sky("#B7D2E5", "#EAE6DA", 0.5)
    hues = ["#CDB6A6", "#B9C2CC", "#D8CBB2", "#B7BFB0", "#C9B3B8"]
    dark = g.scene.light == "night"
    x, k, foot = -0.06, int(g.rng.integers(5)), 0.7 * g.tall
    while x < g.wide:
        w, top = g.rng.uniform(0.17, 0.25), g.rng.uniform(0.16, 0.36) * g.tall
        g.layer(box(x, top, x + w, foot + 0.05, soft=0.01), hues[k % 5], far=0.3, depth=0.08)
        panes = []
        for wx in np.linspace(x + 0.045, x + w - 0.045, 2 if w < 0.21 else 3):
            for wy in np.arange(top + 0.055, foot - 0.05, 0.1):
                if not dark or g.rng.random() < 0.6:
                    panes.append(box(wx - 0.018, wy - 0.024, wx + 0.018, wy + 0.024))
        if panes:
            g.marks(panes, "#F5D78C" if dark else "#8FA3B5", lamp=dark and g.style.block(256) == 1)
        x, k = x + w + 0.004, k + 1
    g.layer(box(-0.1, foot, g.wide + 0.1, g.tall + 0.1, soft=0), "#C9C5BE", far=0.1, depth=0.06)
    g.layer(box(-0.1, 0.79 * g.tall, g.wide + 0.1, g.tall + 0.1, soft=0), "#92949C", depth=0.08)
    start = g.rng.uniform(-0.1, 0.1)
    g.marks([box(v, 0.925 * g.tall - 0.014, v + 0.13, 0.925 * g.tall + 0.014) for v in np.arange(start, g.wide, 0.24)],
            "#E9E4D3")  # fmt: skip


def room(g: Ground) -> None:
    """Striped wallpaper, a window with the sky in it, floorboards and a round rug."""
    walls = (("#E5D6BC", "#DCCAAA"), ("#CBD8CB", "#BFCDBF"), ("#E0C8C0", "#D6BBB2"), ("#C9D3DE", "#BCC8D5"))
    wall, stripe = walls[int(g.rng.integers(4))]
    floor = 0.66 * g.tall
    g.style.sky(g.paper, g.tone(mixed(rgb(wall), (1.0, 1.0, 1.0), 0.1)), g.tone(rgb(wall)), floor)
    g.layer([box(v, -0.1, v + 0.06, floor + 0.02, soft=0) for v in np.arange(0.03, g.wide, 0.14)], stripe, depth=0.04)
    side = g.rng.choice([0.2, 0.8]) if g.scene.things and abs(g.scene.things[0].x - 0.5) < 0.15 else 0.5
    x, y = side * g.wide, 0.25 * g.tall
    g.layer(box(x - 0.145, y - 0.165, x + 0.145, y + 0.165), "#B98F68", depth=0.06)
    view = {"day": "#B5D8EC", "sunset": "#F2B98A", "night": "#2A3B68"}.get(g.scene.light, "#D3D8D8")
    panes = [box(x + dx - 0.054, y + dy - 0.064, x + dx + 0.054, y + dy + 0.064)
             for dx in (-0.064, 0.064) for dy in (-0.074, 0.074)]  # fmt: skip
    patch = g.style.shape(g.paper, panes)
    g.style.lay(g.paper, patch, g.style.tone(rgb(view), True), 0.05, "mark", None)
    g.layer(box(-0.1, floor, g.wide + 0.1, g.tall + 0.1, soft=0), "#BF9468", depth=0.14)
    boards = [band([(0.5 * g.wide + s * 0.6, floor + 0.004), (0.5 * g.wide + s * 1.25, g.tall + 0.1)], 0.012)
              for s in np.linspace(-1.2, 1.2, 8) * g.wide]  # fmt: skip
    g.layer(boards, "#A97F57", depth=0.0)
    g.layer(box(-0.1, floor - 0.022, g.wide + 0.1, floor + 0.014, soft=0), "#F0E6D4", depth=0.03)
    g.layer(ellipse(0.5 * g.wide, 0.88 * g.tall, 0.42 * g.wide, 0.085), "#C4A9A4", depth=0.04)
    g.layer(ellipse(0.5 * g.wide, 0.88 * g.tall, 0.34 * g.wide, 0.06), "#D9C4B8", depth=0.04)


GROUNDS: dict[str, Callable[[Ground], None]] = {
    "meadow": meadow,
    "sea": sea,
    "beach": beach,
    "desert": desert,
    "snow": snow,
    "mountains": mountains,
    "street": street,
    "room": room,
}
