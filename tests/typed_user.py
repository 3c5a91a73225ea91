"""A user's script that builds every optimizer and schedule, for type checkers to read; `make lint` has mypy do so."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

import updaters as up
from updaters.compat import keras, mxnet_jl, oneflow, openseq2seq, tensorlayerx, torch


class Doubling:
    def __init__(self, base: float) -> None:
        self.base = base

    def at(self, state: up.OptimizationState) -> float:
        return self.base * 2.0**state.epoch


@attrs.frozen
class Ramp:
    top: float = 0.9

    def __call__(self, state: up.OptimizationState, /) -> float:
        return min(self.top, state.iteration / 100)


rate: up.LearningRateScheduler = Doubling(0.1).at
ramp: up.MomentumScheduler = Ramp()
schedulers: list[up.Schedulable] = [
    0.1,
    1,
    rate,
    ramp,
    lambda state: 0.1 / state.epoch,
    up.learning_rate.Fixed(0.1),
    up.learning_rate.Exp(0.1, gamma=0.5, clock="iteration"),
    up.learning_rate.Inv(0.1, gamma=0.5, power=2, clock="epoch"),
    up.learning_rate.NaturalExp(0.1, rate=0.5, every=100, staircase=True),
    up.learning_rate.Step(0.1, 30, gamma=0.5),
    up.learning_rate.MultiStep(0.1, [30, 60]),
    up.learning_rate.Piecewise([0.1, 0.2], boundaries=(30,)),
    up.learning_rate.Linear(0.1, 30, end=0.2),
    up.learning_rate.Polynomial(0.1, 30, power=2, cycle=True),
    up.learning_rate.Cosine(0.1, 1000, end=0.01, clock="iteration"),
    up.learning_rate.CosineRestarts(0.1, 10, period_factor=2, peak_factor=0.5),
    up.learning_rate.NoisyLinearCosine(0.1, 10, seed=3),
    up.learning_rate.Noam(model_size=512, warmup=4000),
    up.learning_rate.InverseSqrt(0.1, 4000),
    up.learning_rate.WarmupStableDecay(0.1, warmup=10, stable=80, decay=10, shape="cosine"),
    up.learning_rate.Cyclic(0.1, 0.5, up=100, mode="triangular2"),
    up.learning_rate.OneCycle(0.1, 1000, three_phase=True),
    up.learning_rate.Lambda(0.1, lambda t: 1 / t),
    up.learning_rate.per_step(lambda step: 0.1 * 0.9**step),
    up.learning_rate.Warmup(up.learning_rate.Cosine(0.1, 20), 500),
    up.learning_rate.Sequence([up.learning_rate.Linear(0.0, 5, end=0.1), 0.1, rate], [5, 10]),
    up.learning_rate.Delay(up.learning_rate.Exp(0.1), 10),
    up.learning_rate.Repeat(up.learning_rate.Exp(0.1), 10, times=3),
    up.learning_rate.Plateau(0.1, factor=0.5, patience=3, mode="max"),
    0.5 * up.learning_rate.Exp(0.1) + 1e-3,
    up.learning_rate.Warmup(1.0, 500) * up.learning_rate.Step(0.1, 30) * rate,
    up.learning_rate.minimum(0.1, rate, up.learning_rate.Exp(1.0)).clamp(low=1e-3),
    up.momentum.Cyclic(0.8, 0.9, up=100),
    up.momentum.OneCycle(1000, low=0.85, high=0.95),
    up.momentum.Null(),
    up.momentum.Fixed(0.9),
    up.momentum.Nadam(mu0=0.9, delta=0.1, gamma=0.4, alpha=0.9, clock="epoch"),
]
cycle = torch.lr_scheduler.OneCycleLR(0.1, total_steps=100)
optimizers: list[up.Optimizer] = [
    up.SGD(),
    up.SGD(0.1, momentum=ramp, nesterov=True),
    up.SGD(rate, weight_decay=1e-4, decay="decoupled", grad_clip=1.0, gradient="sum", maximize=True),
    up.Adam(1e-3, beta1=0.9, beta2=ramp, epsilon=1e-8, amsgrad=True, epsilon_hat=True),
    up.AdamW(up.learning_rate.Exp(1e-3), weight_decay=0.1),
    up.AdamW(weight_decay=None),
    up.SGD(0.1, momentum=ramp, dampening=0.1, damp_first=True, buffer="gradients"),
    up.Adagrad(rate, epsilon=1e-7, epsilon_inside=True, lr_decay=0.1, initial_accumulator=0.1),
    up.Adadelta(rate, rho=ramp, epsilon=1e-7),
    up.RMSProp(rate, rho=0.99, epsilon=1e-7, epsilon_inside=True, momentum=ramp, buffer="gradients", centered=True),
    up.Adamax(rate, beta1=ramp, beta2=0.9, epsilon=1e-7, epsilon_inside=True),
    up.Nadam(rate, beta1=ramp, momentum_decay=1, momentum=ramp),
    up.RAdam(rate, beta1=ramp, beta2=0.9, epsilon_hat=True),
    up.Ftrl(0.1, beta=0, l1=0.1, l2=0.1, l2_shrinkage=0.1, power=0.6, initial_accumulator=0.1),
    up.Lion(rate, beta1=ramp, weight_decay=0.1, decay="l2"),
    up.Yogi(rate, initial_accumulator=0.0, bias_correction=True, epsilon_hat=True),
    up.AdaBelief(rate, epsilon=1e-8, epsilon_hat=True),
    up.ASGD(rate, regularization=0.1, power=0.5, start=10),
    up.Rprop(rate, shrink=0.4, grow=1.1, min_step=1e-3, max_step=1),
    up.ScheduleFreeSGD(rate, beta=0.95, lr_power=1, weight_decay=0.1, decay="l2"),
    up.ScheduleFreeAdamW(rate, beta1=0.95, weight_decay=0.1, decay="inside"),
    torch.Adam(rate, betas=(0.8, ramp), eps=1e-6, foreach=None),
    torch.Adafactor(lambda state: 0.1 / state.epoch, eps=(None, 1e-3)),
    torch.SGD(cycle, momentum=cycle.momentum or 0.9),
    keras.SGD(0.1, momentum=0.9, clipnorm=1.0),
    keras.SGD(keras.schedules.CosineDecay(0.1, 100, warmup_target=0.2, warmup_steps=5)),
    mxnet_jl.SGD(lr_scheduler=mxnet_jl.LearningRate.Exp(0.1), momentum_scheduler=ramp),
    tensorlayerx.Adam(rate, grad_clip=tensorlayerx.ClipGradByValue(-1, 1)),
    oneflow.LAMB(rate, betas=(0.8, 0.9), adam_w_mode=False),
    openseq2seq.LARC(openseq2seq.NovoGrad(rate), larc_eta=0.001, larc_mode="clip"),
]
scales: list[up.loss_scale.LossScale] = [
    up.loss_scale.Static(128),
    up.loss_scale.GrowthInterval(2.0**15, growth_interval=1000),
    up.loss_scale.Backoff(step_window=1000),
    up.loss_scale.LogMax(log_max=128),
    openseq2seq.AutomaticLossScaler("LogMax", {"beta1": 0.9}).scaler,
]
policy = up.Policy(
    clip=[up.transforms.ClipByValue(-1, 1), up.transforms.AGC(0.1), up.transforms.ClipByGlobalNorm(rate, "inf", epsilon=1e-6)],
    nonfinite="skip",
    accumulate=2,
    loss_scale=scales[1],
    master_weights=True,
    average=up.Average(ramp, overwrite_every=10, every_call=True),
    overrides={"*.bias": {"weight_decay": None, "lr_scale": rate, "clip": None}, re.compile("^head"): up.SGD(0.1), 3: up.FROZEN},
    count_calls=True,
)
registered: type[Ramp] = up.register(Ramp, name="typed.Ramp")
config: dict[str, Any] = up.to_config(up.SGD(momentum=registered(0.5)))
same: up.SGD = up.from_config(config)


@up.register(name="typed.halving")
def halving(state: up.OptimizationState) -> float:
    return 0.5**state.epoch


half: float = halving(up.OptimizationState(epoch=1))
adam: up.Adam = torch.Adam(torch.lr_scheduler.StepLR(0.1, 30))
adamw: up.AdamW = torch.AdamW([{"params": ["*.bias", 0], "weight_decay": 0.0}, {"params": "*"}], lr=1e-3)
lamb: up.LAMB = oneflow.LAMB(lr=0.1)
mixed: up.SGD = openseq2seq.MixedPrecisionOptimizerWrapper(up.SGD(rate), 128.0)
there: list[up.Updater] = [
    openseq2seq.optimize_loss(mixed, clip_gradients=1.0, summaries=["loss_scale"]),
    openseq2seq.optimize_loss("Adam", {"beta1": 0.8}, lambda step: 0.1 / (1 + step), iter_size=2),
    openseq2seq.optimize_loss(up.Lion, None, openseq2seq.lr_policies.fixed_lr(0.1), dtype="mixed", loss_scaling="Backoff"),
]
summed_up: dict[str, float] = openseq2seq.summaries_of(there[0], ["loss_scale"])
carried: up.Updater = up.get_updater(up.SGD(0.1, policy=policy), loss_scale=128, stochastic_rounding=None, report=True)
carried.overrides = {1: up.FROZEN}
carried.step([np.ones(3), None], [np.zeros(3), np.zeros(3)])
carried.flush([np.zeros(3), np.zeros(3)])
carried.reports = False
report: up.Report = carried.report()
numbers: dict[str, float] = report.as_dict()
scaled: float = carried.scale_loss(0.5) / carried.loss_scale
if TYPE_CHECKING:
    up.get_updater(up.SGD(), nonfinite="stop")  # type: ignore[arg-type]
    up.Average(keep="0.9")  # type: ignore[arg-type]
    torch.lr_scheduler.StepLR("0.1", 30)  # type: ignore[arg-type]
    torch.Adam(betas=0.9)  # type: ignore[call-overload]  # functions keep the types of their arguments
    oneflow.Adam([np.ones(3)])  # type: ignore[list-item]
    tensorlayerx.Adam(learning_rate=0.1)  # type: ignore[call-arg]

state = up.OptimizationState(batch_size=2, epoch=0, batch=0, iteration=0)
weights: dict[str, npt.NDArray[np.float32]] = {"w": np.zeros(3, np.float32)}
for optimizer in optimizers:
    update: up.Updater = up.get_updater(optimizer, state, backend="auto")
    for epoch in state.epochs(more=1):
        for batch in state.batches([[1, 2], [3]]):
            update("w", np.ones(3, np.float32), weights["w"])
            update.step({"w": None}, weights)
            update.step([np.ones(3)], [weights["w"]])
            first: int = batch[0] + epoch
    moment: npt.NDArray[np.float32] = up.normalized_gradient(optimizer, state, weights["w"], np.ones(3, np.float32))
    better: npt.NDArray[np.float32] = update.evaluation_weight("w", weights["w"])
    count: int = update.slots["w"].count
    what: str = update.report().what
    taken: up.LoadReport = update.load_state_dict(update.state_dict())
    if TYPE_CHECKING:
        update.save("run.safetensors", weights=weights, keep=2, wait=False, extra={"seed": 0})
        taken = update.load(Path("run.safetensors"), weights=[weights["w"]], strict=False)
        state.generator([0, 1], clock="batch")  # type: ignore[arg-type]
    order: npt.NDArray[np.int64] = state.generator(0, clock="epoch").permutation(3)
    value: float = up.get_learning_rate(rate, state.ahead(1)) + up.get_momentum(ramp, state)
