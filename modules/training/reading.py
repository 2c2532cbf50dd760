"""Teaching the starter's text encoder to read: it names the scene's attributes from a caption before it sees a picture.

A text encoder that starts from nothing learns slowly through the diffusion loss alone. Here every position from the
end of the caption on, padding included, must know the whole scene, since the UNet attends to all of them alike.
"""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel

from modules.prompt import emphasis, tokens
from modules.training.captions import Mood, caption, sample_mood
from modules.training.networks import EOS, POSITIONS
from modules.training.scenes import sample_scene
from modules.training.world import COLOURS, LIGHTS, PLACES, SIZES, SPOTS, THINGS, TINTS, Scene

UNSAID = 0
QUESTIONS: dict[str, int] = {
    **{f"{name}{k}": count + 1 for k in (1, 2) for name, count in (("thing", len(THINGS)), ("colour", len(COLOURS)))},
    **{f"{name}{k}": count + 1 for k in (1, 2) for name, count in (("spot", len(SPOTS)), ("size", len(SIZES)))},
    "tint": len(TINTS) + 1,
    "place": len(PLACES) + 1,
    "light": len(LIGHTS) + 1,
}


def token_ids(text: str) -> list[list[int]]:
    """A caption as the engine will feed it: chunks of 77 token numbers, padded with the end token."""
    return [list(chunk.ids) for chunk in tokens.chunks(emphasis.runs(text))]


def answers(scene: Scene, is_bare: bool) -> list[int]:
    """What a reader should know after the caption, one number for each question; 0 where it is not said.

    The two things are put in a fixed order (left before right, top before bottom), so that one question has one answer.
    """
    numbers = dict.fromkeys(QUESTIONS, UNSAID)
    tables = {"thing": THINGS, "colour": COLOURS, "spot": SPOTS, "size": SIZES}
    for k, placed in enumerate(scene.things, 1):
        for name, table in tables.items():
            value = getattr(placed, name)
            if value is not None:
                numbers[f"{name}{k}"] = 1 + [word.name for word in table].index(value)
    if not is_bare:
        if scene.tint:
            numbers["tint"] = 1 + list(TINTS).index(scene.tint)
        else:
            numbers["place"] = 1 + [word.name for word in PLACES].index(scene.place or "")
            numbers["light"] = 1 + [word.name for word in LIGHTS].index(scene.light)
    return list(numbers.values())


class Reader(nn.Module):
    """The text encoder with one small linear head for each question."""

    def __init__(self, text: CLIPTextModel) -> None:
        super().__init__()
        self.text = text
        self.heads = nn.Linear(text.config.hidden_size, sum(QUESTIONS.values()))

    def forward(self, ids: Tensor, positions: Tensor) -> list[Tensor]:
        """Scores for each question at one position of each caption: ids [b 77], positions [b]."""
        states = self.text(input_ids=ids).last_hidden_state
        chosen = states[torch.arange(len(ids)), positions]
        return list(self.heads(chosen).split(list(QUESTIONS.values()), 1))


def start_shallow(text: CLIPTextModel, layers: int) -> None:
    """Make all layers after the first `layers` the identity (their two output matrices are zero), and keep them so.

    SD1's text encoder has twelve layers; this world needs fewer, and clip skip then changes nothing.
    """
    for layer in list(text.encoder.layers)[layers:]:
        for part in (layer.self_attn.out_proj, layer.mlp.fc2):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)


class Shallow:
    """The text encoder without its identity layers, while it is trained; `restore` puts them back."""

    def __init__(self, text: CLIPTextModel, layers: int) -> None:
        self.text, self.all = text, text.encoder.layers
        text.encoder.layers = nn.ModuleList(list(self.all)[:layers])

    def restore(self) -> None:
        """Put all layers back."""
        self.text.encoder.layers = self.all


def lessons(batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Captions of fresh scenes: ids [b 77], a random position at or after each caption's end [b], answers [b q]."""
    ids, positions, known = [], [], []
    while len(ids) < batch:
        scene = sample_scene(int(rng.integers(1 << 40)))
        mood = sample_mood(rng)
        mood = Mood(mood.language, mood.form, mood.junk, False)
        chunk, *more = token_ids(caption(scene, rng, mood))
        if more:
            continue
        ids.append(_with_strangers(chunk, rng))
        end = chunk.index(EOS)
        positions.append(int(end if rng.random() < 0.3 else rng.integers(end, POSITIONS)))
        known.append(answers(scene, mood.form == "bare"))
    return torch.tensor(ids), torch.tensor(positions), torch.tensor(known)


def _with_strangers(ids: list[int], rng: np.random.Generator) -> list[int]:
    """Now and then words from anywhere in the vocabulary before or after the caption: to be read over."""
    end = ids.index(EOS)
    if rng.random() > 0.12 or end > 60:
        return ids
    strangers = [int(k) for k in rng.integers(256, 49406, rng.integers(1, 9))]
    body = ids[1:end]
    body = strangers + body if rng.random() < 0.4 else body + strangers
    return ([ids[0], *body] + [EOS] * POSITIONS)[:POSITIONS]


def teach(
    text: CLIPTextModel,
    folder: Path,
    *,
    steps: int,
    layers: int,
    batch: int = 64,
    rate: float = 1e-3,
    device: str = "cpu",
    seed: int = 2,
    report: Callable[[str], None] = print,
) -> None:
    """Train the reader; a resumable state is kept in `folder`/text.pt."""
    torch.manual_seed(seed)
    shallow, reader = Shallow(text, layers), Reader(text)
    text.embeddings.token_embedding.sparse = True
    embedding = text.embeddings.token_embedding.weight
    others = [p for p in reader.parameters() if p is not embedding]
    slow = torch.optim.SparseAdam([embedding], lr=rate)
    fast = torch.optim.AdamW(others, rate, betas=(0.9, 0.98), weight_decay=0.01)
    path, start = folder / "text.pt", 0
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
        reader.load_state_dict(state["reader"])
        start = state["step"]
    reader.to(device).train()
    rng, began = np.random.default_rng((seed, start)), time.monotonic()
    for step in range(start, steps):
        fall = min(1.0, (step - start + 1) / 60) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in (*slow.param_groups, *fast.param_groups):
            group["lr"] = rate * fall
        ids, positions, known = (t.to(device) for t in lessons(batch, rng))
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            scores = reader(ids, positions)
        losses = [F.cross_entropy(s.float(), known[:, k]) for k, s in enumerate(scores)]
        loss = torch.stack(losses).sum()
        slow.zero_grad()
        fast.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        slow.step()
        fast.step()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            right = torch.stack([(s.argmax(1) == known[:, k]).float().mean() for k, s in enumerate(scores)])
            shares = " ".join(f"{name} {value:.2f}" for name, value in zip(QUESTIONS, right.tolist(), strict=True))
            pace = (time.monotonic() - began) / (step + 1 - start)
            report(f"text {step + 1}/{steps} loss {loss.item():.3f} {pace:.2f} s/step {shares}")
        if (step + 1) % 200 == 0 or step + 1 == steps:
            folder.mkdir(parents=True, exist_ok=True)
            torch.save({"reader": reader.state_dict(), "step": step + 1}, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
    text.embeddings.token_embedding.sparse = False
    shallow.restore()
    text.eval()
