"""Settings: one table of name, default and help; settings.toml < ATELIER_* environment < command line."""

import argparse
import errno
import os
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from modules.core.errors import BadValue, DiskFull, WorkbenchError

CHECKOUT = Path(__file__).resolve().parents[2]
GENERATIONS = 5
OFF_AT_FIRST = ("apg", "dynamic-thresholding", "freeu", "ngms", "pag", "sag", "skip-early-cfg")  # for those who look


def option(
    default: Any, help: str, *, choices: tuple[str, ...] = (), group: str = "start", live: bool = False,
    bounds: tuple[int, int] | None = None,
) -> Any:  # fmt: skip
    """One row: ``group`` "start" is a command-line option; others are preferences that the Settings tab shows.

    ``live`` means that a change is felt at once, without a restart; ``bounds`` are the least and the greatest number.
    """
    about = {"help": help, "choices": choices, "group": group, "live": live, "bounds": bounds}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Settings:
    """Every setting of the program."""

    host: str = option("127.0.0.1", "address to listen on; anything but loopback asks for a token")
    port: int = option(7860, "port to listen on", bounds=(1, 65_535))
    data_dir: str = option("", "folder for outputs, models, extensions, database and logs; default: the checkout")
    models_dir: str = option("", "folder with the model files; default: models/ in the data folder")
    model_paths: tuple[str, ...] = option(
        (), "model folders of other programs (A1111, ComfyUI, InvokeAI), used where they are and never written"
    )
    device: str = option("auto", "where the engine runs: auto, cpu, cuda, cuda:N or mps")
    engine: str = option("process", "the engine as its own process, or as a thread", choices=("process", "thread"))
    browser: bool = option(True, "open the browser at start")
    safe_mode: bool = option(False, "start with every extension off but the built-in ones")
    public_host: str = option("", "host names, comma separated, under which this program may be reached")

    language: str = option("auto", "the page's language", choices=("auto", "en", "zh"), group="page", live=True)
    theme: str = option(
        "system", "light, dark, or as the system", choices=("system", "light", "dark"), group="page", live=True
    )
    previews: bool = option(True, "show pictures while they are made", group="page", live=True)
    image_format: str = option("png", "the files' format", choices=("png", "jpeg", "webp"), group="pictures", live=True)
    image_quality: int = option(
        95, "quality of JPEG and WebP files, 1-100", group="pictures", live=True, bounds=(1, 100)
    )
    checkpoint: str = option(
        "", "the checkpoint used when none is chosen; empty: the starter", group="models", live=True
    )
    numerics: str = option(
        "auto",
        "how networks are computed: auto measures once what is faster here; safe is 32 bit throughout",
        choices=("auto", "safe", "bf16", "fp16"),
        group="models",
    )
    extensions_off: tuple[str, ...] = option(
        OFF_AT_FIRST, "extensions that are switched off", group="extensions", live=True
    )

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data_dir).expanduser().resolve() if self.data_dir else CHECKOUT

    @property
    def models(self) -> Path:
        """The models folder, absolute."""
        return Path(self.models_dir).expanduser().resolve() if self.models_dir else self.data / "models"

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """Every folder that models are looked for in, absolute, the first counting most: one's own, the checkout's,
        then those of other programs, whose models often lie in models/ inside what is named.
        """
        others = [Path(path).expanduser().resolve() for path in self.model_paths]
        return (self.models, CHECKOUT / "models", *(place for one in others for place in (one, one / "models")))

    @property
    def outputs(self) -> Path:
        return self.data / "outputs"

    @property
    def file(self) -> Path:
        return self.data / "settings.toml"

    def is_local(self) -> bool:
        """Whether only this computer can reach the program."""
        return self.host in ("127.0.0.1", "localhost", "::1") or self.host.startswith("127.")


TABLE = {row.name: row for row in fields(Settings)}


def load(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Build Settings; raises BadValue naming the setting and where it was said.

    A settings.toml that cannot be read is set aside as settings.toml.bad and the newest readable generation takes its
    place: a damaged line never costs all settings.
    """
    said = vars(parser().parse_args(arguments))
    from_environment = {
        name: _parse(row, environment[key], f"the environment variable {key}")
        for name, row in TABLE.items()
        if (key := f"ATELIER_{name.upper()}") in environment
    }
    typed: dict[str, Any] = {
        name: tuple(cast(list[str], value)) if isinstance(value, list) else value for name, value in said.items()
    }
    over: dict[str, Any] = {**from_environment, **{name: value for name, value in typed.items() if value is not None}}
    data = Settings(data_dir=over.get("data_dir", "")).data
    return _checked({**_read(data / "settings.toml"), **over})


def parser() -> argparse.ArgumentParser:
    """The command line: every row of group "start"."""
    made = argparse.ArgumentParser(prog="python3 app.py", allow_abbrev=False)
    for name, row in TABLE.items():
        if row.metadata["group"] != "start":
            continue
        flag = "--" + name.replace("_", "-")
        about = row.metadata["help"]
        if isinstance(row.default, bool):
            if row.default:
                made.add_argument(
                    f"--no-{flag[2:]}", dest=name, action="store_false", default=None, help="do not: " + about
                )
            else:
                made.add_argument(flag, dest=name, action="store_true", default=None, help=about)
        elif isinstance(row.default, tuple):
            made.add_argument(flag, dest=name, nargs="+", default=None, metavar="FOLDER", help=about)
        else:
            made.add_argument(
                flag,
                dest=name,
                type=cast(type, type(row.default)),
                default=None,
                choices=row.metadata["choices"] or None,
                help=about,
            )
    return made


def save(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Write changed preferences to settings.toml, atomically, keeping five earlier generations and all comments.

    Returns the new Settings; raises BadValue for an unknown name or a bad value, DiskFull, or WorkbenchError
    "not_writable", and then nothing has changed.
    """
    import tomlkit  # only when something is saved: it costs start-up time

    merged = _checked({**{name: getattr(settings, name) for name in TABLE}, **changes})
    path = merged.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _read(path)  # a file that was damaged meanwhile is set aside, and the newest readable one takes its place
        text = path.read_text("utf-8") if path.exists() else ""
        document = tomlkit.parse(text)
        for name in changes:
            value = getattr(merged, name)
            document[name] = list(cast(tuple[str, ...], value)) if isinstance(value, tuple) else value
        if text:
            _keep_generation(path)
        _write(path, document.as_string())
    except OSError as problem:
        raise _unsaved(problem) from problem
    return merged


def _unsaved(problem: OSError) -> WorkbenchError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull("There is no room left to save the settings.", "Free some space, then change them again.")
    return WorkbenchError(
        f"The settings cannot be saved: {problem.strerror or type(problem).__name__}.",
        "Check that the data folder can be written.", code="not_writable", status=500,
    )  # fmt: skip


def _write(path: Path, text: str) -> None:
    handle, part = tempfile.mkstemp(dir=path.parent, prefix="settings.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _generation(path: Path, index: int) -> Path:
    return path.with_name(f"{path.name}.{index}")


def _keep_generation(path: Path) -> None:
    for index in range(GENERATIONS - 1, 0, -1):
        if _generation(path, index).exists():
            os.replace(_generation(path, index), _generation(path, index + 1))
    part = _generation(path, 1).with_suffix(".part")
    shutil.copyfile(path, part)
    os.replace(part, _generation(path, 1))


def _read(path: Path) -> dict[str, Any]:
    candidates = [path, *(_generation(path, index) for index in range(1, GENERATIONS + 1))]
    for candidate in candidates:
        try:
            text = candidate.read_text("utf-8")
            found = tomllib.loads(text)
        except FileNotFoundError:
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            os.replace(candidate, candidate.with_name(candidate.name + ".bad"))
            continue
        if candidate != path:
            _write(path, text)  # else the next save would begin with an empty file
        return {
            name: tuple(cast(list[Any], value)) if isinstance(value, list) else value for name, value in found.items()
        }
    return {}


def _parse(row: Any, text: str, where: str) -> Any:
    kind = cast(type[Any], type(row.default))
    try:
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
        if kind is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return kind(text)
    except (ValueError, KeyError):
        raise BadValue(f"{where} holds {text!r}, not a {kind.__name__}.", "Correct it or unset it.") from None


def _checked(values: Mapping[str, Any]) -> Settings:
    for name, value in values.items():
        row = TABLE.get(name)
        if row is None:
            raise BadValue(f"There is no setting named {name!r}.", "Remove it from settings.toml.", field=name)
        if type(value) is not type(row.default):
            raise BadValue(f"{name} holds {value!r}, not a {type(row.default).__name__}.", "Correct it.", field=name)
        choices = row.metadata["choices"]
        if choices and value not in choices:
            raise BadValue(f"{name} is {value!r}; it can be {', '.join(choices)}.", "Choose one of them.", field=name)
        bounds = row.metadata["bounds"]
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise BadValue(f"{name} is {value}, outside {bounds[0]}-{bounds[1]}.", "Choose another.", field=name)
        if isinstance(value, tuple) and not all(isinstance(part, str) for part in cast(tuple[Any, ...], value)):
            raise BadValue(f"{name} holds something that is no text.", "List texts only.", field=name)
    return Settings(**values)
