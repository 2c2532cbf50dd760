"""What the hidden buttons do: drafts in the order of the presses, requests queued, mistakes told beside their field."""

import json
from types import SimpleNamespace

from modules.webui import forms
from modules.webui.calls import Calls
from modules.webui.controls import Form
from modules.webui.models import UNKNOWN

FORM = Form.build()


class Models:
    """Knows one kind of model and refuses nothing."""

    def defaults(self, name):
        return UNKNOWN

    def refuse(self, request):
        pass

    def outlook(self, request):
        return {"problems": [], "estimate_s": 3.0}


class Bench:
    """Calls over a real draft store, with what they said and queued in lists."""

    def __init__(self, folder):
        self.said, self.queued = [], []
        self.drafts = forms.Drafts(folder / "forms.sqlite")
        studio = SimpleNamespace(
            bus=SimpleNamespace(publish=self.said.append), queue=SimpleNamespace(submit=self.submit)
        )
        self.calls = Calls(FORM, studio, self.drafts, Models())

    def submit(self, request, **about):
        self.queued.append((request, about))
        return SimpleNamespace(id="job1")

    def press(self, button, number=1, note=None, **changes):
        values = {**forms.start(FORM, UNKNOWN, "a house"), **changes}
        text = json.dumps({"token": f"tab-{number}", **(note or {})})
        return getattr(self.calls, button)("w", text, *(values[row.name] for row in FORM.controls))


def test_a_press_that_arrives_late_does_not_overwrite_a_later_one(tmp_path):
    bench = Bench(tmp_path)
    bench.press("generate", 9, count=3)
    bench.press("save", 8, count=1)
    assert bench.drafts.load("w")["count"] == 3
    bench.press("save", 10, count=2)
    assert bench.drafts.load("w")["count"] == 2


def test_generate_queues_with_a_concrete_seed_and_front_before_all(tmp_path):
    bench = Bench(tmp_path)
    bench.press("generate")
    bench.press("front", 2)
    assert [about["priority"] for _, about in bench.queued] == [0, 1]
    assert bench.said[0].accepted == "job1"
    assert bench.said[0].values["seed"] == bench.queued[0][0].seed


def test_a_mistake_is_told_with_its_field_and_nothing_is_queued(tmp_path):
    bench = Bench(tmp_path)
    bench.press("generate", width=30)
    assert bench.queued == []
    assert bench.said[0].error["field"] == "size.width"
    assert bench.said[0].error["facts"]["nearest"] == 64


def test_apply_changes_only_what_changed(tmp_path):
    bench = Bench(tmp_path)
    updates = dict(
        zip((row.name for row in FORM.controls), bench.press("apply", note={"set": {"quality": "draft"}}), strict=True)
    )
    assert updates["steps"]["value"] == 12
    assert "value" not in updates["prompt"]
    assert bench.said[0].values["values"] == {"quality": "draft", "steps": 12}


def test_a_card_fills_the_form_and_generates(tmp_path):
    bench = Bench(tmp_path)
    bench.press("apply", note={"set": {"prompt": "a fox", "seed": "7"}, "generate": True})
    assert (bench.queued[0][0].prompt, bench.queued[0][0].seed) == ("a fox", 7)
    assert bench.said[0].values["values"]["prompt"] == "a fox"


def test_a_note_that_is_no_json_is_answered_as_an_error(tmp_path):
    bench = Bench(tmp_path)
    bench.calls.apply("w", "{", *forms.start(FORM, UNKNOWN, "").values())
    assert bench.said[0].error["code"] == "bad_json"
