"""What Keras's optimizers do besides their rules."""

import numpy as np
import pytest

import updaters as up
from updaters.compat import keras


@pytest.mark.parametrize("frequency", [None, 1, 2])
def test_averages_of_weights_with_a_master_are_the_masters_at_every_call(frequency: int | None) -> None:
    optimizer = keras.SGD(
        2.0**-14, gradient_accumulation_steps=2, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=frequency
    )
    start, grads = np.array([1.0, 0.25]), np.array([1.0, -3.0])
    halves, weights = start.astype(np.float16), start.copy()
    mastered = up.get_updater(optimizer, master_weights=True, backend="numpy")
    exact = up.get_updater(optimizer, backend="numpy")
    for _ in range(8):
        mastered.step([grads.astype(np.float16)], [halves])
        exact.step([grads], [weights])
        np.testing.assert_allclose(mastered.slots[0]["average"], exact.slots[0]["average"], rtol=2**-23)
        np.testing.assert_allclose(mastered.slots[0]["master"], weights, rtol=2**-23)
        assert halves.tolist() == mastered.slots[0]["master"].astype(np.float16).tolist()
