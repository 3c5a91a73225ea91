"""What makes up for moments that begin at 0."""

from __future__ import annotations


def corrected(correction: float, beta: float) -> float:
    """1 less the product of the betas so far, `beta` included, from that of the betas before.

    As the moment that gradients of 1 would have had: exact for scheduled betas, and without the cancellation in
    1 - beta**t.
    """
    return beta * correction + (1 - beta)
