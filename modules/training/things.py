"""Which drawing belongs to which thing of the starter's world."""

from __future__ import annotations

from collections.abc import Callable

from modules.training import things_living as living
from modules.training import things_made as made
from modules.training.brush import Brush

DRAWN: dict[str, Callable[[Brush], None]] = {
    "cat": living.cat,
    "fox": living.fox,
    "rabbit": living.rabbit,
    "bird": living.bird,
    "fish": living.fish,
    "whale": living.whale,
    "tree": living.tree,
    "flower": living.flower,
    "mushroom": living.mushroom,
    "apple": living.apple,
    "house": made.house,
    "lighthouse": made.lighthouse,
    "boat": made.boat,
    "car": made.car,
    "balloon": made.balloon,
    "umbrella": made.umbrella,
    "lantern": made.lantern,
    "teapot": made.teapot,
    "moon": made.moon,
    "star": made.star,
}
MIRRORED = frozenset(DRAWN) - {"moon", "star", "balloon", "lantern", "lighthouse", "mushroom"}  # these look one way
