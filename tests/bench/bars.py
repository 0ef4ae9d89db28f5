"""The bars that the proxy has set itself, each with its figure and whether it is met; run.py --judge measures and prints them.

Nothing here fails a build: what is missed on a busy machine may be met on a quiet one. run.py says how busy it was.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
IDLE_CONNECTIONS = 10000


def status_kb(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s*(\d+) kB", text, re.M).group(1))


def proxy_role(pids):
    """Of slowproxy's processes the one that carries the traffic."""
    for pid in pids:
        if b"--role=proxy" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise SystemExit("slowproxy has no process --role=proxy")


def ask(connection):
    connection.sendall(REQUEST)
    answer = b""
    while b"\r\n\r\n" not in answer:
        got = connection.recv(65536)
        if not got:
            raise SystemExit("the connection was closed before the answer's head was complete")
        answer += got
    return answer


def memory(pid, port):
    """Kilobytes of the proxy's process at its start, and user memory in bytes for each idle connection beyond that."""
    base_rss, base_own = status_kb(pid, "VmRSS"), status_kb(pid, "RssAnon")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(IDLE_CONNECTIONS, most - 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as open_ones:
        for _ in range(count):
            one = open_ones.enter_context(socket.create_connection(("127.0.0.1", port)))
            ask(one)
        own = status_kb(pid, "RssAnon")
    return {"base_kb": base_rss, "connections": count, "bytes_each": (own - base_own) * 1024 / count}


def system_calls(pid, port, connections):
    """System calls of the proxy's process for each request, by name, while wrk keeps it busy. None without strace."""
    if shutil.which("strace") is None:
        return None
    wrk = subprocess.Popen(["wrk", "-t1", f"-c{connections}", "-d4s", f"http://127.0.0.1:{port}/"], stdout=subprocess.DEVNULL)
    time.sleep(1)  # all connections, on both sides, are open by then: steady state is what is asked for
    with tempfile.NamedTemporaryFile("r") as out:
        subprocess.run(["timeout", "-s", "INT", "2", "strace", "-f", "-c", "-p", str(pid), "-o", out.name], stderr=subprocess.DEVNULL)
        text = out.read()
    wrk.wait()
    calls = {name: int(count) for count, name in re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+([a-z]\w+)$", text, re.M)
             if name != "total"}
    answered = (calls.get("sendmsg", 0) + calls.get("sendto", 0)) / 2
    return {name: count / answered for name, count in calls.items()} if answered > 100 else None


def ahead_of_others(pids):
    """Real-time priority for all their threads, so that whoever else uses the machine is not part of what is measured."""
    with contextlib.suppress(PermissionError):
        for pid in pids:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(10))


def p99(values):
    return statistics.quantiles(values, n=100)[98]


def asked(tool, where, requests, cpu):
    """truth.c's rows: X-Request-ID, microseconds by the client's clock, X-Response-Time in milliseconds."""
    ahead = ["chrt", "-f", "10"] if subprocess.run(["chrt", "-f", "10", "true"], stderr=subprocess.DEVNULL).returncode == 0 else []
    text = subprocess.run(["taskset", "-c", str(cpu), *ahead, tool, str(where), str(requests), "500"],
                          capture_output=True, text=True, check=True).stdout
    return [(request_id, float(us), ms) for request_id, us, ms in (line.split() for line in text.splitlines())]


def truth(tool, port, backend, access_log, requests, cpu):
    """99th percentile of how far X-Response-Time and duration_ms are from the client's own clock, in microseconds. Between the
    two clocks lie two wake-ups, as in a round trip to the backend alone, which is told beside."""
    bare = asked(tool, backend, requests, cpu)
    rows = asked(tool, port, requests, cpu)
    clock = {request_id: us for request_id, us, _ in rows}
    log_off, deadline = [], time.monotonic() + 5
    while len(log_off) < requests and time.monotonic() < deadline:
        lines = [json.loads(line) for line in access_log.read_text().splitlines() if line.endswith("}")]
        log_off = [abs(clock[line["request_id"]] - line["duration_ms"] * 1000) for line in lines if line["request_id"] in clock]
    return {"header_us": p99([abs(us - float(ms) * 1000) for _, us, ms in rows]), "bare_us": p99([us for _, us, _ in bare]),
            "log_us": p99(log_off) if len(log_off) > 100 else None}


def body_rate(port, seconds, cpu):
    """Bytes per second of large bodies, as wrk counts them."""
    text = subprocess.run(["taskset", "-c", str(cpu), "wrk", "-t1", "-c4", f"-d{seconds}s", f"http://127.0.0.1:{port}/"],
                          capture_output=True, text=True, check=True).stdout
    number, unit = re.search(r"Transfer/sec:\s*([\d.]+)(\w+)", text).groups()
    return float(number) * {"B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}[unit]


# --- the table ----------------------------------------------------------------------------------------------------------


def ratio_bars(rows, where):
    ours = rows["slowproxy"]
    for peer, most in (("nginx", 0.85), ("HAProxy", 0.85), ("relay", 1.15)):
        if peer in rows:
            ratio = ours["cpu_us"] / rows[peer]["cpu_us"]
            yield f"CPU per request{where}, of {peer}'s", f"{ratio:.2f}", f"<= {most}", ratio <= most
    if "nginx" in rows:
        ratio = ours["user_us"] / rows["nginx"]["user_us"]
        yield f"of it in user space{where}, of nginx's", f"{ratio:.2f}", "<= 0.5", ratio <= 0.5


def latency_bars(rows, rate):
    for key, name in (("p50", "p50"), ("p999", "p99.9")):
        peers = [rows[peer][key] for peer in ("nginx", "HAProxy") if peer in rows]
        if peers:
            yield (f"added {name} at {rate} requests/s", f"{rows['slowproxy'][key]:.0f} us", f"<= {min(peers):.0f} us (the better of nginx and HAProxy)",
                   rows["slowproxy"][key] <= min(peers))


def bars(rows, unix_rows, extras, rate):
    yield from ratio_bars(rows, "")
    yield from ratio_bars(unix_rows, ", unix-socket upstream")
    off = rows.get("slowproxy, all off")
    if off:
        cost = rows["slowproxy"]["cpu_us"] / off["cpu_us"] - 1
        yield "slow log, metrics and arm timers together", f"{cost:+.1%}", "< 3%", cost < 0.03
    calls = extras["calls"]
    if calls:
        data = sum(calls.get(name, 0) for name in ("recvfrom", "sendmsg", "sendto", "read", "write", "readv", "writev"))
        yield "data system calls per request", f"{data:.2f}", "4", data < 4.05
        yield "epoll_ctl per request", f"{calls.get('epoll_ctl', 0):.3f}", "0", calls.get("epoll_ctl", 0) < 0.005
    yield from latency_bars(rows, rate)
    memory_row = extras["memory"]
    yield (f"user memory for each of {memory_row['connections']} idle connections", f"{memory_row['bytes_each']:.0f} bytes", "< 2048",
           memory_row["bytes_each"] < 2048)
    yield "RSS of the proxy's process at its start", f"{memory_row['base_kb'] / 1024:.1f} MB", "< 6 MB", memory_row["base_kb"] < 6 * 1024
    body = extras["body"]
    if "nginx" in body:
        yield ("large bodies", f"{body['slowproxy'] / 1e9:.2f} GB/s", f">= {body['nginx'] / 1e9:.2f} GB/s (nginx's, unbuffered)",
               body["slowproxy"] >= body["nginx"])
    truth_row = extras["truth"]
    yield (f"X-Response-Time off the client's clock, p99 (a bare round trip to the backend: {truth_row['bare_us']:.0f} us)",
           f"{truth_row['header_us']:.0f} us", "<= 200 us", truth_row["header_us"] <= 200)
    if truth_row["log_us"] is not None:
        yield "duration_ms off the client's clock, p99", f"{truth_row['log_us']:.0f} us", "<= 200 us", truth_row["log_us"] <= 200


def table(rows, unix_rows, extras, rate):
    out = ["| bar | figure | wanted | |", "|---|---:|---|---|"]
    for name, figure, wanted, met in bars(rows, unix_rows, extras, rate):
        out.append(f"| {name} | {figure} | {wanted} | {'met' if met else 'missed'} |")
    return "\n".join(out)
