"""Every rule in every configuration that has a formula or coefficients of its own, and its textbook oracle.

An oracle works on one scalar in float64, with other algebra than the library: sums over the whole history
in place of recursions, powers in place of running corrections.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import copysign, fsum, prod, sqrt

import updaters as up
from updaters.rule import Rule

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
    "scheduled dampening": up.SGD(warm(0.1, 0.3), momentum=0.9, dampening=warm(0.1, 0.5)),
    "scheduled gradients": up.SGD(
        warm(0.1, 0.3), momentum=warm(0.5, 0.9), dampening=warm(0.5, 0.2), damp_first=True, buffer="gradients"
    ),
    "scheduled nesterov of gradients": up.SGD(warm(0.1, 0.3), momentum=warm(0.5, 0.9), nesterov=True, buffer="gradients"),
    "adam": up.Adam(0.1),
    "adam epsilon hat": up.Adam(0.1, epsilon_hat=True),
    "adam uncorrected": up.Adam(0.1, epsilon=1e-3, bias_correction=False),
    "adam everything l2": up.Adam(0.1, grad_clip=0.5, weight_decay=0.02, gradient="sum", maximize=True),
    "amsgrad": up.Adam(0.1, beta2=0.9, amsgrad=True),
    "scheduled adam": up.Adam(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), epsilon=warm(1e-9, 1e-3), decay="decoupled", weight_decay=0.1
    ),
    "adamw": up.AdamW(0.1, weight_decay=0.02),
    "adamw amsgrad": up.AdamW(0.1, beta2=0.9, amsgrad=True, maximize=True),
    "scheduled adagrad": up.Adagrad(warm(0.1, 0.3), epsilon=warm(1e-10, 1e-3), lr_decay=warm(0.1, 0.4)),
    "adagrad inside": up.Adagrad(0.1, epsilon=1e-6, epsilon_inside=True, initial_accumulator=1e-7),
    "adadelta": up.Adadelta(),
    "scheduled adadelta": up.Adadelta(warm(0.5, 2.0), rho=warm(0.5, 0.9), epsilon=warm(1e-9, 1e-3)),
    "rmsprop": up.RMSProp(0.1),
    "rmsprop of steps": up.RMSProp(0.1, momentum=0.9, epsilon_inside=True),
    "scheduled rmsprop of gradients": up.RMSProp(
        warm(0.1, 0.3), rho=warm(0.5, 0.9), epsilon=warm(1e-9, 1e-3), momentum=warm(0.5, 0.9), buffer="gradients"
    ),
    "rmsprop centered": up.RMSProp(0.1, centered=True),
    "scheduled rmsprop centered of steps": up.RMSProp(
        warm(0.1, 0.3), rho=warm(0.5, 0.9), epsilon=warm(1e-9, 1e-3), momentum=warm(0.5, 0.9), epsilon_inside=True, centered=True
    ),
    "rmsprop centered of gradients": up.RMSProp(0.1, momentum=0.9, centered=True, buffer="gradients"),
    "adamax": up.Adamax(0.1, beta2=0.9),
    "scheduled adamax inside": up.Adamax(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.9), epsilon=warm(1e-9, 1e-3), epsilon_inside=True
    ),
    "nadam": up.Nadam(0.1, momentum_decay=0.04),
    "scheduled nadam": up.Nadam(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), epsilon=warm(1e-9, 1e-3), momentum=warm(0.0, 0.9)
    ),
    "radam": up.RAdam(0.1, beta2=0.85),  # with rho on both sides of 5 and close to it
    "scheduled radam epsilon hat": up.RAdam(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.95), epsilon=warm(1e-9, 1e-3), epsilon_hat=True
    ),
    "ftrl": up.Ftrl(0.1, l1=0.01, l2=0.1, l2_shrinkage=0.05, initial_accumulator=0.1),
    "scheduled ftrl": up.Ftrl(
        warm(0.1, 0.3), beta=warm(0.1, 0.5), l1=warm(0.1, 0.0), l2=warm(0.0, 0.1), l2_shrinkage=warm(0.0, 0.1)
    ),
    "scheduled ftrl of a power": up.Ftrl(warm(0.1, 0.3), power=warm(0.4, 0.8), l1=0.01, l2_shrinkage=0.05),
    "lion": up.Lion(0.1),
    "scheduled lion": up.Lion(warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), weight_decay=warm(0.0, 0.1)),
    "yogi": up.Yogi(0.1, epsilon=1e-6, initial_accumulator=1e-9),
    "scheduled yogi corrected": up.Yogi(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), epsilon=warm(1e-9, 1e-3), bias_correction=True
    ),
    "yogi corrected epsilon hat": up.Yogi(0.1, bias_correction=True, epsilon_hat=True, initial_accumulator=0.0),
    "adabelief": up.AdaBelief(0.1, epsilon=1e-8),
    "scheduled adabelief epsilon hat": up.AdaBelief(
        warm(0.1, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), epsilon=warm(1e-9, 1e-3), epsilon_hat=True
    ),
    "asgd": up.ASGD(0.1, regularization=0.05, start=3),
    "scheduled asgd": up.ASGD(warm(0.1, 0.3), regularization=warm(0.0, 0.1), power=warm(0.5, 1.0), start=warm(0.0, 4.0)),
    "rprop": up.Rprop(0.1, min_step=0.03, max_step=0.2),
    "scheduled rprop": up.Rprop(
        warm(0.1, 0.3), shrink=warm(0.3, 0.7), grow=warm(1.1, 1.5), min_step=warm(0.06, 0.1), max_step=warm(0.3, 0.4)
    ),
    "schedule-free sgd": up.ScheduleFreeSGD(0.1),
    "scheduled schedule-free sgd": up.ScheduleFreeSGD(
        warm(0.3, 0.1), beta=warm(0.5, 0.9), lr_power=warm(1.0, 2.0), weight_decay=warm(0.0, 0.1)
    ),
    "schedule-free adamw": up.ScheduleFreeAdamW(0.1, weight_decay=0.02),
    "scheduled schedule-free adamw": up.ScheduleFreeAdamW(
        warm(0.0, 0.3), beta1=warm(0.5, 0.9), beta2=warm(0.7, 0.99), epsilon=warm(1e-9, 1e-3), weight_decay=0.1, decay="l2"
    ),
}


POWERS = {"scheduled ftrl of a power"}
"""Backends have algorithms of their own for powers, which agree to rounding alone: these are compared in float64."""

KERNELS = list({id(Rule.of(optimizer).recording): name for name, optimizer in RULES.items() if name not in POWERS}.values())
"""One configuration for each recording, powers aside: backends see no difference between those that share one."""


def reader(optimizer: up.Optimizer) -> At:
    """What gives the fields of an optimizer at an update."""

    def at(name: str, t: int) -> float:
        value = getattr(optimizer, name)
        return value(State(iteration=t)) if callable(value) else value

    return at


def oracle(optimizer: up.Optimizer, w: float, gradients: Sequence[float], batch_size: int) -> tuple[float, float, float]:
    """After updates with these gradients: the weight, the one to evaluate with, and the length of the weight's path.

    Errors are measured by the path.
    """
    at = reader(optimizer)
    path = abs(w)
    history: list[float] = []
    weights: list[float] = []
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
            elif optimizer.decay == "decoupled":
                w *= 1 - at("lr", t) * at("weight_decay", t)
        history.append(g)
        weights.append(w)
        w += ORACLES[type(optimizer)](optimizer, at, history, weights)
        path += abs(w - start)
    evaluation = EVALUATIONS.get(type(optimizer), lambda optimizer, at, history, weights: weights[-1])
    return w, evaluation(optimizer, at, history, [*weights, w]), path


def kept(at: At, share: str, after: int, until: int) -> float:
    """What is left at update `until` of something at update `after`, if each in between keeps a share."""
    return prod(at(share, r) for r in range(after + 1, until + 1))


def average(at: At, beta: str, values: Sequence[float]) -> float:
    """The moving average of all values so far."""
    now = len(values)
    return fsum((1 - at(beta, s)) * value * kept(at, beta, s, now) for s, value in enumerate(values, 1))


def squares(values: Sequence[float]) -> list[float]:
    return [value * value for value in values]


# Each gives the step of an update, from the gradients that the rule has seen and the weights that it has seen them with.


def sgd(optimizer: up.SGD, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    lr = [at("lr", t) for t in range(1, now + 1)]
    if optimizer.momentum is None:
        return -lr[-1] * g[-1]
    taken = [
        x * (1 if optimizer.dampening is None or (s == 1 and not optimizer.damp_first) else 1 - at("dampening", s))
        for s, x in enumerate(g, 1)
    ]
    rates = lr if optimizer.buffer == "steps" else [lr[-1]] * now
    velocity = fsum(-rate * x * kept(at, "momentum", s, now) for s, (rate, x) in enumerate(zip(rates, taken, strict=True), 1))
    return at("momentum", now) * velocity - lr[-1] * g[-1] if optimizer.nesterov else velocity


def adam(optimizer: up.Adam, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    corrections = [1 - kept(at, beta, 0, now) if optimizer.bias_correction else 1 for beta in ("beta1", "beta2")]
    times = range(1, now + 1) if optimizer.amsgrad else [now]
    m_hat = average(at, "beta1", g) / corrections[0]
    v_hat = max(average(at, "beta2", squares(g[:until])) for until in times) / corrections[1]
    epsilon = at("epsilon", now) / (sqrt(corrections[1]) if optimizer.epsilon_hat else 1)
    return -at("lr", now) * m_hat / (sqrt(v_hat) + epsilon)


def adagrad(optimizer: up.Adagrad, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    lr, epsilon = at("lr", now) / (1 + (now - 1) * at("lr_decay", now)), at("epsilon", now)
    s = fsum([at("initial_accumulator", 0), *squares(g)])
    return -lr * g[-1] / (sqrt(s + epsilon) if optimizer.epsilon_inside else sqrt(s) + epsilon)


def adadelta(optimizer: up.Adadelta, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    steps: list[float] = []
    for t in range(1, len(g) + 1):
        past = average(at, "rho", [*squares(steps), 0.0]) / at("rho", t)
        ratio = (past + at("epsilon", t)) / (average(at, "rho", squares(g[:t])) + at("epsilon", t))
        steps.append(sqrt(ratio) * g[t - 1])
    return -at("lr", len(g)) * steps[-1]


def rmsprop(optimizer: up.RMSProp, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)

    def quotient(t: int) -> float:
        s, epsilon = average(at, "rho", squares(g[:t])), at("epsilon", t)
        if optimizer.centered:
            s -= average(at, "rho", g[:t]) ** 2
        return g[t - 1] / (sqrt(s + epsilon) if optimizer.epsilon_inside else sqrt(s) + epsilon)

    if optimizer.momentum is None:
        return -at("lr", now) * quotient(now)
    rates = [at("lr", t if optimizer.buffer == "steps" else now) for t in range(1, now + 1)]
    return -fsum(rate * quotient(s) * kept(at, "momentum", s, now) for s, rate in enumerate(rates, 1))


def adamax(optimizer: up.Adamax, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    inside = 1 if optimizer.epsilon_inside else 0
    u = max((abs(x) + inside * at("epsilon", s)) * kept(at, "beta2", s, now) for s, x in enumerate(g, 1))
    m_hat = average(at, "beta1", g) / (1 - kept(at, "beta1", 0, now))
    return -at("lr", now) * m_hat / (u + (1 - inside) * at("epsilon", now))


def nadam(optimizer: up.Nadam, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)

    def mu(t: int, clock: int) -> float:
        if optimizer.momentum is not None:
            return at("momentum", t)
        return at("beta1", clock) * (1 - 0.96 ** (t * at("momentum_decay", clock)) / 2)

    momenta = [mu(t, t) for t in range(1, now + 1)] + [mu(now + 1, now)]
    m_bar = momenta[-1] * average(at, "beta1", g) / (1 - prod(momenta)) + (1 - momenta[-2]) * g[-1] / (1 - prod(momenta[:-1]))
    v_hat = average(at, "beta2", squares(g)) / (1 - kept(at, "beta2", 0, now))
    return -at("lr", now) * m_bar / (sqrt(v_hat) + at("epsilon", now))


def radam(optimizer: up.RAdam, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    product = prod(Fraction(at("beta2", s)) for s in range(1, now + 1))
    rho_inf = 2 / (1 - Fraction(at("beta2", now))) - 1
    rho = rho_inf - 2 * now * product / (1 - product)
    m_hat = average(at, "beta1", g) / (1 - kept(at, "beta1", 0, now))
    if rho <= 5:
        return -at("lr", now) * m_hat
    r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    correction = 1 - kept(at, "beta2", 0, now)
    v_hat = average(at, "beta2", squares(g)) / correction
    epsilon = at("epsilon", now) / (sqrt(correction) if optimizer.epsilon_hat else 1)
    return -at("lr", now) * r * m_hat / (sqrt(v_hat) + epsilon)


def ftrl(optimizer: up.Ftrl, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    n = [fsum([at("initial_accumulator", 0), *squares(g[:t])]) for t in range(now + 1)]
    sigmas = [(n[t] ** at("power", t) - n[t - 1] ** at("power", t)) / at("lr", t) for t in range(1, now + 1)]
    z = fsum(x + (at("l2_shrinkage", t) - sigmas[t - 1]) * w[t - 1] for t, x in enumerate(g, 1))
    curvature = (at("beta", now) + n[now] ** at("power", now)) / at("lr", now) + at("l2", now)
    return -copysign(max(abs(z) - at("l1", now), 0.0), z) / curvature - w[-1]


def lion(optimizer: up.Lion, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    direction = at("beta1", now) * average(at, "beta2", g[:-1]) + (1 - at("beta1", now)) * g[-1]
    return -copysign(at("lr", now), direction) if direction else 0.0


def yogi(optimizer: up.Yogi, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    v = at("initial_accumulator", 0)
    for t, square in enumerate(squares(g), 1):  # its signs depend on what came before: there is no sum for it
        v += (1 - at("beta2", t)) * (square if square > v else -square)
    m, epsilon = average(at, "beta1", g), at("epsilon", now)
    if optimizer.bias_correction:
        m /= 1 - kept(at, "beta1", 0, now)
        correction = 1 - kept(at, "beta2", 0, now)
        v /= correction
        epsilon /= sqrt(correction) if optimizer.epsilon_hat else 1
    return -at("lr", now) * m / (sqrt(v) + epsilon)


def adabelief(optimizer: up.AdaBelief, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    strays = [(x - average(at, "beta1", g[:t])) ** 2 for t, x in enumerate(g, 1)]
    s = average(at, "beta2", strays) + fsum(at("epsilon", t) * kept(at, "beta2", t, now) for t in range(1, now + 1))
    corrections = [1 - kept(at, beta, 0, now) for beta in ("beta1", "beta2")]
    epsilon = at("epsilon", now) / (sqrt(corrections[1]) if optimizer.epsilon_hat else 1)
    return -at("lr", now) * average(at, "beta1", g) / corrections[0] / (sqrt(s / corrections[1]) + epsilon)


def asgd(optimizer: up.ASGD, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    now = len(g)
    eta = at("lr", now) * (1 + (now - 1) * at("lr", now) * at("regularization", now)) ** -at("power", now)
    return -eta * (g[-1] + at("regularization", now) * w[-1])


def asgd_evaluation(optimizer: up.ASGD, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    shares = [1 / max(1, s - 1 - at("start", s)) for s in range(1, len(w))]
    return fsum(share * w[s] * prod(1 - later for later in shares[s:]) for s, share in enumerate(shares, 1))


def rprop(optimizer: up.Rprop, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    step, before = at("lr", 1), 0.0
    for t, x in enumerate(g, 1):  # in sizes of steps, where the rule has factors
        if t > 1:
            step *= at("lr", t) / at("lr", t - 1)
        if x * before < 0:
            step, before = step * at("shrink", t), 0.0
        else:
            step, before = step * at("grow", t) if x * before > 0 else step, x
        step = sorted((at("min_step", t), step, at("max_step", t)))[1]
    return -copysign(step, before) if before else 0.0


def points(at: At, g: Sequence[float], start: float) -> tuple[float, float]:
    """z and x, for a schedule-free rule that goes along g from a start."""
    rates = [at("lr", t) for t in range(1, len(g) + 1)]
    z = [start - fsum(rate * x for rate, x in zip(rates[:t], g[:t], strict=True)) for t in range(1, len(g) + 1)]
    shares = [max(rates[:t]) ** at("lr_power", t) for t in range(1, len(g) + 1)]
    return z[-1], fsum(share * point for share, point in zip(shares, z, strict=True)) / fsum(shares)


def schedule_free_sgd(optimizer: up.ScheduleFreeSGD, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    z, x = points(at, g, w[0])
    return (1 - at("beta", len(g))) * z + at("beta", len(g)) * x - w[-1]


def schedule_free_sgd_evaluation(optimizer: up.ScheduleFreeSGD, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    return points(at, g, w[0])[1]


def normalized(optimizer: up.ScheduleFreeAdamW, at: At, g: Sequence[float], w: Sequence[float]) -> list[float]:
    def u(t: int) -> float:
        v_hat = average(at, "beta2", squares(g[:t])) / (1 - kept(at, "beta2", 0, t))
        inside = optimizer.decay == "inside" and optimizer.weight_decay is not None
        return g[t - 1] / (sqrt(v_hat) + at("epsilon", t)) + (at("weight_decay", t) * w[t - 1] if inside else 0.0)

    return [u(t) for t in range(1, len(g) + 1)]


def schedule_free_adamw(optimizer: up.ScheduleFreeAdamW, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    z, x = points(at, normalized(optimizer, at, g, w), w[0])
    return (1 - at("beta1", len(g))) * z + at("beta1", len(g)) * x - w[-1]


def schedule_free_adamw_evaluation(optimizer: up.ScheduleFreeAdamW, at: At, g: Sequence[float], w: Sequence[float]) -> float:
    return points(at, normalized(optimizer, at, g, w), w[0])[1]


ORACLES: dict[type[up.Optimizer], Callable[..., float]] = {
    up.SGD: sgd,
    up.Adam: adam,
    up.AdamW: adam,
    up.Adagrad: adagrad,
    up.Adadelta: adadelta,
    up.RMSProp: rmsprop,
    up.Adamax: adamax,
    up.Nadam: nadam,
    up.RAdam: radam,
    up.Ftrl: ftrl,
    up.Lion: lion,
    up.Yogi: yogi,
    up.AdaBelief: adabelief,
    up.ASGD: asgd,
    up.Rprop: rprop,
    up.ScheduleFreeSGD: schedule_free_sgd,
    up.ScheduleFreeAdamW: schedule_free_adamw,
}

# Each gives the weight to evaluate with; the weights end with the one after the last update.
EVALUATIONS: dict[type[up.Optimizer], Callable[..., float]] = {
    up.ASGD: asgd_evaluation,
    up.ScheduleFreeSGD: schedule_free_sgd_evaluation,
    up.ScheduleFreeAdamW: schedule_free_adamw_evaluation,
}


def on_the_edge(optimizer: up.Lion, updates: int) -> list[float]:
    """Gradients that are half a permille away from turning each step around, to either side: only they tell a beta."""
    at, g = reader(optimizer), [1.0]
    for t in range(2, updates + 1):
        balance = -at("beta1", t) / (1 - at("beta1", t)) * average(at, "beta2", g)
        g.append(balance * (1 + 0.0005 * (-1) ** t))
    return g
