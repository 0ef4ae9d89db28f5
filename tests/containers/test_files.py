"""docker/*.yaml and the Dockerfile say nothing that slowproxy, or each other, would not understand. Needs no privileges."""
import os
import pathlib
import re
import subprocess

import yaml

from image import DOCKERFILE, TOP, arguments_of, packages_of, stages

BINARY = pathlib.Path(os.environ.get("SLOWPROXY_BIN", TOP / "build" / "slowproxy"))
COMPOSE = yaml.safe_load((TOP / "docker/compose.yaml").read_text())
KUBERNETES = list(yaml.safe_load_all((TOP / "docker/kubernetes.yaml").read_text()))
POD = next(d for d in KUBERNETES if d["kind"] == "Deployment")["spec"]["template"]["spec"]


def check(*arguments, environment=None):
    done = subprocess.run([BINARY, "-t", *arguments], capture_output=True, text=True, env=environment or {})
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_installs_what_cmake_asks_for():
    """Each library that CMakeLists.txt always looks for, with its Debian package in brackets, is installed in the build stage."""
    text = (TOP / "CMakeLists.txt").read_text()
    tests_only = {"libcmocka-dev"}
    wanted = {name for name in re.findall(r"^pkg_check_modules[^#\n]*# \[(lib[\w.+-]+-dev|zlib1g-dev)", text, re.M)} - tests_only
    build = stages(DOCKERFILE.read_text())[0]
    assert wanted and wanted <= set(packages_of(build, "BUILD_PACKAGES")), wanted


def test_the_dockerfile_gives_away_nothing():
    """No root, no effective file capability, every ARG used; the programs it names are where they are copied to."""
    build, final = stages(DOCKERFILE.read_text())
    words = dict(final)
    runs = " ".join(rest for word, rest in final if word == "RUN")
    assert words["USER"].split(":")[0] not in ("0", "root")
    assert "setcap cap_sys_ptrace=p /usr/bin/slowproxy" in runs
    assert not re.search(r"setcap \S*=\S*e", runs)
    for stage in (build, final):
        for name in arguments_of(stage):
            assert "${%s}" % name in " ".join(rest for word, rest in stage if word == "RUN"), name
    assert words["STOPSIGNAL"] == "SIGTERM" and "HEALTHCHECK" in words


def test_the_configuration_in_the_image_is_good():
    check("-c", TOP / "config/package/proxy.yaml")


def test_compose():
    """The app joins slowproxy, whose settings are known keys; whatever is mounted exists; nobody is privileged."""
    services = COMPOSE["services"]
    assert services["app"]["pid"] == services["app"]["network_mode"] == "service:slowproxy"
    assert "ports" not in services["app"] and "networks" not in services["app"]
    environment = services["slowproxy"]["environment"]
    printed = subprocess.run([BINARY, "-T", "-c", TOP / "config/package/proxy.yaml"], env=environment, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    for name, value in environment.items():
        assert f"{name}" in printed.stdout, f"{name} is no key of slowproxy"
    named = set(COMPOSE["volumes"])
    for name, service in services.items():
        assert not service.get("privileged") and "cap_add" not in service, name
        assert set(service.get("depends_on", {})) <= set(services), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in named or source == "/var/run/docker.sock" or (TOP / "docker" / source).exists(), f"{name}: {source}"


def test_compose_and_grafana_name_each_other():
    """Each address in Grafana's data sources, Prometheus' targets and Alloy's endpoints is a service of compose."""
    files = [*(TOP / "docker/grafana/provisioning").rglob("*.yaml"), TOP / "docker/alloy/config.alloy"]
    hosts = {host for path in files for host in re.findall(r"https?://([a-z]+):\d+", path.read_text())}
    prometheus = yaml.safe_load((TOP / "docker/prometheus/prometheus.yml").read_text())
    hosts |= {target.split(":")[0] for job in prometheus["scrape_configs"] for group in job["static_configs"]
              for target in group["targets"]}
    assert hosts and hosts <= set(COMPOSE["services"]), hosts
    dashboards = yaml.safe_load(next((TOP / "docker/grafana/provisioning/dashboards").glob("*.yaml")).read_text())
    targets = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert all(provider["options"]["path"] in targets for provider in dashboards["providers"])


def test_kubernetes():
    """A native sidecar, ready before the app; one pid namespace, one user, no privilege; ports and volumes that exist."""
    sidecar, app = POD["initContainers"][0], POD["containers"][0]
    assert sidecar["restartPolicy"] == "Always" and POD["shareProcessNamespace"] is True
    assert POD["securityContext"]["runAsUser"] != 0
    for container in (sidecar, app):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}
        assert "runAsUser" not in context
    ports = {port["name"] for port in sidecar["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert sidecar[probe]["httpGet"]["port"] in ports
    volumes = {volume["name"] for volume in POD["volumes"]}
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == volumes


def test_the_configuration_in_kubernetes(tmp_path):
    """The ConfigMap's proxy.yaml is good; its drain fits into the pod's grace period."""
    text = next(d for d in KUBERNETES if d["kind"] == "ConfigMap")["data"]["proxy.yaml"]
    (tmp_path / "proxy.yaml").write_text(text)
    check("-c", tmp_path / "proxy.yaml")
    timeouts = yaml.safe_load(text)["timeouts"]
    seconds = sum(int(timeouts[key].rstrip("s")) for key in ("drain_delay", "drain"))
    assert seconds < POD["terminationGracePeriodSeconds"]


