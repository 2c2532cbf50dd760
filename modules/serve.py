"""Starts the program: takes the port, answers, opens the studio and the page behind it, and ends cleanly."""

import os
import signal
import sys
import threading
import webbrowser

# Libraries that would call home are told not to before any of them is imported. Downloads that a person asks for
# stay possible, so the hub is not switched off as a whole.
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "DISABLE_TELEMETRY": "YES",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(arguments: list[str]) -> int:
    """Run until Ctrl+C or SIGTERM; returns 0, 1 for a taken data folder, 2 for a bad option or port."""
    os.environ.update(QUIET)
    from modules.core import settings as settings_file
    from modules.core.errors import WorkbenchError
    from modules.httpapi.serving import PortTaken, Serving

    try:
        settings = settings_file.load(arguments)
        serving = Serving(settings)
    except PortTaken as problem:
        other = _other_instance(settings)
        return _say(other or problem, 1 if other else 2)
    except WorkbenchError as problem:
        return _say(problem, 2)
    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    serving.start()
    try:
        return _run(settings, serving, stopped)
    except WorkbenchError as problem:
        return _say(problem, 1)
    finally:
        serving.stop()


def _run(settings, serving, stopped: threading.Event) -> int:
    from modules.jobs.studio import Studio

    studio = Studio.open(settings)
    try:
        studio.tell_url(serving.url)
        from modules.httpapi.server import build_app
        from modules.webui.pages import build_pages

        build_app(studio, build_pages(studio), serving.gate)
        print(f"Atelier: {serving.link}\nPictures go to {settings.outputs}. Stop with Ctrl+C.", flush=True)
        if settings.browser:
            threading.Thread(target=webbrowser.open, args=(serving.link,), daemon=True).start()
        stopped.wait()
        print("Stopping; finished pictures and the queue are kept.", flush=True)
        return 0
    finally:
        serving.stop()
        studio.close()


def _other_instance(settings):
    """Who holds this data folder, where the port is taken by Atelier itself; None where it is another program."""
    from modules.jobs.lock import AlreadyRunning, FolderLock

    try:
        FolderLock(settings.data, "").release()
    except AlreadyRunning as running:
        return running
    return None


def _say(problem, status: int) -> int:
    print(f"{problem.message} {problem.hint}".strip(), file=sys.stderr)
    return status
