"""What the template of a layered loop is filled with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from netc.ir.nodes import Expr, Outer, State, Unknown
from netc.kernels.fusion import Sink
from netc.kernels.layers import Layer, Layers
from netc.kernels.loops import Unsupported
from netc.kernels.source import Body, LoopSource, Vector, add, keep, store

_WIDEST = 5
"""Most lanes that run together: their values have to fit the first cache over a segment."""


class LayerSource:
    """Writes the layers of a loop."""

    def __init__(self, source: LoopSource, found: Layers) -> None:
        self._source = source
        self._layers = found
        loop = source.loop
        self._starts = list(accumulate((s.size for s in loop.states), initial=0))
        exports = list(accumulate((s.size for s in found.exported), initial=0))
        self._exports = dict(zip(found.exported, exports, strict=False))
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
        self._clear_bars = any(f.size != layer.lanes for layer in found.layers for f in layer.flows)
        writers = [leaf for part in found.flow_adjoints for leaf in part.echoes] + list(found.output_echoes)
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
            "largest_block": max(largest, default=last["kept"] * last["width"]),
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
                for s in self._layers.exported
            ],
            "exported_logits": self._logits(),
            "logits_echo": self._logits_echo(),
            "layer_products": self._products(),
            **self._rows,
        }

    # ------------------------------------------------------------------ layers

    def _kept(self, layer: Layer) -> list[Expr]:
        """Return what a layer keeps besides the states that others read, which are there anyway."""
        return [e for e in layer.kept if e not in self._exports]

    def _layer(self, number: int, layer: Layer) -> dict[str, Any]:
        width = next((w for w in range(min(_WIDEST, layer.lanes), 2, -1) if layer.lanes % w == 0), 0)
        width = width or min(4, layer.lanes)
        return {
            "number": number,
            "lanes": layer.lanes,
            "width": width,
            "rest": layer.lanes % width,
            "kept": max(1, len(self._kept(layer))),
            "forward": _blocked(self._forward(number, layer), layer.lanes),
            "backward": _blocked(self._backward(number, layer), layer.lanes),
            "states": [{"number": k, "start": self._starts[k]} for k in layer.states],
            "flow": _stepwise(self._flow(number, layer)) if layer.flows else None,
            "echo": _stepwise(self._echo(number, layer)) if layer.flows else None,
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
            if leaf in self._exports:
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
        results = [(f"y{k}", f"s.flows + t * FLOWS + {self._flows[number, k]}") for k, _ in enumerate(layer.flows)]
        sinks = [Sink(flow, flow.size, store(f"y{k}"), array=f"y{k}") for k, flow in enumerate(layer.flows)]
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
    head = ["#pragma GCC unroll 8", "for (int b = 0; b < B; ++b) {", "    const Size i = lane + b;"]
    statements: list[str] = []
    for line in body.statements:
        if line.endswith("{") and not line.startswith(" ") and line != whole:
            raise Unsupported("a layer with values of other lanes")
        if line == whole and lanes > 1:
            statements += head
        else:
            statements.append(re.sub(r"\b(n\d+)\[i\]", r"\1[b]", line))
    inner = [line for line in body.inner if not re.match(r"const V\* const n\d+ = ;", line)]
    return {"outer": body.outer, "inner": [*inner, *statements]}
