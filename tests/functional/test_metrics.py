"""/metrics: what Prometheus makes of it, that exemplars come back, and that labels stay bounded."""
import json
import pathlib
import random
import re
import shutil
import string
import subprocess
import urllib.parse
import urllib.request

import pytest

from objects import Client, Process, free_port, keep_answering, until

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def metrics_of(address, accept="text/plain"):
    answer = Client(address).request("GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    return answer.body.decode()


def samples(text, name):
    """[(labels, value)] of this name."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)(?: #.*)?$", text, re.M)
    return [(dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), float(value)) for labels, value in found]


def start(make_proxy, upstream, **settings):
    address = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(upstream, admin={"listen": address}, **settings)
    until(lambda: Client(address).get("/readyz").status == 200, "the proxy to be ready")
    return proxy, address


class Prometheus(Process):
    def __init__(self, folder, scraped):
        config = pathlib.Path(folder) / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "500ms"},
                                      "scrape_configs": [{"job_name": "slowproxy", "static_configs": [{"targets": [scraped]}]}]}))
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__("prometheus", ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb",
                                        f"--web.listen-address={self.url[7:]}", "--enable-feature=exemplar-storage"], folder)

    def ask(self, what, **parameters):
        """[]: it does not answer yet, or has nothing."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
                data = json.load(answer)["data"]
                return data["result"] if isinstance(data, dict) else data
        except OSError:  # HTTPError is one
            return []


def test_prometheus_scrapes_and_gives_exemplars_back(demo_app, make_proxy, folder):
    """Debian's Prometheus takes it without a complaint; a RED query has an answer, and the exemplar of a slow request leads to its trace."""
    if shutil.which("prometheus") is None:
        print("SKIPPED: prometheus is not installed")
        pytest.skip("prometheus is not installed")
    proxy, address = start(make_proxy, demo_app)
    for _ in range(5):
        proxy.client.get("/")
    proxy.client.get("/await?seconds=0.4")
    line = proxy.slow_line("/await")
    check = subprocess.run(["promtool", "check", "metrics"], input=metrics_of(address), text=True, capture_output=True, timeout=30)
    assert "parse" not in check.stderr and "error" not in check.stderr.lower(), check.stderr
    prometheus = Prometheus(folder, address)
    query = 'sum(http_server_request_duration_seconds_count{http_response_status_code="200",http_request_method="GET"})'
    counted = until(lambda: prometheus.ask("query", query=query), "an answer to the query", 40)
    assert float(counted[0]["value"][1]) == 6
    slow = until(lambda: prometheus.ask("query", query='slowproxy_slow_requests_total{cause="await"}'), "the slow request", 40)
    assert slow[0]["value"][1] == "1"
    found = until(lambda: prometheus.ask("query_exemplars", query="http_server_request_duration_seconds_bucket", start="2020-01-01T00:00:00Z",
                                         end="2100-01-01T00:00:00Z"), "exemplars", 40)
    ids = {exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]}
    assert line["trace_id"] in ids


def test_the_two_texts_differ_only_as_they_must(demo_app, make_proxy):
    """OpenMetrics when asked for, with exemplars and an end; else the older form, which every reader knows."""
    proxy, address = start(make_proxy, demo_app)
    proxy.client.get("/")
    plain, openmetrics = metrics_of(address), metrics_of(address, OPENMETRICS + ",text/plain;q=0.5")
    assert openmetrics.endswith("# EOF\n") and " # {trace_id=" in openmetrics
    assert "# EOF" not in plain and " # {" not in plain
    preferred = metrics_of(address, "text/plain, " + OPENMETRICS + ";q=0.3")
    assert "# EOF" not in preferred
    names = [re.findall(r"^([a-z_]+)", text, re.M) for text in (plain, openmetrics)]
    assert set(names[0]) == set(names[1])


def test_counts_are_right(demo_app, make_proxy):
    """What was asked is what is counted: by method, status, outcome; of all loops together."""
    proxy, address = start(make_proxy, demo_app, workers=2, capture={"enabled": False})
    for _ in range(8):
        proxy.client.get("/")
    proxy.client.request("OPTIONS", "/")
    proxy.client.get("/no/such")

    def counted():
        found = {}
        for labels, value in samples(metrics_of(address), "http_server_request_duration_seconds_count"):
            key = labels["http_request_method"], labels["http_response_status_code"]
            found[key] = found.get(key, 0) + value
        return found

    expected = {("GET", "200"): 8, ("OPTIONS", "405"): 1, ("GET", "404"): 1}
    until(lambda: counted() == expected, f"the counts to be {expected}")
    text = metrics_of(address)
    assert sum(value for _, value in samples(text, "slowproxy_requests_total")) == 10
    assert samples(text, "http_server_active_requests") == [({}, 0.0)]
    assert samples(text, "slowproxy_workers_answered") == [({}, 1.0)]


def test_random_paths_make_no_more_labels_than_allowed(scripted, make_proxy):
    """Whatever paths are asked for, http_route has at most metrics.max_routes values and `other`; none is lost."""
    backend = scripted(keep_answering())
    proxy, address = start(make_proxy, backend, metrics={"max_routes": 20}, routes={"openapi": "off"}, capture={"enabled": False})
    words = random.Random(4)
    with proxy.client.keep_alive() as ask:
        for _ in range(1500):
            path = "/" + "".join(words.choices(string.ascii_lowercase, k=10))
            assert ask("GET", path).status == 200
    found = samples(metrics_of(address), "http_server_request_duration_seconds_count")
    routes = {labels["http_route"] for labels, _ in found}
    assert "other" in routes and len(routes - {"other", ""}) <= 20
    assert sum(value for _, value in found) == 1500


def test_a_refused_request_has_its_line_and_its_place(make_proxy, scripted, folder):
    """Who is refused on his head never reaches the backend, but has an access line, and counts as the 400 that he got."""
    access = pathlib.Path(folder) / "access.log"
    access.touch()
    access.chmod(0o666)
    backend = scripted(keep_answering())
    proxy, address = start(make_proxy, backend, logs={"access": str(access)})
    reply = proxy.client.exchange_raw(b"GET /items/7 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    until(lambda: access.read_text().endswith("\n"), "the line")
    line = json.loads(access.read_text())
    assert line["http_response_status_code"] == 400 and line["outcome"] == "bad_request" and "Host" in line["outcome_reason"]
    assert (line["http_request_method"], line["url_path"]) == ("GET", "/items/7") and line["request_id"].encode() in reply
    counted = samples(metrics_of(address), "http_server_request_duration_seconds_count")
    assert [(labels["http_response_status_code"], value) for labels, value in counted] == [("400", 1.0)]
