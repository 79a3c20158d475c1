"""Warps of images: what each does to a picture whose warped form is known."""

from __future__ import annotations

import pytest
import torch

from netc.diagnostics import NetcError
from netc.training import TrainingOptions
from netc.training.augmentation import WARPS, warped
from netc.training.batches import generator


def picture(batch: int = 50) -> torch.Tensor:
    image = torch.zeros(batch, 9, 9)
    image[:, 3:6, 3:6] = 1
    image[:, 3, 3] = 0.5
    return image.reshape(batch, 81)


def draw(*asked: str, seed: int = 0) -> torch.Tensor:
    return warped(picture(), asked, generator(seed, "test"))


@pytest.mark.parametrize("name", sorted(WARPS))
def test_every_warp_moves_samples_apart_and_keeps_what_is_there(name: str) -> None:
    strength = {"shift": 2, "rotate": 30, "scale": 0.3, "shear": 0.5, "elastic": 1.5, "mirror": 0.5}[name]
    found = draw(f"{name}={strength}")
    assert found.shape == (50, 81) and len(found.unique(dim=0)) > 1
    assert found.min() >= 0 and found.max() <= 1 + 1e-5
    assert found.sum(1).mean().item() == pytest.approx(picture().sum(1).mean().item(), rel=0.15)
    assert torch.equal(found, draw(f"{name}={strength}")) and not torch.equal(found, draw(f"{name}={strength}", seed=1))


def test_a_mirror_exchanges_left_and_right() -> None:
    straight, flipped = picture(1), picture(1).reshape(1, 9, 9).flip(2).reshape(1, 81)
    found = draw("mirror=0.5")
    is_flipped = [torch.allclose(row, flipped[0], atol=1e-5) for row in found]
    assert all(f or torch.allclose(row, straight[0], atol=1e-5) for f, row in zip(is_flipped, found, strict=True))
    assert 10 < sum(is_flipped) < 40


def test_shifts_move_the_middle_by_that_much_at_most() -> None:
    found = draw("shift=1.5").reshape(50, 9, 9)
    place = torch.arange(9.0)
    columns = (found.sum(1) * place).sum(1) / found.sum((1, 2))
    start = (picture(1).reshape(9, 9).sum(0) * place).sum() / picture(1).sum()
    moved = (columns - start).abs()
    assert moved.max() <= 1.5 + 1e-4 and moved.max() > 1


def test_turns_keep_the_middle_and_the_distance_from_it() -> None:
    points = torch.nn.functional.affine_grid(torch.eye(2, 3).expand(50, 2, 3), [50, 1, 7, 7], align_corners=False)
    turned = WARPS["rotate"].move(points, 20.0, generator(0, "test"))
    assert torch.allclose(turned.norm(dim=-1), points.norm(dim=-1), atol=1e-6)
    angle = torch.atan2(turned[:, 3, 6, 1], turned[:, 3, 6, 0]).rad2deg().abs()
    assert 15 < angle.max() <= 20 + 1e-3


def test_what_is_wrong_is_said_at_once() -> None:
    with pytest.raises(NetcError) as caught:
        TrainingOptions(augment=("shft=1", "rotate", "mirror=2")).check()
    text = str(caught.value)
    assert "'shft=1'" in text and "rotate needs a number" in text and "mirror needs" in text
    with pytest.raises(NetcError, match="square pictures"):
        warped(torch.zeros(2, 10), ("shift=1",), generator(0, "test"))


def test_all_frames_of_a_recording_move_together() -> None:
    frames = torch.zeros(2, 3, 2 * 64)
    frames[0, :, 10] = torch.tensor([1.0, 0.5, 0.25])  # darker, the same pixel in every frame
    frames[1, 1, 64 + 36] = 1.0  # brighter
    mirrored = warped(frames, ("mirror=1",), generator(0, "test"))
    expected = frames.reshape(2, 3, 2, 8, 8).flip(-1).reshape(frames.shape)
    torch.testing.assert_close(mirrored, expected)
    with pytest.raises(NetcError, match="square pictures"):
        warped(torch.zeros(2, 3, 64), ("mirror=1",), generator(0, "test"))
