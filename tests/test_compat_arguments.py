"""The arguments of the compatibility modules: the systems' own, and errors that speak of them."""

import copy
import importlib
import inspect
import json
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.golden.signatures import signature
from tests.make_parity import functions
from tests.parity import MODULES
from updaters.compat import keras, mxnet_jl, oneflow, openseq2seq, tensorlayerx, torch

HERE = Path(__file__).parent

# Signatures


def positional(**parameters: Any) -> list[list[Any]]:
    return [[name, "POSITIONAL_OR_KEYWORD", value] for name, value in parameters.items()]


def keyword(**parameters: Any) -> list[list[Any]]:
    return [[name, "KEYWORD_ONLY", value] for name, value in parameters.items()]


NOTHING = inspect.Parameter.empty
MOMENTS = {"beta_1": 0.9, "beta_2": 0.999, "eps": 1e-7}
CLIPPED = {"weight_decay": 0.0, "grad_clip": None}
BETAS = {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}
SWITCHES = {"contiguous_params": False, "fused": False}
JL = {"lr_scheduler": None, "grad_clip": 0, "weight_decay": 1e-5}

SIGNATURES: dict[str, dict[str, list[list[Any]]]] = {
    "mxnet_jl": {
        "SGD": keyword(lr=0.01, momentum=0.0, momentum_scheduler=None, **JL | {"weight_decay": 1e-4}),
        "ADAM": keyword(lr=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, **JL),
        "AdaGrad": keyword(lr=0.1, epsilon=1e-6, **JL),
        "AdaDelta": keyword(lr=1.0, rho=0.95, epsilon=1e-6, **JL),
        "AdaMax": keyword(lr=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8, **JL),
        "RMSProp": keyword(lr=0.001, rho=0.9, epsilon=1e-6, **JL),
        "Nadam": keyword(lr=0.001, beta1=0.99, beta2=0.999, epsilon=1e-8, momentum_scheduler=None, **JL),
    },
    "tensorlayerx": {
        "Adadelta": positional(lr=0.001, rho=0.95, eps=1e-7, **CLIPPED),
        "Adagrad": positional(lr=0.001, initial_accumulator=0.1, eps=1e-7, **CLIPPED),
        "Adam": positional(lr=0.001, **MOMENTS, **CLIPPED),
        "Adamax": positional(lr=0.001, **MOMENTS, **CLIPPED),
        "Ftrl": positional(
            lr=0.001,
            lr_power=-0.5,
            initial_accumulator_value=0.1,
            l1_regularization_strength=0.0,
            l2_regularization_strength=0.0,
            beta=0.0,
            l2_shrinkage_regularization_strength=0.0,
            **CLIPPED,
        ),
        "Nadam": positional(lr=0.001, **MOMENTS, **CLIPPED),
        "RMSprop": positional(lr=0.001, rho=0.9, momentum=0.0, eps=1e-7, centered=False, **CLIPPED),
        "SGD": positional(lr=0.01, momentum=0.0, **CLIPPED),
        "Momentum": positional(lr=0.01, momentum=0.0, nesterov=False, **CLIPPED),
        "Lamb": keyword(lr=0.001, lamb_weight_decay=0.01, **MOMENTS | {"eps": 1e-6}, grad_clip=None),
        "LARS": keyword(lr=0.001, momentum=0.9, lars_coeff=0.001, lars_weight_decay=0.0005, eps=0.0, grad_clip=None),
        "ClipGradByValue": positional(clip_min=-1, clip_max=1),
        "ClipGradByNorm": positional(clip_norm=0.1),
        "ClipByGlobalNorm": positional(clip_norm=NOTHING),
    },
    "oneflow": {
        "Adagrad": positional(
            lr=0.001, lr_decay=0.0, weight_decay=0, initial_accumulator_value=0.0, eps=1e-10, contiguous_params=False
        ),
        "Adam": positional(**BETAS, amsgrad=False, do_bias_correction=True, **SWITCHES),
        "AdamW": positional(**BETAS, amsgrad=False, do_bias_correction=True, **SWITCHES),
        "LAMB": positional(**BETAS, adam_w_mode=True, do_bias_correction=True, amsgrad=False, contiguous_params=False),
        "RMSprop": positional(
            lr=0.001, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0.0, centered=False, contiguous_params=False
        ),
        "SGD": positional(lr=0.001, momentum=0.0, weight_decay=0.0)
        + keyword(dampening=0.0, nesterov=False, maximize=False, contiguous_params=False, fused=False),
    },
    "openseq2seq": {
        "NovoGrad": positional(
            learning_rate=1.0, beta1=0.95, beta2=0.98, epsilon=1e-8, weight_decay=0.0, grad_averaging=False
        ),
        "AdamW": positional(weight_decay=NOTHING, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8),
        "LARC": positional(optimizer=NOTHING, larc_eta=NOTHING, larc_mode="clip", min_update=1e-7, epsilon=1e-7),
    },
    "keras": json.loads((HERE / "golden/keras_signatures.json").read_text())
    | {
        "LossScaleOptimizer": positional(
            inner_optimizer=NOTHING, initial_scale=2.0**15, dynamic_growth_steps=2000, name=None
        ),
        "exclude_from_weight_decay": positional(optimizer=NOTHING, var_list=None, var_names=None),
    },
    "torch": json.loads((HERE / "golden/torch_signatures.json").read_text()),
}  # fmt: skip
for one in SIGNATURES["oneflow"].values():  # keys of a group of parameters there
    one += keyword(clip_grad_max_norm=None, clip_grad_norm_type=None)

CLIP = {"max_norm": NOTHING, "norm_type": 2.0}
SCALER = {"init_scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
GROUPS = {"add_param_group": positional(update=NOTHING, param_group=NOTHING), "param_groups": positional(update=NOTHING)}
SIGNATURES["torch"] |= GROUPS | {
    "clip_grad_norm_": positional(**CLIP, error_if_nonfinite=False, foreach=None),
    "clip_grad_value_": positional(clip_value=NOTHING, foreach=None),
    "state_dict": positional(update=NOTHING),
    "load_state_dict": positional(update=NOTHING, state_dict=NOTHING) + keyword(strict=True),
    "GradScaler": positional(**SCALER, enabled=True),
}
SIGNATURES["oneflow"] |= GROUPS | {
    "clip_grad_norm_": positional(**CLIP) + keyword(error_if_nonfinite=False, fused=False),
    "clip_grad_value_": positional(clip_value=NOTHING),
    "GradScaler": positional(**SCALER),
    "StaticGradScaler": positional(scale_factor=NOTHING),
}

FUNCTIONS = [(system, name) for system, signatures in SIGNATURES.items() for name in signatures]
RULES = [(system, name) for system in MODULES for name in functions(system) if name != "LARC"]


@pytest.mark.parametrize(("system", "name"), FUNCTIONS)
def test_names_order_and_values_of_arguments_are_the_systems(system: str, name: str) -> None:
    ours, theirs = signature(getattr(MODULES[system], name)), SIGNATURES[system][name]
    if system == "mxnet_jl":  # keywords alone, which have no order
        ours, theirs = sorted(ours), sorted(theirs)
    assert ours == theirs
    assert [type(value) is bool for *_, value in ours] == [type(value) is bool for *_, value in theirs]


def test_every_function_has_a_signature_in_the_table() -> None:
    namespaces = [("mxnet_jl", "LearningRate"), ("mxnet_jl", "Momentum")]
    assert {*FUNCTIONS, *namespaces} == {(system, name) for system, module in MODULES.items() for name in module.__all__}


# Values


def make(system: str, name: str, **arguments: Any) -> up.Optimizer:
    needed = {"weight_decay": 0.01} if (system, name) == ("openseq2seq", "AdamW") else {}
    return getattr(MODULES[system], name)(**needed | arguments)


def lr_name(system: str) -> str:
    return "learning_rate" if system in ("keras", "openseq2seq") else "lr"


def shown(name: str, argument: str) -> str:
    return re.escape(f"{name}.{argument} must be")


@pytest.mark.parametrize(("system", "name"), RULES)
def test_a_learning_rate_may_be_a_scheduler(system: str, name: str) -> None:
    def schedule(state: up.OptimizationState) -> float:
        return 0.1

    assert make(system, name, **{lr_name(system): schedule}).lr is schedule


@pytest.mark.parametrize(("system", "name"), RULES)
def test_an_error_about_a_number_names_the_argument_that_was_given(system: str, name: str) -> None:
    numbers = [parameter for parameter, _, value in SIGNATURES[system][name] if type(value) in (int, float)]
    assert numbers
    for parameter in numbers:
        if (name, parameter) == ("RMSprop", "momentum") and system == "oneflow":  # which is never there
            continue
        spoken = "muon_a, muon_b, muon_c" if parameter.startswith("muon_") else parameter
        not_a_number = TypeError if parameter == "ns_steps" else ValueError  # for NaN is not an integer
        for wrong, error in ((math.nan, not_a_number), ("1", TypeError), (True, TypeError)):
            with pytest.raises(error, match=f"^{shown(name, spoken)}"):
                make(system, name, **{parameter: wrong})


@pytest.mark.parametrize(("system", "name"), RULES)
@pytest.mark.parametrize("wrong", [(0.9, -1e-9), (1.0, 0.9), ("0.9", 0.9), (0.9,), 0.9, None])
def test_an_error_about_a_pair_of_betas_names_it(system: str, name: str, wrong: Any) -> None:
    if "betas" in dict((parameter, value) for parameter, _, value in SIGNATURES[system][name]):
        with pytest.raises((TypeError, ValueError), match=rf"^{name}\.betas(\[[01]\])? must be"):
            make(system, name, betas=wrong)


@pytest.mark.parametrize(("system", "name"), RULES)
def test_flags_are_booleans(system: str, name: str) -> None:
    for parameter, _, value in SIGNATURES[system][name]:
        if type(value) is bool and (system != "torch" or parameter not in torch.WHY):
            with pytest.raises(TypeError, match=f"^{shown(name, parameter)} True or False, got 2$"):
                make(system, name, **{parameter: 2})


@pytest.mark.parametrize(("system", "name"), RULES)
def test_an_argument_that_the_system_does_not_have_is_an_error(system: str, name: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentun'"):
        make(system, name, momentun=0.9)


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: torch.Adam(betas=(0.9, 1.0)), ValueError, "Adam.betas[1] must be in [0, 1), got 1.0"),
    (lambda: torch.NAdam(betas=(-0.1, 0.9)), ValueError, "NAdam.betas[0] must be in [0, 1), got -0.1"),
    (lambda: torch.Adam(betas=0.9), TypeError, "Adam.betas must be a pair, got 0.9"),
    (lambda: torch.Adam(eps=-1e-8), ValueError, "Adam.eps must be in [0, inf), got -1e-08"),
    (lambda: torch.Adam(weight_decay=-1), ValueError, "Adam.weight_decay must be in [0, inf), got -1"),
    (lambda: torch.Adam(fused=True), ValueError, "Adam.fused is not taken, got True: each update is one fused pass as it is"),
    (lambda: torch.SGD(foreach=True), ValueError, "SGD.foreach is not taken, got True: each update is one fused pass as it is"),
    (
        lambda: torch.AdamW(capturable=True),
        ValueError,
        "AdamW.capturable is not taken, got True: updates on a GPU are launched on your stream as they are",
    ),
    (
        lambda: torch.Rprop(differentiable=True),
        ValueError,
        "Rprop.differentiable is not taken, got True: updates are in place, and no gradient goes through them",
    ),
    (lambda: torch.Adam(fused=0), ValueError, "Adam.fused is not taken, got 0: each update is one fused pass as it is"),
    (lambda: torch.Adam(foreach=1), ValueError, "Adam.foreach is not taken, got 1: each update is one fused pass as it is"),
    (lambda: torch.SGD(nesterov=True), ValueError, "SGD.nesterov needs a momentum, got momentum=None"),
    (lambda: torch.SGD(dampening=0.1), ValueError, "SGD.dampening needs a momentum, got momentum=None"),
    (lambda: torch.RMSprop(alpha=1.0), ValueError, "RMSprop.alpha must be in [0, 1), got 1.0"),
    (lambda: torch.ASGD(t0=-1), ValueError, "ASGD.t0 must be in [0, inf), got -1"),
    (lambda: torch.Rprop(etas=(1.2, 0.5)), ValueError, "Rprop.etas[0] must be in (0, 1), got 1.2"),
    (lambda: torch.Rprop(step_sizes=(1,)), TypeError, "Rprop.step_sizes must be a pair, got (1,)"),
    (
        lambda: torch.Rprop(step_sizes=(50, 1e-6)),
        ValueError,
        "Rprop.step_sizes[0] must be at most step_sizes[1], got 50.0 and 1e-06",
    ),
    (lambda: torch.Adafactor(beta2_decay=0.8), ValueError, "Adafactor.beta2_decay must be at most 0, got 0.8"),
    (lambda: torch.Adafactor(eps=(None, None)), TypeError, "Adafactor.eps[1] must be a real number in [0, inf) or a scheduler, got None (NoneType)"),
    (lambda: torch.Adafactor(eps=1e-3), TypeError, "Adafactor.eps must be a pair, got 0.001"),
    (
        lambda: torch.Muon(adjust_lr_fn="rms"),
        ValueError,
        "Muon.adjust_lr_fn must be 'original', 'match_rms_adamw' or None, got 'rms'",
    ),
    (
        lambda: torch.Muon(adjust_lr_fn=["original"]),
        ValueError,
        "Muon.adjust_lr_fn must be 'original', 'match_rms_adamw' or None, got ['original']",
    ),
    (lambda: torch.Muon(ns_coefficients=(1, 2, math.inf)), ValueError, "Muon.ns_coefficients must be finite, got inf"),
    (
        lambda: torch.Muon(ns_coefficients=(1, 2, "3")),
        TypeError,
        "Muon.ns_coefficients must be a finite number, got '3' (str)",
    ),
    (
        lambda: torch.Adafactor(beta2_decay="1"),
        TypeError,
        "Adafactor.beta2_decay must be a real number at most 0, got '1' (str)",
    ),
    (
        lambda: tensorlayerx.ClipGradByValue("1"),
        TypeError,
        "ClipGradByValue.clip_min must be a finite number or a scheduler, got '1' (str)",
    ),
    (lambda: torch.Muon(ns_coefficients=(1, 2)), ValueError, "Muon.ns_coefficients must be three numbers, got (1, 2)"),
    (lambda: torch.Muon(ns_steps=-1), ValueError, "Muon.ns_steps must be an integer of at least 0, got -1"),
    (lambda: keras.Adam(beta_1=1.0), ValueError, "Adam.beta_1 must be in [0, 1), got 1.0"),
    (lambda: keras.Adam(learning_rate=-1.0), ValueError, "Adam.learning_rate must be in [0, inf), got -1.0"),
    (lambda: keras.Adam(clipnorm=-1.0), ValueError, "Adam.clipnorm must be in (0, inf), got -1.0"),
    (lambda: keras.Adam(clipvalue=-1.0), ValueError, "Adam.clipvalue must be in (0, inf), got -1.0"),
    (
        lambda: keras.Adam(clipnorm=1.0, clipvalue=2.0),
        ValueError,
        "Adam takes one of clipnorm, clipvalue and global_clipnorm, got clipnorm=1.0 and clipvalue=2.0",
    ),
    (
        lambda: keras.Adam(clipnorm=0, global_clipnorm=2.0),
        ValueError,
        "Adam takes one of clipnorm, clipvalue and global_clipnorm, got clipnorm=0 and global_clipnorm=2.0",
    ),
    (lambda: keras.Adam(global_clipnorm=-1.0), ValueError, "Adam.global_clipnorm must be in (0, inf), got -1.0"),
    (lambda: keras.Lion(use_ema=1), TypeError, "Lion.use_ema must be True or False, got 1"),
    (lambda: keras.SGD(use_ema=True, ema_momentum=1.5), ValueError, "SGD.ema_momentum must be in [0, 1], got 1.5"),
    (lambda: keras.SGD(ema_momentum=-0.1), ValueError, "SGD.ema_momentum must be in [0, 1], got -0.1"),
    (
        lambda: keras.SGD(use_ema=True, ema_overwrite_frequency=-1),
        ValueError,
        "SGD.ema_overwrite_frequency must be an integer of at least 1, got -1",
    ),
    (
        lambda: keras.SGD(ema_overwrite_frequency=2.5),
        TypeError,
        "SGD.ema_overwrite_frequency must be an integer of at least 1, got 2.5",
    ),
    (lambda: keras.SGD(loss_scale_factor=0), ValueError, "SGD.loss_scale_factor must be in (0, inf), got 0"),
    (
        lambda: keras.Muon(loss_scale_factor="8"),
        TypeError,
        "Muon.loss_scale_factor must be a real number in (0, inf), got '8' (str)",
    ),
    (
        lambda: keras.Nadam(gradient_accumulation_steps=1),
        ValueError,
        "Nadam.gradient_accumulation_steps must be an integer of at least 2, got 1",
    ),
    (
        lambda: keras.Nadam(gradient_accumulation_steps=True),
        TypeError,
        "Nadam.gradient_accumulation_steps must be an integer of at least 2, got True",
    ),
    (lambda: keras.Adam(name="adam"), ValueError, "Adam.name is not taken, got 'adam': an optimizer has no name here"),
    (
        lambda: keras.AdamW(weight_decay=None),
        TypeError,
        "AdamW.weight_decay must be a number or a scheduler, got None; the rule without one is Adam",
    ),
    (lambda: keras.Ftrl(learning_rate=0.0), ValueError, "Ftrl.learning_rate must be in (0, inf), got 0.0"),
    (lambda: keras.Ftrl(learning_rate_power=0.5), ValueError, "Ftrl.learning_rate_power must be at most 0, got 0.5"),
    (
        lambda: keras.Ftrl(l2_regularization_strength=-1),
        ValueError,
        "Ftrl.l2_regularization_strength must be in [0, inf), got -1",
    ),
    (lambda: keras.Adafactor(beta_2_decay=0.8), ValueError, "Adafactor.beta_2_decay must be at most 0, got 0.8"),
    (lambda: keras.Muon(exclude_layers="dense"), TypeError, "Muon.exclude_layers must be a list of patterns, got 'dense'"),
    (lambda: keras.Muon(exclude_layers=[1]), TypeError, "Muon.exclude_layers must be a list of patterns, got [1]"),
    (lambda: keras.Muon(exclude_layers=5), TypeError, "Muon.exclude_layers must be a list of patterns, got 5"),
    (
        lambda: keras.Muon(exclude_layers=["dense", "[a"]),
        ValueError,
        "Muon.exclude_layers must hold regular expressions, got '[a': unterminated character set at position 0",
    ),
    (lambda: keras.Muon(adam_beta_2=1.0), ValueError, "Muon.adam_beta_2 must be in [0, 1), got 1.0"),
    (lambda: keras.Muon(adam_weight_decay=-1.0), ValueError, "Muon.adam_weight_decay must be in [0, inf), got -1.0"),
    (lambda: keras.Muon(adam_lr_ratio=0), ValueError, "Muon.adam_lr_ratio must be in (0, inf), got 0"),
    (lambda: keras.Muon(momentum=1.0), ValueError, "Muon.momentum must be in [0, 1), got 1.0"),
    (lambda: mxnet_jl.SGD(0.1), TypeError, "SGD() takes 0 positional arguments but 1 was given"),
    (lambda: mxnet_jl.SGD(grad_clip=-1), ValueError, "SGD.grad_clip must be in (0, inf), got -1"),
    (lambda: mxnet_jl.SGD(lr_scheduler=0.1), TypeError, "SGD.lr_scheduler must be a scheduler or None, got 0.1"),
    (lambda: mxnet_jl.Nadam(momentum_scheduler=0.9), TypeError, "Nadam.momentum_scheduler must be a scheduler or None, got 0.9"),
    (
        lambda: mxnet_jl.Nadam(momentum_scheduler=mxnet_jl.Momentum.Null()),
        ValueError,
        "Nadam.momentum_scheduler is not taken, got Null(): a Nadam needs a momentum; leave momentum_scheduler out for its own",
    ),
    (
        lambda: mxnet_jl.SGD(lr="junk", lr_scheduler=mxnet_jl.LearningRate.Fixed(0.1)),
        TypeError,
        "SGD.lr must be a real number in [0, inf) or a scheduler, got 'junk' (str)",
    ),
    (
        lambda: mxnet_jl.ADAM(lr=-1, lr_scheduler=mxnet_jl.LearningRate.Fixed(0.1)),
        ValueError,
        "ADAM.lr must be in [0, inf), got -1",
    ),
    (
        lambda: mxnet_jl.SGD(momentum="junk", momentum_scheduler=mxnet_jl.Momentum.Fixed(0.1)),
        TypeError,
        "SGD.momentum must be a real number in [0, 1] or a scheduler, got 'junk' (str)",
    ),
    (
        lambda: mxnet_jl.SGD(momentum=2, momentum_scheduler=mxnet_jl.Momentum.Fixed(0.1)),
        ValueError,
        "SGD.momentum must be in [0, 1], got 2",
    ),
    (lambda: mxnet_jl.Momentum.Fixed(2), ValueError, "Momentum.Fixed.value must be in [0, 1], got 2"),
    (
        lambda: mxnet_jl.Momentum.Fixed("x"),
        TypeError,
        "Momentum.Fixed.value must be a real number in [0, 1], got 'x' (str)",
    ),
    (lambda: mxnet_jl.ADAM(beta1=1.0), ValueError, "ADAM.beta1 must be in [0, 1), got 1.0"),
    (lambda: mxnet_jl.LearningRate.Exp(0.1, gamma=1.0), ValueError, "LearningRate.Exp.gamma must be in (0, 1), got 1.0"),
    (lambda: mxnet_jl.LearningRate.Inv(0.1, gamma=0), ValueError, "LearningRate.Inv.gamma must be in (0, 1), got 0"),
    (lambda: mxnet_jl.LearningRate.Fixed(-1), ValueError, "LearningRate.Fixed.rate must be in [0, inf), got -1"),
    (
        lambda: mxnet_jl.LearningRate.Inv(0.1, decay_on_iteration=1),
        TypeError,
        "LearningRate.Inv.decay_on_iteration must be True or False, got 1",
    ),
    (lambda: mxnet_jl.Momentum.NadamScheduler(mu0=1.0), ValueError, "Momentum.NadamScheduler.mu0 must be in [0, 1), got 1.0"),
    (lambda: tensorlayerx.Adam(learning_rate=0.1), TypeError, "Adam takes no learning_rate: TensorLayerX calls it lr"),
    (lambda: tensorlayerx.LARS(learning_rate=0.1), TypeError, "LARS takes no learning_rate: TensorLayerX calls it lr"),
    (lambda: tensorlayerx.Adam(beta_2=1.0), ValueError, "Adam.beta_2 must be in [0, 1), got 1.0"),
    (
        lambda: tensorlayerx.Adam(weight_decay=-1, grad_clip=tensorlayerx.ClipByGlobalNorm(1.0)),
        ValueError,
        "Adam.weight_decay must be in [0, inf), got -1",
    ),
    (
        lambda: tensorlayerx.LARS(grad_clip=1.0),
        TypeError,
        "LARS.grad_clip must be ClipGradByValue(...), ClipGradByNorm(...), ClipByGlobalNorm(...) or None, got 1.0",
    ),
    (lambda: tensorlayerx.ClipGradByNorm(0), ValueError, "ClipGradByNorm.clip_norm must be in (0, inf), got 0"),
    (lambda: tensorlayerx.ClipGradByValue(2, 1), ValueError, "ClipGradByValue.clip_min must be at most clip_max, got 2.0 and 1.0"),
    (lambda: tensorlayerx.ClipByGlobalNorm(-1), ValueError, "ClipByGlobalNorm.clip_norm must be in (0, inf), got -1"),
    (lambda: tensorlayerx.Lamb(0.1), TypeError, "Lamb() takes 0 positional arguments but 1 was given"),
    (lambda: tensorlayerx.Lamb(lamb_weight_decay=-1), ValueError, "Lamb.lamb_weight_decay must be in [0, inf), got -1"),
    (lambda: tensorlayerx.Ftrl(lr_power=1), ValueError, "Ftrl.lr_power must be at most 0, got 1"),
    (lambda: oneflow.Adam(betas=(0.9, 1)), ValueError, "Adam.betas[1] must be in [0, 1), got 1"),
    (
        lambda: oneflow.RMSprop(momentum=0.9),
        ValueError,
        "RMSprop.momentum is not taken, got 0.9: OneFlow has none but 0; updaters.RMSProp(momentum=...) has",
    ),
    (
        lambda: oneflow.SGD(fused=True),
        ValueError,
        "SGD.fused is not taken, got True: each update is one fused pass as it is",
    ),
    (
        lambda: oneflow.Adagrad(contiguous_params=True),
        ValueError,
        "Adagrad.contiguous_params is not taken, got True: weights stay where they are",
    ),
    (lambda: oneflow.LAMB(amsgrad=True), ValueError, "LAMB.amsgrad is not taken, got True: OneFlow has none for LAMB"),
    (
        lambda: oneflow.SGD(maximize=True),
        ValueError,
        "SGD.maximize is not taken, got True: without a momentum OneFlow descends all the same; updaters.SGD(maximize=True) climbs",
    ),
    (
        lambda: oneflow.SGD(momentum=0.9, maximize=True, weight_decay=0.1),
        ValueError,
        "SGD.maximize is not taken, got True: OneFlow turns the whole step round, so that weight_decay makes weights grow; "
        "updaters.SGD(maximize=True) does not",
    ),
    (
        lambda: oneflow.SGD(momentum=0.9, nesterov=True, dampening=0.1),
        ValueError,
        "SGD.nesterov takes no dampening, got dampening=0.1",
    ),
    (
        lambda: oneflow.Adam(clip_grad_max_norm=1.0),
        ValueError,
        "Adam.clip_grad_max_norm goes with clip_grad_norm_type, without which it does nothing in OneFlow, got 1.0 alone",
    ),
    (
        lambda: oneflow.SGD(clip_grad_norm_type=2.0),
        ValueError,
        "SGD.clip_grad_norm_type goes with clip_grad_max_norm, without which it does nothing in OneFlow, got 2.0 alone",
    ),
    (
        lambda: oneflow.LAMB(clip_grad_max_norm=0, clip_grad_norm_type=2.0),
        ValueError,
        "LAMB.clip_grad_max_norm must be in (0, inf), got 0",
    ),
    (
        lambda: oneflow.LAMB(clip_grad_max_norm=1, clip_grad_norm_type="two"),
        TypeError,
        "LAMB.clip_grad_norm_type must be a real number in (0, inf) or 'inf', got 'two' (str)",
    ),
    (lambda: openseq2seq.LARC(0.1, 0.02), TypeError, "optimizer must be an Optimizer, got 0.1"),
    (lambda: openseq2seq.LARC(up.SGD(), -1), ValueError, "LARC.larc_eta must be in [0, inf), got -1"),
    (lambda: openseq2seq.LARC(up.SGD(), 1, "clamp"), ValueError, "LARC.larc_mode must be 'clip' or 'scale', got 'clamp'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_what_is_refused_and_how(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize(
    ("function", "argument", "forgotten"),
    [
        (mxnet_jl.SGD, "lr_scheduler", mxnet_jl.LearningRate.Exp),
        (mxnet_jl.ADAM, "lr_scheduler", mxnet_jl.LearningRate.Fixed),
        (mxnet_jl.ADAM, "lr", mxnet_jl.LearningRate.Inv),
        (mxnet_jl.SGD, "lr_scheduler", up.learning_rate.Exp),
        (mxnet_jl.SGD, "momentum_scheduler", mxnet_jl.Momentum),
        (mxnet_jl.SGD, "momentum_scheduler", mxnet_jl.Momentum.NadamScheduler),
        (mxnet_jl.SGD, "momentum", mxnet_jl.Momentum.Null),
        (mxnet_jl.Nadam, "momentum_scheduler", mxnet_jl.Momentum.NadamScheduler),
    ],
)
def test_a_scheduler_that_was_not_called_is_an_error(function: Any, argument: str, forgotten: Any) -> None:
    message = f"{function.__name__}.{argument} must be a scheduler, got {forgotten!r} (call it)"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        function(**{argument: forgotten})


def test_a_schedulers_own_function_is_a_scheduler() -> None:
    schedule = mxnet_jl.SGD(lr=lambda state: 0.1, lr_scheduler=lambda state: 0.2, momentum=None).at(up.OptimizationState())
    assert (schedule.lr, schedule.momentum) == (0.2, None)


PARAMETERS: list[Callable[[], Any]] = [
    lambda: [np.ones(2)],
    lambda: iter([np.ones(2)]),
    lambda: (weight for weight in [np.ones(2)]),
    lambda: {"w": np.ones(2)},
    lambda: {"w": np.ones(2)}.items(),
    lambda: np.ones(2),
    list,
]


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize(("system", "name"), [rule for rule in RULES if rule[0] in ("torch", "oneflow")])
def test_parameters_in_the_place_of_a_learning_rate_are_an_error(system: str, name: str, parameters: Any) -> None:
    function = getattr(MODULES[system], name)
    for call in (lambda: function(parameters(), lr=0.1), lambda: function(parameters()), lambda: function(params=parameters())):
        with pytest.raises(TypeError, match=rf"^{system}\.{name} takes no params: give each weight with its gradient to "):
            call()


def test_what_is_no_parameters_is_a_learning_rate_or_a_plain_error() -> None:
    class Schedule(list[float]):
        def __call__(self, state: up.OptimizationState) -> float:
            return self[state.epoch]

    schedule = Schedule([0.1, 0.2])
    assert torch.Adam(schedule).lr is schedule
    for wrong in ("0.1", np.array(0.1)):
        with pytest.raises(TypeError, match=r"^Adam\.lr must be a real number"):
            torch.Adam(wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_functions_keep_their_names_and_documentation() -> None:
    for system in ("torch", "oneflow", "tensorlayerx"):
        for name in MODULES[system].__all__:
            function = getattr(MODULES[system], name)
            assert function.__name__ == name
            assert function.__module__ in (f"updaters.compat.{system}", f"updaters.compat.{system}.gradients")
            assert ">>>" in function.__doc__


def test_keras_muons_patterns_may_come_one_by_one() -> None:
    assert keras.Muon(exclude_layers=(name for name in ("a", "b"))) == keras.Muon(exclude_layers=["a", "b"])  # type: ignore[arg-type]


def test_an_error_of_keras_muons_adam_says_how_the_number_came_about() -> None:
    def wrong(state: up.OptimizationState) -> float:
        return -1.0

    said = {"learning_rate": f"lr must be in [0, inf), got -2.0 from 2.0 * {wrong!r} at "}
    said["adam_weight_decay"] = f"weight_decay must be in [0, inf), got -0.5 from {wrong!r} / 2.0 at "
    for argument, message in said.items():
        update = up.get_updater(keras.Muon(**{argument: wrong}, adam_lr_ratio=2))
        with pytest.raises(ValueError, match=rf"^Adam\.{re.escape(message)}"):
            update("b", np.ones(2), np.ones(2))


def test_zero_is_off_where_the_system_says_so() -> None:
    for optimizer in (torch.SGD(0.1), keras.SGD(0.1, clipnorm=0, weight_decay=0.0), mxnet_jl.SGD(weight_decay=0)):
        assert (optimizer.momentum, optimizer.weight_decay, optimizer.grad_clip, optimizer.transforms) == (None, None, None, ())
    assert mxnet_jl.SGD(momentum_scheduler=mxnet_jl.Momentum.Null(), momentum=0.9).momentum is None
    assert mxnet_jl.SGD(momentum_scheduler=mxnet_jl.Momentum.Fixed(0.0)).slots == ("velocity",)


def test_larc_comes_after_what_the_gradient_goes_through_already() -> None:
    optimizer = tensorlayerx.SGD(grad_clip=tensorlayerx.ClipGradByNorm(1.0))
    assert openseq2seq.LARC(optimizer, 0.1).transforms == (up.transforms.ClipByNorm(1.0), up.transforms.LARC(0.1))


@pytest.mark.parametrize("optimizer", [up.Muon(0.1, otherwise=up.SGD(0.1)), keras.Muon(0.1), up.Muon(otherwise=keras.Muon())])
def test_larc_is_for_the_weights_of_the_other_rule_too(optimizer: up.Muon) -> None:
    larc = openseq2seq.LARC(optimizer, 0.1)
    rules: list[Any] = [larc]
    while getattr(rules[-1], "otherwise", None):
        rules.append(rules[-1].otherwise)
    assert [rule.transforms for rule in rules] == [(up.transforms.LARC(0.1),)] * len(rules)
    assert len(rules) > 1
    assert getattr(optimizer.otherwise, "transforms", None) == ()


def test_a_vector_beside_muons_matrices_is_scaled_by_larc() -> None:
    weight = np.array([3.0, 4.0])
    update = up.get_updater(openseq2seq.LARC(up.Muon(otherwise=up.SGD(1.0)), 0.1, larc_mode="scale"))
    update("b", np.array([0.0, 2.0]), weight)
    np.testing.assert_allclose(weight, [3.0, 3.5], rtol=1e-6)


# Rules of their own


def test_adafactors_own_epsilon_is_the_precision_of_each_weights_dtype() -> None:
    arguments = {"lr": 0.1, "beta2_decay": -0.7, "d": 2.0, "weight_decay": 0.2, "maximize": True}
    optimizer = torch.Adafactor(eps=(None, 0.01), **arguments)
    precisions = {"float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52, ">f4": 2.0**-23, "complex64": 2.0**-23}
    for dtype, precision in precisions.items():
        chosen = optimizer.for_weight("w", (2, 3), np.dtype(dtype))
        assert chosen == torch.Adafactor(eps=(precision, 0.01), **arguments)
        assert chosen is optimizer.for_weight("v", (4, 3), np.dtype(dtype))
        vector = torch.Adafactor(eps=(precision, 0.01), **arguments).for_weight("w", (3,), np.dtype(dtype))
        assert optimizer.for_weight("w", (3,), np.dtype(dtype)) == vector
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    chosen = optimizer.for_weight("w", (2, 3), np.dtype(ml_dtypes.bfloat16))
    assert chosen == torch.Adafactor(eps=(float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps), 0.01), **arguments)


@pytest.mark.parametrize(
    ("index", "muon"),
    [
        ("kernel", True),
        (("dense", "kernel"), True),
        (("token_Embedding", "kernel"), False),
        ("EMBEDDINGS", False),
        (("layers", 3, "kernel"), False),
        (("Layers", 3, "kernel"), True),
        (3, True),
        ("head", False),
        (("model", "layers", 3, "kernel"), False),
        ("model/head", True),
    ],
)
def test_keras_muon_reads_an_index_as_a_path(index: Any, muon: bool) -> None:
    weights = {index: np.ones((2, 2))}
    update = up.get_updater(keras.Muon(exclude_layers=["layers/3", "^head$"]))
    update.step({index: np.ones((2, 2))}, weights)
    assert set(update.slots[index].arrays) == ({"m"} if muon else {"m", "v"})
    assert np.isfinite(weights[index]).all()


def test_pytorchs_muon_takes_matrices_only() -> None:
    with pytest.raises(ValueError, match="weight 'b': Muon takes matrices, got shape \\(3,\\)"):
        up.get_updater(torch.Muon())("b", np.ones(3), np.ones(3))


def test_asgd_is_late_and_rprop_reads_its_rate_once() -> None:
    def late(state: up.OptimizationState) -> float:
        return [0.5, 0.25, 8.0][state.iteration - 1]

    weight = np.array([4.0])
    update = up.get_updater(torch.ASGD(late, lambd=0))
    moves = []
    for _ in range(3):
        before = weight.copy()
        update.step([np.array([1.0])], [weight])
        moves.append(float(before[0] - weight[0]))
    assert moves == [0.5, 0.5, 0.25]

    update = up.get_updater(torch.Rprop(late, etas=(0.5, 2.0)))
    weight = np.array([4.0])
    for _ in range(3):
        update.step([np.array([1.0])], [weight])
    assert weight.tolist() == [4.0 - 0.5 - 1.0 - 2.0]


@pytest.mark.parametrize(("system", "name"), RULES)
def test_an_updater_goes_on_from_a_pickle_bit_for_bit(system: str, name: str) -> None:
    optimizer = make(system, name, **{lr_name(system): up.learning_rate.Exp(0.1, clock="iteration")})
    weight = np.array([[1.0, -2.0], [0.5, 0.25]])
    grads = [np.array([[0.5, -1.0], [0.1, 0.3]]) * sign for sign in (1, 2, -1)]
    update = up.get_updater(optimizer)
    update.step([grads[0]], [weight])
    other, again = weight.copy(), copy.deepcopy(pickle.loads(pickle.dumps(update)))
    for grad in grads[1:]:
        update.step([grad], [weight])
        again.step([grad], [other])
    assert weight.tolist() == other.tolist()
    assert attrs.evolve(optimizer) == optimizer


def test_the_modules_are_imported_one_by_one() -> None:
    program = "import sys, updaters; print([name for name in sys.modules if name.startswith('updaters.compat')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert importlib.import_module("updaters.compat.torch") is torch
