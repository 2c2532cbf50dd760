"""What putting LoRAs on costs, beside casting the weights that they touch once: at Stable Diffusion 1.5's full size.

    python -m benchmarks.lora [--dtype bfloat16] [--turns 3]

The checkpoint (fp16) and ten LoRAs (rank 32, 264 modules) are made from a seed: speed does not depend on their values.
Everything is measured in turns in one run, files in the page cache. "survives" is how much of a change with a spread of
2e-5 is in the running weights: the slope of what they changed by against what was asked for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from modules.core.plan import AdapterFile, ModelFile
from modules.engine import loading
from modules.engine.adapters.applied import Adapted
from modules.families.base import Model, Numerics
from modules.training.tinies import FULL_SD1, write_full

RANK = 32
SPREAD = 2e-5
UNET = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def chosen(model: Model) -> list[tuple[str, str, torch.nn.Module]]:
    """The modules that trainers change: attention, its feed-forward and its doors, in both parts."""
    found = []
    for part, ends, head in (("network", UNET, "lora_unet_"), ("text", TEXT, "lora_te_text_model_")):
        for name, module in model.parts()[part].named_modules():
            if name.endswith(ends) and ("attentions" in name or part == "text"):
                plain = name.removeprefix("text_model.")
                found.append((part, head + plain.replace(".", "_"), module))
    return found


def write_lora(path: Path, modules: list[tuple[str, str, torch.nn.Module]], seed: int) -> AdapterFile:
    """A LoRA whose changes have a spread of 2e-5."""
    generator = torch.Generator().manual_seed(seed)
    each = (SPREAD / RANK**0.5) ** 0.5
    tensors = {}
    for _, written, module in modules:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        extra = (1, 1) if weight.dim() == 4 else ()
        up = torch.randn(weight.shape[0], RANK, *extra, generator=generator) * each
        down = torch.randn(RANK, weight.shape[1], *extra, generator=generator) * each
        tensors |= {f"{written}.lora_up.weight": up.half(), f"{written}.lora_down.weight": down.half()}
        tensors[f"{written}.alpha"] = torch.tensor(float(RANK))
    save_file(tensors, path)
    return AdapterFile(name=path.stem, path=str(path), stamp=loading.stamp(path))


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = write_full(Path(folder, "full.safetensors"), FULL_SD1, 1)
        file = ModelFile(name="full", path=str(path), family="sd1", stamp=loading.stamp(path))
        numerics = Numerics(name="bench", network=given.dtype, text=given.dtype)
        model = loading.load(file, numerics, torch.device("cpu"))
        modules = chosen(model)
        loras = [write_lora(Path(folder, f"lora{seed}.safetensors"), modules, seed) for seed in range(10)]
        adapted = Adapted(model, file)
        names = {id(module): (part, name) for part in ("network", "text")
                 for name, module in model.parts()[part].named_modules()}  # fmt: skip

        def cast() -> None:
            """Read and cast the touched weights once: what every change has to do at the least."""
            with loading.tensors_of(file) as (tensors, _):
                for part, _, module in modules:
                    full = f"{names[id(module)][1]}.weight"
                    known = set(model.parts()[part].state_dict())
                    origin = model.family.origin(part, full, known, tensors.shapes)
                    assert origin is not None
                    origin.read(tensors).to(getattr(torch, given.dtype))

        rows: dict[str, list[float]] = {"cast": [], "apply": [], "change": [], "ten": [], "restore": []}
        cast()
        for _ in range(given.turns):
            rows["cast"].append(timed(cast))
            rows["apply"].append(timed(lambda: adapted.wear(loras[:1])))
            rows["change"].append(timed(lambda: adapted.wear([loras[0].model_copy(update={"unet": 0.5, "te": 0.5})])))
            rows["ten"].append(timed(lambda: adapted.wear(loras)))
            rows["restore"].append(timed(lambda: adapted.wear(())))
        base = statistics.median(rows["cast"])
        print(f"{len(modules)} modules, rank {RANK}, {given.dtype}; cast once {base:.2f} s")
        for name, target in (("apply", 1.6), ("change", 1.6), ("ten", 3.5), ("restore", 1.1)):
            print(f"| {name} | {statistics.median(rows[name]) / base:.2f} x | target {target} x |")
        adapted.wear(loras[:1])
        with loading.tensors_of(file) as (tensors, _), loading.Weights(Path(loras[0].path)) as lora:
            asked, had = [], []
            for part, written, module in modules[:40]:
                up, down = (lora[f"{written}.lora_{side}.weight"].float().flatten(1) for side in ("up", "down"))
                full = f"{names[id(module)][1]}.weight"
                known = set(model.parts()[part].state_dict())
                origin = model.family.origin(part, full, known, tensors.shapes)
                assert origin is not None
                exact = origin.read(tensors).float().flatten()
                asked.append((up @ down).flatten())
                had.append(module.weight.float().flatten() - exact)  # type: ignore[operator]
            wanted, found = torch.cat(asked), torch.cat(had)
        share = float((wanted @ found) / (wanted @ wanted))
        print(f"| survives | {share:.3f} | target 0.98 |")


if __name__ == "__main__":
    main()
