"""The trash: pictures moved aside inside outputs/.trash, still whole, until somebody empties it."""

import os
from pathlib import Path

from modules.core.errors import WorkbenchError
from modules.library import atomic

FOLDER = ".trash"


def into(outputs: Path, path: str) -> bool:
    """Move ``path`` (relative to outputs/) to the same place below the trash; False where there is no such file.

    Raises DiskFull, and WorkbenchError "not_writable" or "name_taken" (never over another picture).
    """
    return _move(outputs / path, outputs / FOLDER / path)


def out_of(outputs: Path, path: str) -> bool:
    """Move ``path`` from the trash to where it was; False where the trash does not hold it. Raises as ``into``."""
    return _move(outputs / FOLDER / path, outputs / path)


def destroy(outputs: Path, path: str) -> None:
    """Delete ``path`` from the trash for good, with the folders that become empty."""
    file = outputs / FOLDER / path
    try:
        file.unlink(missing_ok=True)
    except OSError as problem:
        raise atomic.explain(problem, file.parent) from problem
    for folder in file.parents:
        if folder == outputs / FOLDER:
            break
        try:
            folder.rmdir()
        except OSError:
            break  # another trashed picture is in it


def _move(source: Path, target: Path) -> bool:
    if not source.exists():
        return False
    if target.exists():
        raise WorkbenchError(
            f"Another picture has the name {target.name!r} now.", "Rename or remove it, then try again.",
            code="name_taken", status=409,
        )  # fmt: skip
    try:
        atomic.make_folder(target.parent)
        os.replace(source, target)
        atomic.sync_folder(target.parent)
        atomic.sync_folder(source.parent)
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise atomic.explain(problem, target.parent) from problem
    return True
