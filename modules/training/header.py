"""What the starter's file says of itself: its vocabulary in both languages, size and licence."""

from __future__ import annotations

from typing import Any

from modules.training.world import COLOURS, LIGHTS, PLACES, SIZES, SPOTS, STYLES, THINGS, TINTS, WEATHERS


def vocabulary() -> dict[str, Any]:
    """The world's words in both languages, for the page's hints."""
    tables = {"things": THINGS, "colours": COLOURS, "places": PLACES, "lights": LIGHTS, "weather": WEATHERS}
    tables |= {"where": SPOTS, "sizes": SIZES, "styles": STYLES}
    words: dict[str, Any] = {
        name: [{"name": word.name, "en": list(word.en), "zh": list(word.zh)} for word in table]
        for name, table in tables.items()
    }
    words["backgrounds"] = list(TINTS)
    return words


def metadata(size: int, trained_on: int) -> dict[str, object]:
    """The header of the checkpoint."""
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "Atelier Starter",
        "modelspec.description": f"A small picture book: {len(THINGS)} things in {len(COLOURS)} colours on plain "
        f"grounds and in {len(PLACES)} places, in {len(STYLES)} styles.",
        "modelspec.author": "Atelier",
        "modelspec.license": "Apache-2.0",
        "modelspec.resolution": f"{size}x{size}",
        "modelspec.prediction_type": "epsilon",
        "atelier.vocabulary": vocabulary(),
        "atelier.trained_on": str(trained_on),
    }
