"""Styles and wildcards over HTTP, and the words that a request's pictures get."""

import pytest


def test_styles_are_listed_kept_changed_and_removed(tell, see, tmp_path):
    assert see("/api/v1/styles").json() == {"styles": [], "problems": []}
    told = tell("/api/v1/styles", {"name": "ink", "prompt": "{prompt}, ink"}).json()
    assert told["styles"] == [{"name": "ink", "prompt": "{prompt}, ink", "negative_prompt": "", "own": True}]
    tell("/api/v1/styles", {"name": "wash", "prompt": "wash", "instead_of": "ink"})
    assert [row["name"] for row in see("/api/v1/styles").json()["styles"]] == ["wash"]
    assert tell("/api/v1/styles/remove", {"name": "wash"}).json()["styles"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/api/v1/styles", {"name": ""}, 422, "name"),
        ("/api/v1/styles", {"name": "x" * 201}, 422, "name"),
        ("/api/v1/styles", {"name": "a", "prompt": "p" * 20_001}, 422, "prompt"),
        ("/api/v1/styles", {"name": "a", "more": 1}, 422, "more"),
        ("/api/v1/styles/remove", {"name": "gone"}, 404, None),
    ],
)
def test_bad_styles_are_refused_by_field(tell, path, body, status, field):
    answer = tell(path, body)
    assert (answer.status, answer.json()["field"]) == (status, field)


def test_a_file_that_is_no_table_is_told_without_its_folder(see, tmp_path):
    (tmp_path / "styles.csv").write_text("nonsense", "utf-8")
    (problem,) = see("/api/v1/styles").json()["problems"]
    assert problem["facts"] == {"file": "styles.csv"}
    assert str(tmp_path) not in str(problem)


def test_jobs_are_worded_with_a_warning_for_what_there_is_none_of(tell, see, desk, tmp_path):
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "colour.txt").write_text("red\n", "utf-8")
    assert see("/api/v1/wildcards").json() == {"wildcards": ["colour"]}
    tell("/api/v1/styles", {"name": "ink", "prompt": "ink"})
    wanted = {"prompt": "a __colour__ __nope__ fox", "styles": ["ink", "gone"], "seed": 1}
    ahead = tell("/api/v1/check", {"request": wanted}).json()
    assert [note["code"] for note in ahead["notes"]] == ["unknown_style", "unknown_wildcard"]
    assert ahead["problems"] == []
    job = tell("/api/v1/jobs", {"request": wanted}).json()
    assert job["request"]["prompt"] == "a red __nope__ fox, ink"
    assert job["request"]["prompt_template"] == wanted["prompt"]
    told = [event.code for event in desk.bus.since(0)[0] if event.type == "warned" and event.job == job["id"]]
    assert told == ["unknown_style", "unknown_wildcard"]
    again = tell("/api/v1/jobs", {"request": job["request"]}).json()
    assert again["request"] == job["request"]  # words are put in once


def test_combinations_over_the_api(tell):
    job = tell("/api/v1/jobs", {"request": {"prompt": "{a|b} {c|d}", "combinations": True}}).json()
    assert job["pictures"] == [0, 1, 2, 3]
    assert tell("/api/v1/tokens", {"text": "{a|b} {c|d}"}).json()["combinations"] == 4


def test_endless_wildcards_are_the_senders_mistake(tell, tmp_path):
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "loop.txt").write_text("__loop__\n", "utf-8")
    answer = tell("/api/v1/jobs", {"request": {"prompt": "__loop__"}})
    assert (answer.status, answer.json()["code"], answer.json()["field"]) == (422, "wildcard_too_deep", "prompt")
    (problem,) = tell("/api/v1/check", {"request": {"prompt": "__loop__"}}).json()["problems"]
    assert problem["code"] == "wildcard_too_deep"


def test_styles_are_counted(tell):
    tell("/api/v1/styles", {"name": "ink", "prompt": "ink wash", "negative_prompt": "photo"})
    assert tell("/api/v1/tokens", {"text": "a red fox", "styles": ["ink"]}).json()["used"] == 6
    assert tell("/api/v1/tokens", {"text": "", "negative": True, "styles": ["ink"]}).json()["used"] == 1
