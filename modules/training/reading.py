"""Teaching the starter's text encoder to read: it names the scene's attributes from a caption before it sees a picture.

A text encoder that starts from nothing learns slowly through the diffusion loss alone. Here every position from the
end of the caption on, padding included, must know the whole scene, since the UNet attends to all of them alike.
"""

# diffusers and transformers type their parts loosely ("Tensor | Module", no stubs): these checks would only repeat that
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportOptionalSubscript=false, reportPrivateImportUsage=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel

from modules.training.autoencoder import keep
from modules.training.clock import Clock, falling
from modules.training.networks import POSITIONS
from modules.training.pool import Pool
from modules.training.questions import QUESTIONS

REPORT_EVERY = 200


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


class Lessons:
    """The pool's lessons in the memory of the device that trains: ids [n 77], ends [n], answers [n q]."""

    def __init__(self, pool: Pool, device: str) -> None:
        most = pool.layout.lessons
        self.pool, self.count = pool, 0
        self.ids = torch.empty((most, POSITIONS), dtype=torch.int32, device=device)
        self.ends = torch.empty(most, dtype=torch.long, device=device)
        self.known = torch.empty((most, len(QUESTIONS)), dtype=torch.long, device=device)

    def grow(self) -> None:
        """Take in what has been written since."""
        there = self.pool.lessons()
        span = slice(self.count, there)
        for mine, name in ((self.ids, "lesson_ids"), (self.ends, "lesson_ends"), (self.known, "lesson_facts")):
            mine[span] = torch.from_numpy(self.pool[name][span].astype(np.int32)).to(mine)
        self.count = there

    def batch(self, size: int, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """ids [b 77], a random position at or after each caption's end [b], answers [b q]."""
        device = self.ids.device
        chosen = torch.randint(self.count, (size,), generator=noise, device=device)
        ends = self.ends[chosen]
        far = torch.rand((2, size), generator=noise, device=device)
        positions = ends + (far[0] * (POSITIONS - ends)).long() * (far[1] > 0.3)
        return self.ids[chosen], positions.clamp(max=POSITIONS - 1), self.known[chosen]


def teach(
    text: CLIPTextModel,
    pool: Pool,
    folder: Path,
    clock: Callable[[float], Clock],
    *,
    layers: int,
    batch: int,
    device: str,
    rate: float = 1e-3,
    most_steps: int = 4_000,
    state_seconds: float = 300.0,
    seed: int = 2,
    report: Callable[[str], None] = print,
) -> None:
    """Train the reader until the clock (made from the seconds spent) is over; a resumable state is `folder`/text.pt."""
    torch.manual_seed(seed)
    text.to(device)
    shallow = Shallow(text, layers)
    reader = Reader(text).to(device).train()
    words = [text.embeddings.token_embedding.weight]
    others = [p for p in reader.parameters() if p is not words[0]]
    optimizer = torch.optim.AdamW(
        [{"params": words, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.01}],
        rate, betas=(0.9, 0.98), fused=device != "cpu",
    )  # fmt: skip
    path, step, spent = folder / "text.pt", 0, 0.0
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        reader.load_state_dict(state["reader"])
        step, spent = state["step"], state["spent"]
    lessons, noise = Lessons(pool, device), torch.Generator(device).manual_seed(seed + step)
    while lessons.count < min(20 * batch, pool.layout.lessons // 2):
        lessons.grow()
        time.sleep(0.02)
    time_left, start, began, saved = clock(spent), step, time.time(), time.time()
    while step == start or (time_left.done < 1 and step < most_steps):
        done = max(time_left.done, step / most_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step - start + 1) / 100) * falling(done, 0.1)
        ids, positions, known = lessons.batch(batch, noise)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            scores = reader(ids, positions)
        loss = torch.stack([F.cross_entropy(s.float(), known[:, k]) for k, s in enumerate(scores)]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            lessons.grow()
        if step % REPORT_EVERY == 0:
            report(_progress(step, done, loss, scores, known, (time.time() - began) / (step - start), lessons.count))
        if state_seconds and time.time() - saved > state_seconds:
            saved = time.time()
            keep(path, {"reader": reader.state_dict(), "step": step, "spent": time_left.spent})
    report(_progress(step, 1.0, loss, scores, known, (time.time() - began) / (step - start), lessons.count))
    if state_seconds:
        keep(path, {"reader": reader.state_dict(), "step": step, "spent": time_left.spent})
    shallow.restore()
    text.eval()


def _progress(
    step: int, done: float, loss: Tensor, scores: list[Tensor], known: Tensor, pace: float, count: int
) -> str:
    right = torch.stack([(s.argmax(1) == known[:, k]).float().mean() for k, s in enumerate(scores)])
    shares = " ".join(f"{name} {value:.3f}" for name, value in zip(QUESTIONS, right.tolist(), strict=True))
    return f"text {step} ({done:.0%}, {count} captions) loss {loss.item():.3f} {1000 * pace:.0f} ms a step {shares}"
