"""Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Literal

import attrs

from updaters.optimizers.adam import Adam
from updaters.optimizers.fields import choice, nonnegative
from updaters.protocols import Schedulable


@attrs.frozen(repr=False)
class AdamW(Adam):
    """Adam with decoupled weight decay, which Adam's update follows.

        w = w - lr * weight_decay * w

    Attributes:
        weight_decay: strength of the decay; the learning rate multiplies it.

    All else is `Adam`'s.

    Conventions:
        The decay comes before Adam's step and takes the plain learning rate, as in PyTorch, Keras
        (strength 0.004 there) and OpenSeq2Seq; in OneFlow it comes with the step, which is the same but for rounding.
        MXNet's decay takes the bias-corrected rate.

    References:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101.

    Example:
        >>> weight = np.array([1.0, -2.0])
        >>> update = up.get_updater(up.AdamW(0.1, weight_decay=0.1))
        >>> update("w", np.array([0.5, -1.0]), weight)
        >>> weight
        array([ 0.89, -1.88])
    """

    weight_decay: Schedulable | None = nonnegative(0.01, optional=True)
    decay: Literal["l2", "decoupled"] = choice("l2", "decoupled", default="decoupled")
