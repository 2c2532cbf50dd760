"""Sheets of pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

PROMPTS = (
    "a small red house in the snow at night, a big yellow moon above, paper cut",
    "an orange fox on the left, a blue umbrella on the right, rain, watercolor",
    "three pink mushrooms on a meadow, crayon",
    "a white lighthouse by the sea, sunset, pixel art",
    "雪地里的红色小房子,夜晚,上方黄色月亮,剪纸",
    "左边黑猫,右边红灯笼,街道,夜晚,水墨",
    "黄色热气球在山里,日落,水彩",
    "海上的紫色鲸鱼和白色小船,绘本",
    "a small red house on the left, blue background",
    "an orange cat on a green background",
    "purple fish at sea",
    "a black rabbit on a meadow",
    "a turquoise bird in a room",
    "黄色背景，一只蓝色的猫",
    "紫色雨伞，白色背景",
    "a red star left of a green tree on a gray background",
    "a brown teapot in a room, crayon",
    "a red car in the street, fog",
    "a yellow lantern, night, street, snowing",
    "two white boats at sea",
    "a pink flower in the desert, ink",
    "a gray whale at sea, paper cut",
    "a big green apple, pink background",
    "一辆绿色的汽车在沙滩上",
)


def picture_of(picture: Tensor) -> Image.Image:
    """[3 h w] in -1..1 as a picture."""
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels)


def grid(pictures: Tensor, columns: int = 8) -> Image.Image:
    """Pictures [n 3 h w] in rows; the last row's rest is white."""
    missing = -len(pictures) % columns
    filled = torch.cat([pictures.cpu(), torch.ones(missing, *pictures.shape[1:])])
    return picture_of(torch.cat([torch.cat(list(row), 2) for row in filled.split(columns)], 1))


def save_sheet(path: Path, sheets: Sequence[Image.Image]) -> None:
    """The sheets one above the other; WebP keeps eight rows of eight under a megabyte."""
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, quality=82, method=4)
