"""OpenSeq2Seq's own optimizers: the names, arguments and numerics of its `optimizers` module.

`"optimizer": NovoGrad, "optimizer_params": {"beta1": 0.95}, "larc_params": {"larc_eta": 0.001}` of a configuration becomes
`optimize_loss(NovoGrad, {"beta1": 0.95}, larc_params={"larc_eta": 0.001})`, an updater, with
`from updaters.compat.openseq2seq import NovoGrad, optimize_loss`; or, without what its trainer does besides,
`updaters.get_updater(LARC(NovoGrad(beta1=0.95), larc_eta=0.001))`.

A learning rate may be a scheduler, any callable `state -> float`, in the place of an `lr_policy`; in `optimize_loss` it is a
function of the global step. Those of OpenSeq2Seq are in `lr_policies`, and its loss scaling is `AutomaticLossScaler`. The rules
of TensorFlow 1 that it knows by name are in `rules`.
"""

from updaters.compat.openseq2seq import lr_policies as lr_policies
from updaters.compat.openseq2seq import rules as rules
from updaters.compat.openseq2seq.loss_scaling import AutomaticLossScaler as AutomaticLossScaler
from updaters.compat.openseq2seq.rules import LARC, AdamW, NovoGrad
from updaters.compat.openseq2seq.training import OPTIMIZER_CLS_NAMES as OPTIMIZER_CLS_NAMES
from updaters.compat.openseq2seq.training import OPTIMIZER_SUMMARIES as OPTIMIZER_SUMMARIES
from updaters.compat.openseq2seq.training import MixedPrecisionOptimizerWrapper as MixedPrecisionOptimizerWrapper
from updaters.compat.openseq2seq.training import get_regularization_loss as get_regularization_loss
from updaters.compat.openseq2seq.training import optimize_loss as optimize_loss
from updaters.compat.openseq2seq.training import summaries_of as summaries_of

__all__ = ["LARC", "AdamW", "NovoGrad"]
