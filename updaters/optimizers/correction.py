"""What makes up for moments that begin at 0."""

from __future__ import annotations

from functools import lru_cache


def corrected(correction: float, beta: float) -> float:
    """1 less the product of the betas so far, `beta` included, from that of the betas before.

    As the moment that gradients of 1 would have had: exact for scheduled betas, and without the cancellation in
    1 - beta**t.
    """
    return beta * correction + (1 - beta)


@lru_cache(maxsize=64)
def corrected_by(count: int, beta: float) -> float:
    """What `corrected` gives after so many updates with one beta, bit for bit."""
    correction = 0.0
    for _ in range(count):
        after = corrected(correction, beta)
        if after == correction:  # it never falls, so that it stands still for good
            break
        correction = after
    return correction
