"""What samples drive a circuit with: amplitudes, or frames that are held over time steps."""

from __future__ import annotations

from torch import Tensor

from netc.data import Dataset
from netc.diagnostics import NetcError
from netc.ir.program import Program


def check_kind(program: Program, dataset: Dataset) -> None:
    """Refuse samples that change over time where the deck takes amplitudes, and the other way round.

    Raises:
        NetcError: with what to change.
    """
    for block in program.inputs:
        if block.mode == "amplitude" and dataset.changing:
            raise NetcError(
                f"a sample of {dataset.name} changes over time, but the deck takes one number a feature",
                hint="generate a deck with --drive frames, or use *.netc input with mode=waveform",
            )
        if block.mode != "amplitude" and not dataset.changing:
            raise NetcError(
                f"the deck's inputs are whole waveforms, but {dataset.name} has one number a feature",
                hint="use *.netc input with mode=amplitude",
            )


def steps_a_frame(steps: int, dataset: Dataset) -> int:
    """Return over how many time steps a frame of ``dataset`` is held, ``steps`` being those of a training sample.

    Raises:
        NetcError: the frames do not share the steps evenly.
    """
    if not dataset.changing:
        return 1
    frames = dataset.train_x.shape[1]
    if steps % frames:
        raise NetcError(
            f"{steps} time steps cannot be shared evenly by {frames} frames",
            hint=f"pass --steps with a multiple of {frames}, or --frames with a divisor of {steps}",
        )
    return steps // frames


def in_time(features: Tensor) -> Tensor:
    """Return features ``(batch, features)`` as they are, frames ``(batch, frames, features)`` with time first."""
    return features if features.dim() < 3 else features.transpose(0, 1).contiguous()


def held(frames: Tensor, steps: int) -> Tensor:
    """Return what drives the circuit: frames, time first, each held ``steps`` time steps; amplitudes as they are."""
    return frames if frames.dim() < 3 or steps == 1 else frames.repeat_interleave(steps, dim=0)


def length(inputs: Tensor, steps: int, hold: int = 1) -> int:
    """Return how many time steps ``inputs`` last, rows of which last ``hold``; ``steps`` where they are amplitudes."""
    return len(inputs) * hold if inputs.dim() > 2 else steps


def stretch(inputs: Tensor, first: int, steps: int) -> Tensor:
    """Return what drives the circuit during ``steps`` time steps from ``first`` on."""
    return inputs[first : first + steps] if inputs.dim() > 2 else inputs
