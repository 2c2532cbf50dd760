"""The program over HTTP: settings, models, extensions, samplers, token counts and the look ahead."""

import json
from dataclasses import dataclass, replace

import pytest

from modules.core.errors import ModelError
from modules.core.sampling import SAMPLERS
from modules.extend.api import Extension, slider
from modules.extend.loader import Found, Registry


@dataclass(frozen=True)
class Louder(Extension):
    """Says it louder."""

    title = "Louder"
    amount: float = slider(1.0, low=0.0, high=2.0)


@pytest.fixture
def louder(desk, tmp_path):
    desk.extensions._found.update(Registry([Found("louder", tmp_path, False, True, Louder)])._found)
    return desk.extensions


def test_settings_are_told_without_folders(see):
    rows = {row["name"]: row for row in see("/api/v1/settings").json()["settings"]}
    assert rows["theme"]["value"] == "system"
    assert rows["theme"]["choices"] == ["system", "light", "dark"]
    assert not {"data_dir", "models_dir", "model_paths"} & set(rows)


def test_a_preference_is_changed_and_kept(tell, see, desk):
    answer = tell("/api/v1/settings", {"theme": "dark", "checkpoint": "starter"}, method="PATCH")
    assert {row["name"]: row["value"] for row in answer.json()["settings"]} == {
        "theme": "dark",
        "checkpoint": "starter",
    }
    assert 'theme = "dark"' in desk.settings.file.read_text()
    assert {row["name"]: row["value"] for row in see("/api/v1/settings").json()["settings"]}["theme"] == "dark"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"theme": "pink"}, "theme"), ({"theme": 3}, "theme"), ({"port": 80}, "port"), ({"nothing": 1}, "nothing"),
     ({"data_dir": "/etc"}, "data_dir"), ({"checkpoint": "gone"}, "model.checkpoint"),
     ({"checkpoint": 5}, "checkpoint"), ([], None)],
)  # fmt: skip
def test_bad_settings_change_nothing(tell, desk, changes, field):
    answer = tell("/api/v1/settings", changes, method="PATCH")
    assert (answer.status, answer.json()["field"]) == (422, field)
    assert not desk.settings.file.exists()


def test_a_prediction_is_chosen_and_told_with_its_reason(tell, see, desk):
    answer = tell("/api/v1/models/starter/prediction", {"prediction": "v"}, method="PUT")
    assert answer.status == 200
    assert (answer.json()["prediction"], answer.json()["is_chosen"]) == ("v", True)
    assert tell("/api/v1/models/gone/prediction", {"prediction": "v"}, method="PUT").status == 422
    assert tell("/api/v1/models/starter/prediction", {"prediction": "x"}, method="PUT").status == 422
    (row,) = see("/api/v1/models").json()["models"]
    assert (row["prediction"], row["reasons"]) == ("v", ["v, because you chose it"])


def test_models_are_told_without_paths(see):
    answer = see("/api/v1/models")
    (row,) = answer.json()["models"]
    assert (row["name"], row["title"], row["family"], row["sha256"]) == ("starter", "Starter", "sd1", "ab" * 32)
    assert b"/home" not in answer.body


def test_a_model_that_cannot_be_used_says_why(see, desk):
    why = ModelError(
        "/home/somebody/models/old.ckpt is a pickle.", "Use another.", code="unsafe_format", file="old.ckpt"
    )
    desk.checkpoints.rows.append(replace(desk.checkpoints.rows[0], name="old", family=None, problem=why))
    answer = see("/api/v1/models")
    assert answer.status == 200
    assert [row["problem"] for row in answer.json()["models"]] == [
        None,
        {
            "code": "unsafe_format",
            "message": "old.ckpt is a pickle.",
            "hint": "Use another.",
            "facts": {"file": "old.ckpt"},
        },
    ]


def test_samplers_and_schedules(see):
    assert [row["name"] for row in see("/api/v1/samplers").json()["samplers"]] == [row.name for row in SAMPLERS]
    assert see("/api/v1/schedules").json()["schedules"][1] == {"name": "Karras", "id": "karras", "aliases": []}


def test_an_extension_is_switched_and_stays_so(see, tell, louder, desk):
    (row,) = see("/api/v1/extensions").json()["extensions"]
    assert (row["title"], row["enabled"], row["about"]) == ("Louder", True, "Says it louder.")
    assert row["controls"][0]["high"] == 2.0
    assert tell("/api/v1/extensions/louder", {"enabled": False}).json()["active"] is False
    assert desk.settings.extensions_off == ("louder",)
    answer = tell("/api/v1/jobs", {"request": {"extensions": {"louder": {"amount": 1.5}}}})
    assert answer.json()["field"] == "extensions.louder"
    assert tell("/api/v1/extensions/louder", {"enabled": True}).json()["active"] is True
    assert tell("/api/v1/jobs", {"request": {"extensions": {"louder": {"amount": 3.5}}}}).json()["field"] == (
        "extensions.louder.amount"
    )
    assert tell("/api/v1/jobs", {"request": {"extensions": {"louder": {"amount": 1.5}}}}).status == 201


@pytest.mark.parametrize(
    ("name", "body", "status"), [("none", {"enabled": True}, 404), ("louder", {"enabled": 1}, 422)]
)
def test_bad_switches(tell, louder, name, body, status):
    assert tell(f"/api/v1/extensions/{name}", body).status == status


def test_tokens_are_counted(tell):
    assert tell("/api/v1/tokens", {"text": "a red fox"}).json() == {
        "used": 3, "capacity": 75, "boundaries": [], "unknown": [], "combinations": 0,
    }  # fmt: skip
    long = tell("/api/v1/tokens", {"text": "fox " * 100}).json()
    assert (long["used"], long["capacity"], len(long["boundaries"])) == (100, 150, 1)
    assert tell("/api/v1/tokens", {"text": "x" * 20_001}).json()["field"] == "text"


def test_words_that_the_checkpoint_was_not_taught_are_named(tell, desk):
    world = json.dumps({"things": [{"name": "fox", "en": ["fox"], "zh": ["狐狸"]}]})
    desk.checkpoints.rows = [replace(desk.checkpoints.rows[0], metadata={"atelier.vocabulary": world})]
    assert tell("/api/v1/tokens", {"text": "a fox and a dragon"}).json()["unknown"] == ["dragon"]
    assert tell("/api/v1/tokens", {"text": "a dragon", "checkpoint": "gone"}).json()["unknown"] == []


def test_a_look_ahead_names_every_mistake_and_the_cost(tell, desk):
    good = tell("/api/v1/check", {"request": {"hires": {"scale": 1.5}, "count": 3}}).json()
    assert good == {"problems": [], "count": 3, "width": 768, "height": 768, "estimate_s": 12.5, "notes": []}
    bad = {"size": {"width": 4096, "height": 4096}, "hires": {"scale": 2.0}, "model": {"checkpoint": "gone"}}
    answer = tell("/api/v1/check", {"request": bad}).json()
    assert {problem["field"] for problem in answer["problems"]} == {"model.checkpoint", "hires.scale"}
    assert answer["estimate_s"] is None
    assert desk.queue.counts()["queued"] == 0


def test_a_look_ahead_names_a_lora_that_is_not_there_and_the_job_can_be_made(tell):
    seen = tell("/api/v1/check", {"request": {"prompt": "a house <lora:nowhere:1>", "seed": 1}}).json()
    assert seen["problems"] == []
    assert [(note["code"], note["field"]) for note in seen["notes"]] == [("unknown_adapter", "prompt")]
