"""Large files in small parts, for places that take only small ones; `cat FILE.part-* > FILE` puts them together."""

from __future__ import annotations

from pathlib import Path

PART_BYTES = 15_872 * 1024  # 15.5 MiB


def split(path: Path, folder: Path, name: str, part_bytes: int = PART_BYTES) -> list[Path]:
    """Write `path` into `folder` as `name`.part-1, .part-2, ... of at most `part_bytes`; older parts are replaced.

    Every part is whole before the first is put in its place, so that a killed run leaves one state or the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes()
    fresh: list[tuple[Path, Path]] = []
    for number, start in enumerate(range(0, max(1, len(content)), part_bytes), 1):
        part = folder / f"{name}.part-{number}"
        beside = path.with_name(f"{part.name}.new")
        beside.write_bytes(content[start : start + part_bytes])
        fresh.append((beside, part))
    for old in folder.glob(f"{name}.part-*"):
        if old not in {part for _, part in fresh}:
            old.unlink()
    for beside, part in fresh:
        part.write_bytes(beside.read_bytes()) if beside.stat().st_dev != folder.stat().st_dev else beside.replace(part)
        beside.unlink(missing_ok=True)
    return [part for _, part in fresh]
