#!/usr/bin/python3
"""What a proxied request costs: slowproxy beside nginx, HAProxy and a bare relay, in one run, on one machine, interleaved.

    tests/bench/run.py             some three minutes; prints the tables
    tests/bench/run.py --judge     holds them against the bars the proxy has set itself (bars.py), a few minutes more
    tests/bench/run.py --write     and writes what it printed into tests/bench/README.md
    tests/bench/run.py --smoke     a few seconds: does everything once, the figures mean nothing

Each proxy is pinned to the first CPU; backend (answer.c) and load share the second. Each round visits every proxy, so a
machine that changes its mind changes it for all; what is printed are medians over the rounds.

  CPU us per request   from /proc/PID/task/*/schedstat of the proxy's processes, over the requests wrk got answered
  user part            the same, split as /proc/PID/stat splits it
  requests per second  wrk, closed loop: how much one pinned core carries (less where the load's core is the narrow place)
  added latency        load.c, open loop at a fixed rate, latency from the time a request was due; less what the backend
                       alone shows in the same round
"""
import argparse
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bars

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
TOOLS = BUILD / "tests" / "bench"
README = pathlib.Path(__file__).resolve().parent / "README.md"
SLOWPROXY = pathlib.Path(os.environ.get("SLOWPROXY_BIN", BUILD / "slowproxy"))
CONNECTIONS = 64


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.02)


def answers(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def family(pid):
    """pid and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{entry}/stat").read_text()
                parents[int(entry)] = int(text[text.rindex(")") + 2:].split()[1])
    found, fresh = {pid}, {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def cpu_of(pids):
    """(seconds on a CPU, share of it in user space so far as ticks tell: user ticks, all ticks)."""
    ran = user = ticks = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            ran += int((task / "schedstat").read_text().split()[0])
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user += int(fields[11])
        ticks += int(fields[11]) + int(fields[12])
    return ran / 1e9, user, ticks


# --- the peers: each a function (folder, backend, port) -> argv, or None when it is not installed. The backend is a port or the
# path of a unix socket.


def at(backend, unix="unix:"):
    return f"127.0.0.1:{backend}" if isinstance(backend, int) else f"{unix}{backend}"


def slowproxy_with(name, more, folder, backend, port):
    if not SLOWPROXY.exists():
        return None
    config = folder / f"{name}.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\nupstream: {at(backend)}\n{more}")
    return [SLOWPROXY, "-c", config]


def slowproxy(folder, backend, port):
    return slowproxy_with("slowproxy", f"capture: {{ directory: {folder}/profiles }}\nadmin: {{ listen: 127.0.0.1:{free_port()} }}\n",
                          folder, backend, port)


def slowproxy_off(folder, backend, port):
    return slowproxy_with("slowproxy-off", "slow: { threshold: \"off\" }\ncapture: { enabled: false }\nadmin: { listen: \"off\" }\n",
                          folder, backend, port)


NGINX = """daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log stderr crit; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;
  fastcgi_temp_path {folder}/{name}.f; uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;
  upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_request_buffering off;
      {headers}
    }}
  }}
}}
"""
NGINX_HEADERS = """proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Request-ID $request_id; proxy_set_header Host $http_host;
      add_header X-Response-Time $request_time always; add_header X-Request-ID $request_id always;"""


def nginx_with(name, headers, folder, backend, port):
    binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if binary is None:
        return None
    config = folder / f"{name}.conf"
    user = "user nobody nogroup;" if os.getuid() == 0 else ""
    config.write_text(NGINX.format(folder=folder, name=name, backend=at(backend), port=port, user=user, headers=headers))
    return [binary, "-c", config, "-p", folder]


def nginx(folder, backend, port):
    return nginx_with("nginx", "", folder, backend, port)


def nginx_headers(folder, backend, port):
    return nginx_with("nginx-headers", NGINX_HEADERS, folder, backend, port)


def haproxy(folder, backend, port):
    binary = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    if binary is None:
        return None
    config = folder / "haproxy.cfg"
    config.write_text(f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 75s
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server app {at(backend, "unix@")}
""")
    return [binary, "-db", "-q", "-f", config]


def relay(folder, backend, port):
    return [TOOLS / "bench_relay", port, backend]


PEERS = {
    "slowproxy": slowproxy,
    "nginx": nginx,
    "nginx, same headers": nginx_headers,
    "HAProxy": haproxy,
    "relay": relay,
}


# --- measuring ----------------------------------------------------------------------------------------------------------


class Started:
    """A pinned process, ended by pid."""

    def __init__(self, argv, cpu, folder, name):
        log = open(folder / f"{name.replace(' ', '-')}.log", "wb")
        self.log = log.name
        self.popen = subprocess.Popen(["taskset", "-c", str(cpu), *map(str, argv)], stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log, start_new_session=True)

    def family(self):
        return family(self.popen.pid)

    def stop(self):
        everybody = self.family()
        self.popen.terminate()
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            pass
        for pid in everybody:
            with contextlib.suppress(OSError):
                if os.getsid(pid) == self.popen.pid:
                    os.kill(pid, 9)
        self.popen.wait()


def run_pinned(cpu, argv):
    return subprocess.run(["taskset", "-c", str(cpu), *map(str, argv)], capture_output=True, text=True, check=True).stdout


def throughput(started, port, seconds, cpu):
    """CPU and requests per second under wrk."""
    pids = started.family()
    before = cpu_of(pids)
    text = run_pinned(cpu, ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://127.0.0.1:{port}/"])
    after = cpu_of(pids)
    requests, took = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
    requests = int(requests)
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"port {port}: wrk saw errors:\n{text}")
    cpu_us = (after[0] - before[0]) * 1e6 / requests
    user_share = (after[1] - before[1]) / max(1, after[2] - before[2])
    return {"cpu_us": cpu_us, "user_us": cpu_us * user_share, "rps": requests / float(took),
            "busy": (after[0] - before[0]) / float(took)}


def latency(port, rate, seconds, cpu):
    found = json.loads(run_pinned(cpu, [TOOLS / "bench_load", port, rate, seconds, CONNECTIONS]))
    if found["errors"]:
        raise SystemExit(f"port {port}: load saw {found['errors']} errors")
    return found


@contextlib.contextmanager
def backend_running(folder, cpu, where, *more):
    """answer.c at a port or, path given, at a unix socket that every user may connect to."""
    backend = Started([TOOLS / "bench_answer", where, *more], cpu, folder, "answer")
    try:
        if isinstance(where, int):
            until(lambda: more or answers(where), "the backend")
        else:
            until(pathlib.Path(where).exists, "the backend's socket")
            os.chmod(where, 0o777)
        yield backend
    finally:
        backend.stop()


@contextlib.contextmanager
def peers_running(folder, cpu, backend, makers):
    """name -> (the started process, its port), for those that are installed."""
    running = {}
    try:
        for name, make in makers.items():
            port = free_port()
            argv = make(folder, backend, port)
            if argv is None:
                continue
            running[name] = Started(argv, cpu, folder, name), port
            until(lambda: listens(port), f"{name} (its output is in {running[name][0].log})")
        yield running
    finally:
        for started, _ in reversed(running.values()):
            started.stop()


def medians(rows):
    return {name: {key: statistics.median(row[key] for row in many) for key in many[0]} for name, many in rows.items()}


def measure(options, folder, cpus, backend, makers):
    """Medians over the rounds, by name; latency only where the backend can be asked directly."""
    proxy_cpu, load_cpu = cpus
    with backend_running(folder, load_cpu, backend), peers_running(folder, proxy_cpu, backend, makers) as running:
        rows = {name: [] for name in running}
        if options.rate == 0:
            started, port = running.get("nginx") or running["slowproxy"]
            options.rate = int(throughput(started, port, options.seconds, load_cpu)["rps"] / 2)
        for number in range(options.rounds):
            direct = latency(backend, options.rate, options.seconds, load_cpu) if isinstance(backend, int) else None
            for name, (started, port) in running.items():
                row = throughput(started, port, options.seconds, load_cpu)
                if direct:
                    through = latency(port, options.rate, options.seconds, load_cpu)
                    row.update({key: through[key] - direct[key] for key in ("p50", "p99", "p999")})
                rows[name].append(row)
            print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    return medians(rows)


def body_rates(options, folder, cpus):
    """Bytes per second of 64 MB answers, by name."""
    backend, makers = free_port(), {name: PEERS[name] for name in ("slowproxy", "nginx")}
    with backend_running(folder, cpus[1], backend, 64), peers_running(folder, cpus[0], backend, makers) as running:
        rates = {name: [] for name in running}
        for _ in range(options.rounds):
            for name, (_, port) in running.items():
                rates[name].append(bars.body_rate(port, options.seconds, cpus[1]))
    return {name: statistics.median(many) for name, many in rates.items()}


def measure_extras(options, folder, cpus):
    """What only slowproxy is asked."""
    backend, log = free_port(), folder / "access.log"
    logging = {"slowproxy": lambda *where: slowproxy_with("logging", f"logs: {{ access: {log} }}\nresponse_time: {{ unit: ms }}\n", *where)}
    extras = {"body": body_rates(options, folder, cpus)}
    folder.chmod(0o777)
    with backend_running(folder, cpus[1], backend) as answering:
        with peers_running(folder, cpus[0], backend, logging) as running:
            started, port = running["slowproxy"]
            bars.ahead_of_others({*started.family(), *answering.family()})
            extras["truth"] = bars.truth(TOOLS / "bench_truth", port, backend, log, 300 if options.smoke else 3000, cpus[1])
        with peers_running(folder, cpus[0], backend, {"slowproxy": slowproxy}) as running:
            started, port = running["slowproxy"]
            extras["memory"] = bars.memory(bars.proxy_role(started.family()), port)
        with peers_running(folder, cpus[0], backend, {"slowproxy": slowproxy}) as running:
            started, port = running["slowproxy"]
            extras["calls"] = bars.system_calls(bars.proxy_role(started.family()), port, 8)  # strace is slow: more would wait long enough to be armed
    return extras


def sampler_rate(options, folder, cpus):
    """Looks a second at a stack of 30 frames: a sleeping and a spinning one."""
    tool = TOOLS / "sampler_bench"
    built = subprocess.run(["cmake", "--build", BUILD, "--target", "sampler_bench"], capture_output=True, text=True)
    if built.returncode != 0:
        print(f"sampler_bench does not build:\n{built.stdout[-2000:]}", file=sys.stderr)
        return None
    found = {}
    for kind in ("sleep", "spin"):
        target = Started(["/usr/bin/python3", pathlib.Path(__file__).with_name("deep.py"), kind], cpus[1], folder, f"deep-{kind}")
        try:
            until(lambda: pathlib.Path(target.log).read_text().strip() == "ready", "the deep stack")
            rates = [json.loads(run_pinned(cpus[0], [tool, target.popen.pid, options.seconds])) for _ in range(options.rounds)]
            found[kind] = sorted(rates, key=lambda one: one["samples_per_s"])[len(rates) // 2]
        except subprocess.CalledProcessError as failure:
            print(f"sampler_bench: {failure.stderr.strip()}", file=sys.stderr)
            return None
        finally:
            target.stop()
    return found


# --- telling ------------------------------------------------------------------------------------------------------------


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", text)
    load = os.getloadavg()[0]
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)', pathlib.Path("/etc/os-release").read_text(), re.M)).get("PRETTY_NAME", "")
    return (f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC · {os.cpu_count()} x "
            f"{model.group(1) if model else 'unknown CPU'} · Linux {os.uname().release} · {system} · "
            f"load average at the end {load:.1f}" + (" (more than this run alone makes: the machine was busy)" if load > 2.5 else ""))


def version_of(argv, pattern):
    with contextlib.suppress(OSError):
        run = subprocess.run(argv, capture_output=True, text=True)
        found = re.search(pattern, run.stdout + run.stderr)
        return found.group(1) if found else ""
    return ""


def tables(rows, skipped, samples, options):
    path = os.environ["PATH"] + ":/usr/sbin"
    versions = {
        "nginx": version_of([shutil.which("nginx", path=path) or "nginx", "-v"], r"nginx/(\S+)"),
        "HAProxy": version_of([shutil.which("haproxy", path=path) or "haproxy", "-v"], r"version (\d[\d.]*)"),
    }
    versions["nginx, same headers"] = versions["nginx"]
    base = rows.get("nginx")
    out = [machine(), "", f"{options.rounds} rounds of {options.seconds:g} s, {CONNECTIONS} kept-alive connections, answers of 27 bytes; "
           f"latency at {options.rate} requests a second, from the time each was due. Medians.", "",
           "| proxy | CPU us per request | of it in user space | CPU, nginx = 1 | requests/s, one pinned core | busy | added p50 us | p99 us | p99.9 us |",
           "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name in [*rows, *skipped]:
        if name in skipped:
            out.append(f"| {name} | skipped: not installed | | | | | | | |")
            continue
        row = rows[name]
        ratio = f"{row['cpu_us'] / base['cpu_us']:.2f}" if base else "-"
        label = f"{name} {versions[name]}" if versions.get(name) else name
        out.append(f"| {label} | {row['cpu_us']:.2f} | {row['user_us']:.2f} | {ratio} | {row['rps']:,.0f} | {row['busy']:.0%} | "
                   f"{row['p50']:.0f} | {row['p99']:.0f} | {row['p999']:.0f} |")
    out += ["", "| sampler, one core, stack of 30 frames | looks per second | failed | frames seen |", "|---|---:|---:|---:|"]
    for kind, what in (("sleep", "thread sleeping in its leaf"), ("spin", "thread computing in its leaf")):
        if samples is None:
            out.append(f"| {what} | skipped: sampler_bench could not be built or failed | | |")
        else:
            one = samples[kind]
            out.append(f"| {what} | {one['samples_per_s']:,.0f} | {one['failed'] + one['unreadable']} | {one['frames']} |")
    return "\n".join(out)


def write(text):
    begin, end = "<!-- figures: written by run.py --write -->", "<!-- end of figures -->"
    page = README.read_text()
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    README.write_text(f"{head}{begin}\n{text}\n{end}{tail}")
    print(f"written to {README}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rate", type=int, default=2000, help="requests a second for the latency part")
    parser.add_argument("--smoke", action="store_true", help="everything once and short")
    parser.add_argument("--judge", action="store_true", help="measure more, and hold it against the bars; latency at half of nginx's maximum")
    parser.add_argument("--write", action="store_true", help="into tests/bench/README.md")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.seconds, options.rate = 1, 1, 500
    elif options.judge:
        options.rate = 0  # half of what nginx carries
    options.seconds = int(options.seconds) if options.seconds >= 1 else 1
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian package wrk)")
    available = sorted(os.sched_getaffinity(0))
    cpus = (available[0], available[1] if len(available) > 1 else available[0])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slowproxy-bench-"))
    folder.chmod(0o755)
    try:
        makers = dict(PEERS, **{"slowproxy, all off": slowproxy_off}) if options.judge else PEERS
        rows = measure(options, folder, cpus, free_port(), makers)
        skipped = [name for name in makers if name not in rows]
        samples = sampler_rate(options, folder, cpus)
        verdict = ""
        if options.judge:
            some = {name: PEERS[name] for name in ("slowproxy", "nginx", "HAProxy", "relay")}
            unix_rows = measure(options, folder, cpus, f"{folder}/backend.sock", some)
            verdict = "\n\n" + bars.table(rows, unix_rows, measure_extras(options, folder, cpus), options.rate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = tables(rows, skipped, samples, options) + verdict
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
