"""Scripts become sheets: every cell's own request, concrete, its words chosen, before anything is queued."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modules.core import limits
from modules.core.errors import BadValue, WorkbenchError
from modules.core.request import GenerationRequest
from modules.core.sampling import split_sampler_name
from modules.core.sheet import XYZ, Along, Axis, Cell, Lines, Matrix, Sheet
from modules.planning import axes, wording
from modules.planning.axes import Data, Row
from modules.planning.check import Problem
from modules.planning.wording import Phrases, Worded


class Named(Protocol):
    """A file that a library knows by name."""

    @property
    def name(self) -> str: ...


class Listed(Protocol):
    """A library's list of such files."""

    def list(self) -> Sequence[Named]: ...


class Library(Listed, Protocol):
    """The checkpoints, and with them the autoencoders; ``modules.library.checkpoints.Catalogue`` is one."""

    @property
    def vaes(self) -> Listed: ...


Choices = Mapping[str, Callable[[], list[str]]]  # by the library's word in `axes.Row`


@dataclass
class _Draft:
    """A cell before its words are chosen: its place, its request as plain data, and the field that decided it."""

    at: tuple[int, ...]
    data: Data
    field: str = "script"


@dataclass
class _Drafts:
    axes: tuple[Axis, ...] = ()
    cells: list[_Draft] = field(default_factory=list)


def word(request: GenerationRequest, phrases: Phrases, choices: Choices | None = None) -> Worded:
    """The request as it is queued: its script made a sheet, or without one its styles and wildcards made words.

    ``choices`` say what "*" means on an axis of names that a library knows. Raises BadValue naming the script's field
    ("script.x.values") for values that cannot be, and for more than 400 cells.
    """
    if request.script is None or request.sheet is not None:
        return wording.word(request, phrases)
    plain = request.model_copy(update={"script": None, "count": 1})
    base = plain.model_dump(mode="json")
    script = request.script
    if isinstance(script, XYZ):
        drafts = _plot(script, base, choices or {})
    elif isinstance(script, Matrix):
        drafts = _matrix(script, base)
    else:
        drafts = _lines(script, base)
    cells, notes = list[Cell](), dict[str, Problem]()
    for draft in drafts.cells:
        cell, noted = _cell(draft, base, phrases)
        cells.append(cell)
        notes |= {one.model_dump_json(): one for one in noted}
    sheet = Sheet(axes=drafts.axes, cells=tuple(cells))
    return Worded(request.model_copy(update={"sheet": sheet, "count": len(cells)}), tuple(notes.values()))


def choices_of(library: Library, phrases: Phrases) -> Choices:
    """What there is of everything that an axis may name, looked up when it is asked for."""
    return {
        "checkpoints": lambda: [one.name for one in library.list()],
        "vaes": lambda: ["Automatic", "None", *(one.name for one in library.vaes.list())],
        "styles": lambda: ["None", *phrases.styles()],
    }


def _cell(draft: _Draft, base: Data, phrases: Phrases) -> tuple[Cell, tuple[Problem, ...]]:
    try:
        request = GenerationRequest.from_data(draft.data)
        worded = wording.word(request, phrases)
    except WorkbenchError as problem:
        raise WorkbenchError(problem.message, problem.hint, code=problem.code, field=draft.field, status=422,
                             **problem.facts) from None  # fmt: skip
    made = worded.request.at(0).model_dump(mode="json")
    changes = {name: value for name, value in made.items() if value != base[name] and name not in ("seed", "count")}
    return Cell(at=draft.at, seed=request.seed, changes=changes), worded.notes


def _bounded(count: int, where: str) -> None:
    most = limits.PICTURES[1]
    if count > most:
        raise BadValue(f"The sheet would have {count} cells; {most} are the most.", "Take fewer values.",
                       field=where, value=count, high=most)  # fmt: skip


def _counted(seed: int, by: int) -> int:
    return (seed + by) % (limits.SEED[1] + 1)


# X/Y/Z plot


def _plot(script: XYZ, base: Data, choices: Choices) -> _Drafts:
    sides = {"x": script.x, "y": script.y, "z": script.z}
    found = {name: _values(along, f"script.{name}", base, choices) for name, along in sides.items()}
    _bounded(len(found["x"][1]) * len(found["y"][1]) * len(found["z"][1]), "script")
    rows = {name: row for name, (row, _) in found.items()}
    drafts = _Drafts(tuple(_axis(row, values) for row, values in found.values()))
    sizes = [len(values) for _, values in found.values()]
    for z, y, x in itertools.product(*(range(size) for size in reversed(sizes))):
        data, at = dict(base), {"x": x, "y": y, "z": z}
        last = "script"
        # Words are sought in the prompt as typed, so orders and replacements come first, as they stand: x, y, z.
        for name in sides:
            row, values = found[name]
            _apply(row, values, at[name], data, f"script.{name}.values")
            last = f"script.{name}.values" if row.kind != "nothing" else last
        data["seed"] = _counted(data["seed"], _offset(script, at, sizes, rows))
        drafts.cells.append(_Draft((x, y, z), data, last))
    return drafts


def _offset(script: XYZ, at: Mapping[str, int], sizes: list[int], rows: Mapping[str, Row]) -> int:
    """How far a cell's seed is from the first one's; an axis of seeds says them itself."""
    if any(row.name == "Seed" for row in rows.values()):
        return 0
    own = "xyz" if script.own_seeds else script.vary
    offset, step = 0, 1
    for name, size in zip("xyz", sizes, strict=True):
        if name in own:
            offset += at[name] * step
            step *= size
    return offset


def _values(along: Along, where: str, base: Data, choices: Choices) -> tuple[Row, list[Any]]:
    try:
        row = axes.find(along.axis)
    except BadValue as problem:
        raise _named(problem, f"{where}.axis") from None
    if row.needs and not _has(row.needs, base):
        raise BadValue(f"{row.name} changes nothing here: there is no {row.needs}.",
                       f"Switch {row.needs} on, or choose another axis.", field=f"{where}.axis")  # fmt: skip
    known = choices[row.library]() if row.library in choices else []
    try:
        values = row.parse(along.values, known)
        for index in range(len(values)):
            probe = dict(base)
            _apply(row, values, index, probe, f"{where}.values")
            if row.name != "Styles":
                GenerationRequest.from_data(probe)
    except WorkbenchError as problem:
        raise _named(problem, f"{where}.values") from None
    return row, values


def _named(problem: WorkbenchError, where: str) -> WorkbenchError:
    facts = {name: fact for name, fact in problem.facts.items() if name not in ("nearest", "value", "low", "high")}
    return BadValue(problem.message, problem.hint, code=problem.code, field=where, **facts)


def _has(needs: str, base: Data) -> bool:
    start = base["start"]
    if needs == "mask":
        return bool(start and start["inpaint"])
    return any(bool(base[name]) for name in needs.split(" or "))


def _axis(row: Row, values: list[Any]) -> Axis:
    title = "" if row.kind == "nothing" else row.name
    return Axis(title=title, labels=tuple(axes.label(row, value) for value in values), cost=row.cost)


def _apply(row: Row, values: list[Any], index: int, data: Data, where: str) -> None:
    if row.name == "Prompt S/R":
        _replace(data, str(values[0]), str(values[index]), where)
    elif row.name == "Prompt order":
        _reorder(data, values[index], where)
    else:
        row.apply(data, values[index])


_TEXTS = ("prompt", "negative_prompt")


def _replace(data: Data, sought: str, by: str, where: str) -> None:
    if not any(sought in data[name] for name in _TEXTS):
        raise BadValue(f"Neither prompt holds {sought[:60]!r}.", "The first value is what the others replace.",
                       field=where)  # fmt: skip
    for name in _TEXTS:
        data[name] = data[name].replace(sought, by)


def _reorder(data: Data, words: list[str], where: str) -> None:
    """Put the words, each at its first place in the prompt, into another order at these places."""
    text, parts = data["prompt"], list[str]()
    places = sorted((text.find(word), word) for word in words)
    if places[0][0] < 0:
        raise BadValue(f"The prompt does not hold {places[0][1][:60]!r}.", "Name words that are in the prompt.",
                       field=where)  # fmt: skip
    end = 0
    for (at, word), instead in zip(places, words, strict=True):
        if at < end:
            raise BadValue(f"{word[:60]!r} lies inside another of the words.", "Name words that stand apart.",
                           field=where)  # fmt: skip
        parts += [text[end:at], instead]
        end = at + len(word)
    data["prompt"] = "".join([*parts, text[end:]])


# Prompt matrix


def _matrix(script: Matrix, base: Data) -> _Drafts:
    first, *options = [part.strip() for part in base[script.of].split("|")]
    if not options:
        raise BadValue("The prompt has no parts to combine.", "Write a | between what is always there and each part.",
                       field="script.of")  # fmt: skip
    if len(options) > 20:
        raise BadValue(f"{len(options)} parts have too many combinations.", "Use at most 8 parts.", field="script.of")
    _bounded(2 ** len(options), "script.of")
    joint = ", " if script.joined == "comma" else " "
    # As in A1111, the lower half of the parts runs along the rows, the upper one down the columns.
    across = (len(options) + 1) // 2
    columns, rows = 2**across, 2 ** (len(options) - across)
    drafts = _Drafts((
        Axis(title="", labels=tuple(_parts(options[:across], index) for index in range(columns)), cost=axes.WORDS),
        Axis(title="", labels=tuple(_parts(options[across:], index) for index in range(rows)), cost=axes.WORDS),
    ))  # fmt: skip
    for number in range(columns * rows):
        chosen = [text for bit, text in enumerate(options) if number >> bit & 1]
        texts = [*chosen, first] if script.at_start else [first, *chosen]
        data = {**base, script.of: joint.join(text for text in texts if text)}
        data["seed"] = _counted(base["seed"], number if script.own_seeds else 0)
        drafts.cells.append(_Draft((number % columns, number // columns), data, "script.of"))
    return drafts


def _parts(options: list[str], number: int) -> str:
    return ", ".join(text for bit, text in enumerate(options) if number >> bit & 1) or "–"


# Prompts from a text


def _lines(script: Lines, base: Data) -> _Drafts:
    drafts = _Drafts()
    written = [line.strip() for line in script.text.splitlines() if line.strip()]
    if not written:
        raise BadValue("There is no line to make a picture of.", "Write a prompt a line.", field="script.text")
    for number, line in enumerate(written, 1):
        try:
            data, count = _line(line, script, base)
        except WorkbenchError as problem:
            raise _named(problem.__class__(f"Line {number}: {problem.message}", problem.hint), "script.text") from None
        said_seed = data["seed"] != base["seed"]
        for _ in range(count):
            made = len(drafts.cells)
            _bounded(made + 1, "script.text")
            one = dict(data)
            if said_seed or count > 1:
                one["seed"] = _counted(data["seed"], _)
            if script.own_seeds and not said_seed:
                one["seed"] = _counted(base["seed"], made)
            drafts.cells.append(_Draft((made,), one, "script.text"))
    labels = tuple(str(cell.data["prompt"])[:200] for cell in drafts.cells)
    return _Drafts((Axis(title="", labels=labels, cost=axes.CHEAP),), drafts.cells)


def _line(line: str, script: Lines, base: Data) -> tuple[Data, int]:
    """One line's request, and how many pictures it asks for."""
    data: Data = dict(base)
    pairs = dict(_words(line)) if re.match(r"--?[A-Za-z_]", line) else {"prompt": line}
    count = 1
    for key, value in pairs.items():
        if key in ("batch_size", "n_iter"):
            count *= _whole(key, value, 1, limits.PICTURES[1])
        elif key in _IGNORED:
            continue
        elif key in _KEYS:
            _KEYS[key](data, value)
        else:
            raise BadValue(f"There is no key --{key[:40]}.", f"There are {', '.join(sorted(_KEYS))}.")
    if "prompt" in pairs and script.insert != "none" and base["prompt"]:
        texts = (base["prompt"], data["prompt"]) if script.insert == "start" else (data["prompt"], base["prompt"])
        data["prompt"] = " ".join(texts)
    return data, count


def _words(line: str) -> Iterator[tuple[str, str]]:
    """The keys of such a line with their values; quotes hold a value together, "prompt" reaches to the next key."""
    try:
        found = shlex.split(line)
    except ValueError:
        raise BadValue("A quote is not closed.", 'Close it, or write \\" for a quote itself.') from None
    key, value = "", list[str]()
    for one in found:
        if one.startswith("--") and len(one) > 2:
            if key:
                yield key, " ".join(value)
            key, value = one[2:], []
        elif not key:
            raise BadValue(f"{one[:40]!r} belongs to no key.", "Begin with --prompt.")
        else:
            value.append(one)
    if key:
        yield key, " ".join(value)


def _whole(key: str, value: str, low: int, high: int) -> int:
    try:
        number = int(value)
    except ValueError:
        raise BadValue(f"--{key}: {value[:40]!r} is no whole number.", f"Write {low} to {high}.") from None
    if not low <= number <= high:
        raise BadValue(f"--{key}: {number} is outside {low}-{high}.", f"Write {low} to {high}.")
    return number


def _text_key(path: str) -> Callable[[Data, str], None]:
    return lambda data, value: axes.put(data, path, value)


def _number_key(path: str, kind: type) -> Callable[[Data, str], None]:
    def apply(data: Data, value: str) -> None:
        try:
            number = kind(value)
        except ValueError:
            raise BadValue(f"{value[:40]!r} is no number.", "Write a number.") from None
        axes.put(data, path, number)

    return apply


def _seed_key(data: Data, value: str) -> None:
    if value.strip() != "-1":  # the form's own
        data["seed"] = _whole("seed", value, *limits.SEED)


def _variation_key(name: str, kind: type) -> Callable[[Data, str], None]:
    def apply(data: Data, value: str) -> None:
        if value.strip() == "-1":
            return
        _number_key(f"variation.{name}", kind)(data, value)
        data["variation"] = {"seed": data["seed"], "strength": 0.0, **data["variation"]}

    return apply


def _sampler_key(data: Data, value: str) -> None:
    sampler, schedule = split_sampler_name(value)
    axes.put(data, "sampling.sampler", sampler)
    if schedule:
        axes.put(data, "sampling.schedule", schedule)


def _tiling_key(data: Data, value: str) -> None:
    data["tiling"] = "both" if value.strip().lower() in ("", "true", "1", "yes") else "none"


def _resize_key(side: str) -> Callable[[Data, str], None]:
    def apply(data: Data, value: str) -> None:
        number = _whole(f"seed_resize_from_{side[0]}", value, -1, limits.SIDE[1])
        if number > 0:
            data["seed_resize"] = {**(data["seed_resize"] or data["size"]), side: number}

    return apply


def _styles_key(data: Data, value: str) -> None:
    data["styles"] = [name.strip() for name in value.split(",") if name.strip()]


def _model_key(data: Data, value: str) -> None:
    data["model"] = {"checkpoint": value, "sha256": None}


_IGNORED = ("outpath_samples", "outpath_grids", "do_not_save_samples", "do_not_save_grid", "restore_faces",
            "prompt_for_display")  # fmt: skip

_KEYS: dict[str, Callable[[Data, str], None]] = {
    "sd_model": _model_key,
    "prompt": _text_key("prompt"),
    "negative_prompt": _text_key("negative_prompt"),
    "styles": _styles_key,
    "seed": _seed_key,
    "subseed": _variation_key("seed", int),
    "subseed_strength": _variation_key("strength", float),
    "seed_resize_from_h": _resize_key("height"),
    "seed_resize_from_w": _resize_key("width"),
    "sampler_name": _sampler_key,
    "sampler_index": _sampler_key,
    "scheduler": _text_key("sampling.schedule"),
    "steps": _number_key("sampling.steps", int),
    "cfg_scale": _number_key("sampling.cfg_scale", float),
    "width": _number_key("size.width", int),
    "height": _number_key("size.height", int),
    "tiling": _tiling_key,
}
