"""Learning rates that PyTorch's and Keras's own schedules give, for comparison. `make_schedules.py` runs them and says how."""

import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent

Rates = npt.NDArray[np.float64]
"""All that are handed out are read-only."""

FUNCTIONS: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "one": lambda count: 1.0,
        "geometric": lambda count: 0.95**count,
        "every 30": lambda count: 0.5 ** (count // 30),
        "inverse root": lambda count: 1 / math.sqrt(1 + count),
        "warm-up": lambda count: min((count + 1) ** -0.5, (count + 1) * 20**-1.5),
        "wave": lambda count: 1.5 + math.sin(count / 10),
        "reciprocal": lambda count: 1 / (1 + count / 4),
    }
)
"""By the name that stands in arguments: what LambdaLR was given as `lr_lambda`, CyclicLR as `scale_fn`."""


@attrs.frozen(eq=False)
class ScheduleCase:
    """One schedule of a system over 200 updates, or as many as it allows."""

    name: str
    scheduler: str
    """The name of the class in `torch.optim.lr_scheduler` or `keras.optimizers.schedules`."""
    arguments: Mapping[str, Any]
    """What its constructor was given by keyword, without the optimizer.

    Functions are names in FUNCTIONS. The `schedulers` of SequentialLR and ChainedScheduler are a list, each {"scheduler":
    its class, "arguments": its arguments}.
    """
    tolerance: float
    """How far apart rates x and y may be, with |x - y| <= tolerance * max(|rates|); momenta, with |x - y| <= tolerance."""
    rates: Rates
    """The k-th update, counted from 1, sees rates[k - 1]."""
    lr: float | None
    """PyTorch: the learning rate that the optimizer was made with. Keras's schedules have their own: None."""
    optimizer: str
    """PyTorch: the optimizer, "SGD" (with a momentum of 0.5 where `momenta` is given) or "Adam". Keras: empty."""
    momenta: Rates | None
    """What the updates saw as `momentum` of SGD or the first of Adam's `betas`, for schedules that change it."""
    metrics: Rates | None
    """ReduceLROnPlateau: what its `step` was given after each update; rates[k] is the first to know of metrics[k - 1]."""
    after: tuple[float, float | None] | None
    """OneCycleLR: rate and momentum that PyTorch sets after the last update, a defect, as they are extrapolated.

    None where it has not ended. One further `step` raises a ValueError.
    """
    defect: str
    """What the system does here that its own formula, or its documentation, does not say; else empty."""
    defects: tuple[int, ...]
    """Keras: the updates, counted from 1, whose rate is not that of the formula, as a logarithm is rounded."""
    defects_elsewhere: Mapping[str, tuple[int, ...]]
    """The same by how Keras is run, where there are any: "float64 compiled", "float32" (its default) and "float32 compiled".

    These rates are not stored. In compiled code PolynomialDecay has some too, as it multiplies by rounded inverses.
    """
    serialized: Mapping[str, Any]
    """Keras: what `keras.optimizers.schedules.serialize` gives. PyTorch: empty."""

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _array(numbers: list[float | None] | None) -> Rates | None:
    """NaN is null in the JSON."""
    if numbers is None:
        return None
    array = np.array([math.nan if one is None else one for one in numbers])
    array.flags.writeable = False
    return array


@cache
def _cases(system: str) -> tuple[ScheduleCase, ...]:
    described = json.loads((HERE / f"{system}_schedules.json").read_text(encoding="utf-8"))

    def case(fields: dict[str, Any]) -> ScheduleCase:
        rates = _array(fields["rates"])
        assert rates is not None
        return ScheduleCase(
            name=fields["name"],
            scheduler=fields["scheduler"],
            arguments=fields["arguments"],
            tolerance=fields["tolerance"],
            rates=rates,
            lr=fields.get("lr"),
            optimizer=fields.get("optimizer", ""),
            momenta=_array(fields.get("momenta")),
            metrics=_array(fields.get("metrics")),
            after=tuple(fields["after"]) if "after" in fields else None,
            defect=fields.get("defect", ""),
            defects=tuple(fields.get("defects", ())),
            defects_elsewhere={kind: tuple(updates) for kind, updates in fields.get("defects_elsewhere", {}).items()},
            serialized=fields.get("serialized", {}),
        )

    return tuple(case(fields) for fields in described["cases"])


def schedule_cases(system: Literal["torch", "keras"]) -> list[ScheduleCase]:
    """All schedules of a system, for `pytest.mark.parametrize("case", schedule_cases("torch"), ids=repr)`."""
    return list(_cases(system))
