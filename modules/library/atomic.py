"""Write a file so that its name shows either all of it or nothing, whatever stops the program or the power."""

import contextlib
import errno
import itertools
import os
import secrets
import time
from pathlib import Path

from modules.core.errors import DiskFull, WorkbenchError

_RUN = f"{os.getpid():x}{secrets.token_hex(3)}"  # in the names of this run's unfinished files: later runs delete others
_COUNT = itertools.count()
_HELD_BY_SCANNER_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def part_of(path: Path) -> Path:
    """A new name for the unfinished file, in the same folder, so that the rename never crosses a file system."""
    return path.with_name(f".{path.name[:80]}.{next(_COUNT)}.{_RUN}.part")


def is_abandoned(name: str) -> bool:
    """Whether this is an unfinished file of an earlier run."""
    return name.endswith(".part") and not name.endswith(f".{_RUN}.part")


def write(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` as ``path``: part file, fsync, rename, fsync of the folder.

    With ``durable`` False (caches that can be made again) nothing is synced, but the name still never shows a half.
    Raises DiskFull where there is no room and WorkbenchError "not_writable" otherwise; neither leaves a file behind.
    """
    part = part_of(path)
    try:
        make_folder(path.parent, durable=durable)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        replace(part, path, durable=durable)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise explain(problem, path.parent) from problem


def make_folder(folder: Path, *, durable: bool = True) -> None:
    """Make a folder and those above it; the name of a new one lasts only once the folder above it is synced."""
    if folder.is_dir():
        return
    make_folder(folder.parent, durable=durable)
    with contextlib.suppress(FileExistsError):  # another thread was faster
        os.mkdir(folder)
    if durable:
        sync_folder(folder.parent)


def replace(source: Path, target: Path, *, durable: bool = True) -> None:
    """Rename within one file system and make the new name last.

    On Windows a virus scanner may hold a fresh file for a moment, so the rename is tried for up to three seconds.
    """
    for wait_s in (*_HELD_BY_SCANNER_S, None):
        try:
            os.replace(source, target)
            break
        except PermissionError:
            if os.name != "nt" or wait_s is None:
                raise
            time.sleep(wait_s)
    if durable:
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explain(problem: OSError, folder: Path) -> WorkbenchError:
    """The error for people: no room (507), or a folder that cannot be written (500)."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"There is no room left for files in the folder {folder.name!r}.",
            "Free some space or choose another data folder; nothing is lost meanwhile.",
        )
    return WorkbenchError(
        f"The folder {folder.name!r} cannot be written: {problem.strerror or type(problem).__name__}.",
        "Check that the folder exists, that it is yours, and that its disk is connected.",
        code="not_writable",
        status=500,
    )
