"""Measure how close the compatibility modules are to their systems, and write docs/parity.md.

python tests/make_parity.py            writes the page
python tests/make_parity.py --check    exit status 1 where the page says something else, or errors are more than a power of ten apart
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import updaters as up  # noqa: E402
from tests import openseq2seq_policy, schedule_parity  # noqa: E402
from tests.parity import COMPARED, GOLDEN, MODULES, golden_error, oracle_error  # noqa: E402
from updaters.compat.torch import _states  # noqa: E402

PAGE = ROOT / "docs" / "parity.md"

TITLES = {
    "torch": "PyTorch",
    "keras": "Keras",
    "mxnet_jl": "MXNet.jl",
    "tensorlayerx": "TensorLayerX",
    "oneflow": "OneFlow",
    "openseq2seq": "OpenSeq2Seq",
}

INTRODUCTION = """\
# How close the compatibility modules are to their systems

This page is written by `python tests/make_parity.py`, and a test holds it to what is measured.

Each function of `updaters.compat` takes a system's own arguments, by its names, in its order and with its values where nothing is
given, and gives one of our rules, set up to do what the system does. All is float64, over 45 updates with a learning rate that
moves at each, gradients from 1e-6 to 1e2 with zeros among them, and weights that begin at random or at 0. The
NumPy backend runs; that the others give its values is tested rule by rule. Errors are rounded up to a power of ten, and 1e-14 at least, which is rounding.

- **PyTorch and Keras** were run: their own optimizers gave the weights, which are stored in `tests/golden`. An error is the
  largest |x - y| / (1 + |y|). PyTorch ran with float64 as its own dtype; where a system rounds to less inside, that
  was taken out, and what it amounts to is measured apart.
- **MXNet.jl, TensorLayerX, OneFlow and OpenSeq2Seq** were read: `tests/parity.py` has what their sources do as loops over numbers.
  An error is the largest one, over the length of the path that the weight has gone.
- **Schedules** were run too, or read, as `tests/system_schedules.py` has them. An error is the largest |x - y| over the largest
  rate. The first column is a call by the system's name, and the second the schedule of ours that it gives. A `Delay` of 1 is a
  system whose steps count from 0.

`DelayedASGD`, `RpropOfFirstRate`, `AdafactorOfDtype`, `MuonOfPaths` and `RMSPropOfOnes` are our `ASGD`, `Rprop`, `Adafactor`, `Muon`
and `RMSProp` with a system's own habit on top: its functions give them, and nobody need name them.
"""

ABOUT = {
    "torch": """\
Equal: the order of `maximize`, l2 decay and rule; both decays; the place of every epsilon; t for each weight by itself. The module
follows 2.13. `LBFGS` and `SparseAdam` are not there.

Groups of parameters, added and changed in mid-run, `clip_grad_norm_` of the orders 0.5, 1, 2, 3 and inf, complex gradients among
them, `clip_grad_value_` and `GradScaler`, with its skipped steps, give PyTorch's weights to 1e-14; these are stored in
`tests/golden/torch_groups.json`. On purpose a group has patterns or indices of weights, and the first that has a weight counts,
where two are an error there; an argument that PyTorch does not know is an error, where it is kept unread there; what
`error_if_nonfinite=True` does is the updater's `nonfinite="raise"`, and without it gradients of a norm that is infinite or NaN
are left as they are, where they become 0 or NaN there; and a scale of losses never becomes 0.
""",
    "keras": """\
Equal: the gradient over the loss scale; the mean of the calls that make one update; a clip by norm or value, or by the norm of
all gradients; a decoupled decay at the scheduled rate, but for the weights that are excluded from it; the rule; the average of the
weights, at every call, and when it takes their place; the place of every epsilon. Of `LossScaleOptimizer`, when its scale moves,
and that an update that is skipped counts for nothing. Averages are compared as weights are. The module follows 3.15.

On purpose t counts a weight's own updates, so that a weight that is trained later gets a bias correction of its own; Keras counts
for all weights together, and averages those without a gradient too. A gradient that is None adds nothing to a mean, and what was
accumulated before it is applied; a weight that has none in the last of the calls is not updated there. Gradients whose norm is
infinite or NaN are as they are under `global_clipnorm`, all NaN in Keras. `LossScaleOptimizer` looks at the mean of accumulated
gradients, and skips all of it, where Keras skips a call; its scale stays within float32's range. A pattern of
`exclude_from_weight_decay` is searched for in the whole index, and in the last part of a path there.
""",
    "mxnet_jl": """\
Equal: gradients over `state.batch_size`, then the clip, then the l2 decay, which is on unless it is 0; the place of every
epsilon; epochs and iterations that count from 1. The module follows 0.3. On purpose a momentum schedule gives one number, where
`NadamScheduler` gives a pair there, so that SGD and Nadam can have the same one.
""",
    "tensorlayerx": """\
Equal: the l2 decay, then the clip; the rules of Keras on TensorFlow 2.4, of which some are others than Keras's now. TensorLayerX
does otherwise on its other backends, with the same call; one had to be chosen. On purpose t counts a weight's own updates.

`ClipByGlobalNorm` takes the norm of all gradients with their decay, to 1e-13 of what TensorFlow's source does; `Lamb` and `LARS`, which
are PaddlePaddle's, are clipped before it. On its PyTorch and OneFlow backends, where `ClipGradByNorm` is one norm of all gradients
and clips come first, `get_updater(clip=...)` takes PyTorch's clips.
""",
    "oneflow": """\
Equal: its kernels, where its documentation says something else. On purpose t counts a weight's own updates, so that a weight that
is trained later gets a bias correction of its own; OneFlow counts for all weights together.

Each group of parameters is clipped by its own norm, `clip_grad_max_norm` of order `clip_grad_norm_type`, to 1e-13 of what
`optimizer.clip_grad()` does. On purpose one of the two without the other, which does nothing there, is an error; both may be
given to the call as well; and `lr_scale` acts, where only graphs know it there. Else groups differ as PyTorch's do.
""",
    "openseq2seq": """\
Equal: its own rules, on top of TensorFlow 1. TensorFlow's are in `openseq2seq.rules`, by the names that `optimize_loss` knows.
""",
}

OPTIMIZE_LOSS = """\
Equal: the order, as `tests/openseq2seq_policy.py` has it from the sources. Gradients over the loss scale, then their mean over
`iter_size` calls, then the clip of the norm of all, or LARC, then the search for an overflow, whose peak is of what is left, then
the rule. An overflow skips the whole group of calls, and the global step and the learning rate with it. Calls are 40, with
overflows where the loss scale moves; learning rates and steps are equal, and so are loss scales, those of "LogMax" to 1e-7: its
deviation is at first the root of a rounding error. Masters of float16 weights are compared in float32, by the tests.

Different on purpose: gradients come instead of a loss, and every call counts, so that there are no `loss`, `var_list`, `on_horovod`,
`skip_update_ph` and `model`. `clip_gradients` together with `larc_params` is a ValueError, and an AttributeError there. A clip
leaves gradients that are not finite as they are where the loss scale is a number; there the others become 0. A regularizer's
gradient is our l2 decay only where nothing is clipped, since that comes after clips: there it comes before. "gradients" and
"variables" of the `summaries` are arrays of your own. t counts a weight's own updates.
"""

STATE_DICTS = """\
`state_dict(update, params)` gives what the `load_state_dict` of PyTorch's own optimizer takes, and `load_state_dict(update,
state_dict)` goes on from what its `state_dict()` gave. Half of a run there and the other half here, and the other way round, end
with the weights of the whole run to 1e-12: tried with PyTorch where it is installed, else by dictionaries of its own that are stored
in `tests/golden/torch_states.json`. That is with numbers in float64, by `torch.set_default_dtype`; as it is, those that NAdam and
ASGD keep are float32 there, and 1e-7 is as close as they come.

Slots go by these names. Bias corrections, which are not there, are rebuilt from the count and the betas, bit for bit; where a beta is
scheduled, they cannot be. A velocity is -lr times PyTorch's buffer, with the rate of the dictionary, or, going there, the rate in
force at the clock; both ways a rate of 0 is an error. `step_size` is Rprop's factor times a rate, `row_var` and `col_var` have
an axis of 1 that ours have not, and `eta` gives the last rate of ASGD. SGD and Muon have no count there, so that a weight's own
stays, or is 1. Moments of halves are float32 in the dictionary, which PyTorch rounds when it loads them. Our own rules convert as
those of this module do, where their settings are PyTorch's: `RAdam(epsilon_hat=True)`, `Adamax(epsilon_inside=True)`,
`Adafactor(epsilon_added=False)` and `Muon(epsilon_added=False)`; all else is an error that names the setting. The clock, a loss
scale, masters, averages and accumulated gradients are not in the dictionary. The first and the last stay as they are; weights that
are to have masters or averages and have not been given yet need `strict=False`, and begin these at their first update.
"""

DIFFERENCES = {
    ("torch", "SGD"): "a dampening without a momentum, which does nothing there, is an error here, since it is probably a "
    "mistake; so is one outside [0, 1]",
    ("torch", "Adadelta"): "`rho=1`, with which it is plain gradient descent there, is an error",
    ("torch", "NAdam"): "the product of momenta is a float64, as all our scalars are",
    ("torch", "ASGD"): "its scalars are float64, as all of ours are",
    ("torch", "RMSprop"): "a centered variance that rounding makes negative is 0; it is NaN there, which no weight recovers from",
    ("torch", "Rprop"): "signs are multiplied in the place of gradients, whose product may underflow; with `lr=0` weights stand "
    "still, where steps there begin at `step_sizes[0]`, 1e-6",
    ("torch", "Adafactor"): "`eps[0]=None` goes by each weight's dtype, since weights come one by one; by the first weight's "
    "there. Complex weights are taken. Where the square of `eps[0]` is 0 in the weight's dtype, as 1e-30's is in float32, "
    "gradients of 0 make the whole weight NaN; their own elements there",
    ("torch", "Muon"): "products in the momentum's dtype: NumPy has none in bfloat16, and they are the more exact ones",
    ("keras", "Adafactor"): "means are float64 for float64 weights",
    ("keras", "Muon"): "norms are float64 for float64 weights; an index is the path, so that a weight of a list, "
    "whose index is a number, is no embedding",
    ("keras", "Nadam"): "each weight has a product of momenta of its own, as it has its own t",
    ("mxnet_jl", "ADAM"): "a schedule acts; there each weight keeps the rate of its first update, so that none does anything",
    ("mxnet_jl", "Nadam"): "the momentum warms up by the weight's own updates, so that a weight that joins late is not behind; "
    "with a `NadamScheduler`, by iterations, as there",
    ("tensorlayerx", "Nadam"): "each weight has a product of momenta of its own, as it has its own t",
    ("tensorlayerx", "Lamb"): "no arguments are documented; these are PaddlePaddle's",
    ("tensorlayerx", "LARS"): "no arguments are documented; these are those of PaddlePaddle's `LarsMomentum`",
    ("oneflow", "AdamW"): "the decay comes before the step, not with it, which is the same but for rounding",
    ("oneflow", "SGD"): "`maximize` with a decay, which makes weights grow there, is an error, and so it is without a momentum, "
    "where it does nothing there",
}


NO_RULE = re.compile("Clip|clip_|GradScaler|param_group|state_dict|LossScale|exclude")
"""What a module has besides its rules."""


def made(system: str, name: str) -> Any:
    """What a function gives when it is given as little as it takes."""
    function = getattr(MODULES[system], name)
    if name == "LARC":
        return function(up.SGD(), larc_eta=0.02)
    return function(weight_decay=0.01) if (system, name) == ("openseq2seq", "AdamW") else function()


def functions(system: str) -> Iterator[str]:
    """The names of a system's rules."""
    aside = ("LearningRate", *(("Momentum",) if system == "mxnet_jl" else ()))
    names = [name for name in MODULES[system].__all__ if name not in aside and not NO_RULE.search(name)]
    return iter(sorted(names, key=str.lower))


def rule_of(optimizer: up.Optimizer) -> str:
    """The name of our rule."""
    return next(rule.__name__ for rule in type(optimizer).mro() if rule.__module__.startswith("updaters.optimizers"))


def bound(error: float) -> str:
    """An error, rounded up."""
    return f"< 1e{max(-14, math.ceil(math.log10(error))) if error else -14}"


def errors_of(system: str, name: str) -> tuple[int, str]:
    """How many configurations were compared, and their errors in words."""
    exact, inside = [], []
    for other, case in GOLDEN:
        if (other, case.rule) == (system, name):
            error = golden_error(system, case)
            (inside if case.reason else exact).append((error, case.reason.partition(":")[0]))
    exact += [(oracle_error(row), "") for row in COMPARED if (row.system, row.name) == (system, name)]
    if not exact:
        raise ValueError(f"{system}.{name} is compared with nothing; tests/parity.py has the configurations")
    words = bound(max(error for error, _ in exact))
    if inside:
        error, reason = max(inside)
        words += f"; {bound(error)} as it is ({reason})"
    return len(exact) + len(inside), words


def schedule_rows(system: str) -> Iterator[list[str]]:
    """The cells of the table of a system's schedules."""
    for row in schedule_parity.ROWS[system]:
        count, error = schedule_parity.largest_error(system, row.name)
        compared = [str(count), bound(error)] if count else ["", ""]
        yield [f"`{row.call}`", f"`{row.here}`", *compared, row.different]


def rows_of_optimize_loss() -> Iterator[list[str]]:
    """The cells of the table of OpenSeq2Seq's optimizers under all that `optimize_loss` does."""
    for name in openseq2seq_policy.RULES:
        cases = [case for case in openseq2seq_policy.CASES if case.name == name]
        errors = [
            openseq2seq_policy.error_of(openseq2seq_policy.ours(case), openseq2seq_policy.oracle(case)) for case in cases
        ]  # fmt: skip
        optimizer = MODULES["openseq2seq"].optimize_loss(name, cases[0].params | {"learning_rate": 0.1}).optimizer
        yield [f'`"{name}", {cases[0].params}`', f"`{optimizer!r}`", str(len(cases)), bound(max(errors)), ""]


def rows_of_state_dicts() -> Iterator[list[str]]:
    """The cells of the table of what PyTorch's optimizers keep."""
    for name, slots in _states.SLOTS.items():
        rules = [rule.__name__ for rule, there in _states.RULES.items() if there == name]
        numbers = {"eta": "", "mu": "", "step": "the count", "mu_product": "`product`"}
        kept = {key: numbers[key] for key in _states.numbers_of(name)}
        for slot, key in slots.items():
            kept[key] = " or ".join(filter(None, [kept.get(key, ""), f"`{slot}`"]))
        words = [f"`{key}`: {value}" if value else f"`{key}`" for key, value in kept.items()]
        there = ", ".join(f"`{one}`" for one in ([name, "AdamW"] if name == "Adam" else [name]))
        yield [there, ", ".join(f"`{rule}`" for rule in rules), "; ".join(words)]


COLUMNS = ["there", "here", "configurations", "largest error", "different on purpose"]


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def page() -> str:
    """The page, all measured anew."""
    names: dict[str, dict[str, list[str]]] = {}
    for system in TITLES:
        for name in functions(system):
            if name != "LARC":
                names.setdefault(rule_of(made(system, name)), {}).setdefault(system, []).append(f"`{name}`")
    overview = [
        [f"`{rule}`", *(", ".join(of.get(system, [])) for system in TITLES)]
        for rule, of in sorted(names.items(), key=lambda item: item[0].lower())
    ]
    parts = [INTRODUCTION, "## Which rule is which\n", table(["here", *TITLES.values()], overview)]
    for system, title in TITLES.items():
        rows = []
        for name in functions(system):
            count, errors = errors_of(system, name)
            here = made(system, name) if name != "LARC" else made(system, name).transforms[0]
            rows.append([f"`{name}`", f"`{here!r}`", str(count), errors, DIFFERENCES.get((system, name), "")])
        parts += [f"## {title}\n", ABOUT[system]]
        parts += [table(COLUMNS, rows)]
        if system == "openseq2seq":
            parts += [f"### `optimize_loss` of {title}\n", OPTIMIZE_LOSS, table(COLUMNS, list(rows_of_optimize_loss()))]
        if system == "torch":
            rows = list(rows_of_state_dicts())
            parts += [f"### Dictionaries of {title}\n", STATE_DICTS, table(["there", "here", "what is kept, there: here"], rows)]
        if system in schedule_parity.ROWS:
            parts += [f"### Schedules of {title}\n", schedule_parity.ABOUT[system], table(COLUMNS, list(schedule_rows(system)))]
    return "\n".join(parts)


ERROR = re.compile(r"< 1e(-?\d+)")


def is_current(written: str, measured: str) -> bool:
    """Whether two pages say the same, with errors at most a power of ten apart."""
    if ERROR.sub("< 1e", written) != ERROR.sub("< 1e", measured):
        return False
    pairs = zip(ERROR.findall(written), ERROR.findall(measured), strict=True)
    return all(abs(int(one) - int(other)) <= 1 for one, other in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    measured = page()
    if not parser.parse_args().check:
        PAGE.write_text(measured, encoding="utf-8")
        return 0
    return int(not is_current(PAGE.read_text(encoding="utf-8"), measured))


if __name__ == "__main__":
    sys.exit(main())
