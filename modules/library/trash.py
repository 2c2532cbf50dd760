"""The trash: pictures moved aside inside outputs/.trash, still whole, until somebody empties it."""

import os
from pathlib import Path

from modules.library import atomic

FOLDER = ".trash"


def into(outputs: Path, path: str) -> bool:
    """Move ``path`` (relative to outputs/) to the same place below the trash; False where there is no such file.

    Raises DiskFull or WorkbenchError "not_writable".
    """
    return _move(outputs / path, outputs / FOLDER / path)


def out_of(outputs: Path, path: str) -> bool:
    """Move ``path`` from the trash to where it was; False where the trash does not hold it."""
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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return False  # never over a picture that came there meanwhile
        os.replace(source, target)
        atomic.sync_folder(target.parent)
        atomic.sync_folder(source.parent)
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise atomic.explain(problem, target.parent) from problem
    return True
