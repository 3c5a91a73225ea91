"""Muon: momentum whose steps are made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Literal

import attrs
import numpy as np

from updaters.checks import Interval, field_name, number, whole
from updaters.optimizers.base import Optimizer, check_optimizer
from updaters.optimizers.fields import choice, flag, fraction, nonnegative, rate
from updaters.protocols import Schedulable
from updaters.state import OptimizationState


def norm(x: Any) -> Any:
    """The root of the sum of the squares, of numbers of any size."""
    largest = np.maximum(np.max(np.abs(x)), np.finfo(x.dtype).tiny)
    return largest * np.linalg.norm(x / largest)


def orthogonal(x: Any, epsilon: Any, floor: Any, a: Any, b: Any, c: Any, iterations: int) -> Any:
    """A matrix with the singular vectors of x and singular values near 1, by Newton and Schulz's iteration."""
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.conj().T
    x = x / np.maximum(norm(x) + epsilon, floor)
    for _ in range(iterations):  # on arrays of its own, in place
        square = x @ x.conj().T
        polynomial = square @ square
        polynomial *= c
        square *= b
        polynomial += square
        moved = polynomial @ x
        x *= a
        x += moved
    return x.conj().T if tall else x


SCALES: dict[str, Callable[[float, int, int], float]] = {
    "spectral": lambda rate, rows, columns: max(1.0, rows / max(columns, 1)) ** 0.5,
    "rms": lambda rate, rows, columns: rate * max(rows, columns) ** 0.5,
    "none": lambda rate, rows, columns: 1.0,
}


@cache
def muon(nesterov: bool, scale: str, iterations: int) -> Callable[..., Any]:
    """The formula with one of the momenta, one of the scales that depend on the matrix's shape, and so many iterations."""

    def formula(
        w: Any, g: Any, m: Any, lr: Any, keep: Any, take: Any, epsilon: Any, floor: Any, a: Any, b: Any, c: Any, rate: Any,
    ) -> Any:  # fmt: skip
        m = keep * m + take * g
        u = orthogonal(keep * m + take * g if nesterov else m, epsilon, floor, a, b, c, iterations)
        u *= lr * lr.dtype.type(SCALES[scale](float(rate), *w.shape))
        return w - u, m

    return formula


def _as_tuple(value: tuple[float, float, float]) -> tuple[float, float, float]:
    return tuple(value) if isinstance(value, list) else value


@attrs.frozen(repr=False)
class Muon(Optimizer):
    """Muon: momentum for matrices, whose steps have all their singular values near 1.

        m = momentum * m + (1 - momentum) * g
        u = orthogonal(m)                  or, with nesterov, of momentum * m + (1 - momentum) * g
        w = w - lr * scale * u

    orthogonal(x) begins with x / (norm(x) + epsilon), transposed where it is tall, and repeats, `iterations` times,

        x = a * x + (b * A + c * A @ A) @ x,  A = x @ x.conj().T

    The rule is one for weights with two axes. Which rule all others have is said by `otherwise`; without it such a
    weight is an error. Rows are outputs, columns inputs.

    The rule works on whole arrays, and needs memory for about four of the weight's size, and three squares of its
    shorter side, while it runs; a `step` has the new weights and slots of all its matrices before it writes the first.
    Matrices are multiplied in the dtype that slots have, by the library that NumPy or CuPy have for it, whose last
    digits may depend on its number of threads. Complex matrices become unitary.

    Attributes:
        lr: learning rate, the length of each singular value of a step but for the scale.
        momentum: share of the mean gradient that is kept.
        nesterov: take the step from where the momentum will have led.
        otherwise: the optimizer for weights that are no matrices, or None for none. All fields that it goes by are its own:
            decay, clip, transforms, `gradient` and `maximize` too.
        scale: `"spectral"` is sqrt(max(1, rows / columns)); `"rms"` is rms_rate * sqrt(max(rows, columns)), by which
            steps are as large as Adam's; `"none"` is 1.
        rms_rate: the root mean square of a step's elements, per unit of lr, with the scale `"rms"`.
        polynomial: a, b and c.
        iterations: how often the polynomial is applied.
        epsilon: keeps the quotient finite; in units of the gradient.
        epsilon_added: divide by norm(x) + epsilon, or else by norm(x) but at least epsilon.

    Raises:
        TypeError, ValueError: a field is out of range; or, at a weight's first update, it is no matrix and `otherwise`
            is None.

    Conventions:
        PyTorch's momentum is this one, and its products are in bfloat16. Keras's buffer is `momentum * m + g`, which
        has the same direction; epsilon counts there 1 / (1 - momentum) times as much. The scale is the authors';
        PyTorch's `"match_rms_adamw"` and Keras's are `"rms"`.

    References:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon; Liu et al., "Muon is Scalable for LLM Training", 2025,
        arXiv:2502.16982.

    Example:
        >>> weights = {"matrix": np.eye(2), "bias": np.zeros(2)}
        >>> update = up.get_updater(up.Muon(0.1, otherwise=up.AdamW(0.001)))
        >>> update.step({"matrix": np.array([[2.0, 1.0], [0.0, 1.0]]), "bias": np.ones(2)}, weights)
        >>> weights["bias"]
        array([-0.001, -0.001])
    """

    lr: Schedulable = rate(0.02)
    momentum: Schedulable = fraction(0.95)
    nesterov: bool = flag(True)
    otherwise: Optimizer | None = attrs.field(default=None, kw_only=True)
    scale: Literal["spectral", "rms", "none"] = choice("spectral", "rms", "none", default="spectral")
    rms_rate: Schedulable = nonnegative(0.2)
    polynomial: tuple[float, float, float] = attrs.field(default=(3.4445, -4.7750, 2.0315), kw_only=True, converter=_as_tuple)
    iterations: int = attrs.field(default=5, kw_only=True)
    epsilon: Schedulable = nonnegative(1e-7)
    epsilon_added: bool = flag(True)
    decay: Literal["l2", "decoupled"] = choice("l2", "decoupled", default="decoupled")

    slots: ClassVar = ("m",)
    whole_array = True

    @otherwise.validator
    def _check_otherwise(self, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None:
            check_optimizer(value, "Muon.otherwise")

    @polynomial.validator
    def _check_polynomial(self, attribute: attrs.Attribute[Any], value: tuple[object, ...]) -> None:
        name = field_name(self, attribute)
        if not isinstance(value, tuple) or len(value) != 3:
            raise ValueError(f"{name} must be three numbers, got {value!r}")
        for coefficient in value:
            number(coefficient, name, Interval(-math.inf))

    @iterations.validator
    def _check_iterations(self, attribute: attrs.Attribute[Any], value: object) -> None:
        whole(value, field_name(self, attribute))

    @property
    def formula(self) -> Callable[..., Any]:
        return muon(self.nesterov, self.scale, self.iterations)

    def for_weight(self, index: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Optimizer:
        if len(shape) == 2:
            return self
        if self.otherwise is None:
            raise ValueError(
                f"weight {index!r}: Muon takes matrices, got shape {shape}; name the rule for all others with otherwise="
            )
        return self.otherwise.for_weight(index, shape, dtype)

    def coefficients(self, state: OptimizationState, t: int) -> dict[str, float]:
        now = self.at(state)
        return {
            "lr": now.lr,
            "keep": now.momentum,
            "take": 1 - now.momentum,
            "epsilon": now.epsilon if self.epsilon_added else 0.0,
            "floor": 0.0 if self.epsilon_added else now.epsilon,
            **dict(zip("abc", self.polynomial, strict=True)),
            "rate": now.rms_rate,
        }
