"""Where the boxes and lines of a graph go: layers from top to bottom, few crossings, no library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

__all__ = ["Box", "Drawing", "Edge", "Line", "lay_out"]

BOX_HEIGHT = 36.0
LAYER_GAP = 44.0
BOX_GAP = 28.0
CHAR_WIDTH = 7.9
LABEL_CHARS = 28
MARGIN = 14.0
LANE = 16.0  # between two lines that lead back up
SWEEPS = 6
ROUNDS = 8
BEND, LABEL = 4.0, 56.0  # the room that a line takes which passes by, and its label


@dataclass(frozen=True)
class Edge:
    """From one node to another; `label` says on what condition."""

    source: str
    target: str
    is_conditional: bool = False
    label: str = ""


@dataclass(frozen=True)
class Box:
    """A node. `x` and `y` are its upper left corner, in pixels."""

    name: str
    label: str
    x: float
    y: float
    width: float
    height: float = BOX_HEIGHT

    @property
    def middle(self) -> float:
        """The x of its middle."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Line:
    """An edge as an SVG path, and where its label stands."""

    edge: Edge
    path: str
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Drawing:
    """All of it, and how big it is."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


Chain = tuple[Edge, tuple[str, ...]]


def lay_out(labels: Mapping[str, str], edges: Sequence[Edge]) -> Drawing:
    """Place nodes, given by name with their labels, and the edges between them."""
    known = [e for e in edges if e.source in labels and e.target in labels]
    back = _back_edges(labels, known)
    forward = [e for e in known if e not in back]
    depth = _depths(labels, forward)
    chains, layers = _chains(forward, depth)
    ordered = _untangled(layers, chains)
    boxes = _placed(ordered, chains, labels)
    lines = [_down(edge, [boxes[name] for name in chain]) for edge, chain in chains]
    right = max((box.x + box.width for box in boxes.values()), default=0.0)
    returns = [
        _up(edge, boxes[edge.source], boxes[edge.target], right + LANE * (lane + 1))
        for lane, edge in enumerate(back)
    ]
    drawn = tuple(box for name, box in boxes.items() if name in labels)
    height = max((box.y + box.height for box in drawn), default=0.0) + MARGIN
    width = right + LANE * len(back) + MARGIN
    return Drawing(drawn, (*lines, *returns), width, height)


def _back_edges(names: Iterable[str], edges: Sequence[Edge]) -> list[Edge]:
    """The edges that close a circle, found by walking down from each node once."""
    leaving: dict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        leaving[edge.source].append(edge)
    open_now: set[str] = set()
    done: set[str] = set()
    back: list[Edge] = []
    for start in names:
        _walk(start, leaving, open_now, done, back)
    return back


def _walk(
    start: str,
    leaving: Mapping[str, list[Edge]],
    open_now: set[str],
    done: set[str],
    back: list[Edge],
) -> None:
    # Without recursion: a graph of a thousand nodes in a row is nobody's fault.
    if start in done:
        return
    stack = [(start, iter(leaving.get(start, [])))]
    open_now.add(start)
    while stack:
        name, edges = stack[-1]
        edge = next(edges, None)
        if edge is None:
            stack.pop()
            open_now.discard(name)
            done.add(name)
        elif edge.target in open_now:
            back.append(edge)
        elif edge.target not in done:
            open_now.add(edge.target)
            stack.append((edge.target, iter(leaving.get(edge.target, []))))


def _depths(names: Iterable[str], edges: Sequence[Edge]) -> dict[str, int]:
    """How many edges lie at most between a node and the top."""
    depth = dict.fromkeys(names, 0)
    for _ in depth:
        deeper = {
            e.target: depth[e.source] + 1 for e in edges if depth[e.target] <= depth[e.source]
        }
        if not deeper:
            break
        depth.update(deeper)
    return depth


def _chains(edges: Sequence[Edge], depth: Mapping[str, int]) -> tuple[list[Chain], list[list[str]]]:
    """Each edge as the names it runs through, and all names by layer.

    An edge over several layers gets a place of its own in each: so it runs past the boxes.
    """
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for name, layer in depth.items():
        layers[layer].append(name)
    chains: list[Chain] = []
    for number, edge in enumerate(edges):
        between = range(depth[edge.source] + 1, depth[edge.target])
        bends = [f"\0{number}:{layer}" for layer in between]
        for layer, bend in zip(between, bends, strict=True):
            layers[layer].append(bend)
        chains.append((edge, (edge.source, *bends, edge.target)))
    return chains, layers


def _untangled(layers: list[list[str]], chains: Sequence[Chain]) -> list[list[str]]:
    """Order each layer by the middle of its neighbours, down and up in turn."""
    above: dict[str, list[str]] = defaultdict(list)
    below: dict[str, list[str]] = defaultdict(list)
    for _, chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        ordered = list(enumerate(layers))[1:] if down else list(enumerate(layers))[-2::-1]
        for index, layer in ordered:
            place = {name: at for at, name in enumerate(layers[index - 1 if down else index + 1])}
            nearest = above if down else below
            layers[index] = _by_middle(layer, nearest, place)
    return layers


def _by_middle(
    layer: Sequence[str], nearest: Mapping[str, list[str]], place: Mapping[str, int]
) -> list[str]:
    own = {name: at for at, name in enumerate(layer)}

    def middle(name: str) -> float:
        places = [place[other] for other in nearest.get(name, ()) if other in place]
        return sum(places) / len(places) if places else own[name]

    return sorted(layer, key=middle)


def _placed(
    layers: Sequence[Sequence[str]], chains: Sequence[Chain], labels: Mapping[str, str]
) -> dict[str, Box]:
    labelled = {bend for edge, chain in chains if edge.label for bend in chain[1:-1]}
    width = {
        name: _width(labels[name]) if name in labels else BEND + LABEL * (name in labelled)
        for layer in layers
        for name in layer
    }
    middles = _middles(layers, _neighbours(chains), width)
    left = min((middles[name] - width[name] / 2 for name in middles), default=0.0)
    boxes: dict[str, Box] = {}
    for depth, layer in enumerate(layers):
        y = MARGIN + depth * (BOX_HEIGHT + LAYER_GAP)
        for name in layer:
            x = round(MARGIN + middles[name] - width[name] / 2 - left, 1)
            boxes[name] = Box(name, _short(labels.get(name, "")), x, y, width[name])
    return boxes


def _neighbours(chains: Sequence[Chain]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for _, chain in chains:
        for upper, lower in pairwise(chain):
            found[lower].append(upper)
            found[upper].append(lower)
    return found


def _middles(
    layers: Sequence[Sequence[str]], near: Mapping[str, list[str]], width: Mapping[str, float]
) -> dict[str, float]:
    """Each as near to the middle of its neighbours as the order of its layer lets it be."""
    middles: dict[str, float] = {}
    for layer in layers:
        x = -(sum(width[name] for name in layer) + BOX_GAP * (len(layer) - 1)) / 2
        for name in layer:
            middles[name] = x + width[name] / 2
            x += width[name] + BOX_GAP
    for round_ in range(ROUNDS):
        for layer in layers if round_ % 2 == 0 else reversed(layers):
            wanted = [
                mean(middles[other] for other in near[name]) if near.get(name) else middles[name]
                for name in layer
            ]
            middles.update(zip(layer, _apart(wanted, [width[n] for n in layer]), strict=True))
    return middles


def _apart(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The same middles, moved apart to both sides as far as the widths need it."""
    steps = [(a + b) / 2 + BOX_GAP for a, b in pairwise(widths)]
    right, left = [*wanted], [*wanted]
    for index, step in enumerate(steps):
        right[index + 1] = max(right[index + 1], right[index] + step)
    for index, step in reversed([*enumerate(steps)]):
        left[index] = min(left[index], left[index + 1] - step)
    return [(a + b) / 2 for a, b in zip(left, right, strict=True)]


def _width(label: str) -> float:
    return round(len(_short(label)) * CHAR_WIDTH + 30, 1)


def _short(label: str) -> str:
    return label if len(label) <= LABEL_CHARS else f"{label[: LABEL_CHARS - 1]}…"


def _down(edge: Edge, stations: Sequence[Box]) -> Line:
    """From the bottom of the first box to the top of the last, past the places between."""
    first, last = stations[0], stations[-1]
    x, y = first.middle, first.y + first.height
    path = f"M{x:.1f} {y:.1f}"
    for station in stations[1:]:
        to, half = station.middle, (station.y - y) / 2
        path += f"C{x:.1f} {y + half:.1f} {to:.1f} {y + half:.1f} {to:.1f} {station.y:.1f}"
        x, y = to, station.y
        if station is not last:
            y += BOX_HEIGHT
            path += f"V{y:.1f}"
    label_x = first.middle + (stations[1].middle - first.middle) * 0.8  # the curve, at 0.7
    return Line(edge, path, round(label_x, 1), first.y + first.height + LAYER_GAP * 0.65)


def _up(edge: Edge, source: Box, target: Box, lane: float) -> Line:
    """Around the right side of everything."""
    start, end = source.y + source.height / 2, target.y + target.height / 2
    path = (
        f"M{source.x + source.width:.1f} {start + 6:.1f}"
        f"H{lane - 8:.1f}Q{lane:.1f} {start + 6:.1f} {lane:.1f} {start - 2:.1f}"
        f"V{end + 2:.1f}Q{lane:.1f} {end - 6:.1f} {lane - 8:.1f} {end - 6:.1f}"
        f"H{target.x + target.width:.1f}"
    )
    return Line(edge, path, lane, (start + end) / 2)
