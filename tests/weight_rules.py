"""The rules that see a whole weight, in every configuration that has a formula or coefficients of its own, and their oracles.

An oracle works on a whole weight in float64, with other algebra than the library: sums over the whole history in place of
recursions, sums in place of means, singular values in place of products of matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import updaters as up
from tests import fake_cupy
from tests.rules import State, warm
from updaters import transforms
from updaters.backends.stages import CHUNK, LANES

Array = np.ndarray[Any, Any]

NORM_RULES: dict[str, up.Optimizer] = {
    "lamb": up.LAMB(0.1, epsilon=1e-3),
    "lamb inside": up.LAMB(0.1, epsilon=1e-3, weight_decay=0.1, beta2=0.9, grad_clip=3.0, maximize=True),
    "lamb outside": up.LAMB(0.1, epsilon=1e-3, weight_decay=0.1, decay="outside", bias_correction=False, gradient="sum"),
    "lamb bounded": up.LAMB(warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), min_norm=20.0, max_norm=30.0),
    "lamb bounded below": up.LAMB(0.1, epsilon=warm(1e-4, 1e-2), min_norm=500.0, weight_decay=0.1, decay="l2"),
    "lamb decoupled": up.LAMB(0.1, epsilon=1e-3, weight_decay=0.1, decay="decoupled", max_norm=0.5),
    "lars": up.LARS(1.0, trust=0.1, epsilon=0.5, weight_decay=0.1),
    "lars without momentum": up.LARS(1.0, momentum=None, trust=0.1, epsilon=0.5, weight_decay=0.1, grad_clip=3.0, maximize=True),
    "lars l2": up.LARS(warm(1.0, 3.0), momentum=warm(0.5, 0.9), trust=warm(0.1, 0.2), epsilon=0.5, weight_decay=0.1, decay="l2"),
    "novograd": up.NovoGrad(0.1, epsilon=0.5, weight_decay=0.1, beta2=0.9),
    "novograd inside": up.NovoGrad(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.9), epsilon=0.5, epsilon_inside=True, gradient_averaging=True
    ),
    "novograd decoupled": up.NovoGrad(0.1, epsilon=0.5, weight_decay=0.1, decay="decoupled", gradient="sum"),
    "prodigy": up.Prodigy(epsilon=1e-3, weight_decay=0.1, d0=1e-3),
    "prodigy grows slowly": up.Prodigy(
        warm(0.5, 1.0), beta1=0.8, beta2=0.95, beta3=0.9, epsilon=1e-3, d0=1e-3, d_coefficient=50.0, growth_rate=1.3,
        bias_correction=True, safeguard_warmup=True, weight_decay=0.1, decay="l2",
    ),
    "clip by norm": up.SGD(0.1, momentum=0.9, transforms=transforms.ClipByNorm(5.0), weight_decay=0.1),
    "clip by norm, decoupled": up.SGD(0.1, transforms=transforms.ClipByNorm(warm(1.0, 10.0)), weight_decay=0.1, decay="decoupled"),
    "larc": up.SGD(0.5, transforms=transforms.LARC(0.1, epsilon=0.5), weight_decay=0.1),
    "larc scale": up.SGD(0.5, transforms=[transforms.LARC(0.1, mode="scale", epsilon=0.5)]),
    "larc least": up.SGD(0.5, transforms=(transforms.LARC(1e-6, min_update=0.1), transforms.ClipByValue(-0.05, 0.07))),
}  # fmt: skip
"""Rules with norms, which run as passes over the elements."""

ARRAY_RULES: dict[str, up.Optimizer] = {
    "adafactor": up.Adafactor(0.5, epsilon1=1e-3, weight_decay=0.1),
    "adafactor like torch": up.Adafactor(
        warm(0.1, 0.5), epsilon1=0.5, epsilon2=50.0, epsilon_added=False, decay="inside", weight_decay=0.1, clip_threshold=0.5
    ),
    "adafactor of its own rate": up.Adafactor(
        0.1,
        relative_step=False,
        decay_rate=warm(0.5, 0.9),
        epsilon1=1e-3,
        epsilon2=50.0,
        weight_decay=0.1,
        decay="l2",
        maximize=True,
    ),
    "adafactor clipped": up.Adafactor(
        0.5, epsilon1=1e-3, epsilon2=50.0, clip_threshold=0.5, grad_clip=3.0, transforms=transforms.ClipByNorm(5.0)
    ),
    "muon": up.Muon(0.1, epsilon=0.5, weight_decay=0.1, otherwise=up.SGD(0.1)),
    "muon without nesterov": up.Muon(
        warm(0.1, 0.3),
        nesterov=False,
        momentum=warm(0.5, 0.9),
        epsilon=30.0,
        epsilon_added=False,
        scale="rms",
        otherwise=up.SGD(0.1),
    ),
    "muon by another polynomial": up.Muon(
        0.1,
        epsilon=0.5,
        polynomial=(2.0, -1.5, 0.5),
        iterations=3,
        scale="none",
        decay="l2",
        weight_decay=0.1,
        otherwise=up.SGD(0.1),
    ),
}
"""Rules that work on whole arrays."""


class Run:
    """What an oracle knows: an optimizer, and a weight with what happened to it before."""

    def __init__(self, optimizer: up.Optimizer, start: Array, batch_size: int) -> None:
        self.optimizer, self.start, self.batch_size = optimizer, start, batch_size
        self.w = start.copy()
        self.path = float(np.abs(start).max())
        self.gradients: list[Array] = []  # as they come to the rule
        self.memory: dict[str, list[Any]] = {}

    def at(self, name: str, t: int | None = None) -> Any:
        value = getattr(self.optimizer, name)
        return value(State(iteration=t or self.t)) if callable(value) else value

    @property
    def t(self) -> int:
        return len(self.gradients)

    def update(self, g: Array) -> None:
        """One more update."""
        self.gradients.append(g)
        before = self.w
        if self.optimizer.gradient == "sum":
            g = g / self.batch_size
        if self.optimizer.grad_clip is not None:
            bound = self.at("grad_clip")
            g = g.clip(-bound, bound)
        if self.optimizer.maximize:
            g = -g
        decay = self.at("weight_decay") or 0.0
        if self.optimizer.decay == "l2":
            g = g + decay * self.w
        for transform in self.optimizer.transforms:
            g = TRANSFORMS[type(transform)](transform, self, g)
        if self.optimizer.decay == "decoupled":
            self.w = self.w * (1 - self.at("lr") * decay)
        self.gradients[-1] = g
        self.w = self.w + ORACLES[type(self.optimizer)](self, decay)
        self.path += float(np.abs(self.w - before).max())

    def kept(self, name: str, since: int, t: int | None = None) -> float:
        """The product of a share over the updates after `since`."""
        return float(np.prod([self.at(name, k) for k in range(since + 1, (t or self.t) + 1)]))

    def average(self, beta: str, values: list[Any]) -> Any:
        """The moving average of values, as a sum."""
        return sum((1 - self.at(beta, k)) * self.kept(beta, k) * value for k, value in enumerate(values, 1))

    def remember(self, name: str, value: Any) -> list[Any]:
        self.memory.setdefault(name, []).append(value)
        return self.memory[name]


def norm(x: Array) -> float:
    return float(np.sqrt(np.sum(np.abs(x) ** 2)))


def lamb(run: Run, decay: float) -> Array:
    rule = run.optimizer
    assert isinstance(rule, up.LAMB)
    m, v = run.average("beta1", run.gradients), run.average("beta2", [g * g for g in run.gradients])
    if rule.bias_correction:
        m, v = m / (1 - run.kept("beta1", 0)), v / (1 - run.kept("beta2", 0))
    u = m / (np.sqrt(v) + run.at("epsilon"))
    whole = u + decay * run.w if rule.decay in ("inside", "outside") else u
    size = norm(run.w)
    if rule.min_norm is not None:
        size = max(size, run.at("min_norm"))
    if rule.max_norm is not None:
        size = min(size, run.at("max_norm"))
    of_update = norm(u if rule.decay == "outside" else whole)
    return -run.at("lr") * (size / of_update if size and of_update else 1.0) * whole


def lars(run: Run, decay: float) -> Array:
    g, decay = run.gradients[-1], decay if run.optimizer.decay == "inside" else 0.0
    sizes = norm(run.w), norm(g)
    ratio = run.at("trust") * sizes[0] / (sizes[1] + decay * sizes[0] + run.at("epsilon")) if all(sizes) else 1.0
    pushes = run.remember("pushes", -run.at("lr") * ratio * (g + decay * run.w))
    if run.at("momentum") is None:
        return pushes[-1]
    return sum(run.kept("momentum", k) * push for k, push in enumerate(pushes, 1))


def novograd(run: Run, decay: float) -> Array:
    rule = run.optimizer
    assert isinstance(rule, up.NovoGrad)
    squares = [norm(g) ** 2 for g in run.gradients]
    first = next((k for k, square in enumerate(squares, 1) if square), run.t)
    v = run.kept("beta2", first) * squares[first - 1]
    v += sum((1 - run.at("beta2", k)) * run.kept("beta2", k) * squares[k - 1] for k in range(first + 1, run.t + 1))
    root = np.sqrt(v + run.at("epsilon")) if rule.epsilon_inside else np.sqrt(v) + run.at("epsilon")
    push = run.gradients[-1] / root + (decay * run.w if rule.decay == "inside" else 0.0)
    if rule.gradient_averaging:
        push = push * (1 - run.at("beta1"))
    return -run.at("lr") * sum(run.kept("beta1", k) * push for k, push in enumerate(run.remember("pushes", push), 1))


def prodigy(run: Run, decay: float) -> Array:
    rule = run.optimizer
    assert isinstance(rule, up.Prodigy)
    d0 = run.at("d0")
    ds = run.memory.setdefault("d", [d0])
    d = ds[-1]
    lr = run.at("lr")
    if rule.bias_correction:
        lr = lr * np.sqrt(1 - run.kept("beta2", 0)) / (1 - run.kept("beta1", 0))
    beta3 = "root" if rule.beta3 is None else "beta3"

    def kept3(k: int) -> float:
        return run.kept("beta3", k) if beta3 == "beta3" else np.sqrt(run.kept("beta2", k))

    # Without the authors' d0, which cancels.
    rises = run.remember("rises", d * d * lr * np.sum(run.gradients[-1] * (run.start - run.w)))
    pushes = run.remember("pushes", d * d * (1.0 if rule.safeguard_warmup else lr) * run.gradients[-1])
    r = sum(kept3(k) * rise for k, rise in enumerate(rises, 1))
    s = sum(kept3(k) * push for k, push in enumerate(pushes, 1))
    m = run.average("beta1", [d * g for d, g in zip(ds, run.gradients, strict=True)])
    v = run.average("beta2", [(d * g) ** 2 for d, g in zip(ds, run.gradients, strict=True)])
    estimates = run.remember("estimates", run.at("d_coefficient") * r / np.sum(np.abs(s)))
    most = max(d0, *estimates)
    grown = max(d, estimates[-1]) if d == d0 else d
    ds.append(most if rule.growth_rate is None else min(most, grown * run.at("growth_rate")))
    return -d * lr * (m / (np.sqrt(v) + d * run.at("epsilon")) + (decay * run.w if rule.decay == "inside" else 0.0))


def adafactor(run: Run, decay: float) -> Array:
    rule = run.optimizer
    assert isinstance(rule, up.Adafactor)
    g, eps = run.gradients[-1], run.at("epsilon1")
    shares = [k ** -run.at("decay_rate", k) for k in range(1, run.t + 1)]
    moment = sum(
        share * np.prod([1 - later for later in shares[k:]]) * (np.abs(g) ** 2 + (eps if rule.epsilon_added else 0.0))
        for k, (share, g) in enumerate(zip(shares, run.gradients, strict=True), 1)
    )
    if g.ndim > 1:  # a product of marginal sums over the sum of all
        rows, columns = moment.sum(-1, keepdims=True), moment.sum(-2, keepdims=True)
        total = moment.sum((-1, -2), keepdims=True)
        if not rule.epsilon_added:
            total = np.maximum(total, eps * g.shape[-1] * g.shape[-2])
        moment = rows * columns / total
    if not rule.epsilon_added:
        moment = np.maximum(moment, eps**2)
    u = g / np.sqrt(moment)
    u = u / max(1.0, norm(u) / np.sqrt(u.size) / run.at("clip_threshold"))
    rate = run.at("lr") if not rule.relative_step else min(run.at("lr"), run.t**-0.5)
    step = -rate * max(run.at("epsilon2"), norm(run.w) / np.sqrt(run.w.size)) * u
    return step - run.at("lr") * decay * run.w if rule.decay == "inside" else step


def muon(run: Run, decay: float) -> Array:
    rule = run.optimizer
    assert isinstance(rule, up.Muon)
    m = run.average("momentum", run.gradients)
    if rule.nesterov:
        m = run.at("momentum") * m + (1 - run.at("momentum")) * run.gradients[-1]
    left, values, right = np.linalg.svd(m, full_matrices=False)
    size, eps = np.sqrt(np.sum(values**2)), run.at("epsilon")
    values = values / (size + eps if rule.epsilon_added else max(size, eps))
    a, b, c = rule.polynomial
    for _ in range(rule.iterations):
        values = a * values + b * values**3 + c * values**5
    rows, columns = m.shape
    scale = {"spectral": max(1, rows / columns) ** 0.5, "rms": run.at("rms_rate") * max(rows, columns) ** 0.5, "none": 1}
    return -run.at("lr") * scale[rule.scale] * ((left * values) @ right)


def sgd(run: Run, decay: float) -> Array:
    if run.at("momentum") is None:
        return -run.at("lr") * run.gradients[-1]
    return -sum(run.at("lr", k) * run.kept("momentum", k) * g for k, g in enumerate(run.gradients, 1))


def clip_by_norm(transform: Any, run: Run, g: Array) -> Array:
    bound = transform.bound(State(iteration=run.t)) if callable(transform.bound) else transform.bound
    return g * min(1.0, bound / norm(g))


def clip_by_value(transform: Any, run: Run, g: Array) -> Array:
    return g.clip(transform.low, transform.high)


def larc(transform: Any, run: Run, g: Array) -> Array:
    ratio = transform.eta * norm(run.w) / (norm(g) + transform.epsilon)
    if transform.mode == "scale":
        return g * max(ratio, transform.min_update)
    return g * min(1.0, max(ratio / run.at("lr"), transform.min_update))


ORACLES: dict[type[up.Optimizer], Callable[[Run, float], Array]] = {
    up.LAMB: lamb, up.LARS: lars, up.NovoGrad: novograd, up.Prodigy: prodigy, up.Adafactor: adafactor, up.Muon: muon,
    up.SGD: sgd,
}  # fmt: skip
TRANSFORMS: dict[type, Callable[[Any, Run, Array], Array]] = {
    transforms.ClipByNorm: clip_by_norm, transforms.ClipByValue: clip_by_value, transforms.LARC: larc,
}  # fmt: skip

EQUIVALENT: dict[tuple[str, str], str] = {
    **{(name, "low"): "0: no lower bound" for name, rule in NORM_RULES.items() if getattr(rule, "min_norm", 1) is None},
    **{(name, "high"): "infinity: no upper bound" for name, rule in NORM_RULES.items() if getattr(rule, "max_norm", 1) is None},
    **{
        (name, "decay"): "0: the decay is off, or is not the rule's own"
        for name, rule in (NORM_RULES | ARRAY_RULES).items()
        if rule.weight_decay is None or rule.decay in ("l2", "decoupled")
    },
    **{
        (name, of_u): "the ratio takes out what is common to all of u"
        for name in ("lamb", "lamb bounded", "lamb bounded below", "lamb decoupled")
        for of_u in ("take1", "unit", "correction1")
    },
    ("prodigy", "growth"): "infinity: no bound",
    ("prodigy", "d0"): "it cancels, and without a bound on growth the first is no exception",
    ("larc", "least"): "the ratio is above it",
    ("larc scale", "least"): "the ratio is above it",
    ("larc scale", "lr"): "the mode does not know it",
    **{("larc least", name): "the ratio is below the least" for name in ("eta", "lr", "epsilon")},
    ("adafactor", "scale"): "the weight is larger",
    **{(name, "floor"): "0: epsilon is added" for name in ("muon", "muon by another polynomial")},
    ("muon without nesterov", "epsilon"): "0: epsilon is a floor",
    **{(name, "rate"): "the scale does not know it" for name in ("muon", "muon by another polynomial")},
}
"""Coefficients, the first of a name, and scalars that an error of a permille in changes nothing."""


# On a device, or on what stands in for one.


def check_norms_on_device(cupy: Any, rule: str, dtype: str) -> None:
    """Hold a rule with norms on CuPy's arrays to NumPy's values, without a word to the host."""
    for shape in ((5, 6, 7), (2, CHUNK // 2 + LANES + 3), (0, 3), ()):
        rng = np.random.default_rng(7)
        weight, *gradients = (np.asarray(fake_cupy.numbers(rng, shape, fake_cupy.dtype_of(dtype), 0)) for _ in range(4))
        _check_on_device(cupy, NORM_RULES[rule], weight, gradients, fake_cupy.same)


def check_whole_array_on_device(cupy: Any, rule: str, dtype: str) -> None:
    """Hold a rule of whole arrays on CuPy's arrays to NumPy's values."""
    rng = np.random.default_rng(9)
    weight, *gradients = (fake_cupy.numbers(rng, (6, 4), np.dtype(dtype), 0) for _ in range(4))
    tolerance = 1e-12 if weight.dtype.itemsize > 8 or dtype == "float64" else 1e-4

    def close(a: Array, b: Array) -> bool:
        return a.dtype == b.dtype and bool(np.all(np.abs(a - b) <= tolerance * np.abs(b).max()))

    _check_on_device(cupy, ARRAY_RULES[rule], weight, gradients, close)


def _check_on_device(
    cupy: Any, optimizer: up.Optimizer, weight: Array, gradients: list[Array], alike: Callable[[Array, Array], bool]
) -> None:
    there = fake_cupy.put(cupy, weight)
    state = up.OptimizationState(batch_size=3)
    update, reference = (up.get_updater(optimizer, state, backend=name) for name in ("cupy", "numpy"))
    for gradient in state.batches(gradients):
        laid = fake_cupy.put(cupy, gradient)
        fake_cupy.transfers.clear()
        update("w", laid, there)
        assert not fake_cupy.transfers, "nothing is asked of the device"
        reference("w", gradient, weight)
    assert alike(fake_cupy.take(there), weight)
    for name, slot in reference.slots["w"].arrays.items():
        assert alike(fake_cupy.take(update.slots["w"][name]), slot), name


def check_layout_on_device(cupy: Any, layout: str) -> None:
    """Hold a rule with norms on CuPy's arrays of a layout to NumPy's values."""
    shape, lay, lay_gradient = fake_cupy.LAYOUTS[layout]
    rng = np.random.default_rng(8)
    weight, *gradients = (np.asarray(fake_cupy.numbers(rng, shape, np.dtype(np.float32), 0)) for _ in range(3))
    there = lay(cupy, weight)
    here = np.asfortranarray(weight) if layout in ("F", "mixed") else weight.copy()
    update, reference = (up.get_updater(NORM_RULES["lamb bounded"], up.OptimizationState(iteration=1)) for _ in range(2))
    for gradient in gradients:
        laid = lay_gradient(cupy, gradient, there)
        reference("w", fake_cupy.take(laid).reshape(shape), here)
        update("w", laid, there)
    assert fake_cupy.same(here, fake_cupy.take(there))
