"""A disk that hangs, and a log file that cannot be opened yet: requests are not touched, what is lost is counted, and nobody restarts."""
import json
import os
import subprocess
import threading

import pytest

from objects import Client, free_port, rss_bytes, until
from test_metrics import metrics_of, samples
from test_push import p99, seconds_of

MIB = 1 << 20


class Disk:
    """A file system of its own, whose writes can be made to hang, as those of a network disk without its server do."""

    def __init__(self, folder):
        self.path, image = f"{folder}/disk", f"{folder}/disk.img"
        os.mkdir(self.path)
        with open(image, "wb") as file:
            file.truncate(16 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.path], check=True, capture_output=True)
        os.chmod(self.path, 0o777)
        # Whatever becomes of this test: nobody is left behind in a write that cannot be ended.
        self.nurse = subprocess.Popen(["sh", "-c", 'read _; fsfreeze -u "$0"; umount -l "$0"', self.path], stdin=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, start_new_session=True)

    def freeze(self, how="-f"):
        subprocess.run(["fsfreeze", how, self.path], check=True)

    def thaw(self):
        self.freeze("-u")

    def close(self):
        self.nurse.stdin.close()
        self.nurse.wait(10)


@pytest.fixture
def disk(folder):
    try:
        made = Disk(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        print("SKIPPED: no file system can be made and mounted here:", error)
        pytest.skip("no file system can be made and mounted here")
    yield made
    made.close()


def lines_of(path):
    with open(path, "rb") as file:
        return [json.loads(line) for line in file.read().split(b"\n") if line.endswith(b"}")]


def dropped(admin):
    return samples(metrics_of(admin), "slowproxy_log_lines_dropped_total")[0][1]


def test_requests_do_not_feel_a_hanging_disk(disk, demo_app, make_proxy):
    """The disk of slow lines, access lines and profiles does not answer: requests are as fast as before, memory is bounded, the admin
    listener answers and counts what is lost; when the disk is back, so are lines and profiles, without a restart."""
    admin = f"127.0.0.1:{free_port()}"
    proxy = make_proxy(demo_app, admin={"listen": admin}, capture={"directory": f"{disk.path}/profiles"},
                       logs={"slow": f"{disk.path}/slow.log", "access": f"{disk.path}/access.log", "queue_lines": 200})
    proxy.client.get("/blocking?seconds=0.4")
    until(lambda: lines_of(f"{disk.path}/slow.log"), "a slow line on the disk")
    well = seconds_of(proxy.client, 300)
    pid = proxy.role("proxy")
    disk.freeze()
    try:
        before, memory = dropped(admin), rss_bytes(pid)
        slow = [threading.Thread(target=proxy.client.get, args=("/await?seconds=0.4",)) for _ in range(20)]
        for one in slow:
            one.start()
        for one in slow:
            one.join()
        badly = seconds_of(proxy.client, 600)
        lost = until(lambda: dropped(admin) - before, "the lost lines to be counted")
        assert 300 <= lost <= 700, lost  # the queue holds 200, access lines get three quarters of it
        assert rss_bytes(pid) - memory < 24 * MIB
        assert Client(admin).get("/readyz").status == 200
    finally:
        disk.thaw()
    print(f"hanging disk: p99 {1e3 * p99(well):.1f} ms before, {1e3 * p99(badly):.1f} ms while; {lost:.0f} lines lost")
    assert p99(badly) < 3 * p99(well) + 0.05
    until(lambda: "lines were dropped because the reader is slow" in proxy.log(), "the loss to be said")
    proxy.client.get("/blocking?seconds=0.4")
    last = until(lambda: [line for line in lines_of(f"{disk.path}/slow.log")[1:] if line["url_path"] == "/blocking"], "the next slow line")[-1]
    assert os.path.exists(last["profile_file"])
    assert proxy.role("proxy") == pid


def test_a_log_that_nobody_reads_yet(folder, demo_app, make_proxy):
    """logs.slow is a FIFO without a reader: the line is lost and counted, and a reader that comes gets the next ones; so does another."""
    admin, fifo = f"127.0.0.1:{free_port()}", os.path.join(folder, "slow.fifo")
    os.mkfifo(fifo)
    os.chmod(fifo, 0o666)
    proxy = make_proxy(demo_app, admin={"listen": admin}, logs={"slow": fifo})
    proxy.client.get("/blocking?seconds=0.4")
    until(lambda: dropped(admin) == 1, "the lost line to be counted")
    for _ in range(2):
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

        def read():
            proxy.client.get("/blocking?seconds=0.4")
            try:
                return os.read(reader, 65536)
            except BlockingIOError:  # written by nobody yet
                return b""

        try:
            line = until(read, "a line in the FIFO", 20)
        finally:
            os.close(reader)
        assert json.loads(line.splitlines()[0])["url_path"] == "/blocking"
        already = dropped(admin)
        proxy.client.get("/blocking?seconds=0.4")
        until(lambda: dropped(admin) > already, "the line without a reader to be counted")
