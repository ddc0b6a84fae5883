"""Writes the dashboards' JSON from their descriptions.

python3 monitoring/grafana/build            writes ../dashboards/*.json
python3 monitoring/grafana/build --check    ends with 1 if these are not what the descriptions say
"""

import json
import pathlib
import sys

import agent
import agents
import fleet
import node
import own

DASHBOARDS = {"fleet": fleet, "node": node, "agents": agents, "agent": agent, "musterd": own}
FOLDER = pathlib.Path(__file__).resolve().parent.parent / "dashboards"


def main():
    """Writes or checks each file."""
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    wrong = {file.name for file in FOLDER.glob("*.json")} - {f"{name}.json" for name in DASHBOARDS}
    for name, module in DASHBOARDS.items():
        file = FOLDER / f"{name}.json"
        text = json.dumps(module.DASHBOARD, indent=2, ensure_ascii=False) + "\n"
        if not check:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            wrong.add(file.name)
    if wrong:
        sys.exit(
            f"not what the descriptions say: {', '.join(sorted(wrong))}; run python3 monitoring/grafana/build"
        )


if __name__ == "__main__":
    main()
