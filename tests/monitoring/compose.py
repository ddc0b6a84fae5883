"""What the compose file becomes, as docker-compose reads it.

compose.py COMMAND...     docker-compose, or docker compose; promtool from $PROMTOOL or PATH
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "monitoring" / "compose"
COMMAND = sys.argv[1:]
PROMTOOL = os.environ.get("PROMTOOL", "promtool")
FILLED_IN = {
    "GRAFANA_ADMIN_USER": "somebody",
    "GRAFANA_URL": "https://monitoring.example.org",
    "JOURNAL_GID": "101",
}
PROFILES = ("alloy", "promtail", "postgres", "redis", "cadvisor", "musterd")
# What cAdvisor reads is root's.
ROOT = {"cadvisor"}


def read(variables):
    """The file with these variables and nothing else of the environment: exit status, what was said, the services."""
    flags = [flag for profile in PROFILES for flag in ("--profile", profile)]
    with tempfile.NamedTemporaryFile("w", suffix=".env") as empty:
        done = subprocess.run(
            [*COMMAND, "--env-file", empty.name, "--file", FOLDER / "compose.yml", *flags, "config"],
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.returncode, done.stderr, yaml.safe_load(done.stdout) if done.returncode == 0 else None


class Compose(unittest.TestCase):
    """What the stack promises."""

    @classmethod
    def setUpClass(cls):
        status, said, cls.config = read(FILLED_IN)
        if status:
            raise AssertionError(said)
        cls.services = cls.config["services"]

    def test_all_of_the_stack_is_there(self):
        self.assertEqual(
            set(self.services),
            {
                "prometheus",
                "alertmanager",
                "grafana",
                "loki",
                "alloy",
                "promtail",
                "postgres-exporter",
                "redis-exporter",
                "cadvisor",
                "musterd",
            },
        )
        always = {name for name, service in self.services.items() if "profiles" not in service}
        self.assertEqual(always, {"prometheus", "alertmanager", "grafana", "loki"})

    def test_it_does_not_start_without_what_is_to_be_filled_in(self):
        for name in FILLED_IN:
            status, said, _ = read(FILLED_IN | {name: ""})
            self.assertNotEqual(status, 0, name)
            self.assertIn(name, said)

    def test_no_password_stands_in_it(self):
        for name, service in self.services.items():
            for variable in service.get("environment", {}):
                if re.search("PASS|SECRET|TOKEN", variable):
                    self.assertRegex(variable, "_FILE$", name)
        for secret in self.config["secrets"].values():
            self.assertEqual(pathlib.Path(secret["file"]).parent, FOLDER / "secrets")
        self.assertIn("/secrets/", (FOLDER / ".gitignore").read_text().split())

    def test_versions_are_pinned(self):
        for name, service in self.services.items():
            if name == "musterd":
                self.assertEqual(service["image"], "musterd:local")
            else:
                self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+(-alpine)?$", name)

    def test_services_can_do_no_more_than_they_need(self):
        for name, service in self.services.items():
            user, _ = service["user"].split(":")
            self.assertEqual(user == "0", name in ROOT)
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertNotIn("cap_add", service, name)
            self.assertNotIn("privileged", service, name)
            self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)

    def test_services_have_limits_and_health_checks(self):
        for name, service in self.services.items():
            self.assertEqual(set(service["deploy"]["resources"]["limits"]), {"cpus", "memory"}, name)
            self.assertGreater(service["pids_limit"], 0, name)
            self.assertEqual(service["healthcheck"]["test"][0], "CMD", name)
            self.assertIn("max-size", service["logging"]["options"], name)

    def test_ports_are_for_the_host_alone(self):
        published = set()
        for name, service in self.services.items():
            for port in service.get("ports", ()):
                host = port["host_ip"] if isinstance(port, dict) else port.rsplit(":", 2)[0]
                self.assertEqual(host, "127.0.0.1")
                published.add(name)
        self.assertEqual(published, {"prometheus", "alertmanager", "grafana"})

    def test_networks_are_apart(self):
        self.assertEqual(
            {name for name, network in self.config["networks"].items() if network.get("internal")},
            {"metrics", "logs"},
        )
        on = {
            network: {name for name, service in self.services.items() if network in service["networks"]}
            for network in self.config["networks"]
        }
        self.assertEqual(on["hosts"], {"prometheus", "musterd"})
        self.assertEqual(on["logs"], {"grafana", "loki", "alloy", "promtail"})
        self.assertNotIn("loki", on["outside"] | on["front"])

    def test_what_is_mounted_is_there_and_cannot_be_changed(self):
        for name, service in self.services.items():
            for volume in service.get("volumes", ()):
                if isinstance(volume, str):
                    source, _, mode = (*volume.split(":"), "")[:3]
                    read_only = mode == "ro"
                else:
                    source, read_only = str(volume["source"]), volume.get("read_only", False)
                if not source.startswith("/"):
                    self.assertIn(source, self.config["volumes"], name)
                    continue
                self.assertTrue(read_only, source)
                path = pathlib.Path(source)
                if FOLDER.parent in path.parents and FOLDER / "secrets" not in path.parents:
                    self.assertTrue(path.exists(), f"{path} is not there")

    def test_prometheus_asks_services_that_there_are(self):
        config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        asked = set()
        for job in [*config["scrape_configs"], *config["alerting"]["alertmanagers"]]:
            for discovery in job.get("dns_sd_configs", ()):
                asked.update(discovery["names"])
        self.assertEqual(
            asked, {"alertmanager", "postgres-exporter", "redis-exporter", "cadvisor", "musterd"}
        )
        for name in asked:
            self.assertTrue(
                set(self.services[name]["networks"]) & set(self.services["prometheus"]["networks"]), name
            )

    @unittest.skipUnless(shutil.which(PROMTOOL), f"no {PROMTOOL}")
    def test_prometheus_takes_its_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            for path in (
                FOLDER / "prometheus.yml",
                FOLDER / "targets",
                FOLDER.parent / "prometheus" / "rules",
            ):
                (pathlib.Path(folder) / path.name).symlink_to(path)
            file = pathlib.Path(folder) / "prometheus.yml"
            done = subprocess.run(
                [PROMTOOL, "check", "config", file], capture_output=True, text=True, check=False
            )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("rules found", done.stdout)

    def test_retention_is_thirty_days(self):
        self.assertIn("--storage.tsdb.retention.time=30d", self.services["prometheus"]["command"])
        loki = yaml.safe_load((FOLDER.parent / "logs" / "loki.yml").read_text())
        self.assertEqual(loki["limits_config"]["retention_period"], "30d")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
