"""Hashes every file below a folder, again and again; each file is a request.

    MUSTERD_SOCKET=/run/musterd/agent.sock python3 folder_hasher.py /etc 10

Files that cannot be read are errors by category, and what takes longer than a second is a timeout.
"""

import hashlib
import os
import sys
import time
from typing import Iterator

from musterd import MetricsEnabledBaseAgent

SECONDS_MAX = 1.0
CHUNK = 1 << 20


class FolderHasher(MetricsEnabledBaseAgent):
    def handle(self, path: str) -> str:
        """The SHA-256 of one file."""
        deadline = time.monotonic() + SECONDS_MAX
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError(path)
        return digest.hexdigest()


def files(folder: str) -> Iterator[str]:
    for directory, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path) or os.path.islink(path):
                yield path


def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else "."
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with FolderHasher(framework="examples") as hasher:
        for _ in range(rounds):
            for path in files(folder):
                try:
                    hasher.run(path)
                except OSError:
                    pass  # it has been counted
            print(hasher.health())


if __name__ == "__main__":
    main()
