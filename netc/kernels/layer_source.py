"""What the template of a layered loop is filled with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from netc.ir.nodes import Expr, MatVec, Outer, State, Unknown, postorder
from netc.kernels.checkpoints import Plan
from netc.kernels.fusion import Sink
from netc.kernels.interleave import interleaved
from netc.kernels.layers import Layer, Layers
from netc.kernels.loops import Unsupported
from netc.kernels.source import Body, LoopSource, Vector, add, keep, store

_WIDEST_DRIVE = 40  # columns of a matrix that is multiplied lane by lane


@dataclass(frozen=True, slots=True)
class Drive:
    """``flow`` of ``layer`` is the product of ``state`` of an earlier layer with ``matrix``."""

    state: State
    matrix: Expr
    layer: int
    flow: int


def _drives(source: LoopSource, found: Layers) -> tuple[Drive, ...]:
    """Return the flows that are computed with the layer that drives them: all, or none where one is something else."""
    result: list[Drive] = []
    for number, layer in enumerate(found.layers):
        for k, flow in enumerate(layer.flows):
            if not any(x in found.exported for x in postorder(flow)):
                continue
            if not (isinstance(flow, MatVec) and flow.x in found.exported and flow.matrix in source.loop.parameters):
                return ()
            result.append(Drive(flow.x, flow.matrix, number, k))
    states, matrices = {d.state for d in result}, {d.matrix for d in result}
    alone = len(states) == len(matrices) == len(result) and not states & set(found.output_echoes)
    return tuple(result) if alone and all(d.matrix.shape[1] <= _WIDEST_DRIVE for d in result) else ()


class LayerSource:
    """Writes the layers of a loop."""

    def __init__(self, source: LoopSource, found: Layers) -> None:
        self._source = source
        self._layers = found
        loop = source.loop
        self._starts = list(accumulate((s.size for s in loop.states), initial=0))
        self._drives = _drives(source, found)
        driving = {drive.state for drive in self._drives}
        exported = [s for s in found.exported if s not in driving]
        exports = list(accumulate((s.size for s in exported), initial=0))
        self._exports = dict(zip(exported, exports, strict=False))
        self._export_lanes = exports[-1]
        self._flows: dict[tuple[int, int], int] = {}
        self._flow_lanes = 0
        for number, layer in enumerate(found.layers):
            for k, flow in enumerate(layer.flows):
                self._flows[number, k] = self._flow_lanes
                self._flow_lanes += flow.size
        wanted: dict[Expr, None] = {}
        for gradients in [p.gradients for p in found.layers] + [p.gradients for p in found.flow_adjoints]:
            wanted |= dict.fromkeys(gradients)
        self._wanted = wanted
        self._clear_bars = any(f.size != layer.lanes for layer in found.layers for f in layer.flows)
        writers = [leaf for part in found.flow_adjoints for leaf in part.echoes] + list(found.output_echoes)
        writers = [leaf for leaf in writers if leaf in self._exports]
        self._clear_echoes = len(set(writers)) < len(writers)
        self._rows = source.rows(wanted)

    def context(self) -> dict[str, Any]:
        """Return what the template needs."""
        layers = [self._layer(number, layer) for number, layer in enumerate(self._layers.layers)]
        largest = [row["kept"] * row["width"] for row in layers if row["number"] != self._layers.output]
        last = layers[self._layers.output]
        return {
            "layered": True,
            "layers": layers,
            "output": self._layers.output,
            "flows": self._flow_lanes,
            "exports": self._export_lanes,
            "plan": Plan(max(largest, default=last["kept"] * last["width"]), layered=True),
            "largest_kept": max([*largest, last["kept"] * last["lanes"]]),
            "clear_bars": self._clear_bars,
            "clear_echoes": self._clear_echoes,
            "exported": [
                {
                    "lanes": s.size,
                    "place": self._exports[s],
                    "start": self._starts[self._source.loop.states.index(s)],
                    "output": s in self._layers.output_echoes and not self._clear_echoes,
                }
                for s in self._exports
            ],
            "exported_logits": self._logits(),
            "logits_echo": self._logits_echo(),
            "layer_products": self._products(),
            **self._rows,
        }

    # ------------------------------------------------------------------ layers

    def _kept(self, layer: Layer) -> list[Expr]:
        """Return what a layer keeps besides the states that others read, which are there anyway."""
        needed = [*layer.kept, *(d.state for d in self._drives_of(layer) if d.matrix in self._wanted)]
        return [e for e in dict.fromkeys(needed) if e not in self._exports]

    def _drives_of(self, layer: Layer) -> list[Drive]:
        """Return what the states of a layer drive."""
        mine = {self._source.loop.states[k] for k in layer.states}
        return [drive for drive in self._drives if drive.state in mine]

    def _driven(self, number: int, flow: int) -> bool:
        return any((d.layer, d.flow) == (number, flow) for d in self._drives)

    def _layer(self, number: int, layer: Layer) -> dict[str, Any]:
        flows = [k for k, _ in enumerate(layer.flows) if not self._driven(number, k)]
        width = next((w for w in (4, 5, 3) if layer.lanes % w == 0), min(4, layer.lanes))
        return {
            "number": number,
            "lanes": layer.lanes,
            "width": width,
            "rest": layer.lanes % width,
            "kept": max(1, len(self._kept(layer))),
            "forward": _blocked(self._forward(number, layer), layer.lanes),
            "backward": _blocked(self._backward(number, layer), layer.lanes),
            "states": [{"number": k, "start": self._starts[k]} for k in layer.states],
            "flow": _stepwise(self._flow(number, layer)) if flows else None,
            "echo": _stepwise(self._echo(number, layer)) if flows else None,
            "drives": [self._drive(layer, drive) for drive in self._drives_of(layer)],
        }

    def _drive(self, layer: Layer, drive: Drive) -> dict[str, Any]:
        """Return what the template needs to fuse a product with a matrix into the layer that drives it."""
        rows = self._rows["parameter_gradients"]
        number = self._source.fixed.index(drive.matrix)
        kept = self._kept(layer)
        return {
            "state": self._source.loop.states.index(drive.state),
            "matrix": number,
            "columns": drive.matrix.shape[1],
            "flow": self._flows[drive.layer, drive.flow],
            "kept": kept.index(drive.state) if drive.state in kept else 0,
            "gradient": next((r.start for r in rows if r.number == number), None),
        }

    def _flow_vectors(
        self, number: int, layer: Layer, exprs: Sequence[Expr], array: str, step: str
    ) -> dict[Expr, Vector]:
        return {
            e: (f"f{k}", f"s.{array} + {step} * FLOWS + {self._flows[number, k]}", e.size) for k, e in enumerate(exprs)
        }

    def _forward(self, number: int, layer: Layer) -> Body:
        loop = self._source.loop
        vectors: dict[Expr, Vector] = {loop.states[k]: (f"n{k}", "", layer.lanes) for k in layer.states}
        vectors |= self._flow_vectors(number, layer, layer.flows, "flows", "t")
        results: list[tuple[str, str]] = []
        sinks = [Sink(loop.updates[k], layer.lanes, store(f"n{k}")) for k in layer.states]
        for k in layer.states:
            leaf = loop.states[k]
            if leaf in self._exports:
                results.append((f"e{k}", f"s.exports + k * EXPORTS + {self._exports[leaf]}"))
                sinks.append(Sink(leaf, layer.lanes, store(f"e{k}")))
        kept = self._kept(layer)
        for j, expr in enumerate(kept):
            results.append((f"k{j}", f"kept + (k * {max(1, len(kept))} + {j}) * B - lane"))
            sinks.append(Sink(expr, layer.lanes, keep(f"k{j}")))
        return self._source.function(sinks, vectors, results)

    def _backward(self, number: int, layer: Layer) -> Body:
        loop = self._source.loop
        pairs = zip(layer.seeds, layer.states, strict=True)
        vectors: dict[Expr, Vector] = {seed: (f"n{k}", "", layer.lanes) for seed, k in pairs}
        kept = self._kept(layer)
        for j, expr in enumerate(kept):
            vectors[expr] = f"k{j}", f"kept + (k * {max(1, len(kept))} + {j}) * B - lane", layer.lanes
        for k in layer.states:
            leaf = loop.states[k]
            if leaf in self._exports:
                vectors[leaf] = f"x{k}", f"s.exports + k * EXPORTS + {self._exports[leaf]}", layer.lanes
        flows = self._flow_vectors(number, layer, layer.flows, "flows", "t")
        vectors |= {e: place for e, place in flows.items() if e not in vectors}
        results: list[tuple[str, str]] = []
        sinks: list[Sink] = []
        for k, expr in zip(layer.states, layer.state_adjoints, strict=True):
            leaf = loop.states[k]
            echo = ""
            if any(drive.state is leaf for drive in self._drives):
                echo = f"d{k}"
            elif leaf in self._exports:
                echo = f"e{k}"
                results.append((echo, f"s.echoes + k * EXPORTS + {self._exports[leaf]}"))
            sinks.append(Sink(expr, layer.lanes, store(f"n{k}", echo)))
        for k, (flow, expr) in enumerate(zip(layer.flows, layer.flow_adjoints, strict=True)):
            results.append((f"b{k}", f"s.bars + k * FLOWS + {self._flows[number, k]}"))
            if flow.size == layer.lanes and not self._clear_bars:
                sinks.append(Sink(expr, layer.lanes, store(f"b{k}")))
            else:
                sinks += self._source.accumulate(f"b{k}", flow.size, expr)
        for read in self._source.reads(layer.gradients, self._rows):
            results.append((read.name, read.where))
            sinks += self._source.accumulate(read.name, read.expr.size, layer.gradients[read.expr])
        return self._source.function(sinks, vectors, results)

    # ------------------------------------------------------------------ between layers

    def _exported(self, array: str) -> dict[Expr, Vector]:
        return {
            leaf: (f"x{k}", f"{array} + {place}", leaf.size) for k, (leaf, place) in enumerate(self._exports.items())
        }

    def _flow(self, number: int, layer: Layer) -> Body:
        vectors = self._exported("s.exports + k * EXPORTS")
        own = [(k, flow) for k, flow in enumerate(layer.flows) if not self._driven(number, k)]
        results = [(f"y{k}", f"s.flows + t * FLOWS + {self._flows[number, k]}") for k, _ in own]
        sinks = [Sink(flow, flow.size, store(f"y{k}"), array=f"y{k}") for k, flow in own]
        return self._source.function(sinks, vectors, results)

    def _echo(self, number: int, layer: Layer) -> Body:
        adjoint = self._layers.flow_adjoints[number]
        vectors = self._flow_vectors(number, layer, adjoint.seeds, "bars", "k")
        return self._echoes(adjoint.echoes, vectors, "s.echoes + k * EXPORTS")

    def _echoes(self, echoes: Mapping[State, Expr], vectors: Mapping[Expr, Vector], array: str) -> Body:
        results, sinks = [], []
        for k, (leaf, place) in enumerate(self._exports.items()):
            if leaf in echoes:
                results.append((f"e{k}", f"{array} + {place}"))
                if self._clear_echoes:
                    sinks.append(Sink(echoes[leaf], leaf.size, add(f"e{k}")))
                else:
                    sinks.append(Sink(echoes[leaf], leaf.size, store(f"e{k}"), array=f"e{k}"))
        return self._source.function(sinks, vectors, results)

    def _logits(self) -> list[str]:
        outputs = self._source.loop.outputs
        if outputs is None:
            raise ValueError("a loop without outputs has no layers")
        return self._source.function([Sink(outputs, outputs.size, store("z"))], self._exported("exports"), []).lines

    def _logits_echo(self) -> list[str]:
        seed = self._layers.output_seed
        return self._echoes(self._layers.output_echoes, {seed: ("q", "seed", seed.size)}, "echoes").lines

    def _products(self) -> list[dict[str, int]]:
        result = []
        for number, adjoint in enumerate(self._layers.flow_adjoints):
            for read in self._source.reads(adjoint.gradients, self._rows):
                product = adjoint.gradients[read.expr]
                if any(drive.matrix is read.expr for drive in self._drives):
                    continue
                if not (isinstance(product, Outer) and isinstance(product.a, State) and isinstance(product.b, Unknown)):
                    raise TypeError("the gradient of a flow is an outer product of states and seeds")
                result.append(
                    {
                        "rows": read.expr.shape[0],
                        "columns": read.expr.shape[1],
                        "a": self._exports[product.a],
                        "b": self._flows[number, adjoint.seeds.index(product.b)],
                        "start": read.lanes.start,
                    }
                )
        return result


def _stepwise(body: Body) -> dict[str, list[str]]:
    return {"outer": body.outer, "inner": [*body.inner, *body.statements]}


def _blocked(body: Body, lanes: int) -> dict[str, list[str]]:
    """Let the loop over lanes run over the ``B`` lanes from ``lane`` on, whose states are in arrays of their own.

    Raises:
        Unsupported: where there is more than that loop.
    """
    whole = f"for (long i = 0; i < {lanes}; ++i) {{" if lanes > 1 else "{"
    before: list[str] = []
    after: list[str] = []
    statements: list[str] = []
    for line in body.statements:
        if line.startswith(" "):
            statements.append(line)
        elif line != whole and line.endswith("{"):
            raise Unsupported("a layer with values of other lanes")
        elif line not in (whole, "}"):
            (after if statements else before).append(line)
    inner = [line for line in body.inner if not re.match(r"const V\* const n\d+ = ;", line)]
    if lanes == 1:
        statements = [line.replace("[0]", "[i]") for line in statements]
    return {"outer": body.outer, "inner": [*inner, *before, *interleaved(statements), *after]}
