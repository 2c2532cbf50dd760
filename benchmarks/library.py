"""What a large library costs: start, scan, list and search over 10,000 LoRA files and 1,000 checkpoints.

    python -m benchmarks.library [loras] [checkpoints]

The files are made in a temporary folder: real headers, a few bytes of weights. Each figure is of this process alone;
"again" is what a second start costs, which finds everything in the cache.
"""

from __future__ import annotations

import json
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

WORDS = "ink wash anime portrait sketch neon forest castle armour kimono robot watercolour pastel film grain".split()  # noqa: SIM905
MODULE = "lora_unet_down_blocks_{}_attentions_0_transformer_blocks_0_attn2_to_k"


def write(path: Path, shapes: dict[str, tuple[int, ...]], metadata: dict[str, str]) -> None:
    """A safetensors file whose tensors share their few bytes' place at the end."""
    entries: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for side in shape:
            size *= side
        entries[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def fill(models: Path, loras: int, checkpoints: int) -> None:
    """Put the files there: LoRAs in folders of 500, each with tags, every third with a card."""
    for number in range(loras):
        folder = models / "Lora" / f"pack {number // 500:02}"
        folder.mkdir(parents=True, exist_ok=True)
        first, second = WORDS[number % 15], WORDS[number // 15 % 15]
        place = MODULE.format(number % 3)
        shapes = {f"{place}.lora_down.weight": (1, 768), f"{place}.lora_up.weight": (320, 1), f"{place}.alpha": ()}
        tags = json.dumps({"10_x": {first: 20, second: 10, f"style{number}": 5}})
        write(folder / f"{first} {second} {number}.safetensors", shapes, {"ss_tag_frequency": tags})
        if number % 3 == 0:
            card = {"activation text": f"{first} {second}", "preferred weight": 0.8}
            (folder / f"{first} {second} {number}.json").write_text(json.dumps(card))
    room = models / "Stable-diffusion"
    room.mkdir(parents=True, exist_ok=True)
    for number in range(checkpoints):
        write(room / f"model {number}.safetensors", {"model.diffusion_model.out.2.bias": (4,)}, {})


def timed(what, rounds: int = 1) -> float:
    """Milliseconds, the middle of several rounds."""
    took: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        what()
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def main(loras: int = 10_000, checkpoints: int = 1_000) -> None:
    from modules.core.settings import Settings
    from modules.library.adaptersearch import search
    from modules.library.checkpoints import Catalogue

    with tempfile.TemporaryDirectory() as data:
        fill(Path(data, "models"), loras, checkpoints)
        for title in ("first start", "again"):
            library = Catalogue(Settings(data_dir=data), [Path(data, "models")])
            start = timed(lambda library=library: library.adapters.list("lora"))
            models = timed(library.list)
            scan = timed(lambda library=library: library.adapters.embeddings(None))
            print(f"{title}: names of {loras} LoRAs {start:.0f} ms, {checkpoints} checkpoints {models:.0f} ms")
            if title == "first start":
                reader = Catalogue(Settings(data_dir=data), [Path(data, "models")], hashing=True)
                began = time.perf_counter()
                while any(one.facts is None for one in reader.adapters.list("lora")):
                    time.sleep(0.2)
                print(f"all headers and cards read in {time.perf_counter() - began:.1f} s, in the background")
                reader.close()
            else:
                print(f"embeddings {scan:.1f} ms")
                print(
                    f"list, first window {timed(lambda library=library: search(library.adapters, limit=60), 15):.1f} ms"
                )
                for query in ("ink", "ink castle", "style4711", "nothing of that"):
                    took = timed(lambda library=library, query=query: search(library.adapters, query, limit=60), 15)
                    print(f"search {query!r}: {took:.1f} ms")
            library.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
