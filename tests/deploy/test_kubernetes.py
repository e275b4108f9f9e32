"""The Kubernetes manifests: of the API's schemas, hardened, and fitting together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from resumer import Resumer
from resumer.gauges import _PLAIN
from tests.deploy.conftest import DEPLOY, TOKEN
from tests.deploy.manifests import Document, built, pod_of

pytestmark = pytest.mark.deploy

FOLDER = DEPLOY / "kubernetes"
BASE, EXAMPLE = built(FOLDER / "base"), built(FOLDER / "example")
PODS = {each["metadata"]["name"]: pod for each in BASE if (pod := pod_of(each))}


def name_of(document: Any) -> str:
    return f"{document['kind']}-{document['metadata']['name']}" if document else ""


def of_kind(kind: str) -> list[Document]:
    return [each for each in BASE if each["kind"] == kind]


def only(kind: str, name: str) -> Document:
    (found,) = (each for each in of_kind(kind) if each["metadata"]["name"] == name)
    return found


@pytest.mark.parametrize("version", ["oldest", "newest"])
@pytest.mark.parametrize("document", BASE + EXAMPLE, ids=name_of)
def test_it_is_of_the_schema(document: Document, version: str) -> None:
    """The strict one, which knows no other fields than the API's."""
    import kubernetes_validate  # of a group that need not be installed to collect the tests

    wanted = "1.29" if version == "oldest" else kubernetes_validate.latest_version()
    kubernetes_validate.validate(document, wanted, strict=True)


def test_every_file_is_used() -> None:
    """None is left out of its kustomization."""
    for name in ("base", "example"):
        wanted = yaml.safe_load((FOLDER / name / "kustomization.yaml").read_text())
        used = {*wanted["resources"], *(patch["path"] for patch in wanted.get("patches", ()))}
        there = {path.name for path in (FOLDER / name).iterdir()} - {"kustomization.yaml"}
        assert used - {"../base"} == there


# -- hardened -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_restricted(name: str) -> None:
    """What the Pod Security Standard `restricted` asks for, and a root that is not written to."""
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {
        "secret",
        "emptyDir",
    }
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", PODS)
def test_each_gets_the_secrets_that_it_needs_and_no_more(name: str) -> None:
    """As files, and none in the environment: migrating needs no key."""
    pod = PODS[name]["spec"]
    (container,) = pod["containers"]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "secrets")
    (volume,) = (each for each in pod["volumes"] if each["name"] == "secrets")
    there = {f"{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}
    assert there == {path for _, path in _environment(container) if path.startswith("/run/secrets")}
    assert volume["secret"]["defaultMode"] == 0o440


def _environment(container: Document) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom", ()):
        yield from only("ConfigMap", source["configMapRef"]["name"])["data"].items()
    for variable in container.get("env", ()):
        yield variable["name"], variable["value"]


# -- fitting together ---------------------------------------------------------------------------


def _selected(labels: dict[str, str]) -> set[str]:
    found = {
        name: pod["metadata"]["labels"].items() >= labels.items() for name, pod in PODS.items()
    }
    return {name for name, fits in found.items() if fits}


@pytest.mark.parametrize(
    ("kind", "name", "pods"),
    [
        ("Deployment", "resumer-web", {"resumer-web"}),
        ("Deployment", "resumer-worker", {"resumer-worker"}),
        ("Service", "resumer-web", {"resumer-web"}),
        ("Service", "resumer-worker", {"resumer-worker"}),
        ("PodDisruptionBudget", "resumer-web", {"resumer-web"}),
        ("PodDisruptionBudget", "resumer-worker", {"resumer-worker"}),
        ("NetworkPolicy", "resumer", set(PODS)),
        ("NetworkPolicy", "resumer-web", {"resumer-web"}),
        ("NetworkPolicy", "resumer-worker", {"resumer-worker"}),
    ],
)
def test_it_selects_its_pods(kind: str, name: str, pods: set[str]) -> None:
    """A label that is misspelt would select nothing, or all."""
    spec = only(kind, name)["spec"]
    selector = spec.get("podSelector", spec.get("selector"))
    assert _selected(selector.get("matchLabels", selector)) == pods


def test_ports_and_services_are_there() -> None:
    """From the Ingress over the Service to the container."""
    for document in (*of_kind("Ingress"), *(each for each in EXAMPLE if each["kind"] == "Ingress")):
        for rule in document["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                ports = only("Service", service["name"])["spec"]["ports"]
                assert service["port"]["name"] in {port["name"] for port in ports}
    for document in of_kind("Service"):
        (container,) = PODS[document["metadata"]["name"]]["spec"]["containers"]
        (port,) = document["spec"]["ports"]
        assert port["targetPort"] in {each["name"] for each in container["ports"]}


@pytest.mark.parametrize("name", ["resumer-web", "resumer-worker"])
def test_its_probes_ask_for_routes(name: str) -> None:
    """Started, ready and alive: on the port that the command opens, at paths that there are."""
    resumer = Resumer(database_url="postgresql://nowhere/x", signing_secrets=["s"], worker=False)
    health = resumer._health
    routes = health.routes() if name == "resumer-web" else health.worker_routes()
    (container,) = PODS[name]["spec"]["containers"]
    (port,) = container["ports"]
    assert str(port["containerPort"]) in container["command"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == port["name"]
        assert asked["path"] in {route.path for route in routes}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_settings_are_taken(tmp_path: Any) -> None:
    """The settings of a worker, with its secrets where the files say, start a receiver."""
    (container,) = PODS["resumer-worker"]["spec"]["containers"]
    secrets = {
        "database-url": "postgresql://u:p@host/db",
        "signing-secret": "s",
        "read-tokens": json.dumps([TOKEN]),
        "api-key": "k",
    }
    for name, text in secrets.items():
        (tmp_path / name).write_text(text)
    there = {
        name: value.replace("/run/secrets/resumer", str(tmp_path))
        for name, value in _environment(container)
    }
    settings = Resumer.from_env(there).settings
    assert settings.database_url == secrets["database-url"]
    assert (settings.api_key, len(settings.tokens)) == ("k", 1)


def test_the_autoscaler_asks_for_a_metric_that_there_is() -> None:
    """From our gauge over the adapter's rule to the autoscaler; and the CPU beside it."""
    spec = only("HorizontalPodAutoscaler", "resumer-worker")["spec"]
    assert only(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
    external, cpu = spec["metrics"]
    metric = external["external"]["metric"]["name"]
    assert cpu["resource"]["name"] == "cpu"
    assert metric in {name for name, _ in _PLAIN.values()}
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["external"]
    assert (rule["seriesQuery"], rule["name"]["as"]) == (metric, metric)
    query = rule["metricsQuery"].replace("<<.Series>>", metric)
    promql_parser.parse(query.replace("<<.LabelMatchers>>", 'namespace="resumer"'))
    assert "replicas" not in only("Deployment", "resumer-worker")["spec"]


def test_the_example_is_the_base_with_ones_own() -> None:
    """Image, namespace, host and graphs; all else is the base's."""
    images = set(re.findall(r"image['\"]?: '?([^',}]+)", json.dumps(EXAMPLE).replace('"', "'")))
    assert images == {"registry.example.com/my-agents:2026-11-22"}
    assert len(EXAMPLE) == len(BASE) + 1
    settings = next(each for each in EXAMPLE if each["kind"] == "ConfigMap")["data"]
    (ours,) = of_kind("ConfigMap")
    assert settings["RESUMER_GRAPHS"] != ours["data"]["RESUMER_GRAPHS"]
    assert set(settings) == set(ours["data"])
