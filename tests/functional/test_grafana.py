"""docker/grafana and docker/prometheus against real traffic: every panel has something to show, every rule and link is true."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

from objects import BINARY, TOP, Process, free_port, until

GRAFANA, PROMETHEUS = TOP / "docker" / "grafana", TOP / "docker" / "prometheus"
LOGQL = TOP / "build" / "logql"  # logql.js and what it needs: the stage logql of tests/run.sh brings it there


def skip(why):
    print("SKIPPED:", why)
    pytest.skip(why)


def panels(kind):
    """(dashboard / panel / target, panel, target) of every target that asks such a data source."""
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                if target["datasource"]["type"] == kind:
                    yield f"{path.stem} / {panel['title']} / {target['refId']}", panel, target


def filled(expr, **values):
    """What Grafana makes of a query before it sends it."""
    for name, value in values.items():
        expr = expr.replace("$" + name, value)
    assert "$" not in expr, expr
    return expr


def test_rules_hold():
    """promtool: the rules are well formed, and each alert fires when it should and not before."""
    if shutil.which("promtool") is None:
        skip("promtool is not here (Debian's package is prometheus)")
    for command in (["check", "rules", "slowproxy.rules.yaml"], ["check", "config", "prometheus.yml"], ["test", "rules", "slowproxy.rules.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    rules = [rule for group in yaml.safe_load((PROMETHEUS / "slowproxy.rules.yaml").read_text())["groups"] for rule in group["rules"]]
    tested = (PROMETHEUS / "slowproxy.rules.test.yaml").read_text()
    assert not [rule["alert"] for rule in rules if "alert" in rule and f"alertname: {rule['alert']}\n        exp_alerts" not in tested]


class Prometheus(Process):
    """Debian's, with our configuration but for what it scrapes and how often."""

    def __init__(self, folder, scraped):
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "1s"}
        config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [scraped]}]
        path = pathlib.Path(folder) / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__("prometheus", ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/tsdb", "--log.level=warn",
                                        f"--web.listen-address={self.url[7:]}", "--enable-feature=exemplar-storage"], folder)

    def ask(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is still starting
                return None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        except OSError:
            return None

    def values(self, expr):
        """Those that are numbers."""
        found = self.ask("query", query=expr)
        return [one for one in (found["result"] if found else []) if one["value"][1] != "NaN"]


def make_traffic(client, rounds=3):
    """All that the panels speak of: fast and slow requests, errors, one that holds up others."""
    for _ in range(rounds):
        waiting = [threading.Thread(target=client.get, args=(path,))
                   for path in ("/blocking?seconds=0.5", "/await?seconds=0.4", "/items/7", "/sync-sleep?seconds=0.4")]
        for one in waiting:
            one.start()
        for _ in range(10):
            client.get("/")
        client.get("/no/such/path")
        for one in waiting:
            one.join()
    client.get("/cpu?seconds=0.5")
    client.get("/error")


def metrics(address):
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            return answer.read().decode() if answer.status == 200 else ""
    except OSError:
        return ""


def test_every_prometheus_panel_has_an_answer(demo_app, make_proxy, folder):
    """Real traffic through a real backend, scraped by Debian's Prometheus: no panel, no recording rule, no variable and no link to
    an exemplar is empty."""
    if shutil.which("prometheus") is None:
        skip("prometheus is not here (a package of Debian)")
    admin = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(demo_app, admin={"listen": admin}, service="demo", routes={"templates": ["/items/{id}"]},
                       logs={"loki": {"url": "http://127.0.0.1:9"}, "slow": "stdout"})
    until(lambda: metrics(admin), "the metrics")
    prometheus = Prometheus(folder, admin)
    until(lambda: prometheus.values("up == 1"), "the first scrape", 30)
    traffic = threading.Thread(target=make_traffic, args=(proxy.client,))
    traffic.start()
    traffic.join()
    proxy.slow_line("/cpu")
    values = {"__rate_interval": "1m", "job": ".+", "instance": ".+", "service": ".+", "route": ".*"}
    unanswered = {name: filled(target["expr"], **values) for name, _, target in panels("prometheus")}
    assert len(unanswered) >= 20

    def all_answered():
        for name, expr in list(unanswered.items()):
            if prometheus.values(expr):
                del unanswered[name]
        return not unanswered

    try:
        until(all_answered, "an answer to each panel", 30, step=0.5)
    finally:
        assert not unanswered, unanswered
    blocked = "sum(slowproxy_event_loop_blocked_seconds_total)"  # three times half a second in /blocking, once in /cpu
    until(lambda: prometheus.values(f"{blocked} > 1.6"), "the time that the event loop was held", step=0.5)
    assert not prometheus.values(f"{blocked} > 2.6")
    for rule in yaml.safe_load((PROMETHEUS / "slowproxy.rules.yaml").read_text())["groups"][0]["rules"]:
        until(lambda rule=rule: prometheus.values(rule["record"]), rule["record"], 30, step=0.5)
    now = {"start": "0", "end": "4102444800"}
    heatmap = next(target for _, panel, target in panels("prometheus") if panel["type"] == "heatmap")
    dots = until(lambda: prometheus.ask("query_exemplars", query=filled(heatmap["expr"], **values), **now), "exemplars")
    traces = {line["trace_id"] for line in proxy.slow_lines()}
    assert traces & {dot["labels"].get("trace_id") for series in dots for dot in series["exemplars"]}
    for path in (GRAFANA / "dashboards").glob("*.json"):
        for variable in json.loads(path.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
                found = prometheus.ask("series", **{"match[]": filled(series, **values)}, **now)
                assert [one for one in found if one.get(label)], (variable["name"], found)


def real_slow_lines(proxy, client):
    make_traffic(client, rounds=1)
    until(lambda: len(proxy.slow_lines()) >= 4, "the slow lines")
    return proxy.slow_lines()


def kept_by(query, labels, lines):
    """The lines that a query's stages leave over, each a dict of what is known of it then; and what could not be done."""
    tests = {"=": lambda a, b: a == b, "!=": lambda a, b: a != b, "=~": lambda a, b: re.fullmatch(b, a, re.S), "!~": lambda a, b: not re.fullmatch(b, a, re.S)}
    if not all(tests[operator](labels.get(name, ""), value) for name, operator, value in query["matchers"]):
        return [], ["it selects no stream of ours"]
    kept, broken = [], []
    for line in lines:
        known = dict(labels)
        for kind, *rest in query["stages"]:
            if kind == "|=":
                stays = rest[0] in line
            elif kind == "json":
                known.update({name: str(value) for name, value in json.loads(line).items()})
                stays = True
            elif kind == "label":
                stays = tests[rest[1]](known.get(rest[0], ""), rest[2])
            elif kind == "unwrap":  # a sample of a line without the label is none
                stays = rest[0] in known and float(known[rest[0]]) >= 0
            else:
                stays = False
                broken.append(f"the test knows no stage {kind}")
            if not stays:
                break
        else:
            kept.append(known)
    return kept, broken


def test_every_loki_panel_fits_our_lines(demo_app, make_proxy):
    """Each LogQL query is one by the grammar of Grafana's own editor; its stages, run over real slow lines, keep some, with every
    label it groups by; the columns of the table are keys of the line."""
    proxy = make_proxy(demo_app, service="demo", routes={"templates": ["/cpu", "/blocking", "/await", "/sync-sleep", "/items/{id}"]})
    lines = real_slow_lines(proxy, proxy.client)
    keys = {key for line in lines for key in line}
    names = {override["matcher"]["options"] for _, panel, _ in panels("loki") for override in panel["fieldConfig"]["overrides"]
             if panel["title"] == "Slow requests"}
    assert names <= keys | {"profile_url"}
    named = {name: filled(target["expr"], service=".+", route=".*", __auto="5m", __range="1h") for name, _, target in panels("loki")}
    assert len(named) >= 6
    if not (LOGQL / "node_modules").exists():
        skip("there is no Grafana grammar of LogQL (tests/run.sh logql brings it): the queries were not checked")
    done = subprocess.run(["node", "logql.js"], cwd=LOGQL, input=json.dumps(list(named.values())), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    texts = [json.dumps(line, separators=(",", ":")) for line in lines]
    for (name, expr), query in zip(named.items(), json.loads(done.stdout)):
        assert not query["errors"], (name, expr, query["errors"])
        kept, broken = kept_by(query, {"service_name": "demo"}, texts)
        assert not broken, (name, broken)
        rare = any(f"unwrap {what}_ms" in expr for what in ("gil_wait", "queued"))  # needs a crowd
        assert kept or rare, (name, expr)
        assert all(label in line for line in kept for label in query["by"] if label != "culprit_route"), (name, query["by"])
        print(f"{len(kept):3} of {len(lines)} lines kept by {name}")


def test_alloy_names_what_our_lines_have(demo_app, make_proxy):
    """Every value that the Alloy configuration takes out of a line is in the slow line, the access line and, but for the ids, in
    the program's own lines; what it makes a label is bounded; its braces are closed."""
    proxy = make_proxy(demo_app, logs={"access": "stdout"})
    proxy.client.get("/blocking?seconds=0.4")
    lines = until(lambda: len(proxy.lines()) >= 2 and proxy.lines(), "the slow line and the access line")
    own = json.loads(proxy.errors().splitlines()[0])
    text = re.sub(r"//.*", "", (TOP / "docker" / "alloy" / "config.alloy").read_text().replace("://", ":"))
    assert text.count("{") == text.count("}") > 10

    def names(stage):
        block = re.search(stage + r" \{[^{}]*\{([^{}]*)\}", text)[1]
        return set(re.findall(r"(\w+)\s*=", block))

    taken, labels, metadata = names(r"stage\.json"), names(r"stage\.labels"), names(r"stage\.structured_metadata")
    assert labels == {"service_name", "level"} and metadata == {"trace_id", "span_id"} and labels | metadata < taken
    for line in lines:
        assert taken <= set(line), taken - set(line)
    assert taken - metadata <= set(own)


def test_links_lead_from_a_line(demo_app, make_proxy):
    """The derived fields of the Loki data source find their ids in a real slow line; provisioning leaves one dollar sign."""
    proxy = make_proxy(demo_app)
    proxy.client.get("/blocking?seconds=0.4")
    line = proxy.slow_line("/blocking")
    raw = next(text for text in proxy.output().splitlines() if '"slow_request"' in text)
    text = (GRAFANA / "provisioning" / "datasources" / "slowproxy.yaml").read_text()
    sources = {source["uid"]: source for source in yaml.safe_load(text.replace("$$", "$"))["datasources"]}
    assert {source["type"] for source in sources.values()} == {"prometheus", "loki", "grafana-pyroscope-datasource"}
    for field in sources["loki"]["jsonData"]["derivedFields"]:
        assert set(field) <= {"name", "matcherRegex", "matcherType", "url", "urlDisplayLabel", "datasourceUid", "targetBlank"}
        found = re.search(field["matcherRegex"], raw)
        if field["name"] == "profile":
            assert found is None or found[1] == line["profile_url"]
            continue
        assert found and found[1] == line[field["name"]]
        url = field["url"].replace("${__value.raw}", found[1])
        if url.startswith("/explore"):
            pane, = json.loads(urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["panes"][0]).values()
            assert pane["datasource"] in sources and pane["queries"][0]["spanSelector"] == [line["span_id"]]
        else:
            assert field["datasourceUid"] in sources and line["trace_id"] in url
    assert not re.search(r"(?<!\$)\$\{__value", text)
