"""The complete list of extension points, and the guard through which each of them is called."""

import inspect
import math
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pluggy

from modules.core.errors import Cancelled, ExtensionFailed
from modules.extend.api import Extension

_spec = pluggy.HookspecMarker("atelier")
CAUSE_CHARACTERS = 1_000
FAILED = object()  # what a guarded call answers when its extension raised


def in_words(problem: BaseException) -> str:
    """What a guest raised, as text that can be stored and sent: bounded, without halves of surrogate pairs."""
    text = "".join(traceback.format_exception_only(problem)).strip()
    return text[:CAUSE_CHARACTERS].encode("utf-8", "backslashreplace").decode()


def _anything(value: Any) -> bool:
    return True


class Points:
    """Where an extension can act; an implementation takes any subset of a point's arguments, by name."""

    # Once a request, in the process that makes the picture.

    @_spec
    def edit_request(self, request: Any) -> Any:
        """Return another GenerationRequest, before it is planned; None keeps it."""

    @_spec
    def patch_model(self, network: Any, patches: Any) -> None:
        """Change the denoising network (a torch module) for this job; ``patches.callback(undo)`` undoes it after."""

    @_spec
    def edit_conditioning(self, conditioning: Any) -> Any:
        """Return another conditioning of one picture (cond and uncond, as modules.engine.conditioning has it)."""

    @_spec
    def wrap_denoiser(self, denoiser: Any) -> Any:
        """Return a denoiser around this one: ``(x, sigma) -> Denoised``."""

    @_spec
    def before_guidance(self, upcoming: Any) -> None:
        """Edit ``upcoming.scale`` before every call, or set ``upcoming.skip``; it has sigma, call and share."""

    @_spec
    def after_guidance(self, guided: Any) -> None:
        """Edit ``guided.denoised`` in every call; ``guided`` has x, sigma, cond, uncond and converts to v and eps."""

    @_spec
    def after_step(self, step: Any) -> None:
        """Edit ``step.x`` after a sampler's step."""

    @_spec
    def edit_image(self, image: Any) -> Any:
        """Return other pixels of a finished picture: uint8 array [h w 3]."""

    @_spec
    def image_saved(self, picture: Any) -> None:
        """A picture is in the gallery (called in the page's process with a library Picture)."""

    # Once a program.

    @_spec
    def register_families(self, families: Any) -> None:
        """Append Family objects (``modules.families.base``) to the list."""

    @_spec
    def register_samplers(self, samplers: Any) -> None:
        """``samplers.add(SamplerFacts(...), walk)``: a generator as in ``modules.engine.samplers``, one call a step."""

    @_spec
    def register_schedules(self, schedules: Any) -> None:
        """``schedules.add(ScheduleFacts(...), function)``: ``(steps, times) -> sigmas``, falling floats."""

    @_spec
    def add_tab(self) -> Any:
        """Return a Tab."""

    @_spec
    def add_routes(self, router: Any) -> None:
        """Add routes to a FastAPI router mounted under ``/x/<name>/``, behind the gate."""


NAMES = tuple(name for name, member in vars(Points).items() if inspect.isfunction(member))


def check_hooks(kind: type[Extension]) -> None:
    """Refuse an extension with a misspelt hook or argument at load; raises pluggy.PluginValidationError."""
    manager = _manager()
    manager.register(kind())
    manager.check_pending()


class Hooks:
    """The extensions of one request, called in order, each behind a guard.

    An extension that raises, or calls ``sys.exit``, is left out for the rest of the job and ``failed`` is told once;
    the picture goes on without it. ``bool(hooks)`` is False where nothing is active, so the engine pays nothing.
    """

    def __init__(self, extensions: Sequence[tuple[str, Extension]], failed: Callable[[ExtensionFailed], None]) -> None:
        self._manager = _manager()
        self._failed = failed
        for name, extension in extensions:
            self._manager.register(extension, name=name)

    def __bool__(self) -> bool:
        return bool(self._manager.get_plugins())

    def has(self, point: str) -> bool:
        """Whether any active extension implements this point."""
        return bool(getattr(self._manager.hook, point).get_hookimpls())

    def tell(self, point: str, **arguments: Any) -> None:
        """Call a point whose implementations edit their argument in place."""
        for implementation in self._implementations(point):
            self._guarded(implementation, point, arguments)

    def pass_through(self, point: str, name: str, value: Any, accepts: Callable[[Any], bool] = _anything) -> Any:
        """Call a point whose implementations return another ``value`` (argument ``name``); None keeps it.

        One whose answer is not accepted fails as if it had raised: what extensions return is not taken on trust.
        """
        for implementation in self._implementations(point):
            value = self._passed(implementation, point, name, value, accepts)
        return value

    def collect(self, point: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a point and keep each extension's answer beside its name."""
        answers = []
        for implementation in self._implementations(point):
            answer = self._guarded(implementation, point, arguments)
            if answer is not None and answer is not FAILED:
                answers.append((implementation.plugin_name, answer))
        return answers

    def edit_request(self, request: Any) -> Any:
        """How many pictures there are was decided when the request was queued."""
        same = type(request)
        return self.pass_through(
            "edit_request", "request", request, lambda made: isinstance(made, same) and made.count == request.count
        )

    def patch_model(self, network: Any, patches: Any) -> None:
        """What undoes a patch runs behind the guard, too: one that raises keeps no other patch in place."""
        for implementation in self._implementations("patch_model"):
            behind = _Patches(patches, lambda undo, by=implementation: self._undo(by, undo))
            self._guarded(implementation, "patch_model", {"network": network, "patches": behind})

    def edit_conditioning(self, conditioning: Any) -> Any:
        same = type(conditioning)
        return self.pass_through("edit_conditioning", "conditioning", conditioning, lambda made: isinstance(made, same))

    def wrappers(self) -> list[tuple[str, Callable[[Any], Any]]]:
        """(name, function from denoiser to denoiser) of each extension that wraps it, the innermost first.

        Apart, because what an extension wraps fails later, in the walk, and only its own name should be told then.
        """
        return [
            (
                one.plugin_name,
                lambda denoiser, one=one: self._passed(one, "wrap_denoiser", "denoiser", denoiser, callable),
            )
            for one in self._implementations("wrap_denoiser")
        ]

    def before_guidance(self, upcoming: Any) -> None:
        """One that fails, or leaves no finite number, leaves ``upcoming`` as it was before it."""
        for implementation in self._implementations("before_guidance"):
            kept, skip = upcoming.scale, upcoming.skip
            answer = self._guarded(implementation, "before_guidance", {"upcoming": upcoming})
            if answer is not FAILED and not _is_finite(upcoming.scale):
                self._leave_out(implementation, "before_guidance", "it left no finite number in upcoming.scale")
                answer = FAILED
            if answer is FAILED:
                upcoming.scale, upcoming.skip = kept, skip

    def after_guidance(self, guided: Any) -> None:
        """One that fails leaves no half-made edit behind: ``guided.denoised`` goes back to what it was before it."""
        self._edit("after_guidance", "guided", guided, "denoised")

    def after_step(self, step: Any) -> None:
        """As ``after_guidance``, with ``step.x``."""
        self._edit("after_step", "step", step, "x")

    def edit_image(self, image: Any, accepts: Callable[[Any], bool] = _anything) -> Any:
        return self.pass_through("edit_image", "image", image, accepts)

    def image_saved(self, picture: Any) -> None:
        self.tell("image_saved", picture=picture)

    def _implementations(self, point: str) -> list[pluggy.HookImpl]:
        # pluggy keeps the first to be called last
        return list(reversed(getattr(self._manager.hook, point).get_hookimpls()))

    def _edit(self, point: str, name: str, thing: Any, field: str) -> None:
        """Call a point that edits the tensor in one field of its argument, in place or by another of its shape."""
        for implementation in self._implementations(point):
            before = getattr(thing, field)
            kept = before.clone() if hasattr(before, "clone") else before
            answer = self._guarded(implementation, point, {name: thing})
            if answer is not FAILED and _shape(getattr(thing, field)) != _shape(kept):
                self._leave_out(implementation, point, f"it left no tensor of the same shape in {name}.{field}")
                answer = FAILED
            if answer is FAILED:
                setattr(thing, field, kept)

    def _passed(
        self, implementation: pluggy.HookImpl, point: str, name: str, value: Any, accepts: Callable[[Any], bool]
    ) -> Any:
        changed = self._guarded(implementation, point, {name: value})
        if changed is None or changed is FAILED:
            return value
        if accepts(changed):
            return changed
        self._leave_out(implementation, point, f"it returned a {type(changed).__name__} that cannot be used")
        return value

    def _guarded(self, implementation: pluggy.HookImpl, point: str, arguments: dict[str, Any]) -> Any:
        try:
            return implementation.function(*(arguments[name] for name in implementation.argnames))
        except (Cancelled, KeyboardInterrupt):
            raise
        except BaseException as problem:  # a guest's sys.exit must not end the program
            self._leave_out(implementation, point, in_words(problem))
            return FAILED

    def _undo(self, implementation: pluggy.HookImpl, undo: Callable[[], Any]) -> None:
        try:
            undo()
        except BaseException as problem:  # the pictures are made, whatever a guest does now
            cause = f"undoing it: {in_words(problem)}"
            self._failed(ExtensionFailed(implementation.plugin_name, "patch_model", cause))

    def _leave_out(self, implementation: pluggy.HookImpl, point: str, cause: str) -> None:
        self._manager.unregister(implementation.plugin)
        self._failed(ExtensionFailed(implementation.plugin_name, point, cause))


class _Patches:
    """What ``patch_model`` gets: takes what undoes a patch, and has it run after the job."""

    def __init__(self, patches: Any, run: Callable[[Callable[[], Any]], None]) -> None:
        self._patches = patches
        self._run = run

    def callback(self, undo: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Call ``undo`` with these arguments when the job is over; the last one first."""
        self._patches.callback(self._run, partial(undo, *arguments, **named))


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _shape(value: Any) -> Any:
    return getattr(value, "shape", None)


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("atelier")
    manager.add_hookspecs(Points)
    return manager
