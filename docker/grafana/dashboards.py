#!/usr/bin/env python3
"""Writes dashboards/*.json, so that a panel is a few lines here and not a page there.

    python3 docker/grafana/dashboards.py            writes the files
    python3 docker/grafana/dashboards.py --check    says whether they are what would be written (a test does this)
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
LOKI = {"type": "loki", "uid": "${loki_datasource}"}
PYROSCOPE = {"type": "grafana-pyroscope-datasource", "uid": "${pyroscope_datasource}"}

DURATION = "http_server_request_duration_seconds"
SLOW_LINES = '{service_name=~"$service"} |= `slow_request` | json | event=~`slow_request.*`'


# --- panels ---------------------------------------------------------------------------------------------------------------


def target(datasource, expr, legend="", **more):
    return {"datasource": datasource, "expr": expr, "legendFormat": legend, **more}


def panel(kind, title, description, width, height, targets, unit, defaults=None, options=None, **more):
    for i, one in enumerate(targets):
        one["refId"] = chr(ord("A") + i)
    return {
        "type": kind, "title": title, "description": description, "gridPos": {"w": width, "h": height},
        "datasource": targets[0]["datasource"], "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": more.pop("overrides", [])},
        "options": options or {}, **more,
    }


def lines_over_time(title, description, width, targets, unit, height=8, stacked=False, **defaults):
    custom = {"drawStyle": "line", "fillOpacity": 30 if stacked else 8, "showPoints": "never", "spanNulls": True}
    if stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    return panel("timeseries", title, description, width, height, targets, unit, {"custom": custom, "min": 0, **defaults},
                 {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                  "tooltip": {"mode": "multi", "sort": "desc"}})


def number(title, description, expr, unit, steps, width=4):
    thresholds = {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in steps]}
    return panel("stat", title, description, width, 4, [target(PROMETHEUS, expr)], unit, {"thresholds": thresholds},
                 {"colorMode": "value", "graphMode": "area", "textMode": "auto", "reduceOptions": {"calcs": ["lastNotNull"]}})


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24, "h": 1}}


def top_table(title, description, width, expr, columns, unit, value):
    names = {name: shown for name, shown in columns}
    names["Value #A"] = value
    return panel("table", title, description, width, 9, [target(LOKI, expr, queryType="instant")], "none",
                 overrides=[{"matcher": {"id": "byName", "options": value}, "properties": [{"id": "unit", "value": unit}]}],
                 options={"showHeader": True, "sortBy": [{"displayName": value, "desc": True}]},
                 transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}}])


SPAN_LINK = ("/explore?schemaVersion=1&panes=" + "%7B%22p%22%3A%7B%22datasource%22%3A%22${pyroscope_datasource}%22%2C%22queries%22%3A%5B%7B"
             "%22refId%22%3A%22A%22%2C%22queryType%22%3A%22profile%22%2C%22profileTypeId%22%3A%22wall%3Awall%3Ananoseconds%3Awall%3Ananoseconds"
             "%22%2C%22labelSelector%22%3A%22%7B%7D%22%2C%22spanSelector%22%3A%5B%22${__value.raw}%22%5D%7D%5D%2C%22range%22%3A%7B%22from%22"
             "%3A%22${__from}%22%2C%22to%22%3A%22${__to}%22%7D%7D%7D")
COLUMNS = ["Time", "http_route", "url_path", "duration_ms", "cause", "code_function_name", "code_file_path", "code_line_number",
           "culprit_route", "msg", "http_response_status_code", "worker_pid", "capture_status", "span_id", "trace_id", "profile_url"]


def slow_table(selector):
    """The lines themselves, a row each; the span id leads to the flame graph of that very request."""
    def link(name, title, url):
        return {"matcher": {"id": "byName", "options": name},
                "properties": [{"id": "links", "value": [{"title": title, "url": url, "targetBlank": True}]}]}

    return panel(
        "table", "Slow requests", "Each slow request with its cause and the line of code it spent most of its time at. "
        "A click on the span id opens this request's own flame graph in Pyroscope, profile_url the one that slowproxy keeps.",
        24, 11, [target(LOKI, selector, maxLines=200)], "none",
        overrides=[{"matcher": {"id": "byName", "options": "duration_ms"}, "properties": [{"id": "unit", "value": "ms"}]},
                   link("span_id", "Flame graph", SPAN_LINK), link("profile_url", "Flame graph at slowproxy", "${__value.raw}")],
        options={"showHeader": True, "sortBy": [{"displayName": "Time", "desc": True}]},
        transformations=[
            {"id": "extractFields", "options": {"source": "Line", "format": "json", "keepTime": True, "replace": True}},
            {"id": "filterFieldsByName", "options": {"include": {"names": COLUMNS}}},
            {"id": "organize", "options": {"indexByName": {name: i for i, name in enumerate(COLUMNS)}}},
        ])


def flame_graph(selector):
    return panel("flamegraph", "Where slow requests spend their time",
                 "The profiles of all slow requests of the chosen time, merged: wall time, waiting included.", 24, 14,
                 [{"datasource": PYROSCOPE, "queryType": "profile", "profileTypeId": "wall:wall:nanoseconds:wall:nanoseconds",
                   "labelSelector": selector, "groupBy": [], "spanSelector": [], "maxNodes": 16384}], "ns")


def heatmap(where):
    return panel("heatmap", "Durations",
                 "How many requests took how long. The dots are exemplars: single requests with their trace id.", 24, 9,
                 [target(PROMETHEUS, f"sum by (le) (increase({DURATION}_bucket{{{where}}}[$__rate_interval]))", "{{le}}",
                         format="heatmap", exemplar=True)], "s",
                 options={"calculate": False, "yAxis": {"unit": "s"}, "color": {"mode": "scheme", "scheme": "Oranges"},
                          "exemplars": {"color": "rgba(31,120,193,0.9)"}, "cellGap": 1, "legend": {"show": True},
                          "tooltip": {"mode": "single", "yHistogram": False}, "filterValues": {"le": 1e-9}})


# --- dashboards -----------------------------------------------------------------------------------------------------------


def data_source(name, label, kind):
    return {"name": name, "label": label, "type": "datasource", "query": kind, "current": {}, "hide": 0, "refresh": 1, "options": []}


def values_of(name, label, datasource, query, multi=True, **more):
    made = {"name": name, "label": label, "type": "query", "datasource": datasource, "query": query, "refresh": 2, "sort": 1,
            "hide": 0, "multi": multi, "includeAll": multi, "current": {}, "options": [], **more}
    if multi:
        made.setdefault("allValue", ".+")
        made.update(current={"text": ["All"], "value": ["$__all"]})
    return made


def variables(*more):
    return [
        data_source("datasource", "Data source", "prometheus"),
        data_source("loki_datasource", "Loki data source", "loki"),
        data_source("pyroscope_datasource", "Pyroscope data source", "grafana-pyroscope-datasource"),
        values_of("job", "Job", PROMETHEUS, f"label_values({DURATION}_count, job)"),
        values_of("instance", "Instance", PROMETHEUS, f'label_values({DURATION}_count{{job=~"$job"}}, instance)'),
        values_of("service", "Service", PROMETHEUS, 'label_values(slowproxy_build_info{job=~"$job", instance=~"$instance"}, service_name)'),
        *more,
    ]


def place(panels):
    """From left to right, then down; each panel has an id."""
    x = y = height = 0
    for number_of, one in enumerate(panels, 1):
        grid = one["gridPos"]
        if x + grid["w"] > 24:
            x, y, height = 0, y + height, 0
        grid.update(x=x, y=y)
        x, height = x + grid["w"], max(height, grid["h"])
        one["id"] = number_of
    return panels


def dashboard(uid, title, description, templating, panels, links):
    return {
        "uid": uid, "title": title, "description": description, "tags": ["slowproxy"], "schemaVersion": 38, "version": 1,
        "editable": False, "graphTooltip": 1, "time": {"from": "now-1h", "to": "now"}, "refresh": "30s", "timezone": "browser",
        "templating": {"list": templating}, "annotations": {"list": []}, "links": links, "panels": place(panels),
    }


def rate(metric, where, by=""):
    summed = f"sum by ({by}) " if by else "sum"
    return f"{summed}(rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(q, where, by=""):
    return f"histogram_quantile({q}, {rate(DURATION + '_bucket', where, 'le' + (', ' + by if by else ''))})"


def errors(where, by=""):
    """0 where there are requests and no errors."""
    failed, every = where + ', http_response_status_code=~"5.."', rate(DURATION + "_count", where, by)
    return f"({rate(DURATION + '_count', failed, by)} or 0 * {every}) / {every}"


def overview():
    here = 'job=~"$job", instance=~"$instance"'
    by_route = "{{http_route}}"
    green_to_red = [("green", None), ("orange", 0.01), ("red", 0.05)]
    panels = [
        number("Requests", "Requests a second.", rate(DURATION + "_count", here), "reqps", [("green", None)]),
        number("Errors", "Share of answers with status 5xx.", errors(here), "percentunit", green_to_red),
        number("p99", "99 of 100 requests are faster.", quantile(0.99, here), "s", [("green", None), ("orange", 1), ("red", 2.5)]),
        number("Slow requests", "Slow lines a minute.", f"60 * {rate('slowproxy_slow_requests_total', here)}", "cpm",
               [("green", None), ("orange", 1), ("red", 30)]),
        number("Event loops blocked", "Share of time for which slow requests held the busiest worker's event loop.",
               f"max({rate('slowproxy_event_loop_blocked_seconds_total', here, 'instance, worker')})", "percentunit",
               [("green", None), ("orange", 0.1), ("red", 0.5)]),
        number("Under way", "Requests that are under way now.", f"sum(http_server_active_requests{{{here}}})", "short", [("green", None)]),
        row("Rate, errors, durations"),
        lines_over_time("Requests by route", "Requests a second.", 12,
                        [target(PROMETHEUS, rate(DURATION + "_count", here, "http_route"), by_route)], "reqps", stacked=True),
        lines_over_time("Errors by route", "Share of answers with status 5xx.", 12,
                        [target(PROMETHEUS, errors(here, "http_route"), by_route)], "percentunit", max=1),
        *[lines_over_time(f"p{name} by route", f"{name} of 100 requests are faster.", 8,
                          [target(PROMETHEUS, quantile(q, here, "http_route"), by_route)], "s")
          for name, q in (("50", 0.5), ("95", 0.95), ("99", 0.99))],
        heatmap(here),
        row("Why"),
        slow_table(SLOW_LINES),
        top_table("Top lines of code", "The functions that slow requests spent most of their time at, by the time that these requests took.", 12,
                  f"topk(10, sum by (code_function_name, code_file_path, code_line_number) (sum_over_time({SLOW_LINES} "
                  "| code_function_name!=`` | unwrap duration_ms [$__range])))",
                  [("code_function_name", "Function"), ("code_file_path", "File"), ("code_line_number", "Line")], "ms", "Time"),
        top_table("Top culprits", "Whoever held an event loop while other requests waited, by the time they waited for it.", 12,
                  f"topk(10, sum by (culprit_route, culprit_function_name) (sum_over_time({SLOW_LINES} "
                  "| culprit_function_name!=`` | unwrap culprit_ms [$__range])))",
                  [("culprit_route", "Route"), ("culprit_function_name", "Function")], "ms", "Others waited"),
        lines_over_time("Slow requests by cause", "Slow lines a second.", 12,
                        [target(PROMETHEUS, rate("slowproxy_slow_requests_total", here, "cause"), "{{cause}}")], "cps", stacked=True),
        lines_over_time("Event loop blocked by worker", "Share of time for which slow requests held the event loop of this worker: nothing else could go on there.",
                        12, [target(PROMETHEUS, rate("slowproxy_event_loop_blocked_seconds_total", here, "instance, worker"),
                                    "{{instance}} pid {{worker}}")], "percentunit"),
        lines_over_time("Slow lines by function", "What the lines of Loki say, over time.", 24,
                        [target(LOKI, f"sum by (code_function_name) (count_over_time({SLOW_LINES} | code_function_name!=`` [$__auto]))",
                                "{{code_function_name}}")], "short", stacked=True),
        flame_graph('{service_name=~"$service"}'),
        row("Is slowproxy itself well?"),
        lines_over_time("Captures by status", "Slow lines by how the capture of their stacks went. ok is good; denied wants a permission.", 8,
                        [target(PROMETHEUS, rate("slowproxy_captures_total", here, "status"), "{{status}}")], "cps", stacked=True),
        lines_over_time("Sampler", "1 while the sampler answers; samples a second.", 8,
                        [target(PROMETHEUS, f"min by (instance) (slowproxy_capture_sampler_up{{{here}}})", "up {{instance}}"),
                         target(PROMETHEUS, rate("slowproxy_capture_samples_total", here, "instance"), "samples/s {{instance}}")], "short"),
        lines_over_time("Lost", "Lines and profiles that nobody took in time, a second.", 8,
                        [target(PROMETHEUS, rate("slowproxy_log_lines_dropped_total", here, "instance"), "lines {{instance}}"),
                         target(PROMETHEUS, rate("slowproxy_push_dropped_total", here, "place"), "not pushed to {{place}}"),
                         target(PROMETHEUS, rate("slowproxy_push_rejected_total", here, "place"), "refused by {{place}}")], "cps"),
    ]
    link = {"type": "dashboards", "title": "slowproxy", "tags": ["slowproxy"], "asDropdown": False, "includeVars": True, "keepTime": True}
    return dashboard("slowproxy-overview", "slowproxy / Overview", "Which requests are slow, and which line of code makes them so.",
                     variables(), panels, [link])


def route():
    here = 'job=~"$job", instance=~"$instance", http_route=~"$route"'
    lines = SLOW_LINES + " | http_route=~`$route`"
    panels = [
        number("Requests", "Requests a second.", rate(DURATION + "_count", here), "reqps", [("green", None)], 6),
        number("Errors", "Share of answers with status 5xx.", errors(here), "percentunit", [("green", None), ("orange", 0.01), ("red", 0.05)], 6),
        number("p99", "99 of 100 requests are faster.", quantile(0.99, here), "s", [("green", None), ("orange", 1), ("red", 2.5)], 6),
        number("Slow requests", "Slow lines a minute.", f"60 * {rate('slowproxy_slow_requests_total', here)}", "cpm",
               [("green", None), ("orange", 1), ("red", 30)], 6),
        lines_over_time("Requests by method and status", "Requests a second.", 12,
                        [target(PROMETHEUS, rate(DURATION + "_count", here, "http_request_method, http_response_status_code"),
                                "{{http_request_method}} {{http_response_status_code}}")], "reqps", stacked=True),
        lines_over_time("Durations", "Half, 95 and 99 of 100 requests are faster.", 12,
                        [target(PROMETHEUS, quantile(q, here), name) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))], "s"),
        heatmap(here),
        slow_table(lines),
        lines_over_time("Where the time went", "Of the slow requests: milliseconds a second by what their samples tell.", 12,
                        [target(LOKI, f"sum(rate({lines} | unwrap {name}_ms [$__auto]))", name)
                         for name in ("cpu", "blocking", "await", "blocked_by", "gil_wait", "queued")], "ms", stacked=True),
        top_table("Lines of code", "Where slow requests of this route spent most of their time.", 12,
                  f"topk(10, sum by (code_function_name, code_file_path, code_line_number) (sum_over_time({lines} "
                  "| code_function_name!=`` | unwrap duration_ms [$__range])))",
                  [("code_function_name", "Function"), ("code_file_path", "File"), ("code_line_number", "Line")], "ms", "Time"),
        flame_graph('{service_name=~"$service", http_route=~"$route"}'),
    ]
    more = values_of("route", "Route", PROMETHEUS, f'label_values({DURATION}_count{{job=~"$job", instance=~"$instance"}}, http_route)',
                     allValue=".*")  # requests of no known route have no such label
    link = {"type": "dashboards", "title": "slowproxy", "tags": ["slowproxy"], "asDropdown": False, "includeVars": True, "keepTime": True}
    return dashboard("slowproxy-route", "slowproxy / Route", "One route: how fast, how often, why it is slow.", variables(more), panels, [link])


def main():
    stale = []
    for name, made in (("overview", overview()), ("route", route())):
        path, text = HERE / "dashboards" / f"{name}.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    for name in stale:
        print(f"{name}.json is not what docker/grafana/dashboards.py writes: run it")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
