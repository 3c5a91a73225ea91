"""The clock: where in its epochs, batches and iterations a training run stands."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import attrs
import numpy as np

from updaters.checks import flag, whole

T = TypeVar("T")


_counting = threading.Lock()  # threads may update different weights by one clock


def _whole_field(value: object, field: attrs.Attribute[Any]) -> int:
    least: int = field.metadata["least"]
    if type(value) is int and value >= least:  # a clock moves at each update
        return value
    return whole(value, f"OptimizationState.{field.name}", least)


def _counter(default: int, least: int = 0, on_setattr: Any = None, repr: bool = True, eq: bool = True) -> Any:
    return attrs.field(
        repr=repr,
        eq=eq,
        default=default,
        converter=attrs.Converter(_whole_field, takes_field=True),
        on_setattr=on_setattr,
        metadata={"least": least},
    )


def _begin(state: OptimizationState, _: attrs.Attribute[Any], epoch: int) -> int:
    """Another epoch by assignment: none of its batches are done, and it was not interrupted."""
    if epoch != state.epoch:
        state.batch, state.unfinished, state._done = 0, False, 0
    return epoch


def _words(seed: int) -> list[int]:
    """A seed as words of 32 bits, their number first: to NumPy alone 5 is the same as (5, 0), and 2**32 as (0, 1)."""
    count = max(1, -(-seed.bit_length() // 32))
    return [count, *(seed >> 32 * place & 0xFFFFFFFF for place in range(count))]


def _onwards(data: Any, place: int) -> Iterator[Any]:
    """The items of a sequence from a place on, as its own iterator would go on: it may grow or shrink meanwhile."""
    while place < len(data):
        yield data[place]
        place += 1


@attrs.define
class OptimizationState:
    """The clock that schedules and updates read.

    A counter is 0 while there has been none yet and 1 during the first. `epochs` and `batches` advance
    the clock; where the loops are the caller's own, assignment does.

    Attributes:
        batch_size: examples in a mini-batch, by which `gradient="sum"` divides.
        epoch: the pass over the data that is running, or the last one that ran. Assigning another begins it anew.
        batch: the mini-batch within that epoch.
        iteration: mini-batches since the run began; it never restarts.
        held: iterations in which nothing was applied (accumulating, skipped). Schedules on the iteration
            clock read `iteration - held`.
        last_held: the iteration that was held last.
        last_applied: the iteration in which something was applied last, as far as updaters say.
        unfinished: whether `epoch` was begun and not run to its end. `epochs` enters such an epoch again
            and follows a finished one.

    Raises:
        TypeError: a count is assigned that is not an integer.
        ValueError: a count is assigned that is negative, or a batch size below 1.

    Conventions:
        As in MXNet.jl the counters move *before* the updates of a mini-batch: the first update sees epoch,
        batch and iteration 1. PyTorch, Keras and OneFlow see 0 there.

    Example:
        >>> state = up.OptimizationState(batch_size=2)
        >>> for epoch in state.epochs(2):
        ...     for examples in state.batches(["ab", "cd"]):
        ...         print(state.epoch, state.batch, state.iteration, examples)
        1 1 1 ab
        1 2 2 cd
        2 1 3 ab
        2 2 4 cd
    """

    batch_size: int = _counter(1, least=1)
    epoch: int = _counter(0, on_setattr=[attrs.setters.convert, _begin])
    batch: int = _counter(0)
    iteration: int = _counter(0)
    held: int = _counter(0)
    unfinished: bool = flag(False, kw_only=False)
    last_held: int = _counter(0, repr=False)
    last_applied: int = _counter(0, repr=False, eq=False)
    # Batches of a re-entered epoch still to be passed over, and how many `epochs` and `batches` loops are running.
    _done: int = attrs.field(default=0, init=False, eq=False, repr=False)
    _loops: int = attrs.field(default=0, init=False, eq=False, repr=False)
    _passes: int = attrs.field(default=0, init=False, eq=False, repr=False)

    @property
    def is_driven(self) -> bool:
        """Whether a `batches` loop is running, which advances the iteration."""
        return self._passes > 0

    @property
    def is_looped(self) -> bool:
        """Whether an `epochs` or a `batches` loop is running."""
        return self._loops > 0 or self._passes > 0

    def epochs(self, n: int | None = None, *, more: int | None = None) -> Iterator[int]:
        """Run epochs until the count is `n`, or `more` further ones, and yield each one's number.

        An epoch that was interrupted (its loop was left, or the process died) is entered again first, under
        its own number; one whose last `batches` loop came to its end is not. So a nested call first enters the
        epoch that runs, and so does a run that goes on from a file saved in an epoch without a `batches` loop.

        Raises:
            TypeError: not exactly one of `n` and `more` is given, or one that is not an integer.
            ValueError: a negative number of epochs.
        """
        if (n is None) == (more is None):
            raise TypeError(f"epochs takes either n or more=, got n={n!r} and more={more!r}")
        last = whole(n, "epochs(n)") if more is None else self.epoch + whole(more, "epochs(more=)")
        return self._run_epochs(last)

    def _run_epochs(self, last: int) -> Iterator[int]:
        self._loops += 1
        try:
            while self.epoch < last or (self.epoch == last > 0 and self.unfinished):
                if self.unfinished and self.epoch:
                    self._done = self.batch
                else:
                    self.epoch += 1
                    self.unfinished = True
                yield self.epoch
                self.unfinished = False
        finally:
            self._loops -= 1

    def batches(self, data: Iterable[T]) -> Iterator[T]:
        """Yield the mini-batches of `data`, from the first of the epoch on, each counted before it is yielded.

        Within an epoch that `epochs` has entered again, those that were done before are passed over: the data is
        to start over and come in the same order, as `generator` helps it to, and the batch at which the loop was left
        counts as done. Those of a sequence are not even looked at. Several loops within one epoch count on. Outside an
        `epochs` loop each call is a pass that counts its batches from 1 and leaves `epoch` alone. An iterator that is
        used up has no batches left.

        Raises:
            TypeError: `data` cannot be iterated over.
        """
        return self._run_batches(data, iter(data))

    def _run_batches(self, data: Iterable[T], left: Iterator[T]) -> Iterator[T]:
        if not self._loops:
            self.batch = self._done = 0
        self.unfinished = self.epoch > 0
        self._passes += 1
        try:
            if self._done and isinstance(data, (Sequence, np.ndarray)):
                done = min(self._done, len(data))
                self._done -= done
                left = _onwards(data, done)
            for examples in left:
                if self._done:
                    self._done -= 1
                    continue
                self.batch += 1
                self.iteration += 1
                yield examples
            self.unfinished = self.unfinished and (self._done > 0 or self._passes > 1)
        finally:
            self._passes -= 1

    def generator(self, seed: int | Sequence[int], *, clock: Literal["epoch", "iteration"]) -> np.random.Generator:
        """Random numbers that are a function of a seed and the clock, so that a run that goes on draws what it would have drawn.

        Asking again at the same reading gives the same numbers again; what is to be independent has a seed of its own.

        Args:
            seed: an integer from 0, or several.
            clock: the counter that they depend on: `"epoch"` for the order of the data, which is the same when an epoch is
                entered again, or `"iteration"` for what each mini-batch draws, as noise.

        Raises:
            TypeError, ValueError: the seed is not what it may be; or there is no such counter.

        Conventions:
            Other numbers than those of `np.random.default_rng(seed)`. The bits are the same everywhere; NumPy may change
            what it makes of them, as `permutation` or `normal`, from one version to another.

        Example:
            >>> state = up.OptimizationState()
            >>> for epoch in state.epochs(2):
            ...     order = state.generator(0, clock="epoch").permutation(4)
            ...     for rows in state.batches(order.reshape(2, 2)):
            ...         print(epoch, rows)
            1 [1 3]
            1 [0 2]
            2 [3 1]
            2 [2 0]
        """
        if clock not in ("epoch", "iteration"):
            raise ValueError(f"generator(clock=) must be 'epoch' or 'iteration', got {clock!r}")
        seeds = seed if isinstance(seed, Sequence) and not isinstance(seed, (str, bytes)) else [seed]
        if not seeds:
            raise ValueError(f"generator(seed) must be an integer from 0, or several, got {seed!r}")
        entropy = [word for one in seeds for word in _words(whole(one, "generator(seed)"))]
        reading = (0, self.epoch) if clock == "epoch" else (1, self.iteration)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy, spawn_key=reading)))

    def hold(self) -> None:
        """Count the iteration as one in which nothing was applied, unless something was, before. Updaters do, several maybe."""
        with _counting:
            if self.last_held < self.iteration != self.last_applied:
                self.held += 1
                self.last_held = self.iteration

    def release(self) -> None:
        """Something is applied in the iteration: it is not held, whatever else happens in it."""
        with _counting:
            self.last_applied = self.iteration
            if self.last_held == self.iteration > 0:
                self.held -= 1
                self.last_held = 0

    def ahead(self, iterations: int = 1) -> OptimizationState:
        """The clock as it will stand `iterations` mini-batches on, within the same epoch."""
        further = whole(iterations, "ahead(iterations)")
        return attrs.evolve(self, batch=self.batch + further, iteration=self.iteration + further)

    def __reduce__(self) -> tuple[Any, ...]:  # a copy is the reading; the loops that run belong to the original
        return type(self), tuple(getattr(self, field.name) for field in attrs.fields(type(self)) if field.init)
