"""What the docs, the dashboard and the alerts name is what the code has, and the other way round."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import promql_parser
import pytest
import yaml
from prometheus_client import Metric

from resumer.gauges import Gauges
from resumer.hibernation import Verb
from resumer.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs/observability.md").read_text()
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
DASHBOARD = json.loads((ROOT / "deploy/grafana/resumer.json").read_text())
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}

# The name is a variable in these places, and means one of these.
BY_VARIABLE = {("resumer/witness.py", "verb"): {(verb, "info") for verb in get_args(Verb)}}
# Passes on what it was given.
PASSED_ON = {("resumer/telemetry.py", "event")}


def section(title: str) -> str:
    """The text under a heading of the docs, up to the next one of its rank."""
    rank = title.split(maxsplit=1)[0]
    rest = DOCS.split(f"\n{title}\n", 1)[1]
    return re.split(rf"\n#{{1,{len(rank)}}} ", rest, maxsplit=1)[0]


def rows(text: str) -> list[list[str]]:
    """The tables' rows whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


# -- metrics -------------------------------------------------------------------------------------


def families() -> dict[str, Metric]:
    """Every metric we have, by the name under which queries know it."""
    gauges = Gauges(None, 30.0)  # type: ignore[arg-type]  # never asked
    plain = ("oldest_unresolved", "oldest_parked", "queued", "oldest_queued", "workers", "held")
    figures = dict.fromkeys(plain, 0)
    gauges._figures = {"pauses": {"parked": 0}, "parked": {"raised": 0}, "swept_at": 0, **figures}
    found = [*Metrics().registry.collect(), *gauges.collect()]
    return {f"{m.name}_total" if m.type == "counter" else m.name: m for m in found}


def series() -> set[str]:
    """Every name that a query may use."""
    names: set[str] = set()
    for name, metric in families().items():
        endings = ("_bucket", "_sum", "_count") if metric.type == "histogram" else ("",)
        names |= {name + ending for ending in endings}
    return names


def test_the_docs_list_every_metric_with_its_labels() -> None:
    """A metric that is added, renamed or labelled anew has to be told of."""
    labels = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in _labels_told()}
    assert set(labels) == set(families())
    metrics = Metrics()
    known = [value for value in vars(metrics).values() if hasattr(value, "_labelnames")]
    for metric in known:
        name = metric._name + ("_total" if metric._type == "counter" else "")
        assert labels[name] == set(metric._labelnames), name


def _labels_told() -> Iterator[tuple[str, str]]:
    for line in section("## Metrics").splitlines():
        if line.startswith("| `resumer_"):
            cells = line.split("|")
            yield cells[1].strip().strip("`"), cells[2]


def test_the_docs_name_every_result_of_a_delivery() -> None:
    """Each value of the label that alerts are built on stands beside its metric."""
    from resumer.metrics import DELIVERIES

    [told] = [line for line in DOCS.splitlines() if line.startswith("| `resumer_deliveries_total")]
    assert set(DELIVERIES) <= set(re.findall(r"`(\w+)`", told))


# -- queries -------------------------------------------------------------------------------------


def queries() -> dict[str, str]:
    """Every query we ship, by where it stands."""
    rules = {f"alert {rule['alert']}": rule["expr"] for rule in _rules()}
    panels = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }
    return rules | panels


def _rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def selectors(query: str) -> list[Any]:
    """The series a query selects. Raises for what is no PromQL."""
    found: list[Any] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(query.replace("$__rate_interval", "5m")), visit)
    return found


@pytest.mark.parametrize("where", queries())
def test_every_query_is_promql_about_metrics_that_exist(where: str) -> None:
    """Names, labels and the values of `state` and `result` are those of our registry."""
    found = selectors(queries()[where])
    assert found
    for selector in found:
        assert selector.name in series()
        [metric] = [m for n, m in families().items() if selector.name.startswith(n)][:1]
        labels = {label for sample in metric.samples for label in sample.labels}
        known = labels | {"job", "le"} | _labels_in_docs(selector.name)
        assert {matcher.name for matcher in selector.matchers.matchers} <= known


def _labels_in_docs(name: str) -> set[str]:
    told = {n: set(re.findall(r"`(\w+)`", cell)) for n, cell in _labels_told()}
    return told.get(re.sub("_(bucket|sum|count)$", "", name), set())


@pytest.mark.parametrize("where", queries())
def test_what_every_process_says_alike_is_never_summed_over_processes(where: str) -> None:
    """A figure of the database is taken by its maximum, or it would grow with the replicas."""
    gauges = {name for name, metric in families().items() if metric.type == "gauge"}
    query = queries()[where]
    for selector in selectors(query):
        if selector.name in gauges:
            before = query.split(selector.name)[0]
            assert re.search(r"(max|min|absent)( by \(\w+\))? ?\($", before), query


def test_a_query_about_nothing_is_found_out() -> None:
    """The check of the names is one that can fail."""
    assert {s.name for s in selectors("rate(resumer_nothing_total[5m]) > 0")} - series()
    with pytest.raises(ValueError, match=r"."):
        selectors("sum by (")


# -- alerts --------------------------------------------------------------------------------------

DURATION = re.compile(r"[0-9]+(s|m|h|d)")


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_every_alert_is_whole(rule: dict[str, Any]) -> None:
    """Prometheus' own keys, a severity, a sentence that says what is wrong and one what to do."""
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch("Resumer[A-Za-z]+", rule["alert"])
    assert "for" not in rule or DURATION.fullmatch(rule["for"])
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "runbook"}
    for text in rule["annotations"].values():
        assert text.strip().endswith(".")
    assert set(rule["labels"]) == {"severity"}


def test_the_alerts_are_one_group_without_repetition() -> None:
    """The file is what Prometheus takes as a rule file."""
    assert set(ALERTS) == {"groups"}
    [group] = ALERTS["groups"]
    assert set(group) == {"name", "rules"}
    names = [rule["alert"] for rule in _rules()]
    assert len(set(names)) == len(names)


def test_the_docs_list_every_alert() -> None:
    """In the order of the file."""
    assert [row[0] for row in rows(section("### Alerts"))] == [rule["alert"] for rule in _rules()]


def test_runbooks_name_commands_that_exist() -> None:
    """Whoever is woken types what is there."""
    import typer.main

    from resumer.cli import app

    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group
    texts = " ".join(rule["annotations"]["runbook"] for rule in _rules())
    named = set(re.findall(r"`resumer ([a-z]+)", texts))
    assert named
    assert named <= commands


def test_runbooks_name_events_that_are_logged() -> None:
    """What a runbook tells to look for in the log is written there."""
    texts = " ".join(rule["annotations"]["runbook"] for rule in _rules())
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", texts))
    assert named
    assert named <= {name for name, _ in logged()}


# -- the dashboard -------------------------------------------------------------------------------


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """Ids apart, no panel over another, each with a title, a text, a unit and queries."""
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"].endswith((".", "?", "`"))
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = _cells(**panel["gridPos"])
        assert not places & place
        places |= place


def _cells(x: int, y: int, w: int, h: int) -> set[tuple[int, int]]:
    assert x + w <= 24
    return {(column, row) for column in range(x, x + w) for row in range(y, y + h)}


def test_the_dashboard_uses_the_variables_it_declares() -> None:
    """Nothing is left to be filled in by hand."""
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(DASHBOARD["panels"])))
    assert used == declared == {"datasource", "job"}


# -- logs ----------------------------------------------------------------------------------------


def logged() -> set[tuple[str, str]]:
    """Every event with its level, out of the code; the local LoopPause is no part of the service."""
    found: set[tuple[str, str]] = set()
    for path in (ROOT / "resumer").rglob("*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith("resumer/emulator/"):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call):
                    found |= _of_call(name, call)
    return found


def _of_call(path: str, call: ast.Call) -> set[tuple[str, str]]:
    functions = (
        [call.func.body, call.func.orelse] if isinstance(call.func, ast.IfExp) else [call.func]
    )
    levels = {
        function.attr
        for function in functions
        if isinstance(function, ast.Attribute) and function.attr in LEVELS and _is_log(function)
    }
    if not levels:
        return set()
    name = call.args[0]
    if isinstance(name, ast.Constant):
        return {(str(name.value), level) for level in levels}
    variable = (path, ast.unparse(name))
    return set() if variable in PASSED_ON else BY_VARIABLE[variable]


def _is_log(function: ast.Attribute) -> bool:
    return bool(re.search(r"log(ger\(\))?$|complaints$", ast.unparse(function.value)))


def test_the_docs_list_every_event_that_is_logged() -> None:
    """Names are stable: one that is added or taken away has to be told of, with its level."""
    told = {(row[0], row[1]) for row in rows(section("## Logs"))}
    assert told == logged() - {("reconciled", "debug")}
