"""Warps of training images and recordings: small shifts, turns and the like, drawn anew for every batch.

Each warp moves the points at which an image is read; all that are asked for move them one after the other and the image
is read once, bilinearly, with 0 outside.  Coordinates are those of torch's ``grid_sample``: -1 to 1 across the image.
A new warp is a function and a line in :data:`WARPS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netc.diagnostics import NetcError, printable

EVENT_PLANES = 2
"""Pictures in a frame of events: where it became darker, and where brighter."""

_ELASTIC_POINTS = 4  # along each side, of the random field that an elastic warp is interpolated from


@dataclass(frozen=True, slots=True)
class Warp:
    """One way to move the points that are read.

    Attributes:
        unit: what its strength means.
        largest: the greatest strength that makes sense.
        move: takes points ``(batch, height, width, 2)``, strength and a generator; returns moved points.
    """

    unit: str
    largest: float
    move: Callable[[Tensor, float, torch.Generator], Tensor]


def _uniform(shape: tuple[int, ...], reach: float, generator: torch.Generator, like: Tensor) -> Tensor:
    return ((2 * torch.rand(shape, generator=generator) - 1) * reach).to(like.dtype)


def _shift(points: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    batch, height, width, _ = points.shape
    sides = torch.tensor([2 / width, 2 / height], dtype=points.dtype)
    return points + _uniform((batch, 1, 1, 2), strength, generator, points) * sides


def _rotate(points: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    angle = _uniform((len(points),), math.radians(strength), generator, points)
    c, s = torch.cos(angle), torch.sin(angle)
    turned: Tensor = points @ torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2).unsqueeze(1)
    return turned


def _scale(points: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return points * (1 + _uniform((len(points), 1, 1, 2), strength, generator, points))


def _shear(points: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    x, y = points.unbind(-1)
    return torch.stack([x + y * _uniform((len(points), 1, 1), strength, generator, points), y], dim=-1)


def _elastic(points: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    batch, height, width, _ = points.shape
    coarse = _uniform((batch, 2, _ELASTIC_POINTS, _ELASTIC_POINTS), strength, generator, points)
    field = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return points + field.permute(0, 2, 3, 1) * torch.tensor([2 / width, 2 / height], dtype=points.dtype)


def _mirror(points: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    flipped = torch.rand((len(points), 1, 1), generator=generator) < strength
    x, y = points.unbind(-1)
    return torch.stack([torch.where(flipped, -x, x), y], dim=-1)


WARPS: Mapping[str, Warp] = {
    "shift": Warp("pixels at most, both ways", 100.0, _shift),
    "rotate": Warp("degrees at most", 180.0, _rotate),
    "scale": Warp("share by which each side shrinks or grows at most", 0.9, _scale),
    "shear": Warp("share of the height by which rows move at most", 1.0, _shear),
    "elastic": Warp("pixels by which points of a smooth random field move at most", 100.0, _elastic),
    "mirror": Warp("probability of left and right being exchanged", 1.0, _mirror),
}
"""Every warp by the name a user types."""


def usage() -> str:
    """Return what can be asked for, in words."""
    return ", ".join(f"{name}=NUMBER ({warp.unit})" for name, warp in WARPS.items())


def problems(asked: Sequence[str]) -> list[str]:
    """Return what is wrong with a list of ``name=strength``."""
    found = []
    for text in asked:
        name, _, number = text.partition("=")
        if name not in WARPS:
            found.append(f"there is no augmentation {printable(text)!r}")
            continue
        try:
            strength = float(number)
        except ValueError:
            strength = math.nan
        if not 0 < strength <= WARPS[name].largest:
            found.append(f"--augment {name} needs a number above 0 and up to {WARPS[name].largest:g}")
    return found


def picture_shape(features: int, planes: int = 1) -> tuple[int, int]:
    """Return height and width of square pictures, ``planes`` of which have so many pixels.

    Raises:
        NetcError: where they are not square.
    """
    side = math.isqrt(features // planes)
    if planes * side * side != features:
        raise NetcError(
            f"--augment warps square pictures, and samples have {features} features",
            hint="leave --augment out for this data set",
        )
    return side, side


def warped(samples: Tensor, asked: Sequence[str], generator: torch.Generator) -> Tensor:
    """Return images warped as ``asked`` says (``shift=2``), each by numbers of its own.

    Args:
        samples: ``(batch, pixels)``, or recordings ``(batch, frames, 2 * pixels)``, all frames of which move together.
        asked: warps and their strengths.
        generator: what the numbers are drawn from.

    Raises:
        NetcError: the samples are no square pictures.
    """
    if not asked:
        return samples
    planes = EVENT_PLANES if samples.dim() > 2 else 1
    height, width = picture_shape(samples.shape[-1], planes)
    identity = torch.eye(2, 3, dtype=samples.dtype).expand(len(samples), 2, 3)
    points = torch.nn.functional.affine_grid(identity, [len(samples), 1, height, width], align_corners=False)
    for text in asked:
        name, _, number = text.partition("=")
        points = WARPS[name].move(points, float(number), generator)
    images = samples.reshape(len(samples), -1, height, width)
    read = torch.nn.functional.grid_sample(images, points, mode="bilinear", align_corners=False)
    return read.reshape(samples.shape)
