"""Every rule has its cases, and every alert what a person needs who is woken by it.

Holds monitoring/prometheus/rules against the cases in rules/ beside this file and docs/runbooks.md.
`complete.py [ROOT]`."""

import fnmatch
import re
import sys
from pathlib import Path

import yaml

RUNBOOKS = "https://github.com/musterd/musterd/blob/main/docs/runbooks.md"
SEVERITIES = ("critical", "warning")


def rules_of(path: Path) -> list[dict]:
    """All rules of a file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def alert_faults(alert: dict, sections: set[str]) -> list[str]:
    """What an alert lacks."""
    labels, notes = alert.get("labels", {}), alert.get("annotations", {})
    found = []
    if labels.get("severity") not in SEVERITIES:
        found.append(f"its severity is none of {SEVERITIES}")
    if not labels.get("service"):
        found.append("has no service, by which it is routed")
    found += [f"has no {note}" for note in ("summary", "description") if not notes.get(note, "").strip()]
    # Of what is absent there is nothing to tell.
    if "{{" not in notes.get("description", "") and not alert["expr"].startswith("absent("):
        found.append("its description has no value")
    if notes.get("runbook_url") != f"{RUNBOOKS}#{alert['alert'].lower()}":
        found.append("its runbook_url is not that of its section")
    if alert["alert"] not in sections:
        found.append("has no section in docs/runbooks.md")
    return found


def alert_cases(alert: dict, cases: list[dict]) -> list[str]:
    """Which cases of an alert are missing."""
    severity = alert["labels"]["severity"]
    asked = [(case, one) for case in cases for one in case.get("alert_rule_test", [])
             if one["alertname"] == alert["alert"] and case["input_series"]]
    fires = [severity in [each["exp_labels"]["severity"] for each in one["exp_alerts"] or []] for _, one in asked]
    missing = [] if True in fires else ["no case in which it fires"]
    return missing + ([] if False in fires else ["no case in which it does not fire"])


def record_cases(rule: dict, cases: list[dict]) -> list[str]:
    """Which cases of a recording rule are missing."""
    asked = [one for case in cases for one in case.get("promql_expr_test", []) if one["expr"] == rule["record"]]
    missing = [] if any(one["exp_samples"] for one in asked) else ["no case in which it is recorded"]
    return missing + ([] if any(not one["exp_samples"] for one in asked) else ["no case in which it is absent"])


def faults(root: Path) -> tuple[list[str], int]:
    """All that is missing below `root`, and how many rules there are."""
    folder = root / "monitoring/prometheus"
    page = (root / "docs/runbooks.md").read_text()
    sections = re.findall(r"^### (.+)$", page, re.M)
    loaded = yaml.safe_load((folder / "prometheus.yml").read_text())["rule_files"]
    cases = [case for path in sorted((root / "tests/monitoring/rules").glob("*.yml"))
             for case in yaml.safe_load(path.read_text())["tests"]]
    found, count, alerts = [], 0, set()
    for path in sorted(folder.glob("rules/**/*.yml")):
        name = str(path.relative_to(folder))
        if not any(fnmatch.fnmatch(name, pattern) for pattern in loaded):
            found.append(f"{name}: prometheus.yml does not load it")
        for rule in rules_of(path):
            count += 1
            if "alert" in rule:
                alerts.add(rule["alert"])
                lacks = alert_faults(rule, set(sections)) + alert_cases(rule, cases)
            else:
                lacks = record_cases(rule, cases)
            found += [f"{name}: {rule.get('alert') or rule['record']}: {lack}" for lack in lacks]
    found += [f"docs/runbooks.md: {one} is no alert" for one in sections if one not in alerts]
    found += [f"docs/runbooks.md: {one} is there twice" for one in set(sections) if sections.count(one) > 1]
    return found, count


def main() -> None:
    found, count = faults(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parents[2])
    print("\n".join(found) or f"complete: {count} rules, each with its cases; each alert with its runbook")
    sys.exit(bool(found))


main()
