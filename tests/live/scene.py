"""Processes to look at: `scene.py NAME FOLDER` has threads of three names at work, and children with and without a group
of their own. All are of one session, which it leads."""

import os
import subprocess
import sys
import threading
import time


def work(name: str, path: str) -> None:
    """As a thread of this name: waits, takes memory, and writes to the disk."""
    with open("/proc/thread-self/comm", "w", encoding="ascii") as comm:
        comm.write(name)
    with open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytearray(1 << 20))
            os.fsync(file.fileno())
            file.seek(0)
            time.sleep(0.01)


def main() -> None:
    """Sets the scene."""
    os.setsid()
    for number, name in enumerate(["pool", "pool", "flusher"]):
        path = os.path.join(sys.argv[2], f"scene-{number}")
        threading.Thread(target=work, args=(name, path), daemon=True).start()
    children = [subprocess.Popen(["sleep", seconds]) for seconds in ("606", "607", "607")]
    for child in children:
        child.wait()


main()
