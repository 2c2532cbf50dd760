"""What the hidden buttons do: drafts in the order of the presses, requests queued, mistakes told beside their field."""

import json
from types import SimpleNamespace

from modules.planning.phrases import Phrases
from modules.prompt.styles import Style
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
            bus=SimpleNamespace(publish=self.said.append), queue=SimpleNamespace(submit=self.submit),
            phrases=Phrases(folder), checkpoints=None, gallery=SimpleNamespace(get=lambda id: self.picture),
        )  # fmt: skip
        self.calls = Calls(FORM, studio, self.drafts, Models())

    def submit(self, request, **about):
        self.queued.append((request, about))
        return SimpleNamespace(id="job1")

    def press(self, button, number=1, note=None, **changes):
        values = {**forms.start(FORM, UNKNOWN, "a house"), **changes}
        text = json.dumps({"token": f"tab-{number}", **(note or {})})
        return getattr(self.calls, button)("w", text, *(values[row.name] for row in FORM.controls))


def changed(updates):
    """The values that Gradio is told, by name."""
    named = zip((row.name for row in FORM.controls), updates, strict=True)
    return {name: update["value"] for name, update in named if "value" in update}


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
    assert changed(bench.press("apply", note={"set": {"quality": "draft"}})) == {"quality": "draft", "steps": 12}
    assert bench.said[0].values == {"token": "tab-1", "problems": [], "estimate_s": 3.0, "notes": [], "pictures": 1}


def test_a_card_fills_the_form_and_generates(tmp_path):
    bench = Bench(tmp_path)
    updates = bench.press("apply", note={"set": {"prompt": "a fox", "seed": "7"}, "generate": True})
    assert (bench.queued[0][0].prompt, bench.queued[0][0].seed) == ("a fox", 7)
    assert changed(updates) == {"prompt": "a fox", "seed": "7"}


def test_a_note_that_is_no_json_is_answered_as_an_error(tmp_path):
    bench = Bench(tmp_path)
    bench.calls.apply("w", "{", *forms.start(FORM, UNKNOWN, "").values())
    assert bench.said[0].error["code"] == "bad_json"


def test_styles_and_wildcards_are_words_before_they_are_queued(tmp_path):
    bench = Bench(tmp_path)
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "colour.txt").write_text("red\nblue\n", "utf-8")
    Phrases(tmp_path).keep(Style("ink", "{prompt}, ink wash", "photo"))
    bench.press("generate", prompt="a __colour__ house __nope__", styles='["ink", "gone"]', seed="7", count=8)
    request, _ = bench.queued[0]
    assert set(request.prompts) == {f"a {colour} house __nope__, ink wash" for colour in ("red", "blue")}
    assert (request.prompt_template, request.styles) == ("a __colour__ house __nope__", ("ink", "gone"))
    assert [said.code for said in bench.said if said.type == "warned"] == ["unknown_style", "unknown_wildcard"]
    bench.press("save", 2, prompt="__nope__")
    assert [note["code"] for note in bench.said[-1].values["notes"]] == ["unknown_wildcard"]
    bench.press("generate", 3, prompt="__colour__ {a|b}", chance="all")
    assert bench.queued[1][0].prompts == ("red a", "red b", "blue a", "blue b")


def test_a_pictures_settings_are_what_was_typed_and_styles_can_be_written_out(tmp_path):
    bench = Bench(tmp_path)
    Phrases(tmp_path).keep(Style("ink", "{prompt}, ink wash", "photo"))
    bench.press("generate", prompt="a {cat|fox}", styles='["ink"]', seed="7")
    request, _ = bench.queued[0]
    bench.picture = SimpleNamespace(request=request, seed=7)
    told = changed(bench.press("apply", 2, note={"picture": "p"}))
    assert (told["prompt"], told["styles"]) == ("a {cat|fox}", '["ink"]')
    Phrases(tmp_path).keep(Style("ink", "charcoal"), instead_of="ink")
    assert changed(bench.press("apply", 3, note={"picture": "p"}))["prompt"] == request.prompt
    told = changed(bench.press("apply", 4, note={"write_styles": True}, prompt="a cat # mine", styles='["ink"]'))
    assert (told["prompt"], told["styles"]) == ("a cat, charcoal", "[]")


def test_a_list_of_styles_that_is_none_is_empty():
    assert [forms.styles_of(text) for text in ("", None, "x", "{}", "[1]", '["a"]')] == [[], [], [], [], [], ["a"]]


def test_fields_of_a_request_set_just_their_controls(tmp_path):
    bench = Bench(tmp_path)
    fields = {"prompt": "a fox", "seed": 5, "sampling.steps": 9, "compat": ["a1111"], "hires": None, "styles": ["ink"]}
    told = changed(bench.press("apply", note={"fields": fields}, seed="7", cfg_scale=4.5, hires=True, noise="cpu"))
    assert {name: told[name] for name in ("prompt", "seed", "steps", "compat", "hires", "styles")} == {
        "prompt": "a fox", "seed": "5", "steps": 9, "compat": "a1111", "hires": False, "styles": '["ink"]',
    }  # fmt: skip
    assert "cfg_scale" not in told


def test_fields_that_are_no_request_are_told_and_change_nothing(tmp_path):
    bench = Bench(tmp_path)
    assert changed(bench.press("apply", note={"fields": {"sampling.steps": 9999}})) == {}
    assert bench.said[0].error["field"] == "sampling.steps"


def test_settings_of_a_picture_that_another_program_made(tmp_path):
    bench = Bench(tmp_path)
    text = "a fox\nSteps: 31, Sampler: Euler a, CFG scale: 5.5, Seed: 99, Size: 640x512, Tiling: True, Version: v1.10.1"
    bench.picture = SimpleNamespace(request=None, infotext=text)
    told = changed(bench.press("apply", note={"picture": "p"}))
    assert (told["prompt"], told["steps"], told["compat"], told["seed"]) == ("a fox", 31, "a1111", "99")
    assert told["tiling"] == "both"
    bench.picture = SimpleNamespace(request=None, infotext="only words")
    assert changed(bench.press("apply", 2, note={"picture": "p"})) == {}
    assert bench.said[-1].error["code"] == "no_settings"
