"""How far the compatibility modules are from their systems: by weights the systems gave, and by oracles in plain Python.

PyTorch's and Keras's own weights are in `tests.golden`. MXNet.jl, TensorLayerX, OneFlow and OpenSeq2Seq are here loops over numbers,
written from what their sources do, gradient by gradient.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from math import hypot, sqrt
from typing import Any

import attrs
import numpy as np

import updaters as up
from tests.golden import Case, cases
from updaters.compat import keras, mxnet_jl, openseq2seq, tensorlayerx

SYSTEMS = ("mxnet_jl", "tensorlayerx", "oneflow", "openseq2seq", "keras", "torch")
MODULES = {system: importlib.import_module(f"updaters.compat.{system}") for system in SYSTEMS}

# By golden weights


GOLDEN = [(system, case) for system in ("torch", "keras") for case in cases(system)]


def distance(x: Any, y: Any) -> float:
    """How far x is from y, in the measure of `Case.tolerance`."""
    return float(np.max(np.abs(x - y) / (1 + np.abs(y)), initial=0.0))


def golden_optimizer(system: str, case: Case) -> up.Optimizer:
    """The optimizer of a case, whose rate goes by the updates that were not skipped or, in Keras, the calls."""

    def rate(state: up.OptimizationState) -> float:
        return float(case.rates[state.iteration - state.held - 1])

    optimizer: up.Optimizer = getattr(MODULES[system], case.rule)(rate, **case.arguments)
    if case.excluded:
        optimizer = keras.exclude_from_weight_decay(optimizer, var_names=case.excluded)
    return keras.LossScaleOptimizer(optimizer, **case.scaled) if case.scaled else optimizer


def golden_error(system: str, case: Case) -> float:
    """The largest error over all weights, and averages, at all updates that are stored."""
    update = up.get_updater(golden_optimizer(system, case), backend="numpy")
    weights = {case.paths[name]: case.start[name].copy() for name in case.shapes}
    errors = []
    for count in range(1, len(case.rates) + 1):
        update.step({case.paths[name]: np.asarray(case.gradients[name][count - 1]) for name in case.shapes}, weights)
        for name, expected in case.expected.get(count, {}).items():
            errors.append(distance(weights[case.paths[name]], expected))
        for name, expected in case.averages.get(count, {}).items():
            if update.slots[case.paths[name]].count:
                errors.append(distance(update.evaluation_weight(case.paths[name], weights[case.paths[name]]), expected))
    return max(errors)


# By oracles: a rule goes from (w, g, t, lr) to the new w, of numbers or of lists of them, and remembers what it keeps

UPDATES = 45
BATCH_SIZE = 4

Rule = Callable[[Any, Any, int, float], Any]


def rate(base: float) -> Callable[[int], float]:
    """A learning rate that moves at every update."""
    return lambda t: base * (0.4 + 0.6 * (7 * t % 11) / 11)


@attrs.frozen
class Compared:
    """A function of a system with some arguments, and the oracle of what the system does."""

    system: str
    name: str
    arguments: dict[str, Any]
    oracle: Callable[[], Rule]
    """A new rule for lists."""
    rate: Callable[[int], float]
    make: Callable[..., up.Optimizer] | None = None
    """What to call in the function's place."""

    def __repr__(self) -> str:
        shown = (f"{key}={'...' if callable(value) else repr(value)}" for key, value in self.arguments.items())
        return f"{self.system}.{self.name}({', '.join(shown)})"

    def optimizer(self) -> up.Optimizer:
        """What the compatibility module makes of it."""
        return (self.make or getattr(MODULES[self.system], self.name))(**self.arguments)


def oracle_error(compared: Compared) -> float:
    """The largest error, as a share of the path that a weight has gone."""
    rng = np.random.default_rng(11)
    shape = (UPDATES, 6)
    gradients = {
        index: rng.choice([-1, 1], shape) * 10 ** rng.uniform(-6, 2, shape) * (rng.random(shape) > 0.1)
        for index in ("random", "zeros")
    }
    for gradient in gradients.values():
        gradient[:, 2] = 0.0
    weights = {"random": rng.standard_normal(6), "zeros": np.zeros(6)}
    expected = {index: [float(w) for w in weight] for index, weight in weights.items()}
    path = {index: np.abs(weight) for index, weight in weights.items()}
    rules = {index: compared.oracle() for index in weights}
    state = up.OptimizationState(BATCH_SIZE, epoch=1)
    update = up.get_updater(compared.optimizer(), state, backend="numpy")
    errors = []
    for t in range(1, UPDATES + 1):
        state.iteration = t
        update.step({index: gradient[t - 1].copy() for index, gradient in gradients.items()}, weights)
        for index, rule in rules.items():
            before = np.array(expected[index])
            expected[index] = rule(expected[index], [float(g) for g in gradients[index][t - 1]], t, compared.rate(t))
            path[index] = path[index] + np.abs(np.array(expected[index]) - before)
            error = np.abs(weights[index] - expected[index])
            assert np.isfinite(error).all()
            errors.append(float(np.max(error / np.where(path[index] > 0, path[index], 1e-300))))
    return max(errors)


def each(scalar: Callable[[], Rule]) -> Rule:
    """A rule for lists from one for numbers, with a new one for each place."""
    rules: list[Rule] = []

    def rule(w: list[float], g: list[float], t: int, lr: float) -> list[float]:
        rules.extend(scalar() for _ in range(len(w) - len(rules)))
        return [one(x, y, t, lr) for one, x, y in zip(rules, w, g, strict=True)]

    return rule


def sgd_inside(mu: Callable[[int], float], nesterov: bool = False) -> Rule:
    """Momentum with the learning rate inside the buffer."""
    m = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal m
        m = mu(t) * m - lr * g
        return w + mu(t) * m - lr * g if nesterov else w + m

    return rule


def sgd_outside(mu: float, tau: float = 0.0, nesterov: bool = False, sign: float = 1.0) -> Rule:
    """Momentum with the learning rate outside; the first gradient is dampened too."""
    b = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal b
        b = mu * b + (1 - tau) * g
        return w - sign * lr * (g + mu * b if nesterov else b)

    return rule


def adam_hat(beta1: float, beta2: float, eps: float) -> Rule:
    """Adam with epsilon before the bias correction."""
    m = v = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal m, v
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g**2 - v)
        return w - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps)

    return rule


def adam_of_oneflow(beta1: float, beta2: float, eps: float, amsgrad: bool, corrected: bool, decoupled: float = 0.0) -> Rule:
    """Adam with epsilon after the bias correction, and a decay at once with the step."""
    m = v = most = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal m, v, most
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g**2 - v)
        most = max(most, v)
        c1, c2 = (1 - beta1**t, 1 - beta2**t) if corrected else (1.0, 1.0)
        return w - lr / c1 * m / (sqrt(most if amsgrad else v) / sqrt(c2) + eps) - lr * decoupled * w

    return rule


def adagrad(eps: float, inside: bool, start: float = 0.0, lr_decay: float = 0.0) -> Rule:
    s = start

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal s
        s += g**2
        return w - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s + eps) if inside else sqrt(s) + eps)

    return rule


def adadelta(rho: float, eps: float) -> Rule:
    a = d = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal a, d
        a = rho * a + (1 - rho) * g**2
        step = g * sqrt((d + eps) / (a + eps))
        d = rho * d + (1 - rho) * step**2
        return w - lr * step

    return rule


def adamax(beta1: float, beta2: float, eps: float) -> Rule:
    m = u = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal m, u
        m += (1 - beta1) * (g - m)
        u = max(beta2 * u, abs(g))
        return w - lr * m / ((1 - beta1**t) * (u + eps))

    return rule


def nadam(beta1: float, beta2: float, eps: float, mu: Callable[[int], float]) -> Rule:
    m = v = 0.0
    product = 1.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal m, v, product
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g**2 - v)
        product *= mu(t)
        ahead = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return w - lr * ahead / (sqrt(v / (1 - beta2**t)) + eps)

    return rule


def warmed_up(mu0: float, psi: float = 0.004) -> Callable[[int], float]:
    return lambda t: mu0 * (1 - 0.5 * 0.96 ** (psi * t))


def rmsprop(rho: float, eps: float, inside: bool, mu: float = 0.0, centered: bool = False) -> Rule:
    s = a = p = 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal s, a, p
        s += (1 - rho) * (g**2 - s)
        a += (1 - rho) * (g - a)
        d = s - a**2 if centered else s
        p = mu * p + lr * g / (sqrt(d + eps) if inside else sqrt(d) + eps)
        return w - p

    return rule


def ftrl(power: float, start: float, l1: float, l2: float, beta: float, shrinkage: float) -> Rule:
    n, z = start, 0.0

    def rule(w: float, g: float, t: int, lr: float) -> float:
        nonlocal n, z
        root = (n + g**2) ** -power
        z += g + 2 * shrinkage * w - (root - n**-power) / lr * w
        n += g**2
        clipped = min(max(z, -l1), l1)
        return (clipped - z) / (root / lr + 2 * (l2 + beta / (2 * lr)))

    return rule


def norm(x: Sequence[float]) -> float:
    return hypot(*x)


def lamb(beta1: float, beta2: float, eps: float, decay: float, inside: bool, corrected: bool = True) -> Rule:
    """LAMB whose decay is inside the ratio's norm, or outside."""
    m: list[float] = []
    v: list[float] = []

    def rule(w: list[float], g: list[float], t: int, lr: float) -> list[float]:
        nonlocal m, v
        c1, c2 = (1 - beta1**t, 1 - beta2**t) if corrected else (1.0, 1.0)
        m = [beta1 * a + (1 - beta1) * x for a, x in zip(m or [0.0] * len(g), g, strict=True)]
        v = [beta2 * a + (1 - beta2) * x**2 for a, x in zip(v or [0.0] * len(g), g, strict=True)]
        a = [x / c1 / (sqrt(y / c2) + eps) for x, y in zip(m, v, strict=True)]
        u = [x + decay * y for x, y in zip(a, w, strict=True)]
        of = norm(u) if inside else norm(a)
        ratio = norm(w) / of if norm(w) and of else 1.0
        return [y - lr * ratio * x for x, y in zip(u, w, strict=True)]

    return rule


def lars(mu: float, coefficient: float, decay: float, eps: float) -> Rule:
    velocity: list[float] = []

    def rule(w: list[float], g: list[float], t: int, lr: float) -> list[float]:
        nonlocal velocity
        ratio = coefficient * norm(w) / (norm(g) + decay * norm(w) + eps) if norm(w) and norm(g) else 1.0
        kept = velocity or [0.0] * len(g)
        velocity = [mu * v + lr * ratio * (x + decay * y) for v, x, y in zip(kept, g, w, strict=True)]
        return [y - v for y, v in zip(w, velocity, strict=True)]

    return rule


def novograd(beta1: float, beta2: float, eps: float, decay: float, averaging: bool) -> Rule:
    v = 0.0
    m: list[float] = []

    def rule(w: list[float], g: list[float], t: int, lr: float) -> list[float]:
        nonlocal v, m
        v = norm(g) ** 2 if v == 0 else beta2 * v + (1 - beta2) * norm(g) ** 2
        added = [x / sqrt(v + eps) + decay * y for x, y in zip(g, w, strict=True)]
        m = [beta1 * a + (1 - beta1 if averaging else 1) * x for a, x in zip(m or [0.0] * len(g), added, strict=True)]
        return [y - lr * a for y, a in zip(w, m, strict=True)]

    return rule


# What systems do to the gradient, or the weight, before


def in_order(rule: Rule, *steps: Callable[[list[float], list[float], float], list[float]]) -> Rule:
    """The rule after steps from (w, g, lr) to the new g."""

    def composed(w: list[float], g: list[float], t: int, lr: float) -> list[float]:
        for step in steps:
            g = step(w, g, lr)
        return rule(w, g, t, lr)

    return composed


def scaled(w: list[float], g: list[float], lr: float) -> list[float]:
    return [x / BATCH_SIZE for x in g]


def clipped(low: float, high: float) -> Any:
    return lambda w, g, lr: [min(max(x, low), high) for x in g]


def clipped_by_norm(bound: float) -> Any:
    return lambda w, g, lr: [x * bound / max(norm(g), bound) for x in g]


def decayed(strength: float) -> Any:
    return lambda w, g, lr: [x + strength * y for x, y in zip(g, w, strict=True)]


def decoupled(rule: Rule, strength: float) -> Rule:
    return lambda w, g, t, lr: rule([y - lr * strength * y for y in w], g, t, lr)


def larc(eta: float, mode: str, least: float, eps: float) -> Any:
    def step(w: list[float], g: list[float], lr: float) -> list[float]:
        ratio = eta * norm(w) / (norm(g) + eps)
        factor = max(ratio, least) if mode == "scale" else min(1.0, max(ratio / lr, least))
        return [factor * x for x in g]

    return step


def of_jl(scalar: Callable[[], Rule], clip: float = 0.0, decay: float = 0.0) -> Callable[[], Rule]:
    """An oracle of MXNet.jl's: scale, clip, decay."""
    steps = [scaled, *([clipped(-clip, clip)] if clip else []), decayed(decay)]
    return lambda: in_order(each(scalar), *steps)


def of_tlx(scalar: Callable[[], Rule], decay: float = 0.0, *clip: Any) -> Callable[[], Rule]:
    """An oracle of TensorLayerX's: decay, clip."""
    return lambda: in_order(each(scalar), decayed(decay), *clip)


def of_oneflow(scalar: Callable[[], Rule], decay: float = 0.0) -> Callable[[], Rule]:
    return lambda: in_order(each(scalar), decayed(decay))


def compared(
    system: str, name: str, oracle: Callable[[], Rule], base: float, *, rates: Callable[[int], float] | None = None,
    make: Callable[..., up.Optimizer] | None = None, lr: str | None = "lr", **arguments: Any,
) -> Compared:  # fmt: skip
    """A row of the table: with a learning rate that moves, as the argument `lr`, unless the arguments have their own."""
    moving = rates or rate(base)
    given = {} if lr is None else {lr: lambda state: moving(state.iteration)}
    return Compared(system, name, given | arguments, oracle, moving, make)


def constant(mu: float) -> Callable[[int], float]:
    return lambda t: mu


JL, TLX, OF, OS = "mxnet_jl", "tensorlayerx", "oneflow", "openseq2seq"
BY_VALUE, BY_NORM = tensorlayerx.ClipGradByValue, tensorlayerx.ClipGradByNorm

COMPARED = [
    compared(JL, "SGD", of_jl(lambda: sgd_inside(constant(0.0)), decay=1e-4), 0.01),
    compared(JL, "SGD", of_jl(lambda: sgd_inside(constant(0.8)), 3.0, 0.05), 0.01, momentum=0.8, grad_clip=3, weight_decay=0.05),
    compared(
        JL, "SGD", of_jl(lambda: sgd_inside(warmed_up(0.9, 0.5))), 0, rates=lambda t: 0.02 * 0.95**t, lr=None, weight_decay=0,
        lr_scheduler=mxnet_jl.LearningRate.Exp(0.02, gamma=0.95, decay_on_iteration=True), momentum=0.1,
        momentum_scheduler=mxnet_jl.Momentum.NadamScheduler(mu0=0.9, delta=0.5),
    ),
    compared(
        JL, "SGD", of_jl(lambda: sgd_inside(constant(0.7)), decay=1e-4), 0, rates=lambda t: 0.02 * 0.5 ** -0.7, lr=None,
        lr_scheduler=mxnet_jl.LearningRate.Fixed(0.02 * 0.5 ** -0.7), momentum_scheduler=mxnet_jl.Momentum.Fixed(0.7),
    ),
    compared(JL, "ADAM", of_jl(lambda: adam_hat(0.9, 0.999, 1e-8), decay=1e-5), 0.01),
    compared(
        JL, "ADAM", of_jl(lambda: adam_hat(0.8, 0.95, 1e-3), 2.0, 0.05), 0.02, beta1=0.8, beta2=0.95, epsilon=1e-3, grad_clip=2,
        weight_decay=0.05,
    ),
    compared(
        JL, "ADAM", of_jl(lambda: adam_hat(0.9, 0.999, 1e-8), decay=1e-5), 0, rates=lambda t: 0.1 * (1 + 0.3 * t) ** -0.75, lr=None,
        lr_scheduler=mxnet_jl.LearningRate.Inv(0.1, gamma=0.3, power=0.75, decay_on_iteration=True),
    ),
    compared(JL, "AdaGrad", of_jl(lambda: adagrad(1e-6, True), decay=1e-5), 0.1),
    compared(JL, "AdaGrad", of_jl(lambda: adagrad(1e-3, True), 3.0, 0.1), 0.05, epsilon=1e-3, grad_clip=3, weight_decay=0.1),
    compared(JL, "AdaDelta", of_jl(lambda: adadelta(0.95, 1e-6), decay=1e-5), 1.0),
    compared(JL, "AdaDelta", of_jl(lambda: adadelta(0.7, 1e-3), 3.0, 0.1), 0.7, rho=0.7, epsilon=1e-3, grad_clip=3, weight_decay=0.1),
    compared(JL, "AdaMax", of_jl(lambda: adamax(0.9, 0.999, 1e-8), decay=1e-5), 0.01),
    compared(
        JL, "AdaMax", of_jl(lambda: adamax(0.7, 0.9, 1e-3), 3.0, 0.1), 0.02, beta1=0.7, beta2=0.9, epsilon=1e-3, grad_clip=3,
        weight_decay=0.1,
    ),
    compared(JL, "RMSProp", of_jl(lambda: rmsprop(0.9, 1e-6, True), decay=1e-5), 0.01),
    compared(JL, "RMSProp", of_jl(lambda: rmsprop(0.7, 1e-3, True), 3.0, 0.1), 0.02, rho=0.7, epsilon=1e-3, grad_clip=3, weight_decay=0.1),
    compared(JL, "Nadam", of_jl(lambda: nadam(0.99, 0.999, 1e-8, warmed_up(0.99)), decay=1e-5), 0.01),
    compared(
        JL, "Nadam", of_jl(lambda: nadam(0.8, 0.95, 1e-3, warmed_up(0.7, 0.1)), 3.0, 0.1), 0.02, beta1=0.8, beta2=0.95, epsilon=1e-3,
        momentum_scheduler=mxnet_jl.Momentum.NadamScheduler(mu0=0.7, delta=0.1), grad_clip=3, weight_decay=0.1,
    ),
    compared(TLX, "Adadelta", of_tlx(lambda: adadelta(0.95, 1e-7)), 1.0),
    compared(
        TLX, "Adadelta", of_tlx(lambda: adadelta(0.7, 1e-3), 0.3, clipped(-1, 1)), 0.5, rho=0.7, eps=1e-3, weight_decay=0.3,
        grad_clip=BY_VALUE(),
    ),
    compared(TLX, "Adagrad", of_tlx(lambda: adagrad(1e-7, False, 0.1)), 0.1),
    compared(
        TLX, "Adagrad", of_tlx(lambda: adagrad(1e-3, False, 0.01), 0.3, clipped_by_norm(2.0)), 0.1, initial_accumulator=0.01,
        eps=1e-3, weight_decay=0.3, grad_clip=BY_NORM(2),
    ),
    compared(TLX, "Adam", of_tlx(lambda: adam_hat(0.9, 0.999, 1e-7)), 0.01),
    compared(
        TLX, "Adam", of_tlx(lambda: adam_hat(0.8, 0.9, 1e-3), 0.5, clipped(-0.2, 0.4)), 0.02, beta_1=0.8, beta_2=0.9, eps=1e-3,
        weight_decay=0.5, grad_clip=BY_VALUE(-0.2, 0.4),
    ),
    compared(TLX, "Adamax", of_tlx(lambda: adamax(0.9, 0.999, 1e-7)), 0.01),
    compared(
        TLX, "Adamax", of_tlx(lambda: adamax(0.8, 0.9, 1e-3), 0.5, clipped_by_norm(0.1)), 0.02, beta_1=0.8, beta_2=0.9, eps=1e-3,
        weight_decay=0.5, grad_clip=BY_NORM(),
    ),
    compared(TLX, "Ftrl", of_tlx(lambda: ftrl(-0.5, 0.1, 0.0, 0.0, 0.0, 0.0)), 0.1),
    compared(
        TLX, "Ftrl", of_tlx(lambda: ftrl(-0.7, 0.5, 0.4, 0.2, 0.3, 0.1), 0.3, clipped(-3, 2)), 0.1, lr_power=-0.7,
        initial_accumulator_value=0.5, l1_regularization_strength=0.4, l2_regularization_strength=0.2, beta=0.3,
        l2_shrinkage_regularization_strength=0.1, weight_decay=0.3, grad_clip=BY_VALUE(-3, 2),
    ),
    compared(TLX, "Nadam", of_tlx(lambda: nadam(0.9, 0.999, 1e-7, warmed_up(0.9))), 0.01),
    compared(
        TLX, "Nadam", of_tlx(lambda: nadam(0.8, 0.95, 1e-3, warmed_up(0.8)), 0.5, clipped_by_norm(5.0)), 0.02, beta_1=0.8, beta_2=0.95,
        eps=1e-3, weight_decay=0.5, grad_clip=BY_NORM(5),
    ),
    compared(TLX, "RMSprop", of_tlx(lambda: rmsprop(0.9, 1e-7, False)), 0.01),
    compared(
        TLX, "RMSprop", of_tlx(lambda: rmsprop(0.8, 1e-3, False, centered=True), 0.5, clipped(-1, 1)), 0.01, rho=0.8, eps=1e-3,
        centered=True, weight_decay=0.5, grad_clip=BY_VALUE(),
    ),
    compared(
        TLX, "RMSprop", of_tlx(lambda: rmsprop(0.8, 1e-3, True, 0.7, True), 0.5), 0.01, rho=0.8, eps=1e-3, momentum=0.7, centered=True,
        weight_decay=0.5,
    ),
    compared(TLX, "RMSprop", of_tlx(lambda: rmsprop(0.8, 1e-3, True, 0.7)), 0.01, rho=0.8, eps=1e-3, momentum=0.7),
    compared(TLX, "SGD", of_tlx(lambda: sgd_inside(constant(0.0))), 0.01),
    compared(
        TLX, "SGD", of_tlx(lambda: sgd_inside(constant(0.8)), 0.3, clipped(-3, 3)), 0.01, momentum=0.8, weight_decay=0.3,
        grad_clip=BY_VALUE(-3, 3),
    ),
    compared(TLX, "Momentum", of_tlx(lambda: sgd_inside(constant(0.0))), 0.01, nesterov=True),
    compared(
        TLX, "Momentum", of_tlx(lambda: sgd_inside(constant(0.8), True), 0.3, clipped_by_norm(3.0)), 0.01, momentum=0.8, nesterov=True,
        weight_decay=0.3, grad_clip=BY_NORM(3),
    ),
    compared(TLX, "Lamb", lambda: lamb(0.9, 0.999, 1e-6, 0.01, True), 0.01),
    compared(
        TLX, "Lamb", lambda: in_order(lamb(0.8, 0.95, 1e-3, 0.3, True), clipped_by_norm(3.0)), 0.02, beta_1=0.8, beta_2=0.95, eps=1e-3,
        lamb_weight_decay=0.3, grad_clip=BY_NORM(3),
    ),
    compared(TLX, "LARS", lambda: lars(0.9, 1e-3, 5e-4, 0.0), 0.1),
    compared(
        TLX, "LARS", lambda: in_order(lars(0.7, 0.02, 0.1, 1e-3), clipped(-3, 3)), 0.1, momentum=0.7, lars_coeff=0.02, eps=1e-3,
        lars_weight_decay=0.1, grad_clip=BY_VALUE(-3, 3),
    ),
    compared(OF, "Adagrad", of_oneflow(lambda: adagrad(1e-10, False)), 0.1),
    compared(
        OF, "Adagrad", of_oneflow(lambda: adagrad(1e-3, False, 0.2, 0.1), 0.3), 0.1, lr_decay=0.1, weight_decay=0.3, eps=1e-3,
        initial_accumulator_value=0.2,
    ),
    compared(OF, "Adam", of_oneflow(lambda: adam_of_oneflow(0.9, 0.999, 1e-8, False, True)), 0.01),
    compared(
        OF, "Adam", of_oneflow(lambda: adam_of_oneflow(0.8, 0.6, 1e-3, True, True), 0.3), 0.02, betas=(0.8, 0.6), eps=1e-3,
        weight_decay=0.3, amsgrad=True,
    ),
    compared(
        OF, "Adam", of_oneflow(lambda: adam_of_oneflow(0.8, 0.9, 1e-3, False, False), 0.3), 0.02, betas=(0.8, 0.9), eps=1e-3,
        weight_decay=0.3, do_bias_correction=False,
    ),
    compared(OF, "AdamW", of_oneflow(lambda: adam_of_oneflow(0.9, 0.999, 1e-8, False, True)), 0.01),
    compared(
        OF, "AdamW", of_oneflow(lambda: adam_of_oneflow(0.8, 0.6, 1e-3, True, True, 0.3)), 0.05, betas=(0.8, 0.6), eps=1e-3,
        weight_decay=0.3, amsgrad=True,
    ),
    compared(
        OF, "AdamW", of_oneflow(lambda: adam_of_oneflow(0.8, 0.9, 1e-3, False, False, 0.3)), 0.05, betas=(0.8, 0.9), eps=1e-3,
        weight_decay=0.3, do_bias_correction=False,
    ),
    compared(OF, "LAMB", lambda: lamb(0.9, 0.999, 1e-8, 0.0, False), 0.01),
    compared(
        OF, "LAMB", lambda: lamb(0.8, 0.9, 1e-3, 0.3, False), 0.02, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.3,
    ),
    compared(
        OF, "LAMB", lambda: lamb(0.8, 0.9, 1e-3, 0.3, False, corrected=False), 0.02, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.3,
        do_bias_correction=False,
    ),
    compared(
        OF, "LAMB", lambda: in_order(lamb(0.8, 0.9, 1e-3, 0.0, False), decayed(0.3)), 0.02, betas=(0.8, 0.9), eps=1e-3,
        weight_decay=0.3, adam_w_mode=False,
    ),
    compared(OF, "RMSprop", of_oneflow(lambda: rmsprop(0.99, 1e-8, True)), 0.01),
    compared(
        OF, "RMSprop", of_oneflow(lambda: rmsprop(0.8, 1e-3, True, centered=True), 0.3), 0.01, alpha=0.8, eps=1e-3, weight_decay=0.3,
        centered=True,
    ),
    compared(OF, "SGD", of_oneflow(lambda: sgd_outside(0.0)), 0.01),
    compared(
        OF, "SGD", of_oneflow(lambda: sgd_outside(0.8, 0.3), 0.3), 0.01, momentum=0.8, weight_decay=0.3, dampening=0.3
    ),
    compared(
        OF, "SGD", of_oneflow(lambda: sgd_outside(0.8, 0.0, True), 0.3), 0.01, momentum=0.8, weight_decay=0.3, nesterov=True
    ),
    compared(OF, "SGD", of_oneflow(lambda: sgd_outside(0.8, 0.2, sign=-1.0)), 0.01, momentum=0.8, dampening=0.2, maximize=True),
    compared(OS, "NovoGrad", lambda: novograd(0.95, 0.98, 1e-8, 0.0, False), 0.1, lr="learning_rate"),
    compared(
        OS, "NovoGrad", lambda: novograd(0.8, 0.9, 1e-3, 0.1, True), 0.1, lr="learning_rate", beta1=0.8, beta2=0.9, epsilon=1e-3,
        weight_decay=0.1, grad_averaging=True,
    ),
    compared(OS, "AdamW", lambda: decoupled(each(lambda: adam_hat(0.9, 0.999, 1e-8)), 0.1), 0.05, lr="learning_rate", weight_decay=0.1),
    compared(
        OS, "AdamW", lambda: decoupled(each(lambda: adam_hat(0.8, 0.9, 1e-3)), 0.5), 0.05, lr="learning_rate", weight_decay=0.5,
        beta1=0.8, beta2=0.9, epsilon=1e-3,
    ),
    compared(
        OS, "LARC", lambda: in_order(each(lambda: sgd_outside(0.8)), larc(0.02, "clip", 1e-7, 1e-7)), 0.05, larc_eta=0.02,
        make=lambda lr, **larc: openseq2seq.LARC(up.SGD(lr, momentum=0.8, buffer="gradients"), **larc),
    ),
    compared(
        OS, "LARC", lambda: in_order(each(lambda: adam_hat(0.9, 0.999, 1e-8)), larc(0.5, "scale", 0.01, 0.1)), 0.05, larc_eta=0.5,
        larc_mode="scale", min_update=0.01, epsilon=0.1,
        make=lambda lr, **larc: openseq2seq.LARC(openseq2seq.AdamW(0.0, lr), **larc),
    ),
    compared(
        OS, "LARC", lambda: in_order(novograd(0.95, 0.98, 1e-8, 0.1, False), larc(0.5, "clip", 0.01, 0.1)), 0.05, larc_eta=0.5,
        min_update=0.01, epsilon=0.1,
        make=lambda lr, **larc: openseq2seq.LARC(openseq2seq.NovoGrad(lr, weight_decay=0.1), **larc),
    ),
]  # fmt: skip
