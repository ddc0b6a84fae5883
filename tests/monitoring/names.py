"""Every family, label and label value that monitoring/ speaks of has to exist.

Queries are parsed (promql-parser), and held against docs/metrics.md, which is made of the program's own tables, and
vocabulary.yml, which lists what others measure. `names.py [ROOT]`; `names.py --self-test` shows that it finds slips."""

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import promql_parser as promql
import yaml

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
# What Grafana puts in place of its variables, as far as a query needs it to be a query.
GRAFANA = [(r"\$\{?__(rate_)?(interval|range)\}?(?!_)", "5m"), (r"\$\{?__(range|interval)_(s|ms)\}?", "300")]


def text_of(path: Path) -> str:
    """A file; nothing if it has gone, so that what it had is missed."""
    return path.read_text() if path.is_file() else ""


@dataclass
class Family:
    """A family as it is declared: its labels, and those that have a closed set of values."""

    labels: set[str]
    values: dict[str, list[str]] = field(default_factory=dict)


class Vocabulary:
    """All that may be spoken of."""

    def __init__(self, root: Path) -> None:
        self.own = yaml.safe_load((HERE / "vocabulary.yml").read_text())
        self.exact: dict[str, Family] = {}
        self.patterns: list[tuple[re.Pattern, Family]] = []
        self.seen = set(re.findall(r"^\w+", "\n".join(
            path.read_text() for path in (root / "tests/fixtures/expected").glob("*.prom")), re.M))
        for line in (root / "docs/metrics.md").read_text().splitlines():
            cells = [cell.strip() for cell in line.split(" | ")]
            if line.startswith("| `") and len(cells) >= 4:
                self._declare(cells[0].strip("| `"), cells[1], set(re.findall(r"`(\w+)`", cells[2])))
        for families in [self.own["of_the_kernel"], *self.own["foreign"].values()]:
            for name, labels in families.items():
                self.exact[name] = Family(set(labels))

    def _declare(self, name: str, kind: str, labels: set[str]) -> None:
        family = Family(labels, {label: closed["values"] for label, closed in self.own["values"].get(name, {}).items()})
        if "*" in name:
            self.patterns.append((re.compile(name.replace("*", r"\w+")), family))
            return
        earlier = self.exact.get(name)
        if earlier:  # one family of two collectors
            family.labels |= earlier.labels
        self.exact[name] = family
        if kind == "histogram":
            del self.exact[name]
            for suffix, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
                self.exact[name + suffix] = Family(labels | more, family.values)

    def find(self, name: str) -> Family | None:
        """The family of a series. Of a name that the kernel makes, the fixtures must have the very name."""
        if name in self.exact:
            return self.exact[name]
        if name in self.seen:
            return next((family for pattern, family in self.patterns if pattern.fullmatch(name)), None)
        return None

    def faults(self, root: Path) -> list[str]:
        """Slips in vocabulary.yml itself: sets of values that the source does not have."""
        found = []
        for name, labels in self.own["values"].items():
            family = self.find(name) or self.find(name + "_count")
            for label, closed in labels.items():
                if family is None or label not in family.labels:
                    found.append(f"vocabulary.yml: {name} has no label {label}")
                source = "".join(text_of(root / path) for path in closed["source"].split())
                found += [f"vocabulary.yml: {name}{{{label}}}: {value!r} is not in {closed['source']}"
                          for value in closed["values"] if f'"{value}"' not in source]
        return found


class Query:
    """One query: what is wrong with it, and the labels that its series may have."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.faults: list[str] = []
        self.labels: set[str] = set(vocabulary.own["scrape_labels"])
        self.used: set[str] = set()
        try:
            self._walk(promql.parse(text))
        except ValueError as error:
            self.faults.append(f"is no query: {error}: {text}")
        self.check_labels(self.used, "the query")

    def check_labels(self, used: set[str], where: str) -> None:
        """Notes labels that no series has; of a family that does not exist nothing can be said."""
        if any("no family" in fault for fault in self.faults):
            return
        self.faults += [f"no series here has the label {label!r}, of which {where} speaks"
                        for label in sorted(used - self.labels)]

    def _walk(self, node: object) -> None:
        if isinstance(node, promql.VectorSelector):
            return self._select(node)
        if isinstance(node, promql.MatrixSelector):
            return self._select(node.vector_selector)
        if isinstance(node, promql.Call):
            texts = [arg.val for arg in node.args if isinstance(arg, promql.StringLiteral)]
            if node.func.name in ("label_replace", "label_join"):
                self.labels.add(texts[0])
            for arg in node.args:
                self._walk(arg)
            return None
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql.AggregateExpr) and modifier:
            self.used |= set(modifier.labels)
        if isinstance(node, promql.BinaryExpr) and modifier:
            self.used |= set(modifier.matching.labels if modifier.matching else [])
            self.used |= set(modifier.group_labels or [])
        for child in ("lhs", "rhs", "expr", "param"):
            if (inner := getattr(node, child, None)) is not None and isinstance(inner, (promql.Expr, *NODES)):
                self._walk(inner)
        return None

    def _select(self, node: "promql.VectorSelector") -> None:
        matchers = list(node.matchers.matchers)
        name = node.name or next((m.value for m in matchers if m.name == "__name__"), None)
        family = self.vocabulary.find(name) if name else None
        if family is None:
            self.faults.append(f"there is no family {name!r}")
            return
        self.labels |= family.labels
        known = family.labels | set(self.vocabulary.own["scrape_labels"]) | {"__name__"}
        for matcher in matchers:
            if matcher.name not in known:
                self.faults.append(f"{name} has no label {matcher.name!r}")
            elif matcher.name in family.values:
                self._value(name, matcher, family.values[matcher.name])

    def _value(self, name: str, matcher: "promql.Matcher", values: list[str]) -> None:
        if not matcher.value or "$" in matcher.value:
            return  # absent, or a variable of Grafana
        is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        for wanted in matcher.value.split("|") if is_pattern else [matcher.value]:
            fits = any(re.fullmatch(wanted, value) for value in values) if is_pattern else wanted in values
            if not fits:
                self.faults.append(f"{name}: {matcher.name} is never {wanted!r}")


NODES = tuple(kind for name in promql.__all__ if isinstance(kind := getattr(promql, name), type)
              and (name.endswith("Expr") or name.endswith("Selector") or name.endswith("Literal") or name == "Call"))


def rule_faults(path: Path, vocabulary: Vocabulary) -> list[str]:
    """Of one file of rules."""
    found = []
    for group in yaml.safe_load(path.read_text())["groups"]:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            query = Query(rule["expr"], vocabulary)
            query.labels |= set(rule.get("labels", {}))
            texts = " ".join(rule.get("annotations", {}).values())
            query.check_labels(set(re.findall(r"\$labels\.(\w+)", texts)), "an annotation")
            found += [f"{path.name}: {name}: {fault}" for fault in query.faults]
    return found


def record(root: Path, vocabulary: Vocabulary) -> None:
    """Takes what recording rules define into the vocabulary."""
    for path in sorted((root / "monitoring/prometheus/rules/recording").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                vocabulary.exact[rule["record"]] = Family(Query(rule["expr"], vocabulary).labels)


def grafana_queries(node: object, source: str = "") -> list[tuple[str, str]]:
    """Queries, each with the legend that speaks of its labels; none of Loki's."""
    if isinstance(node, list):
        return [query for each in node for query in grafana_queries(each, source)]
    if not isinstance(node, dict):
        return []
    own = node.get("datasource")
    source = str(own.get("type") if isinstance(own, dict) else own or source)
    if "loki" in source.lower():
        return []
    found = [query for each in node.values() for query in grafana_queries(each, source)]
    if isinstance(node.get("expr"), str):
        found.append((node["expr"], node.get("legendFormat") or ""))
    if node.get("type") == "query" and "query" in node:
        asked = node["query"]["query"] if isinstance(node["query"], dict) else node["query"]
        if values := re.fullmatch(r"label_values\((?:(.+),)?\s*(\w+)\s*\)", asked.strip()):
            found.append((values[1] or "up", f"{{{{{values[2]}}}}}"))
        elif result := re.fullmatch(r"query_result\((.+)\)", asked.strip()):
            found.append((result[1], ""))
    return found


def dashboard_faults(dashboard: dict, vocabulary: Vocabulary) -> list[str]:
    """Of one dashboard."""
    found = []
    for text, legend in grafana_queries(dashboard):
        for pattern, value in GRAFANA:
            text = re.sub(pattern, value, text)
        query = Query(text, vocabulary)
        query.check_labels(set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend)), "a legend")
        found += [f"{fault} ({text})" for fault in query.faults]
    return found


def routing_faults(root: Path, vocabulary: Vocabulary) -> list[str]:
    """Of alertmanager.yml: labels, and the names, severities and services of alerts."""
    alerts = [rule for path in (root / "monitoring/prometheus/rules/alerts").glob("*.yml")
              for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    values = {"alertname": {rule["alert"] for rule in alerts}}
    for label in ("severity", "service"):
        values[label] = {rule["labels"][label] for rule in alerts}
    labels = {label for family in vocabulary.exact.values() for label in family.labels}
    labels |= set(vocabulary.own["alert_labels"]) | set(vocabulary.own["scrape_labels"]) | {"..."}
    found = []

    def walk(node: object) -> None:
        for each in node if isinstance(node, list) else []:
            walk(each)
        for key, value in node.items() if isinstance(node, dict) else []:
            if key in ("group_by", "equal"):
                found.extend(f"alertmanager.yml: no alert has the label {label!r}"
                             for label in value if label not in labels)
            elif key.endswith("matchers"):
                for label, wanted in re.findall(r"(\w+)\s*[!=]=?~?\s*\"?([\w|]+)\"?", " ".join(value)):
                    if label not in labels:
                        found.append(f"alertmanager.yml: no alert has the label {label!r}")
                    for one in wanted.split("|") if label in values else []:
                        if one not in values[label]:
                            found.append(f"alertmanager.yml: {label} is never {one!r}")
            else:
                walk(value)

    walk(yaml.safe_load((root / "monitoring/alertmanager/alertmanager.yml").read_text()))
    return found


def faults(root: Path) -> tuple[list[str], int]:
    """All that is wrong below `root`, and how many files were read."""
    vocabulary = Vocabulary(root)
    record(root, vocabulary)
    found = vocabulary.faults(root) + routing_faults(root, vocabulary)
    rules = sorted((root / "monitoring/prometheus/rules").glob("*/*.yml"))
    dashboards = sorted((root / "monitoring").glob("grafana/**/*.json"))
    for path in rules:
        found += rule_faults(path, vocabulary)
    for path in dashboards:
        found += [f"{path.name}: {fault}" for fault in dashboard_faults(json.loads(path.read_text()), vocabulary)]
    return found, len(rules) + len(dashboards)


# Slips, each with what has to be said of it.
SLIPS = {
    "sum(rate(agent_request_total[5m]))": "no family 'agent_request_total'",
    "node_memory_MemAvailble_bytes > 1": "no family 'node_memory_MemAvailble_bytes'",
    "agent_request_duration_seconds > 1": "no family",
    'agent_up{agnet="x"} == 0': "no label 'agnet'",
    "sum by (agnet) (agent_up)": "the label 'agnet'",
    "agent_up and on (node) agent_info": "the label 'node'",
    'agent_health_status{state="dead"} == 1': "state is never 'dead'",
    'agent_requests_total{status=~"error|timout"}': "status is never 'timout'",
    'agent_requests_total{status!="canceled"}': "status is never 'canceled'",
    "histogram_quantile(0.9, rate(agent_tool_duration_seconds_bucket{outcome='aborted'}[5m]))": "outcome is never",
    "agent:request_errors:ratio_rate7m > 1": "no family",
    "max_over_time(rate(agent_up[5m])[1h:1m]": "is no query",
    "max_over_time(sum by (agnet) (agent_up)[1h:1m])": "the label 'agnet'",
    "topk(scalar(agent_upp), agent_up)": "no family 'agent_upp'",
}
# The same in a dashboard; what Loki is asked is no PromQL.
DASHBOARD = {
    "panels": [
        {"targets": [{"expr": 'rate(agent_requests_total{agent=~"$agent"}[$__rate_interval])',
                      "legendFormat": "{{agent}}"}]},
        {"targets": [{"expr": "rate(agent_request_total[$__rate_interval])"}]},
        {"targets": [{"expr": "agent_up", "legendFormat": "{{agnet}}"}]},
        {"datasource": {"type": "loki"}, "targets": [{"expr": '{unit="musterd.service"} |= "error"'}]},
    ],
    "templating": {"list": [{"type": "query", "query": {"query": "label_values(agent_upp, agent)"}}]},
}
DASHBOARD_SLIPS = ["no family 'agent_request_total'", "the label 'agnet'", "no family 'agent_upp'"]


def self_test() -> list[str]:
    """Slips that are not found, and faults that are none."""
    vocabulary = Vocabulary(REPOSITORY)
    record(REPOSITORY, vocabulary)
    said = dashboard_faults(DASHBOARD, vocabulary)
    if len(said) != len(DASHBOARD_SLIPS) or any(slip not in str(said) for slip in DASHBOARD_SLIPS):
        return [f"in a dashboard: {DASHBOARD_SLIPS} are not what is said: {said}"]
    return [f"{slip}: {wanted!r} is not said, but {said}" for slip, wanted in SLIPS.items()
            if wanted not in str(said := Query(slip, vocabulary).faults).replace('"', "'")]


def main() -> None:
    if sys.argv[1:] == ["--self-test"]:
        found, done = self_test(), f"{len(SLIPS) + len(DASHBOARD_SLIPS)} slips, all found"
    else:
        found, files = faults(Path(sys.argv[1]) if sys.argv[1:] else REPOSITORY)
        done = f"{files} files speak of nothing that does not exist"
    print("\n".join(found) or f"names: {done}")
    sys.exit(bool(found))


main()
