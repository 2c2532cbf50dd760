"""What the page's hidden buttons do: save the draft, send a request to the queue, and fill the form."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.core import strictjson
from modules.core.errors import WorkbenchError
from modules.core.events import FormAnswered
from modules.families.base import Defaults
from modules.jobs import notes
from modules.library import reading
from modules.planning import sheets, wording
from modules.webui import carried, forms
from modules.webui.controls import Form

if TYPE_CHECKING:
    from modules.jobs.studio import Studio
    from modules.webui.models import Models

WORKSPACE_CHARACTERS = 64
CLIENT = "page"

FOLLOWERS = {  # what a choice brings along
    "shape": ("width", "height"),
    "quality": ("steps", "hires", "sampler", "schedule"),
    "compat": ("noise",),
}


class Calls:
    """The answers of one build of the page.

    Each call gets the workspace, a note (JSON from the page's modules, with a ``token`` that comes back in the answer
    so that the page knows which press was answered), and every control's value in the form's order.
    """

    def __init__(self, form: Form, studio: Studio, drafts: forms.Drafts, models: Models) -> None:
        self._form = form
        self._studio = studio
        self._drafts = drafts
        self._models = models
        self._keeping = threading.Lock()
        self._newest: dict[str, tuple[str, int]] = {}  # workspace -> the tab and number of the press last kept

    def save(self, workspace: str, note: str, *given: Any) -> None:
        """Keep the draft, and say what a press of Generate would cost or stumble over."""
        values = self._named(given)
        self._keep(workspace, note, values)
        self._answer(workspace, note, {"saved": True, **self._outlook(values)})

    def generate(self, workspace: str, note: str, *given: Any) -> None:
        """Queue the request at the end."""
        self._submit(workspace, note, self._named(given), priority=0)

    def front(self, workspace: str, note: str, *given: Any) -> None:
        """Queue the request in front of all others."""
        self._submit(workspace, note, self._named(given), priority=1)

    def apply(self, workspace: str, note: str, *given: Any) -> list[dict[str, Any]]:
        """Change the form as the note says; returns one update a control.

        The note's ``set`` holds values by name, ``follow`` names of values that bring others (a shape its size); these
        others are told even if the form seems to hold them, since an earlier answer may still be on its way there.
        ``reset`` a fold's name, ``write_styles`` that styles become text of the prompts, ``picture`` a picture's id
        whose settings are taken (``only`` names some of them), ``fields`` holds fields of a request by dotted path, and
        ``generate`` asks to queue the result at once.
        """
        before = self._named(given)
        try:
            wish = strictjson.loads(note or "{}")
            after = self._changed(before, wish)
        except WorkbenchError as problem:
            self._answer(workspace, note, {}, problem)
            return [_update() for _ in given]
        told = {name for leader in wish.get("follow") or () for name in FOLLOWERS.get(leader, ())}
        changed = {name: value for name, value in after.items() if name in told or before.get(name) != value}
        self._keep(workspace, note, after)
        if wish.get("generate"):
            self._submit(workspace, note, after, priority=0)
        else:
            self._answer(workspace, note, self._outlook(after))
        return [_update(value=changed[row.name]) if row.name in changed else _update() for row in self._form.controls]

    def _keep(self, workspace: str, note: str, values: forms.Values) -> None:
        """Store the draft, unless a later press of the same tab was faster: presses may overtake each other."""
        name = _workspace(workspace)
        tab, _, number = _token(note).rpartition("-")
        count = int(number) if number.isascii() and number.isdecimal() else 0
        with self._keeping:
            newest = self._newest.get(name)
            if newest and newest[0] == tab and count < newest[1]:
                return
            self._newest[name] = (tab, count)
            while len(self._newest) > forms.Drafts.KEEP:
                self._newest.pop(next(iter(self._newest)))
            self._drafts.save(name, values)

    def _named(self, given: tuple[Any, ...]) -> forms.Values:
        return dict(zip((row.name for row in self._form.controls), given, strict=True))

    def _changed(self, before: forms.Values, wish: Mapping[str, Any]) -> forms.Values:
        old = self._models.defaults(before["checkpoint"])
        patch = dict(wish.get("set") or {})
        if wish.get("write_styles"):
            patch |= self._styles_written(before)
        patch |= {leader: before[leader] for leader in wish.get("follow") or () if leader in FOLLOWERS}
        if wish.get("picture"):
            patch = {**self._settings_of(wish["picture"], wish.get("only")), **patch}
        if isinstance(fields := wish.get("fields"), dict):
            left = carried.after(before["carried"], fields, self._form)
            patch = {**forms.values_saying(fields, self._form, old), "carried": left, **patch}
        new = self._models.defaults(patch.get("checkpoint", before["checkpoint"]))
        if wish.get("reset"):
            patch = {**self._fresh_fold(wish["reset"], before, new), **patch}
        return forms.change(before, patch, old, new, self._form)

    def _settings_of(self, picture_id: str, only: list[str] | None) -> forms.Values:
        picture = self._studio.gallery.get(picture_id)
        if picture.request is None:
            return self._settings_in(picture.infotext, only)
        request = wording.typed(picture.request, self._studio.phrases, picture.seed or 0)
        defaults = self._models.defaults(request.model.checkpoint)
        values = forms.values_of(request, self._form, defaults)
        values |= {"seed": str(picture.seed), "count": 1}
        following = ("shape", "quality")  # from size and steps
        return {
            name: value for name, value in values.items() if name not in following and (only is None or name in only)
        }

    def _settings_in(self, text: str, only: list[str] | None) -> forms.Values:
        """What another program's text says; raises WorkbenchError where that is nothing."""
        recall = reading.from_text(text).recall
        if recall is None:
            raise WorkbenchError("This picture carries no settings.", "", code="no_settings", status=422)
        name = recall.fields.get("model.checkpoint") or ""
        values = forms.values_saying(recall.fields, self._form, self._models.defaults(name))
        values["carried"] = carried.after("{}", recall.fields, self._form)
        return {name: value for name, value in values.items() if only is None or name in only}

    def _styles_written(self, before: forms.Values) -> forms.Values:
        """The prompts with the chosen styles in them as text, and no style chosen any more."""
        texts = str(before["prompt"] or ""), str(before["negative_prompt"] or "")
        prompt, negative = wording.longest(*texts, forms.styles_of(before["styles"]), self._studio.phrases)
        return {"prompt": prompt, "negative_prompt": negative, "styles": "[]"}

    def _fresh_fold(self, fold: str, before: forms.Values, defaults: Defaults) -> forms.Values:
        fresh = forms.start(self._form, defaults, before["prompt"])
        return {row.name: fresh[row.name] for row in self._form.controls if row.fold == fold}

    def _submit(self, workspace: str, note: str, values: forms.Values, *, priority: int) -> None:
        try:
            worded = self._worded(values)
            request = worded.request
            self._models.refuse(request)
            job = self._studio.queue.submit(request, client=CLIENT, workspace=_workspace(workspace), priority=priority)
        except WorkbenchError as problem:
            self._answer(workspace, note, {}, problem)
            return
        notes.tell(self._studio.bus, job, worded.notes)
        self._keep(workspace, note, values)
        self._answer(workspace, note, {"seed": request.seed}, accepted=job.id)

    def _worded(self, values: forms.Values) -> wording.Worded:
        """The request that the form asks for, its script made a sheet and its words chosen."""
        known = sheets.choices_of(self._studio.checkpoints, self._studio.phrases)
        return sheets.word(forms.request_of(values, self._form), self._studio.phrases, known)

    def _outlook(self, values: forms.Values) -> dict[str, Any]:
        """Problems and the estimate of the request as the form stands, for the page to show before any press."""
        try:
            worded = self._worded(values)
        except WorkbenchError as problem:
            return {"problems": [problem.as_dict()], "notes": [], "estimate_s": None}
        noted = [note.model_dump(mode="json") for note in worded.notes]
        outlook = self._models.outlook(worded.request)
        return {**outlook, "pictures": worded.request.count, "notes": [*outlook.get("notes", ()), *noted]}

    def _answer(
        self,
        workspace: str,
        note: str,
        values: Mapping[str, Any],
        problem: WorkbenchError | None = None,
        accepted: str | None = None,
    ) -> None:
        self._studio.bus.publish(
            FormAnswered(
                workspace=_workspace(workspace),
                error=problem.as_dict() if problem else None,
                values={**values, "token": _token(note)},
                accepted=accepted,
            )
        )


def _workspace(text: Any) -> str:
    return str(text or "")[:WORKSPACE_CHARACTERS]


def _token(note: str) -> str:
    try:
        return str(strictjson.loads(note or "{}").get("token", ""))[:WORKSPACE_CHARACTERS]
    except (WorkbenchError, AttributeError):
        return ""


def _update(**value: Any) -> dict[str, Any]:
    """Gradio's wire form of "set the value", and without one of "leave it alone"."""
    return {"__type__": "update", **value}
