"""A whole program in small, to be killed: opens a studio on a folder, says what it accepted, runs until SIGTERM.

``program.py <data folder> <folder for marks> <jobs to submit> <pictures each> <step in seconds>``
"""

import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(data: str, marks: str, jobs: str, pictures: str, step_s: str) -> int:
    from modules.core.request import GenerationRequest
    from modules.core.settings import Settings
    from modules.jobs.studio import Studio

    stopped = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stopped.set())
    options = {"folder": marks, "step_s": float(step_s)}
    studio = Studio.open(Settings(data_dir=data), maker="tests.jobs.fakes:open_fake", options=options)
    print("open", flush=True)
    for number in range(int(jobs)):
        request = GenerationRequest.from_data(
            {
                "seed": 100 * number,
                "count": int(pictures),
                "size": {"width": 64, "height": 64},
                "sampling": {"steps": 4},
            }
        )
        print(studio.queue.submit(request, client="me", workspace="w").id, flush=True)
    print("submitted", flush=True)
    while not stopped.wait(0.02):
        counts = studio.queue.counts()
        if counts["queued"] + counts["running"] == 0:
            print("idle", flush=True)
            stopped.wait()
    studio.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
