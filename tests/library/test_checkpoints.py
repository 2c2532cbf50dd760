"""The catalogue: found as people keep them, recognised without opening weights, named, hashed, and never surprised."""

import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
import time

import pytest

from modules.core.errors import DiskFull, ModelError
from modules.core.settings import CHECKOUT, Settings
from modules.core.settings import load as settings_of
from modules.library import checkpoints, header
from modules.library.checkpoints import Catalogue

ANALYTIC = {"analytic.spread": (1,), "analytic.delay_s": (1,)}


def write(path, shapes=None, metadata=None, fill=0):
    entries, end = {"__metadata__": metadata or {}}, 0
    for name, shape in (ANALYTIC if shapes is None else shapes).items():
        size = 4
        for side in shape:
            size *= side
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * end)
    return path


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def open_catalogue(tmp_path, models):
    opened = []

    def open_it(*folders, hashing=False, **settings):
        made = Catalogue(Settings(data_dir=str(tmp_path), **settings), folders or (models,), hashing=hashing)
        opened.append(made)
        return made

    yield open_it
    for one in opened:
        one.close()


def hashed(catalogue, name):
    for _ in range(6000):
        found = catalogue.find(name)
        if found.sha256:
            return found
        time.sleep(0.01)
    return pytest.fail("no hash within a minute")


def names(catalogue):
    return [checkpoint.name for checkpoint in catalogue.list()]


def test_folders_as_people_have_them(models, open_catalogue):
    write(models / "Stable-diffusion" / "photo.safetensors")
    write(models / "Stable-diffusion" / "anime" / "deep" / "drawn.safetensors")
    write(models / "checkpoints" / "comfy.SAFETENSORS")
    write(models / "beside.safetensors")
    write(models / "Lora" / "style.safetensors")
    write(models / "VAE" / "vae.safetensors")
    write(models / "Stable-diffusion" / ".hidden" / "no.safetensors")
    (models / "Stable-diffusion" / "Put models here.txt").write_text("")
    assert names(open_catalogue()) == ["anime/deep/drawn", "beside", "comfy", "photo"]


def test_the_checkouts_own_models_are_a_second_source(tmp_path):
    catalogue = Catalogue(Settings(data_dir=str(tmp_path), models_dir=str(tmp_path / "mine")))
    assert catalogue.folders == (tmp_path / "mine", CHECKOUT / "models")
    catalogue.close()
    catalogue = Catalogue(Settings())
    assert len(catalogue.folders) == 1
    catalogue.close()


def test_models_of_other_programs_are_used_where_they_are(tmp_path):
    comfy, a1111, invoke = (tmp_path / name for name in ("ComfyUI", "webui", "invokeai"))
    write(comfy / "models" / "checkpoints" / "one.safetensors")
    write(a1111 / "models" / "Stable-diffusion" / "deep" / "two.safetensors")
    write(a1111 / "models" / "VAE" / "fine.safetensors")
    write(invoke / "models" / "sd-1" / "main" / "three.safetensors")
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    arguments = ["--data-dir", str(tmp_path / "data"), "--model-paths", str(comfy), str(a1111 / "models"), str(invoke)]
    catalogue = Catalogue(settings_of(arguments, {}))
    try:
        found = {one.name for one in catalogue.list()}
        assert {"one", "deep/two", "three"} <= found
        assert "fine" in {one.name for one in catalogue.vaes.list()}
    finally:
        catalogue.close()
    after = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert [row for row in after if "data" not in row[0].relative_to(tmp_path).parts] == before


def test_of_two_with_one_name_the_first_folder_counts(tmp_path, models, open_catalogue):
    ours = write(models / "a.safetensors", fill=1)
    write(tmp_path / "other" / "a.safetensors", fill=2)
    write(tmp_path / "other" / "b.safetensors")
    catalogue = open_catalogue(models, tmp_path / "other")
    assert names(catalogue) == ["a", "b"]
    assert catalogue.find("a").path == ours


def predicted(catalogue, name):
    found = catalogue.find(name)
    return found.prediction, found.is_chosen, [reason for reason in found.reasons if ", because" in reason][-1]


def test_a_chosen_prediction_counts_first_and_for_every_process(models, open_catalogue):
    write(models / "a.safetensors")
    write(models / "b.safetensors", fill=1)
    here, worker = open_catalogue(hashing=True), open_catalogue()
    plain = predicted(here, "a")
    assert plain[:2] == ("eps", False)
    assert here.choose_prediction("a", "v").is_chosen
    for catalogue in (here, worker, open_catalogue()):
        assert predicted(catalogue, "a") == ("v", True, "v, because you chose it")
        assert predicted(catalogue, "b")[:2] == ("eps", False)
    here.choose_prediction("a", None)
    assert predicted(worker, "a") == plain


def test_a_choice_follows_the_bytes_and_not_the_name(models, open_catalogue):
    path = write(models / "a.safetensors", fill=3)
    early = open_catalogue()
    early.choose_prediction("a", "v")  # no hash yet
    catalogue = open_catalogue(hashing=True)
    hashed(catalogue, "a")
    deadline = time.monotonic() + 60
    while '"sha256": null' in catalogue_choices(catalogue) and time.monotonic() < deadline:
        time.sleep(0.01)
    path.rename(models / "moved.safetensors")
    os.utime(models / "moved.safetensors", ns=(1, 1))
    write(models / "a.safetensors", fill=4)
    catalogue.refresh()
    hashed(catalogue, "moved")
    assert predicted(catalogue, "moved")[:2] == ("v", True)
    assert predicted(catalogue, "a")[:2] == ("eps", False)


def catalogue_choices(catalogue):
    return (catalogue.settings.data / ".atelier" / "models.json").read_text()


def test_a_choice_file_edited_into_nonsense_is_none(models, open_catalogue):
    write(models / "a.safetensors")
    catalogue = open_catalogue()
    catalogue.choose_prediction("a", "v")
    (catalogue.settings.data / ".atelier" / "models.json").write_text('[{"sha256": 5}, 3, {"stamp": []}]')
    assert predicted(catalogue, "a")[:2] == ("eps", False)


def test_problems_are_listed_and_raised_only_when_the_file_is_wanted(models, open_catalogue):
    good = write(models / "good.safetensors")
    (models / "cut.safetensors").write_bytes(good.read_bytes()[:-1])
    (models / "empty.safetensors").write_bytes(b"")
    (models / "page.safetensors").write_bytes(b"<!DOCTYPE html><html>Sign in to download</html>")
    (models / "old.ckpt").write_bytes(b"PK\x03\x04")
    write(models / "lora.safetensors", {"lora_up.weight": (2, 2)})
    catalogue = open_catalogue()
    problems = {one.name: one.problem.code for one in catalogue.list() if one.problem}
    assert problems == {
        "cut": "model_incomplete", "empty": "model_incomplete", "page": "model_too_large", "old": "unsafe_format",
        "lora": "unknown_family",
    }  # fmt: skip
    for name, code in problems.items():
        with pytest.raises(ModelError) as caught:
            catalogue.find(name)
        assert (caught.value.code, caught.value.field) == (code, "model.checkpoint")
        assert name in caught.value.message
        assert str(models) not in caught.value.message
        assert caught.value.hint
    assert catalogue.find("").name == "good"


def test_find_by_every_name_that_people_paste(models, open_catalogue):
    write(models / "Stable-diffusion" / "sub" / "Model V1.safetensors", fill=1)
    write(models / "Stable-diffusion" / "other.safetensors", fill=2)
    catalogue = open_catalogue(hashing=True)
    found = hashed(catalogue, "other")
    digest = hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert found.sha256 == digest
    assert found.short_hash == digest[:10]
    for text in (
        "other",
        "OTHER.safetensors",
        f"other.safetensors [{digest[:10]}]",
        digest,
        digest[:10],
        digest[:10].upper(),
    ):
        assert catalogue.find(text).name == "other"
    for text in ("Model V1", "sub/Model V1", "sub\\model v1.safetensors"):
        assert catalogue.find(text).name == "sub/Model V1"


@pytest.mark.parametrize(
    "wanted", ["othr", "nothing like it", "../other", "/etc/passwd", "\ud800", "x" * 1000, "deadbeef00"]
)
def test_an_unknown_name_gets_the_nearest(models, open_catalogue, wanted):
    write(models / "other.safetensors")
    with pytest.raises(ModelError) as caught:
        open_catalogue().find(wanted)
    assert caught.value.code == "unknown_model"
    assert caught.value.facts["nearest"] == "other"


def test_without_any_file_the_hint_says_where_to_put_one(open_catalogue):
    with pytest.raises(ModelError) as caught:
        open_catalogue().find("")
    assert "models/Stable-diffusion" in caught.value.hint


def test_the_empty_name_is_the_setting_then_the_starter_then_the_first(models, open_catalogue):
    write(models / "a.safetensors")
    assert open_catalogue().find("").name == "a"
    write(models / "starter.safetensors", metadata={"atelier.vocabulary": '{"things": ["apple"]}'})
    catalogue = open_catalogue(checkpoint="a")
    assert catalogue.find("").name == "a"
    assert open_catalogue().find("").name == "starter"
    assert open_catalogue(checkpoint="gone").find("").name == "starter"


def test_what_the_file_says_about_itself(models, open_catalogue):
    said = {
        "modelspec.title": "A fine model", "modelspec.resolution": "320x256", "modelspec.prediction_type": "v",
        "atelier.vocabulary": '{"things": ["apple"]}', "more": "x" * 200_000,
    }  # fmt: skip
    write(models / "a.safetensors", metadata=said)
    write(models / "b.safetensors", metadata={"atelier.vocabulary": "[1]"})
    for _ in range(2):  # read, then remembered
        a, b = open_catalogue().list()
        assert (a.title, a.prediction, a.family) == ("A fine model", "v", "analytic")
        assert str(a.size) == "320x256"
        assert a.vocabulary == {"things": ["apple"]}
        assert len(a.metadata["more"]) < 70_000
        assert (b.title, b.vocabulary) == ("b", None)


def test_a_file_is_read_once_until_it_changes(models, open_catalogue, monkeypatch):
    path = write(models / "a.safetensors")
    write(models / "b.safetensors")
    open_catalogue().list()
    reads = []
    read = header.read
    monkeypatch.setattr(checkpoints.header, "read", lambda path: reads.append(path.name) or read(path))
    catalogue = open_catalogue()
    catalogue.refresh()
    assert reads == []
    write(path, metadata={"modelspec.title": "new"})
    catalogue.refresh()
    assert reads == ["a.safetensors"]
    assert catalogue.find("a").title == "new"


def test_a_new_family_makes_unknown_files_worth_another_look_and_keeps_hashes(models, open_catalogue, monkeypatch):
    from modules.families import base

    write(models / "a.safetensors")
    monkeypatch.setattr(base, "FAMILIES", [])
    assert open_catalogue().list()[0].problem.code == "unknown_family"
    monkeypatch.undo()
    catalogue = open_catalogue(hashing=True)
    digest = hashed(catalogue, "a").sha256
    monkeypatch.setattr(base, "FAMILIES", list(base.FAMILIES[:1]) if base.FAMILIES[0].name == "analytic" else
                        [one for one in base.FAMILIES if one.name == "analytic"])  # fmt: skip
    again = open_catalogue().find("a")
    assert (again.family, again.sha256) == ("analytic", digest)


def test_a_deleted_file_leaves_the_list_within_two_seconds_and_cannot_be_chosen(models, open_catalogue):
    path = write(models / "a.safetensors")
    write(models / "b.safetensors")
    catalogue = open_catalogue()
    assert names(catalogue) == ["a", "b"]
    path.unlink()
    began = time.monotonic()
    while "a" in names(catalogue):
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    with pytest.raises(ModelError):
        catalogue.find("a")


@pytest.mark.parametrize("how", ["renamed over", "cut", "written over"])
def test_other_bytes_under_the_same_name_are_noticed(models, open_catalogue, how):
    path = write(models / "a.safetensors", fill=1)
    catalogue = open_catalogue(hashing=True)
    before = hashed(catalogue, "a")
    assert catalogue.is_current(before)
    if how == "renamed over":
        os.replace(write(models / "new.part", fill=2), path)
    elif how == "cut":
        os.truncate(path, 60)
    else:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x07")
        os.utime(path, ns=(1, before.mtime_ns + 1))
    assert not catalogue.is_current(before)
    catalogue.refresh()
    if how == "cut":
        with pytest.raises(ModelError):
            catalogue.find("a")
    else:
        assert hashed(catalogue, "a").sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != before.sha256


def test_a_file_that_changes_while_it_is_hashed_gets_no_hash_of_other_bytes(models, open_catalogue, monkeypatch):
    path = write(models / "a.safetensors", fill=1)
    reading = checkpoints._sha256
    changed = []

    def changing(one, stop):
        digest = reading(one, stop)
        if not changed:
            changed.append(digest)
            write(path, metadata={"modelspec.title": "other"}, fill=2)
        return digest

    monkeypatch.setattr(checkpoints, "_sha256", changing)
    catalogue = open_catalogue(hashing=True)
    while not changed:
        time.sleep(0.01)
    time.sleep(0.05)
    assert {one.sha256 for one in catalogue._found.values()} == {None}
    catalogue.refresh()
    assert hashed(catalogue, "a").sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != changed[0]


def test_the_cache_may_be_lost_or_damaged(tmp_path, models, open_catalogue):
    write(models / "a.safetensors")
    first = open_catalogue()
    first.list()
    first.close()
    cache = tmp_path / ".cache" / "models.sqlite"
    cache.write_bytes(cache.read_bytes()[:100])
    assert names(open_catalogue()) == ["a"]


def test_a_cache_that_cannot_be_written_costs_neither_models_nor_hashes(models, open_catalogue, monkeypatch):
    @contextlib.contextmanager
    def full():
        raise DiskFull("There is no room left.")
        yield

    catalogue = open_catalogue()
    monkeypatch.setattr(catalogue._database, "writing", full)
    write(models / "a.safetensors")
    catalogue.refresh()
    assert names(catalogue) == ["a"]
    catalogue._learn_hash(catalogue.find("a"), "ab" * 32)
    assert catalogue.find("a").sha256 == "ab" * 32


def test_links_to_folders_are_followed_and_circles_end(tmp_path, models, open_catalogue):
    write(tmp_path / "elsewhere" / "a.safetensors")
    (models / "Stable-diffusion").mkdir(parents=True)
    (models / "Stable-diffusion" / "shared").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(models / "Stable-diffusion")
    assert names(open_catalogue()) == ["shared/a"]


def test_listing_never_imports_torch(tmp_path, models):
    write(models / "a.safetensors")
    code = (
        "import sys; from pathlib import Path; from modules.core.settings import Settings;"
        "from modules.library.checkpoints import Catalogue; from modules.library.outputs import Outputs;"
        f"c = Catalogue(Settings(data_dir={str(tmp_path)!r}), [Path({str(models)!r})]); assert c.find('a').family;"
        "print([name for name in ('torch', 'numpy', 'safetensors', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    assert done.stdout.strip() == "[]"


def test_two_thousand_files_are_read_once_for_all_runs(models, open_catalogue, monkeypatch):
    for number in range(2_000):
        write(models / "Stable-diffusion" / f"{number % 40}" / f"m{number}.safetensors")
    opened, read = [], header.read
    monkeypatch.setattr(checkpoints.header, "read", lambda path: (opened.append(path), read(path))[1])
    assert len(open_catalogue().list()) == 2_000
    assert len(opened) == 2_000
    assert len(open_catalogue().list()) == 2_000
    assert len(opened) == 2_000
