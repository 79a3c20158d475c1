"""One training run in progress: what is learnt, what is remembered, one update at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netc.data import Dataset
from netc.data.dataset import Samples
from netc.data.images import Images
from netc.data.split import held_out
from netc.diagnostics import NetcError
from netc.training import augmentation, batches, inputs
from netc.training.activity import Activity, Counts, hidden_mean
from netc.training.adam import Adam
from netc.training.contract import CircuitModule
from netc.training.engines import Engine
from netc.training.options import TrainingOptions
from netc.training.pairs import Pairs
from netc.training.parallel import Workers
from netc.training.penalties import Penalties
from netc.training.timing import Steps
from netc.training.unroll import negative_log_likelihood
from netc.training.variation import Variation

_ALONE = Workers()


@dataclass(slots=True)
class Sums:
    """Totals over the part of an epoch that is done."""

    loss: float = 0.0
    correct: int = 0
    seen: int = 0
    gradient_norm: float = 0.0
    energy: float = 0.0
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
    best: Best | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """How well a set of samples is classified, and how busy the membranes are meanwhile."""

    loss: float
    accuracy: float
    activity: Activity


@dataclass(frozen=True, slots=True)
class Best:
    """The epoch with the best validation accuracy, of equal ones that with the least loss."""

    epoch: int
    accuracy: float
    loss: float
    parameters: dict[str, Tensor]

    def to_plain(self) -> dict[str, Any]:
        """Return plain values and tensors for a checkpoint."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


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
        penalties: Penalties | None = None,
        workers: Workers = _ALONE,
        variation: Variation | None = None,
        pairs: Pairs | None = None,
    ) -> None:
        """``engine`` runs the circuit with the values of ``module``; ``nodes`` are the membranes whose spikes count.

        With ``variation`` samples learn, and choose the best epoch, on chips whose devices are not alike; with
        ``pairs`` these have nothing in common.
        """
        self.variation = variation
        self.pairs = pairs
        if pairs is not None:
            pairs.lower(module)
        self.workers = workers
        self.module = module
        self.engine = engine
        self.options = options
        self.steps = steps
        self.nodes = nodes
        self.penalties = penalties
        self.device = torch.device(options.device)
        self.train_x, self.test_x = dataset.train_x, dataset.test_x
        self.train_y, self.test_y = torch.from_numpy(dataset.train_y), torch.from_numpy(dataset.test_y)
        learn, out = held_out(dataset.train_y, options.validation, options.seed)
        self.learning, self.validating = torch.from_numpy(learn), torch.from_numpy(out)
        self.hold = inputs.steps_a_frame(steps.count, dataset)
        if options.augment:
            augmentation.picture_shape(dataset.features, augmentation.EVENT_PLANES if dataset.changing else 1)
        self.optimiser = Adam(module.parameters(), options.learning_rate)
        self.position = Position()
        self._order: tuple[int, Tensor] | None = None  # of the samples in an epoch

    @property
    def batches(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return math.ceil(len(self.learning) / self.options.batch)

    @property
    def stopped_early(self) -> bool:
        """Whether the last epochs were no better than one before them, as many as the options allow."""
        at, best = self.position, self.position.best
        return self.options.patience > 0 and best is not None and at.epoch - best.epoch >= self.options.patience

    def amplitudes(self, samples: Tensor) -> Tensor:
        """Return features as the module wants them."""
        return samples.to(self.device, self.options.torch_dtype)

    def features(self, samples: Samples, chosen: Tensor) -> Tensor:
        """Return what the samples with these numbers drive the module with."""
        return inputs.in_time(self.amplitudes(_chosen(samples, chosen)))

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return features and labels of the next batch, the whole of it."""
        at, options = self.position, self.options
        if self._order is None or self._order[0] != at.epoch:
            self._order = at.epoch, batches.permutation(len(self.learning), options.seed, at.epoch)
        chosen = self.learning[self._order[1][at.batch * options.batch : (at.batch + 1) * options.batch]]
        drawn = batches.generator(options.seed, "augmentation", at.epoch, at.batch)
        samples = inputs.in_time(self.amplitudes(self._warped(chosen, drawn)))
        samples = batches.drop(samples, options.input_dropout, options.seed, at.epoch, at.batch)
        labels = self.train_y[chosen]
        return samples, labels.to(self.device)

    def _warped(self, chosen: Tensor, drawn: torch.Generator) -> Tensor:
        """Return training samples as they are learnt from: pictures are warped before they are encoded."""
        samples, options = self.train_x, self.options
        if not isinstance(samples, Images):
            return augmentation.warped(_chosen(samples, chosen).to(options.torch_dtype), options.augment, drawn)
        pictures = _chosen(samples.brightness, chosen).to(options.torch_dtype)
        return torch.from_numpy(samples.encoded(augmentation.warped(pictures, options.augment, drawn).numpy()))

    def update(self) -> Tensor:
        """Learn from the next batch; return its mean log-probabilities.

        Raises:
            NetcError: the loss or its gradient is not finite.
        """
        started = time.perf_counter()
        at, options = self.position, self.options
        samples, labels = self.batch()
        whole, part = len(labels), self.workers.part(len(labels))
        if part.start == part.stop:
            part = slice(0, 1)  # fewer samples than workers: one runs another's, which then counts nothing
            share = 0.0
        else:
            share = (part.stop - part.start) / whole
        samples, labels = samples[..., part, :], labels[part]
        done = (at.epoch * self.batches + at.batch) / (options.epochs * self.batches)
        self.optimiser.learning_rate = options.learning_rate_at(done)

        self.optimiser.zero_grad()
        weights = self.penalties.weights(samples) if self.penalties is not None and self.penalties.terms else None
        if self.variation is None:
            loss, scores = self.engine.learn(samples, labels, weights)
        else:
            loss, scores = self.variation.learn(samples, labels, weights, (at.epoch, at.batch), part.start)
        if not math.isfinite(loss.item()):
            raise self._diverged(samples)
        total, joules = loss, 0.0
        if self.penalties is not None and self.penalties.lines:
            found = self.penalties.feature_energy(self.module, samples)
            joules = found.item()
            total = loss + options.energy_weight * found.to(loss.dtype)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        right = int((scores.argmax(dim=-1) == labels).sum())
        figures = torch.tensor([loss.item(), right / len(labels), joules], dtype=torch.float64)
        weighed = None if weights is None else weights.grad
        if self.workers.count > 1:
            weighed = None if weighed is None else weighed.sum(0, keepdim=True)
            shared = [p.grad for p in self.module.parameters() if p.grad is not None]
            shared += [figures] if weighed is None else [figures, weighed]
            for value in shared:
                value.mul_(share)
            self.workers.add(shared)
        if self.penalties is not None and weighed is not None:
            self.penalties.learnt(weighed)
            at.sums.energy += self.penalties.energy * whole
        norm = clip(list(self.module.parameters()), options.clip_gradient, options.clip_layer)
        if not math.isfinite(norm):
            raise NetcError(
                f"the gradient is not finite in {self._place()}",
                hint="pass a smaller --lr or a smaller --dt, or --dtype float64; the last checkpoint is kept",
            )
        self.optimiser.step()
        if self.pairs is not None:
            self.pairs.lower(self.module)
        self.module.project()

        sums = at.sums
        sums.loss += figures[0].item() * whole
        sums.correct += round(figures[1].item() * whole)
        sums.energy += figures[2].item() * whole
        sums.seen += whole
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
        validated = None
        if len(self.validating):
            validated = self.score(self.train_x, self.train_y, self.validating, variation=self.variation)
        few = self.learning[: options.batch]
        activity = validated.activity if validated else self._tally(self.features(self.train_x, few)).activity
        due = options.test_every > 0 and (at.epoch + 1) % options.test_every == 0
        tested = self.score(self.test_x, self.test_y) if due else None
        spikes, shares = activity.by_layer()
        metrics: dict[str, Any] = {
            "epoch": at.epoch + 1,
            "loss": at.sums.loss / at.sums.seen,
            "train_accuracy": at.sums.correct / at.sums.seen,
            "validation_loss": validated.loss if validated else None,
            "validation_accuracy": validated.accuracy if validated else None,
            "test_accuracy": tested.accuracy if tested else None,
            "spikes_per_neuron": spikes,
            "activity": shares,
            "hidden_activity": hidden_mean(shares, self.nodes, self.module.OUTPUTS),
            "learning_rate": self.optimiser.learning_rate,
            "gradient_norm": at.sums.gradient_norm / self.batches,
            "at_bounds": self.share_at_bounds(),
            "energy": at.sums.energy / at.sums.seen if options.energy_weight else None,
            "samples": at.sums.seen,
            "seconds": at.sums.seconds,
        }
        at.seconds += time.perf_counter() - started
        at.history.append(metrics)
        at.epoch, at.batch, at.sums = at.epoch + 1, 0, Sums()
        if validated is not None:
            self._remember(validated)
        return metrics

    def _remember(self, validated: Score) -> None:
        """Keep the trained values where no epoch before was as good."""
        at, best = self.position, self.position.best
        if best is None or (validated.accuracy, -validated.loss) > (best.accuracy, -best.loss):
            kept = {name: p.detach().clone() for name, p in self.module.named_parameters()}
            at.best = Best(at.epoch, validated.accuracy, validated.loss, kept)

    def use_best(self) -> None:
        """Go on with the trained values of the best epoch, where there is one; for looks at samples, not to train."""
        if self.position.best is not None:
            load_parameters(self.module, self.position.best.parameters)

    def _tally(self, samples: Tensor, variation: Variation | None = None, key: int = 0) -> _Batch:
        with torch.no_grad():
            threshold = self.options.spike_threshold
            if variation is None:
                scores, counts = self.engine.tally(samples, self.nodes, threshold)
            else:
                scores, counts = variation.tally(samples, self.nodes, threshold, (key,))
        return _Batch(scores, counts, counts.mean(inputs.length(samples, self.steps.count, self.hold), self.nodes))

    def score(
        self,
        samples: Samples,
        labels: Tensor,
        chosen: Tensor | None = None,
        stop: Callable[[], bool] = lambda: False,
        variation: Variation | None = None,
    ) -> Score | None:
        """Classify samples by the largest mean log-probability; ``None`` if ``stop`` said so on the way.

        Args:
            samples: features.
            labels: their class numbers ``(n,)``.
            chosen: numbers of those to classify; all when ``None``.
            stop: whether to leave off.
            variation: draws a chip for each batch, the same ones every time.

        Raises:
            NetcError: the circuit diverges.
        """
        loss, correct, counts, steps = 0.0, 0, Counts.none(len(self.nodes)), self.steps.count
        whole = torch.arange(len(labels)) if chosen is None else chosen
        numbers = whole[self.workers.part(len(whole))]
        for first in range(0, len(numbers), self.options.batch):
            if stop() and self.workers.count == 1:
                return None
            part = numbers[first : first + self.options.batch]
            given, wanted = self.features(samples, part), labels[part].to(self.device)
            found, steps = self._tally(given, variation, int(part[0])), inputs.length(given, steps, self.hold)
            if not bool(torch.isfinite(found.scores).all()):
                raise self._diverged(given)
            loss += negative_log_likelihood(found.scores, wanted).item() * len(wanted)
            correct += int((found.scores.argmax(dim=-1) == wanted).sum())
            counts.add(found.counts)
        figures = torch.tensor([loss, correct, counts.samples], dtype=torch.float64)
        self.workers.add([figures, counts.spikes, counts.above])
        counts.samples = int(figures[2])
        return Score(float(figures[0]) / len(whole), float(figures[1]) / len(whole), counts.mean(steps, self.nodes))

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
            "penalties": self.penalties.state() if self.penalties is not None else {},
            "best": at.best.to_plain() if at.best is not None else None,
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
            best = state.get("best")
            if self.penalties is not None:
                self.penalties.restore(state["penalties"])
            self.position = Position(
                epoch=int(state["epoch"]),
                batch=int(state["batch"]),
                sums=Sums(**state["sums"]),
                history=list(state["history"]),
                seconds=float(state["seconds"]),
                best=None if best is None else Best(**best),
            )
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise NetcError(f"the checkpoint is not one of this version of netc: {error}") from error

    def _place(self) -> str:
        return f"epoch {self.position.epoch + 1}, batch {self.position.batch + 1} of {self.batches}"

    def _diverged(self, samples: Tensor) -> NetcError:
        """Return an error that says where in time, and at which output, a batch left the finite numbers."""
        with torch.no_grad():
            given = inputs.held(samples, self.hold)
            steps = inputs.length(given, self.steps.count)
            voltages, _ = self.module(steps, self.steps.dt, given, observe=self.module.OUTPUTS)
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


def _chosen(samples: Samples, numbers: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples[numbers.numpy()]))


@dataclass(frozen=True, slots=True)
class _Batch:
    """What running one batch without gradients gives."""

    scores: Tensor
    counts: Counts
    activity: Activity


def clip(parameters: Sequence[torch.nn.Parameter], largest: float | None, each: float | None) -> float:
    """Shorten gradients: first each to the norm ``each``, then all together to ``largest``; return the norm before.

    ``None`` does not shorten.
    """
    norms = [p.grad.norm() for p in parameters if p.grad is not None]
    norm = float(torch.stack(norms).norm()) if norms else 0.0
    if each is not None:
        for parameter in parameters:
            torch.nn.utils.clip_grad_norm_([parameter], each)
    if largest is not None and each is not None:
        torch.nn.utils.clip_grad_norm_(list(parameters), largest)
    elif largest is not None and norm > largest:  # the same, without finding the norm again
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(largest / (norm + 1e-6))
    return norm


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
