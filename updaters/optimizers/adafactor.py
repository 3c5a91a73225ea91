"""Adafactor: second moments of a matrix kept as a row and a column."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import sqrt
from typing import Any, Literal

import attrs
import numpy as np

from updaters.optimizers.base import Optimizer
from updaters.optimizers.fields import choice, flag, nonnegative, positive, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def square(x: Any) -> Any:
    """|x|**2, a new array."""
    return np.square(np.abs(x)) if x.dtype.kind == "c" else np.square(x)


def rms(x: Any) -> Any:
    """The root of the mean square of all elements."""
    return np.sqrt(np.mean(square(x)))


# What is new is worked on in place: at most two arrays of the weight's size are there at a time, besides the result.


def marginal_means(squares: Any, row: Any, column: Any, keep: Any, take: Any) -> tuple[Any, Any]:
    """The row and the column, brought up to date."""
    return keep * row + take * np.mean(squares, axis=-1), keep * column + take * np.mean(squares, axis=-2)


def step(w: Any, u: Any, lr: Any, scale: Any, threshold: Any, decay: Any) -> Any:
    """The weight after the step along u, which is shortened where its root mean square is above the threshold."""
    u *= lr * np.maximum(scale, rms(w)) / np.maximum(1, rms(u) / threshold)
    u += decay * w
    return w - u


def factored(
    w: Any, g: Any, row: Any, column: Any, lr: Any, keep: Any, take: Any, eps: Any, scale: Any, threshold: Any, decay: Any
) -> Any:
    row, column = marginal_means(square(g) + eps, row, column, keep, take)
    roots = np.sqrt(row / np.mean(row, axis=-1, keepdims=True)), np.sqrt(column)
    u = g / (roots[0][..., np.newaxis] * roots[1][..., np.newaxis, :])
    return step(w, u, lr, scale, threshold, decay), row, column


def factored_with_floor(
    w: Any, g: Any, row: Any, column: Any, lr: Any, keep: Any, take: Any, eps: Any, scale: Any, threshold: Any, decay: Any
) -> Any:
    row, column = marginal_means(square(g), row, column, keep, take)
    share = row / np.maximum(np.mean(row, axis=-1, keepdims=True), eps)
    u = g / np.sqrt(np.maximum(share[..., np.newaxis] * column[..., np.newaxis, :], eps * eps))
    return step(w, u, lr, scale, threshold, decay), row, column


def unfactored(w: Any, g: Any, v: Any, lr: Any, keep: Any, take: Any, eps: Any, scale: Any, threshold: Any, decay: Any) -> Any:
    v = keep * v + take * (square(g) + eps)
    return step(w, g / np.sqrt(v), lr, scale, threshold, decay), v


def unfactored_with_floor(
    w: Any, g: Any, v: Any, lr: Any, keep: Any, take: Any, eps: Any, scale: Any, threshold: Any, decay: Any
) -> Any:
    v = keep * v + take * square(g)
    return step(w, g / np.sqrt(np.maximum(v, eps * eps)), lr, scale, threshold, decay), v


@attrs.frozen(repr=False)
class Adafactor(Optimizer):
    """Adafactor: steps scaled by second moments, of which a matrix keeps only the means of its rows and columns.

        row    = beta2 * row    + (1 - beta2) * mean(g**2 + epsilon1, over columns)
        column = beta2 * column + (1 - beta2) * mean(g**2 + epsilon1, over rows)
        u = g / sqrt(row * column / mean(row))
        w = w - rate * max(epsilon2, rms(w)) * u / max(1, rms(u) / clip_threshold)
        beta2 = 1 - t**-decay_rate,  rate = min(lr, 1 / sqrt(t))

    t counts the weight's own updates and rms is the root of the mean square. Weights of more than two axes are stacks
    of matrices, in their last two. Vectors and scalars keep v, all of the second moment.

    The rule works on whole arrays, and needs memory for about three of the weight's size while it runs; a `step` has the
    new values of all its weights before it writes the first. A complex
    gradient counts by its modulus; what is kept is real.

    Attributes:
        lr: the most that the rate is, as a share of the weight's own root mean square.
        decay_rate: how soon old gradients count less: the exponent in beta2.
        epsilon1: keeps the quotient finite; in units of the squared gradient. At 0, or where the dtype rounds it (or its square,
            where it is a floor) to 0, gradients of 0 may make all of the weight NaN.
        epsilon2: the root mean square that a weight counts as having at least.
        clip_threshold: the largest root mean square of u (d).
        relative_step: bound the rate by 1 / sqrt(t).
        epsilon_added: add epsilon1 to the squares; else mean(row) is taken to be at least epsilon1 and the second
            moment at least its square.
        factored: keep a row and a column for matrices, or else all of the second moment, as for vectors.
        decay: `"decoupled"` takes `lr * weight_decay * w` off the weight first, `"inside"` together with the step, so
            that rms(w) is that of the weight before; `"l2"` adds the decay to the gradient.

    Raises:
        TypeError, ValueError: a field is out of range.

    Conventions:
        Epsilon1 is added to the squares, as in the paper and in Keras; PyTorch clamps, with `epsilon_added=False`, and
        takes the dtype's own precision for epsilon1. Its decay is `"inside"`, Keras's `"decoupled"`. There is no first
        moment, as in the paper's algorithm 4.

    References:
        Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, arXiv:1804.04235.

    Example:
        >>> weight = np.array([[1.0, -2.0], [0.5, 0.25]])
        >>> update = up.get_updater(up.Adafactor(0.1))
        >>> update("w", np.array([[0.5, -1.0], [0.1, 0.3]]), weight)
        >>> {name: slot.shape for name, slot in update.slots["w"].arrays.items()}
        {'row': (2,), 'column': (2,)}
    """

    lr: Schedulable = rate(0.01)
    decay_rate: Schedulable = nonnegative(0.8)
    epsilon1: Schedulable = nonnegative(1e-30)
    epsilon2: Schedulable = nonnegative(1e-3)
    clip_threshold: Schedulable = positive(1.0)
    relative_step: bool = flag(True)
    epsilon_added: bool = flag(True)
    factored: bool = flag(True)
    decay: Literal["decoupled", "inside", "l2"] = choice(  # type: ignore[assignment]  # wider than others'
        "decoupled", "inside", "l2", default="decoupled"
    )

    whole_array = True

    @property
    def slots(self) -> tuple[str, ...]:
        return ("row", "column") if self.factored else ("v",)

    @property
    def formula(self) -> Callable[..., Any]:
        if self.factored:
            return factored if self.epsilon_added else factored_with_floor
        return unfactored if self.epsilon_added else unfactored_with_floor

    def slot_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return {"row": shape[:-1], "column": (*shape[:-2], *shape[-1:]), "v": shape}[name]

    def is_real(self, name: str) -> bool:
        return True

    def for_weight(self, index: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Optimizer:
        return self if len(shape) > 1 or not self.factored else self._unfactored

    @cached_property
    def _unfactored(self) -> Optimizer:
        return attrs.evolve(self, factored=False)

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        take = t**-now.decay_rate
        return {
            "lr": min(now.lr, 1 / sqrt(t)) if self.relative_step else now.lr,
            "keep": 1 - take,
            "take": take,
            "eps": now.epsilon1,
            "scale": now.epsilon2,
            "threshold": now.clip_threshold,
            "decay": now.lr * now.weight_decay if self.decay == "inside" and now.weight_decay is not None else 0.0,
        }
