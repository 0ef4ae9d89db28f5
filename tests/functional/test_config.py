"""The command line checks a configuration, prints the effective one, and gives out a schema that agrees with it."""
import json
import os
import subprocess

import pytest
import yaml

from objects import BINARY, TOP

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")

CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith("SLOWPROXY_") and name != "OTEL_SERVICE_NAME"}


def run(*arguments, **environment):
    return subprocess.run([BINARY, *arguments], env={**CLEAN, **environment}, capture_output=True, text=True, timeout=30)


@pytest.fixture
def write(folder):
    def write(text):
        path = os.path.join(folder, "proxy.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path
    return write


@pytest.fixture(scope="module")
def validator():
    printed = run("schema")
    assert printed.returncode == 0, printed.stderr
    schema = json.loads(printed.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_good_file_passes(write):
    """-t says yes with status 0."""
    done = run("-t", "-c", write("upstream: 127.0.0.1:8000\n"))
    assert done.returncode == 0, done.stderr


def test_every_error_is_told_with_its_place(write):
    """-t says no with status 1, and names every error of the file as file:line:col on stderr."""
    path = write("upstream: 127.0.0.1:8000\nworkers: 0\nslow: { treshold: 5s }\ncapture: { rate: 50000 }\n")
    done = run("-t", "-c", path)
    assert done.returncode == 1
    for error in ("2:10: workers: 0 is below the minimum 1",
                  "3:9: slow.treshold: unknown key; did you mean threshold?",
                  "4:18: capture.rate: 50000 is above the maximum 1000"):
        assert f"{path}:{error}" in done.stderr
    assert "    4 | capture: { rate: 50000 }\n      |                  ^" in done.stderr


def test_a_missing_file_is_told(folder):
    """A file that is not there is an error with its name, not a default configuration."""
    done = run("-t", "-c", os.path.join(folder, "absent.yaml"))
    assert done.returncode == 1
    assert "absent.yaml" in done.stderr


def test_the_effective_configuration_names_every_origin(write):
    """-T prints each value with where it came from: the flag over the variable over the file over the default."""
    path = write("upstream: 127.0.0.1:8000\nworkers: 2\nservice: file\nslow: { threshold: 2s }\n")
    done = run("-T", "-c", path, "--workers", "4", SLOWPROXY_WORKERS="3", SLOWPROXY_SERVICE="env")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "workers: 4 # flag: --workers" in lines
    assert "service: env # environment: SLOWPROXY_SERVICE" in lines
    assert f"  threshold: 2s # {path}:4" in lines
    assert "  rate: 100 # default" in lines
    shown = yaml.safe_load(done.stdout)
    assert shown["slow"]["threshold"] == "2s"


def test_what_is_printed_loads_again(write):
    """-T's output is itself a configuration with the same values."""
    first = run("-T", "-c", os.path.join(TOP, "config", "proxy.example.yaml"))
    assert first.returncode == 0, first.stderr
    second = run("-T", "-c", write(first.stdout))
    assert second.returncode == 0, second.stderr
    assert yaml.safe_load(first.stdout) == yaml.safe_load(second.stdout)


def test_flag_errors_name_the_flag(write):
    """An error of a flag or a variable names it."""
    done = run("-t", "-c", write("upstream: 127.0.0.1:8000\n"), "--slow.threshold", "500", SLOWPROXY_WORKERS="x")
    assert done.returncode == 1
    assert "--slow.threshold: 500: a duration needs a unit, such as 500ms" in done.stderr
    assert "SLOWPROXY_WORKERS: x is not a whole number" in done.stderr


def test_the_example_is_accepted_by_program_and_schema(validator):
    """The committed example satisfies both readers, and the committed schema is the one the program gives out."""
    path = os.path.join(TOP, "config", "proxy.example.yaml")
    done = run("-t", "-c", path)
    assert done.returncode == 0, done.stderr
    with open(path, encoding="utf-8") as file:
        assert list(validator.iter_errors(yaml.safe_load(file))) == []
    with open(os.path.join(TOP, "config", "proxy.schema.json"), encoding="utf-8") as file:
        assert json.load(file) == validator.schema


GOOD = [
    "listen: [127.0.0.1:0, 'unix:/run/x.sock', '[::1]:80', ':81']",
    "slow:",
    "slow: { threshold: off }",
    "slow: { routes: [{ match: 'POST /reports/*', threshold: 5s }, { match: /x, threshold: off }] }",
    "slow: { threshold: '${THRESHOLD}' }",
    "workers: '${WORKERS:-4}'",
    "capture: { enabled: no, rate: 50, max_bytes: 1.5GiB, arm_after: 0 }",
    "limits: { body_bytes: 0, header_bytes: 64KiB }",
    "logs: { access: off, slow: /var/log/slow.log, level: debug }",
    "admin: { listen: off }",
    "routes: { openapi: off, templates: ['/items/{id}'] }",
    "response_time: { header: '', unit: ms, digits: 0, server_timing: true, existing: keep }",
]
BAD = [
    "upstrem: 127.0.0.1:1",
    "workers: 0",
    "workers: many",
    "workers: [1]",
    "slow: 500ms",
    "slow: { threshold: 500 }",
    "slow: { treshold: 5s }",
    "slow: { routes: [{ match: /x }] }",
    "slow: { routes: [{ match: 'x', threshold: 5s }] }",
    "capture: { rate: 50000 }",
    "capture: { max_bytes: 10M }",
    "capture: { enabled: maybe }",
    "listen: http://127.0.0.1:80",
    "listen: []",
    "logs: { level: verbose }",
    "response_time: { unit: sec }",
    "limits: { headers: 257 }",
]


def both_readers(write, validator, line):
    text = f"upstream: 127.0.0.1:8000\n{line}\n"
    done = run("-t", "-c", write(text), THRESHOLD="1s")
    return done.returncode == 0, not list(validator.iter_errors(yaml.safe_load(text)))


@pytest.mark.parametrize("line", GOOD)
def test_program_and_schema_accept(write, validator, line):
    """What the program accepts, an editor with the schema accepts too."""
    assert both_readers(write, validator, line) == (True, True)


@pytest.mark.parametrize("line", BAD)
def test_program_and_schema_refuse(write, validator, line):
    """What the program refuses, an editor with the schema marks too."""
    assert both_readers(write, validator, line) == (False, False)
