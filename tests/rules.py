"""Every rule in every configuration that has a formula or coefficients of its own, and its textbook oracle.

An oracle works on one scalar in float64, with other algebra than the library: sums over the whole history
in place of recursions, powers in place of running corrections.
"""

from collections.abc import Callable, Sequence
from math import fsum, prod, sqrt

import updaters as up

State = up.OptimizationState
At = Callable[[str, int], float]
"""The value of a field at the t-th update."""


def warm(low: float, high: float) -> Callable[[State], float]:
    """A user's own schedule, which goes from `low` to `high` in eight updates."""
    return lambda state: low + (high - low) * min(state.iteration, 8) / 8


RULES: dict[str, up.Optimizer] = {
    "sgd": up.SGD(0.1),
    "sgd everything l2": up.SGD(0.1, grad_clip=0.5, weight_decay=0.02, gradient="sum", maximize=True),
    "sgd decoupled": up.SGD(0.1, grad_clip=0.5, weight_decay=0.02, decay="decoupled"),
    "momentum": up.SGD(0.1, momentum=0.9),
    "momentum l2": up.SGD(0.1, momentum=0.9, weight_decay=0.02),
    "nesterov": up.SGD(0.1, momentum=0.9, nesterov=True),
    "scheduled nesterov": up.SGD(
        warm(0.1, 0.3), momentum=warm(0.5, 0.9), nesterov=True, grad_clip=warm(0.2, 20), weight_decay=warm(0.0, 0.1)
    ),
    "adam": up.Adam(0.1),
    "adam epsilon hat": up.Adam(0.1, epsilon_hat=True),
    "adam everything l2": up.Adam(0.1, grad_clip=0.5, weight_decay=0.02, gradient="sum", maximize=True),
    "amsgrad": up.Adam(0.1, beta2=0.9, amsgrad=True),
    "scheduled adam": up.Adam(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), epsilon=warm(1e-9, 1e-3), decay="decoupled", weight_decay=0.1
    ),
    "adamw": up.AdamW(0.1, weight_decay=0.02),
    "adamw amsgrad": up.AdamW(0.1, beta2=0.9, amsgrad=True, maximize=True),
}


def oracle(optimizer: up.Optimizer, w: float, gradients: Sequence[float], batch_size: int) -> tuple[float, float]:
    """The weight after updates with these gradients, and the length of its path, which errors are measured by."""

    def at(name: str, t: int) -> float:
        value = getattr(optimizer, name)
        return value(State(iteration=t)) if callable(value) else value

    path, history = abs(w), []
    for t, gradient in enumerate(gradients, 1):
        g = gradient / batch_size if optimizer.gradient == "sum" else gradient
        if optimizer.grad_clip is not None:
            g = sorted((-at("grad_clip", t), g, at("grad_clip", t)))[1]
        if optimizer.maximize:
            g = -g
        start = w
        if optimizer.weight_decay is not None:
            if optimizer.decay == "l2":
                g += at("weight_decay", t) * w
            else:
                w *= 1 - at("lr", t) * at("weight_decay", t)
        history.append(g)
        w += ORACLES[type(optimizer)](optimizer, at, history)
        path += abs(w - start)
    return w, path


def sgd(optimizer: up.SGD, at: At, g: Sequence[float]) -> float:
    now = len(g)
    if optimizer.momentum is None:
        return -at("lr", now) * g[-1]
    velocity = fsum(-at("lr", s) * g[s - 1] * prod(at("momentum", r) for r in range(s + 1, now + 1)) for s in range(1, now + 1))
    return at("momentum", now) * velocity - at("lr", now) * g[-1] if optimizer.nesterov else velocity


def adam(optimizer: up.Adam, at: At, g: Sequence[float]) -> float:
    now = len(g)

    def average(beta: str, values: Sequence[float], until: int) -> float:
        return fsum(
            (1 - at(beta, s)) * values[s - 1] * prod(at(beta, r) for r in range(s + 1, until + 1)) for s in range(1, until + 1)
        )

    corrections = [1 - prod(at(beta, s) for s in range(1, now + 1)) for beta in ("beta1", "beta2")]
    squares = [x * x for x in g]
    times = range(1, now + 1) if optimizer.amsgrad else [now]
    m_hat = average("beta1", g, now) / corrections[0]
    v_hat = max(average("beta2", squares, until) for until in times) / corrections[1]
    epsilon = at("epsilon", now) / (sqrt(corrections[1]) if optimizer.epsilon_hat else 1)
    return -at("lr", now) * m_hat / (sqrt(v_hat) + epsilon)


ORACLES: dict[type[up.Optimizer], Callable[..., float]] = {up.SGD: sgd, up.Adam: adam, up.AdamW: adam}
