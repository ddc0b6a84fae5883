"""What becomes of journal entries in the configurations of Promtail and Alloy, and whether dashboards ask for it."""

import pathlib
import re
import unittest

import grafana
import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "monitoring" / "logs"
DAEMON = {"_systemd_unit": "musterd.service", "_hostname": "web-1", "priority": "5"}
INSTANCE = {"_systemd_unit": "musterd-agent@billing.service", "_hostname": "web-1", "priority": "6"}


def promtail():
    """Constant labels and rules of Promtail's configuration."""
    (scrape,) = yaml.safe_load((FOLDER / "promtail.yml").read_text())["scrape_configs"]
    return scrape["journal"]["labels"], scrape["relabel_configs"]


def alloy():
    """The same of Alloy's, whose rules are blocks of `name = value` lines."""
    text = re.sub(r"^\s*//.*", "", (FOLDER / "alloy.alloy").read_text(), flags=re.MULTILINE)
    labels = dict(re.findall(r'(\w+) = "(\w+)"', re.search(r"labels\s*= \{(.*)\}", text)[1]))
    rules = []
    for block in re.findall(r"rule \{(.*?)\n  \}", text, flags=re.DOTALL):
        rule = dict(re.findall(r"^\s*(\w+)\s*=\s*(.+)$", block, flags=re.MULTILINE))
        # Strings are written as JSON writes them.
        rules.append({name: yaml.safe_load(value) for name, value in rule.items()})
    return labels, rules


def labels_of(entry, configuration):
    """The labels that an entry gets; None if it is dropped. As Prometheus's relabelling is specified."""
    labels = {f"__journal_{name}": value for name, value in entry.items()} | configuration[0]
    for rule in configuration[1]:
        found = re.fullmatch(
            rule.get("regex", "(.*)"), ";".join(labels.get(name, "") for name in rule["source_labels"])
        )
        if rule.get("action", "replace") == "keep":
            if not found:
                return None
        elif found:
            labels[rule["target_label"]] = found.expand(rule.get("replacement", "$1").replace("$1", r"\1"))
    return {name: value for name, value in labels.items() if not name.startswith("__") and value}


class Logs(unittest.TestCase):
    """What the configurations promise."""

    def test_both_say_the_same(self):
        self.assertEqual(promtail(), alloy())
        self.assertEqual(len(promtail()[1]), 10)

    def test_the_daemons_own_lines(self):
        wanted = {"job": "musterd", "instance": "web-1", "unit": "musterd.service", "level": "info"}
        self.assertEqual(labels_of(DAEMON, promtail()), wanted)

    def test_lines_of_and_about_an_agent_of_the_daemon(self):
        self.assertEqual(
            labels_of(DAEMON | {"agent": "solver", "pid": "17"}, promtail()),
            {
                "job": "musterd",
                "instance": "web-1",
                "unit": "musterd.service",
                "level": "info",
                "agent": "solver",
            },
        )

    def test_lines_of_an_agent_that_systemd_runs(self):
        self.assertEqual(
            labels_of(INSTANCE, promtail()),
            {
                "job": "musterd",
                "instance": "web-1",
                "unit": "musterd-agent@billing.service",
                "level": "info",
                "agent": "billing",
            },
        )

    def test_lines_of_others_are_left_out(self):
        for unit in ("ssh.service", "musterd.socket", "musterd-agent@.service", "not-musterd.service"):
            self.assertIsNone(labels_of(DAEMON | {"_systemd_unit": unit}, promtail()))

    def test_every_severity_has_a_word(self):
        words = [labels_of(DAEMON | {"priority": str(number)}, promtail())["level"] for number in range(8)]
        self.assertEqual(words, ["critical"] * 3 + ["error", "warning", "info", "info", "debug"])

    def test_dashboards_ask_for_labels_that_there_are(self):
        known, levels, asked = (
            labels_of(INSTANCE, promtail()),
            {"critical", "error", "warning", "info", "debug"},
            0,
        )
        for name, board in grafana.dashboards().items():
            for panel in grafana.panels(board):
                if panel["datasource"]["type"] != "loki":
                    continue
                for label, value in re.findall(r'(\w+)=~?"([^"]*)"', panel["targets"][0]["expr"]):
                    asked += 1
                    self.assertIn(label, known, name)
                    if label == "level":
                        self.assertLessEqual(set(value.split("|")), levels, name)
        self.assertGreater(asked, 0)


if __name__ == "__main__":
    unittest.main()
