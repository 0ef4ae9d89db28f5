#!/usr/bin/env python3
"""The dashboards follow the rules of Grafana's dashboard linter, and are what docker/grafana/dashboards.py writes."""
import json
import pathlib
import re
import subprocess
import sys

UNITS = {"reqps", "percentunit", "s", "ms", "ns", "short", "cps", "cpm", "none"}
RANGED = r"\b(rate|increase|irate)\((?:[^()]|\([^()]*\))*?\[([^\]]+)\]"


def all_panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def variable_problems(dashboard):
    by_name = {v["name"]: v for v in dashboard["templating"]["list"]}
    source = by_name.get("datasource", {})
    if source.get("type") != "datasource" or source.get("query") != "prometheus" or source.get("label") != "Data source":
        yield "there is no variable datasource, of Prometheus, labelled \"Data source\""
    for name in ("job", "instance"):
        v = by_name.get(name, {})
        if (v.get("type"), v.get("multi"), v.get("allValue"), v.get("label")) != ("query", True, ".+", name.capitalize()):
            yield f"the variable {name} is not a labelled, multiple query with allValue .+"
        if v.get("datasource", {}).get("uid") != "${datasource}":
            yield f"the variable {name} does not ask the chosen data source"
    for v in by_name.values():
        if v["type"] == "query" and v.get("refresh") != 2:
            yield f"the variable {v['name']} is not asked anew when the time range changes"


def prometheus_problems(expr):
    for matcher in ('job=~"$job"', 'instance=~"$instance"'):
        selectors = re.findall(r"[a-z_]+\{([^}]*)\}", expr)
        if not selectors or any(matcher not in selector for selector in selectors):
            yield f"a selector lacks {matcher}"
    for _, window in re.findall(RANGED, expr):
        if window != "$__rate_interval":
            yield f"a rate is taken over {window}, not $__rate_interval"
    if expr.count("[") != len(re.findall(RANGED, expr)):
        yield "a range is used by something else than rate or increase"
    for name in re.findall(r"(\w+_(?:total|count|bucket|sum))\{", expr):
        if not re.search(rf"(rate|increase)\({name}\{{", expr):
            yield f"the counter {name} is shown without rate or increase"


def loki_problems(expr, kind):
    for window in re.findall(r"\[([^\]]+)\]", expr):
        if window != ("$__range" if kind == "table" else "$__auto"):
            yield f"a range is {window}"
    if not re.match(r"[^{]*\{service_name=~\"\$service\"\}" if expr.startswith("{") else r".*\{service_name=~\"\$service\"\}", expr):
        yield "a selector lacks the chosen service"


def panel_problems(panel):
    if not panel.get("title") or not panel.get("description"):
        yield "has no title or no description"
    if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
        yield "has no known unit"
    if not panel.get("targets"):
        yield "asks nothing"
    if not panel["datasource"]["uid"].startswith("${"):
        yield "is tied to one data source"
    for target in panel["targets"]:
        if target["datasource"]["type"] == "prometheus":
            yield from prometheus_problems(target["expr"])
        elif target["datasource"]["type"] == "loki":
            yield from loki_problems(target["expr"], panel["type"])


def dashboard_problems(dashboard):
    if dashboard.get("editable"):
        yield "can be edited"
    yield from variable_problems(dashboard)
    places = set()
    for panel in all_panels(dashboard):
        for problem in panel_problems(panel):
            yield f"{panel.get('title')}: {problem}"
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        if cells & places or grid["x"] + grid["w"] > 24:
            yield f"{panel['title']}: lies over another panel"
        places |= cells


def check(root):
    folder = root / "docker" / "grafana"
    made = subprocess.run([sys.executable, folder / "dashboards.py", "--check"], capture_output=True, text=True)
    problems = (made.stdout + made.stderr).splitlines()
    uids = []
    for path in sorted((folder / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text())
        uids.append(dashboard["uid"])
        problems += [f"{path.name}: {problem}" for problem in dashboard_problems(dashboard)]
    if len(uids) < 2 or len(uids) != len(set(uids)):
        problems.append(f"the uids of the dashboards are {uids}")
    return problems


if __name__ == "__main__":
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    print("\n".join(found) or "dashboards: as the linter has them")
    sys.exit(bool(found))
