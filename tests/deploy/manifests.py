"""The Kubernetes manifests as kustomize would put them together, as far as ours go.

A small stand-in for `kustomize build`: resources, labels, namespace, images and patches that merge
maps. It fails at everything else, so that none of it is taken for checked.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

KNOWN = {"apiVersion", "kind", "labels", "resources", "namespace", "images", "patches"}
CLUSTER_WIDE = {"Namespace"}


def built(folder: Path) -> list[Document]:
    """Every document of the kustomization in `folder`."""
    wanted = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(wanted) <= KNOWN, f"not checked: {set(wanted) - KNOWN}"
    documents = [each for name in wanted["resources"] for each in _resource(folder / name)]
    for patch in wanted.get("patches", ()):
        assert set(patch) == {"path"}, f"not checked: {patch}"
        _merge_into(documents, yaml.safe_load((folder / patch["path"]).read_text()))
    for document in documents:
        _label(document, wanted.get("labels", ()))
        if "namespace" in wanted and document["kind"] not in CLUSTER_WIDE:
            document["metadata"]["namespace"] = wanted["namespace"]
        for image in wanted.get("images", ()):
            _name_image(document, image)
    return documents


def pod_of(document: Document) -> Document | None:
    """The template of a workload's pods, or None."""
    template: Document | None = document.get("spec", {}).get("template")
    return template


def _resource(path: Path) -> Iterator[Document]:
    if path.is_dir():
        yield from built(path)
    else:
        yield from copy.deepcopy(list(yaml.safe_load_all(path.read_text())))


def _merge_into(documents: list[Document], patch: Document) -> None:
    (found,) = (each for each in documents if _identity(each) == _identity(patch))
    _merge(found, patch)


def _identity(document: Document) -> tuple[str, str, str]:
    return document["apiVersion"], document["kind"], document["metadata"]["name"]


def _merge(into: Document, patch: Document) -> None:
    for name, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:  # a list is replaced, as those without a merge key are; ours are of that sort
            assert name in {"rules", "tls"} or not isinstance(value, list), f"not checked: {name}"
            into[name] = value


def _label(document: Document, labels: Any) -> None:
    for each in labels:
        assert set(each) == {"pairs"}, f"not checked: {each}"
        document["metadata"].setdefault("labels", {}).update(each["pairs"])


def _name_image(document: Document, image: Document) -> None:
    pod = pod_of(document)
    for container in pod["spec"]["containers"] if pod else ():
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"
