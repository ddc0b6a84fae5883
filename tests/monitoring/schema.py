"""Holds the dashboards against the types that Grafana publishes: npm's @grafana/schema, checked by TypeScript.

    schema.py NODE_MODULES

Writes each dashboard as a typed value, its panels' options and custom fields as those of their kinds, and has the
compiler look at them: what is missing, misspelled, unknown or not among the allowed words is an error.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import grafana

# Kind of panel: folder and file of its types, and whether it has fields of its own.
KINDS = {
    "stat": ("stat", "StatPanelCfg", False),
    "timeseries": ("timeseries", "TimeSeriesPanelCfg", True),
    "state-timeline": ("statetimeline", "StateTimelinePanelCfg", True),
    "heatmap": ("heatmap", "HeatmapPanelCfg", True),
    "table": ("table", "TablePanelCfg", True),
    "logs": ("logs", "LogsPanelCfg", False),
}
# In JSON a word of an enumeration is the word itself.
HEAD = """
type Plain<T> = unknown extends T ? T : T extends string ? `${T}` : T extends number | boolean | null | undefined ? T :
    { [Key in keyof T]: Plain<T[Key]> };
// Not among what the package exports, so by its path.
import type { Dashboard, Panel, RowPanel } from "./node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen";
"""


def custom_fields(panel):
    """What a panel sets of the fields of its kind: by default, and in each override."""
    yield panel["fieldConfig"]["defaults"].get("custom", {})
    for override in panel["fieldConfig"]["overrides"]:
        properties = {entry["id"]: entry["value"] for entry in override["properties"]}
        yield {
            name[len("custom.") :]: value for name, value in properties.items() if name.startswith("custom.")
        }


def typescript(board):
    """A dashboard as a program that is right if the dashboard is."""
    parts = [HEAD]
    for kind, (folder, file, _) in KINDS.items():
        name = kind.replace("-", "_")
        parts.append(
            f'import type * as {name} from "@grafana/schema/dist/esm/raw/composable/{folder}/panelcfg/x/{file}_types.gen";'
        )
    rows = [{**panel, "panels": []} for panel in board["panels"] if panel["type"] == "row"]
    panels = list(grafana.panels(board))
    parts.append(f"const board: Plain<Dashboard> = {json.dumps({**board, 'panels': []})};")
    parts += [f"const row{number}: Plain<RowPanel> = {json.dumps(row)};" for number, row in enumerate(rows)]
    for number, panel in enumerate(panels):
        name, (_, _, custom) = panel["type"].replace("-", "_"), KINDS[panel["type"]]
        parts.append(f"const panel{number}: Plain<Panel> = {json.dumps(panel)};")
        parts.append(f"const options{number}: Plain<{name}.Options> = {json.dumps(panel['options'])};")
        kind = f"Plain<Partial<{name}.FieldConfig>>" if custom else "{ [Key in never]: unknown }"
        parts += [
            f"const custom{number}_{part}: {kind} = {json.dumps(fields)};"
            for part, fields in enumerate(custom_fields(panel))
        ]
    return "\n".join(parts) + "\nexport {};\n"


def main():
    """Writes the programs and runs the compiler."""
    modules = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "node_modules").symlink_to(modules)
        files = []
        for name, board in grafana.dashboards().items():
            file = pathlib.Path(folder) / f"{name}.ts"
            file.write_text(typescript(board), encoding="utf-8")
            files.append(file.name)
        flags = [
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--module",
            "esnext",
            "--moduleResolution",
            "bundler",
            "--target",
            "es2022",
        ]
        compiler = modules / ".bin" / "tsc"
        done = subprocess.run(
            [compiler, *flags, *files], cwd=folder, capture_output=True, text=True, check=False
        )
    print(done.stdout + done.stderr, end="")
    print(
        f"{len(files)} dashboards held against Grafana's types: {'right' if done.returncode == 0 else 'wrong'}"
    )
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
