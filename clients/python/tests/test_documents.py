"""The README's examples and the example agents run as they stand."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

from . import reader
from .daemon import FakeDaemon

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(daemon: FakeDaemon, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": ROOT, "MUSTERD_SOCKET": daemon.path}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=30
    )
    if done.returncode != 0 or done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout


class Documents(unittest.TestCase):
    def test_readme(self) -> None:
        with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
            blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", file.read(), re.MULTILINE)
        program = textwrap.dedent("".join(blocks))
        with FakeDaemon() as daemon:
            self.assertIn("'success': 1", run(daemon, "-c", program))
            names = {peer.hello["agent"]: i for i, peer in enumerate(daemon.peers)}
            data = daemon.data(names["billing"])
            self.assertEqual(reader.counters(data, "agent_requests_total"), {"success": 4})
            (sizes,) = [r for r in reader.records(data) if r.name == "billing_page_bytes"]
            self.assertEqual((sizes.unit, sizes.sum), ("bytes", 5120))

    def test_folder_hasher(self) -> None:
        with FakeDaemon() as daemon, tempfile.TemporaryDirectory() as folder:
            for name in ("one", "two"):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(name)
            os.symlink("nowhere", os.path.join(folder, "broken"))
            run(daemon, os.path.join(ROOT, "examples", "folder_hasher.py"), folder, "3")
            data = daemon.data()
            self.assertEqual(daemon.peers[0].hello["agent"], "folder_hasher")
            self.assertEqual(reader.counters(data, "agent_requests_total"), {"success": 6, "error": 3})
            self.assertEqual(reader.counters(data, "agent_errors_total"), {"not_found": 3})
            self.assertEqual(reader.word(data, 144), 1)


if __name__ == "__main__":
    unittest.main()
