"""One training run in progress: what is learnt, what is remembered, one update at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.training import activity, batches
from netc.training.adam import Adam
from netc.training.contract import CircuitModule
from netc.training.engines import Engine
from netc.training.options import TrainingOptions
from netc.training.timing import Steps
from netc.training.unroll import negative_log_likelihood


@dataclass(slots=True)
class Sums:
    """Totals over the part of an epoch that is done."""

    loss: float = 0.0
    correct: int = 0
    seen: int = 0
    gradient_norm: float = 0.0
    seconds: float = 0.0

    def to_plain(self) -> dict[str, float]:
        """Return plain values for a checkpoint."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(slots=True)
class Position:
    """Where a run stands: finished epochs, finished batches of the next one, metrics so far."""

    epoch: int = 0
    batch: int = 0
    sums: Sums = field(default_factory=Sums)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Score:
    """How well a set of samples is classified."""

    loss: float
    accuracy: float


class Session:
    """A module, its optimiser and a position in the samples; everything a checkpoint restores."""

    def __init__(
        self,
        module: CircuitModule,
        engine: Engine,
        dataset: Dataset,
        options: TrainingOptions,
        steps: Steps,
        nodes: tuple[str, ...],
    ) -> None:
        """``engine`` runs the circuit with the values of ``module``; ``nodes`` are the membranes whose spikes count."""
        self.module = module
        self.engine = engine
        self.options = options
        self.steps = steps
        self.nodes = nodes
        self.device = torch.device(options.device)
        self.train_x, self.train_y = torch.from_numpy(dataset.train_x), torch.from_numpy(dataset.train_y)
        self.test_x, self.test_y = torch.from_numpy(dataset.test_x), torch.from_numpy(dataset.test_y)
        self.optimiser = Adam(module.parameters(), options.learning_rate)
        self.position = Position()

    @property
    def batches(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return math.ceil(len(self.train_y) / self.options.batch)

    def amplitudes(self, samples: Tensor) -> Tensor:
        """Return features as the module wants them."""
        return samples.to(self.device, self.options.torch_dtype)

    def update(self) -> Tensor:
        """Learn from the next batch; return its mean log-probabilities.

        Raises:
            NetcError: the loss or its gradient is not finite.
        """
        started = time.perf_counter()
        at, options = self.position, self.options
        order = batches.permutation(len(self.train_y), options.seed, at.epoch)
        chosen = order[at.batch * options.batch : (at.batch + 1) * options.batch]
        samples = self.amplitudes(self.train_x[chosen])
        samples = batches.drop(samples, options.input_dropout, options.seed, at.epoch, at.batch)
        labels = self.train_y[chosen].to(self.device)
        done = (at.epoch * self.batches + at.batch) / (options.epochs * self.batches)
        self.optimiser.learning_rate = options.learning_rate_at(done)

        self.optimiser.zero_grad()
        loss, scores = self.engine.learn(samples, labels)
        if not math.isfinite(loss.item()):
            raise self._diverged(samples)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = float(
            torch.nn.utils.clip_grad_norm_(list(self.module.parameters()), options.clip_gradient or float("inf"))
        )
        if not math.isfinite(norm):
            raise NetcError(
                f"the gradient is not finite in {self._place()}",
                hint="pass a smaller --lr or a smaller --dt, or --dtype float64; the last checkpoint is kept",
            )
        self.optimiser.step()
        self.module.project()

        sums = at.sums
        sums.loss += loss.item() * len(labels)
        sums.correct += int((scores.argmax(dim=-1) == labels).sum())
        sums.seen += len(labels)
        sums.gradient_norm += norm
        spent = time.perf_counter() - started
        sums.seconds += spent
        at.seconds += spent
        at.batch += 1
        return scores

    def finish_epoch(self) -> dict[str, Any]:
        """Close the epoch whose batches are all done; return its metrics."""
        at, options = self.position, self.options
        started = time.perf_counter()
        busy = self.activity(self.train_x[: options.batch])
        due = options.test_every > 0 and (at.epoch + 1) % options.test_every == 0
        tested = self.score(self.test_x, self.test_y) if due else None
        metrics: dict[str, Any] = {
            "epoch": at.epoch + 1,
            "loss": at.sums.loss / at.sums.seen,
            "train_accuracy": at.sums.correct / at.sums.seen,
            "test_accuracy": tested.accuracy if tested else None,
            "spikes_per_neuron": busy.spikes_per_neuron,
            "activity": busy.share_of_time,
            "learning_rate": self.optimiser.learning_rate,
            "gradient_norm": at.sums.gradient_norm / self.batches,
            "at_bounds": self.share_at_bounds(),
            "samples": at.sums.seen,
            "seconds": at.sums.seconds,
        }
        at.seconds += time.perf_counter() - started
        at.history.append(metrics)
        at.epoch, at.batch, at.sums = at.epoch + 1, 0, Sums()
        return metrics

    def activity(self, samples: Tensor) -> activity.Activity:
        """Return how busy the membranes are on these samples."""
        return activity.count(self.engine.signals(self.amplitudes(samples), self.nodes), self.options.spike_threshold)

    def score(self, samples: Tensor, labels: Tensor, stop: Callable[[], bool] = lambda: False) -> Score | None:
        """Classify samples by the largest mean log-probability; ``None`` if ``stop`` said so on the way.

        Raises:
            NetcError: the circuit diverges.
        """
        loss, correct = 0.0, 0
        with torch.no_grad():
            for first in range(0, len(labels), self.options.batch):
                if stop():
                    return None
                part = self.amplitudes(samples[first : first + self.options.batch])
                wanted = labels[first : first + self.options.batch].to(self.device)
                scores = self.engine.scores(part)
                if not bool(torch.isfinite(scores).all()):
                    raise self._diverged(part)
                loss += negative_log_likelihood(scores, wanted).item() * len(wanted)
                correct += int((scores.argmax(dim=-1) == wanted).sum())
        return Score(loss / len(labels), correct / len(labels))

    def share_at_bounds(self) -> float:
        """Return the share of trained values that sit on one of their bounds."""
        with torch.no_grad():
            flat = torch.cat([p.reshape(-1) for p in self.module.parameters()])
            return float(((flat <= 0) | (flat >= 1)).to(torch.float64).mean())

    def state(self) -> dict[str, Any]:
        """Return all that :meth:`restore` needs, for a checkpoint."""
        at = self.position
        return {
            "parameters": {name: p.detach() for name, p in self.module.named_parameters()},
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "epoch": at.epoch,
            "batch": at.batch,
            "sums": at.sums.to_plain(),
            "history": at.history,
            "seconds": at.seconds,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to where :meth:`state` was taken.

        Raises:
            NetcError: the parameters are those of another circuit, or something is missing or of another kind.
        """
        try:
            load_parameters(self.module, state["parameters"])
            self.optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["random"])
            self.position = Position(
                epoch=int(state["epoch"]),
                batch=int(state["batch"]),
                sums=Sums(**state["sums"]),
                history=list(state["history"]),
                seconds=float(state["seconds"]),
            )
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise NetcError(f"the checkpoint is not one of this version of netc: {error}") from error

    def _place(self) -> str:
        return f"epoch {self.position.epoch + 1}, batch {self.position.batch + 1} of {self.batches}"

    def _diverged(self, samples: Tensor) -> NetcError:
        """Return an error that says where in time, and at which output, a batch left the finite numbers."""
        with torch.no_grad():
            voltages, _ = self.module(self.steps.count, self.steps.dt, samples, observe=self.module.OUTPUTS)
        bad = ~torch.isfinite(voltages).all(dim=1)
        where = ""
        if bool(bad.any()):
            step = int(bad.any(dim=1).to(torch.int64).argmax())
            node = self.module.OUTPUTS[int(bad[step].to(torch.int64).argmax())]
            where = f": {node} is not finite from step {step} ({step * self.steps.dt * 1e3:g} ms) on"
        return NetcError(
            f"the circuit diverges in {self._place()}{where}",
            hint="pass a smaller --dt (netc info says what each state needs) or a smaller --lr; "
            "the last checkpoint is kept",
        )


def load_parameters(module: CircuitModule, stored: Mapping[str, Tensor]) -> None:
    """Set trained positions from a checkpoint.

    Raises:
        NetcError: names or shapes are not those of this circuit.
    """
    own = dict(module.named_parameters())
    if own.keys() != stored.keys() or any(own[name].shape != stored[name].shape for name in own):
        raise NetcError(
            "the checkpoint belongs to another circuit: its trained values have other names or sizes",
            hint="compile the deck the run was trained from",
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(stored[name])
