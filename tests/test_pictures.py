"""Pictures and sketches: what is drawn is what a run's updates see, read at few clocks, and from a shell too."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from updaters.learning_rate import Cosine, CosineRestarts, Exp, Fixed, Linear, Plateau, Sequence, Step, Warmup
from updaters.pictures.readings import MOST, Run

ROOT = Path(__file__).parent.parent


def seen(what: Callable[[up.OptimizationState], float], epochs: int, batches: int) -> list[float]:
    """What each update of a run sees, through the loops of a real clock."""
    state = up.OptimizationState()
    return [what(state) for _ in state.epochs(epochs) for _ in state.batches(range(batches))]


@pytest.mark.parametrize(
    "schedule",
    [
        Exp(0.1),
        Warmup(Cosine(0.1, 7), 10),
        Step(0.1, 9, clock="iteration"),
        lambda state: state.batch + 10 * state.epoch + 0.01 * state.iteration,
    ],
)
def test_a_picture_has_every_update_of_a_short_run(schedule: Any) -> None:
    figure: Any = up.plot(schedule, epochs=7, batches_per_epoch=5)
    (axes,) = figure.axes
    (line,) = axes.lines
    x, y = line.get_data()
    assert list(y[1:]) == seen(schedule, 7, 5)
    assert list(x) == [k / 5 for k in range(36)]
    assert y[0] == y[1]  # an update has its value during all of its share of an epoch
    assert line.get_drawstyle() == "steps-pre"
    assert axes.get_title("left") == "value"
    assert axes.get_xlabel() == "epochs of 5 batches"


LONG = [
    Exp(0.1, gamma=0.9, clock="epoch"),
    Step(0.1, 77_777, gamma=0.5, clock="iteration"),
    CosineRestarts(0.1, 12_345, period_factor=2, clock="iteration"),
    Warmup(Cosine(0.1, 100), 54_321),
    Sequence([0.1, 0.5, 0.2, 0.1], [100_000, 100_500, 700_001], clock="iteration"),
    Fixed(0.1),
]


@pytest.mark.parametrize("schedule", LONG, ids=repr)
def test_a_long_run_is_read_at_few_clocks_that_show_all_of_it(schedule: Any) -> None:
    run = Run(100, 10_000)
    asked = []

    def counted(state: up.OptimizationState) -> float:
        asked.append(state.iteration)
        return float(schedule(state))

    (line,) = run.lines(counted)
    assert len(asked) <= MOST + 1
    assert line.updates == sorted(set(asked))
    assert (line.updates[0], line.updates[-1]) == (1, run.updates)
    truth = np.array([schedule(run.clock(k)) for k in range(1, run.updates + 1, 97)])
    drawn = np.interp(np.arange(1, run.updates + 1, 97), line.updates, line.values)
    height = truth.max() - truth.min()
    assert np.abs(drawn - truth).max() <= 0.012 * height


def test_jumps_of_a_long_run_are_at_their_updates() -> None:
    jumps = [123_456, 123_999, 500_001, 777_777]
    (line,) = Run(10, 100_000).lines(Sequence([0.1, 0.5, 0.2, 0.4, 0.1], jumps, clock="iteration"))
    values = dict(zip(line.updates, line.values, strict=True))
    found = [(a, b) for a, b in pairwise(line.updates) if values[a] != values[b]]
    assert found == [(jump, jump + 1) for jump in jumps]


@pytest.mark.parametrize("first", [1, 117_310, 500_000, 998_000])
def test_what_lasts_two_thousandths_of_a_long_run_is_seen(first: int) -> None:
    spike = Sequence([0.1, 1.0, 0.1], [first, first + 2000], clock="iteration")
    for epochs in (1, 100, 1000):
        (line,) = Run(epochs, 10**6 // epochs).lines(spike)
        assert max(line.values) == 1.0


def test_the_clocks_of_a_picture_are_those_of_a_run() -> None:
    state, run = up.OptimizationState(), Run(3, 4)
    clocks = [copy.deepcopy(state) for _ in state.epochs(3) for _ in state.batches("abcd")]
    assert clocks == [run.clock(k) for k in range(1, 13)]


def test_an_optimizer_has_panels_for_rate_momentum_and_what_else_is_scheduled() -> None:
    schedule = Linear(0.5, 10, end=0.1)
    optimizers: dict[str, tuple[up.Optimizer, list[str]]] = {
        "numbers": (up.Adam(0.1), ["learning rate", "beta1"]),
        "no momentum": (up.SGD(0.1, momentum=None), ["learning rate"]),
        "momentum": (up.SGD(schedule, momentum=0.9), ["learning rate", "momentum"]),
        "all": (
            up.AdamW(0.1, beta1=schedule, beta2=schedule, weight_decay=schedule, grad_clip=schedule, epsilon=schedule),
            ["learning rate", "beta1", "beta2", "epsilon", "weight_decay", "grad_clip"],
        ),
        "momentum of its own": (up.Nadam(momentum=schedule), ["learning rate", "momentum"]),
        "transforms": (
            up.SGD(0.1, transforms=(up.transforms.ClipByNorm(schedule),)),
            ["learning rate", "ClipByNorm.bound"],
        ),
        "otherwise": (up.Muon(schedule, otherwise=up.AdamW(0.1)), ["learning rate", "momentum", "beta1"]),
    }
    for name, (optimizer, panels) in optimizers.items():
        figure: Any = up.plot(optimizer, epochs=4, batches_per_epoch=3)
        assert sorted(axes.get_title("left") for axes in figure.axes) == sorted(panels), name
        assert figure.axes[0].get_title("left") == "learning rate"
        for axes in figure.axes:
            *_, field = axes.get_title("left").replace("learning rate", "lr").split(".")
            owner = optimizer.transforms[0] if "." in axes.get_title("left") else optimizer
            value = getattr(owner, field, None)
            if callable(value):
                assert list(axes.lines[0].get_ydata()[1:]) == seen(value, 4, 3), (name, field)


def test_several_in_one_picture_have_their_labels() -> None:
    figure: Any = up.plot({"fast": Exp(0.1, gamma=0.5), "slow": 0.05}, epochs=3)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["fast", "slow"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fast", "slow"]
    assert list(axes.lines[0].get_ydata()) == [0.05, 0.05, 0.025, 0.0125]
    assert axes.get_xlabel() == "epochs"


def test_a_picture_goes_to_a_file_and_to_a_notebook(tmp_path: Path) -> None:
    figure: Any = up.plot(Exp(0.1), epochs=3, path=tmp_path / "rate.png")
    assert (tmp_path / "rate.png").read_bytes().startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")
    up.plot(Exp(0.1), epochs=3, path=str(tmp_path / "rate.svg"))
    assert "<svg" in (tmp_path / "rate.svg").read_text()


def test_nothing_is_moved_by_drawing() -> None:
    plateau = Plateau(Exp(0.1), patience=0)
    plateau.observe(1.0)
    adam = up.Adam(Warmup(plateau, 3))
    before = plateau.state_dict(), repr(adam)
    up.plot(adam, epochs=3, batches_per_epoch=4)
    up.sketch(adam, epochs=3, batches_per_epoch=4)
    assert (plateau.state_dict(), repr(adam)) == before


@pytest.mark.parametrize("draw", [up.plot, up.sketch])
@pytest.mark.parametrize(
    ("what", "options", "error", "message"),
    [
        (Exp(0.1), {"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
        (Exp(0.1), {"epochs": 2.5}, TypeError, "epochs must be an integer of at least 1, got 2.5"),
        (Exp(0.1), {"epochs": 1, "batches_per_epoch": 0}, ValueError, "batches_per_epoch must be an integer of at least 1, got 0"),
        (Exp, {"epochs": 1}, TypeError, f"what is drawn must be a finite number, a scheduler, an optimizer or a mapping of these, got {Exp!r} (the class; call it)"),
        (up.get_updater(up.SGD()), {"epochs": 1}, TypeError, "what is drawn must be an optimizer or a scheduler, got Updater("),
        ("x", {"epochs": 1}, TypeError, "what is drawn must be a finite number, a scheduler, an optimizer or a mapping of these, got 'x' (str)"),
        (math.nan, {"epochs": 1}, ValueError, "what is drawn must be finite, got nan"),
        ({}, {"epochs": 1}, ValueError, "what is drawn must be one thing at least, got an empty mapping"),
        (up.Optimizer(), {"epochs": 1}, ValueError, "what is drawn must have a learning rate, a momentum or something scheduled, got Optimizer()"),
        ({"a": None}, {"epochs": 1}, TypeError, "'a' must be a finite number, a scheduler, an optimizer or a mapping of these, got None (NoneType)"),
        (up.SGD(lambda state: -1.0), {"epochs": 1}, ValueError, "SGD.lr must be in [0, inf), got -1.0 from "),
        (up.SGD(momentum=Exp(2.0)), {"epochs": 1}, ValueError, "SGD.momentum must be in [0, 1], got 1.8 from Exp(2.0) at OptimizationState("),
        (lambda state: None, {"epochs": 1}, TypeError, "what is drawn must be a finite number, got None (NoneType) from "),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(draw: Any, what: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as info:
        draw(what, **options)
    assert str(info.value).startswith(message)


@pytest.mark.parametrize(("width", "height"), [(15, 4), (16, 1), (1.5, 4)])
def test_frames_that_are_too_small(width: Any, height: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="must be an integer of at least"):
        up.sketch(Exp(0.1), epochs=3, width=width, height=height)


def dots(frame: str) -> set[tuple[int, int]]:
    """The dots of a sketch's frame, by column from the left and row from the top."""
    lines = [line[line.index(mark) + 1 :] for line in frame.splitlines() for mark in "┤│" if mark in line]
    return {
        (2 * column + (bit in (3, 4, 5, 7)), 4 * row + {0: 0, 3: 0, 1: 1, 4: 1, 2: 2, 5: 2, 6: 3, 7: 3}[bit])
        for row, line in enumerate(lines)
        for column, character in enumerate(line)
        if character != " "
        for bit in range(8)
        if ord(character) - 0x2800 >> bit & 1
    }


def test_the_dots_of_a_sketch_are_at_the_values() -> None:
    drawn = dots(up.sketch(Linear(1.0, 64, clock="epoch"), epochs=64, width=32, height=16))
    for column in range(64):
        rows = {row for at, row in drawn if at == column}
        assert min(rows) <= 63 * (column + 1) / 64 + 1.5
        assert max(rows) >= 63 * (column + 1) / 64 - 1.5
        assert len(rows) <= 3


def test_a_sketch_of_an_optimizer_has_a_frame_for_each_panel() -> None:
    text = up.sketch(up.SGD(Step(0.1, 2, gamma=0.5), momentum=0.9), epochs=4, batches_per_epoch=10, width=16, height=3)
    assert text == "\n".join(
        [
            "       learning rate",
            "  0.1 ┤⠉⠉⠉⠉⠉⠉⠉⠉⡆",
            "0.075 ┤        ⡇",
            " 0.05 ┤        ⣇⣀⣀⣀⣀⣀⣀⣀",
            "      └───────┴───────┘",
            "      0       2       4 epochs",
            "",
            "      momentum",
            " 0.9 ┤⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉",
            "0.45 ┤",
            "   0 ┤",
            "     └───────┴───────┘",
            "     0       2       4 epochs",
        ]
    )


def test_the_numbers_of_a_sketch_tell_its_heights_apart() -> None:
    text = up.sketch(lambda state: 1 + 1e-8 * state.epoch, epochs=30, width=16, height=3)
    assert [line.partition(" ┤")[0].strip() for line in text.splitlines()[1:4]] == ["1.0000003", "1.000000155", "1.00000001"]


def test_several_sketches_have_their_labels() -> None:
    text = up.sketch({"one": 0.1, "two": Exp(0.1)}, epochs=1, width=16, height=2)
    assert [line.strip() for line in text.splitlines() if "value" in line] == ["value: one", "value: two"]
    assert text.count("1 epoch\n") + text.endswith("1 epoch") == 2


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | environment,
    )


def test_without_matplotlib_there_is_a_sketch(tmp_path: Path) -> None:
    hidden = tmp_path / "hide.py"
    hidden.write_text(
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'matplotlib' else find(name, package)\n"
        "sys.modules['matplotlib'] = None\n"
        "import updaters as up\n"
        "assert up.plot(up.learning_rate.Exp(0.1), epochs=9) is None\n"
        "try:\n"
        "    up.plot(up.learning_rate.Exp(0.1), epochs=9, path='x.png')\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = run(str(hidden))
    assert done.stderr == ""
    assert done.stdout == (
        f"{up.sketch(Exp(0.1), epochs=9)}\n\npip install 'updaters[plot]' to have pictures drawn.\n"
        "a picture in a file needs matplotlib: pip install 'updaters[plot]'\n"
    )


CONFIG = json.dumps(up.to_config(up.SGD(Warmup(Cosine(0.1, 20), 50), momentum=0.9)))


def test_a_file_may_begin_with_a_byte_order_mark_and_one_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_text(CONFIG, encoding="utf-8-sig")
    assert run("-m", "updaters", "plot", str(tmp_path / "mark.json")).returncode == 0
    (tmp_path / "wide.json").write_text(CONFIG, encoding="utf-16")
    done = run("-m", "updaters", "plot", str(tmp_path / "wide.json"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"python -m updaters: {tmp_path / 'wide.json'} is no JSON: ")


def test_a_shell_draws_a_picture_or_a_sketch(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(CONFIG)
    text = up.sketch(up.from_config(json.loads(CONFIG)), epochs=20, batches_per_epoch=10) + "\n"
    size = ("--epochs", "20", "--batches-per-epoch", "10")
    for done in (run("-m", "updaters", "plot", str(config), *size), run("-m", "updaters", "plot", "-", *size, stdin=CONFIG)):
        assert (done.returncode, done.stdout, done.stderr) == (0, text, "")
    done = run("-m", "updaters", "plot", str(config), str(tmp_path / "out.png"), *size)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "stdin", "status", "message"),
    [
        (["plot", "-", "--epochs", "0"], CONFIG, 2, "argument --epochs: must be an integer of at least 1, got '0'"),
        (["plot", "-", "--epochs", "1.5"], CONFIG, 2, "argument --epochs: must be an integer of at least 1, got '1.5'"),
        (["plot"], "", 2, "the following arguments are required: CONFIG.json"),
        ([], "", 2, "the following arguments are required: plot"),
        (["plot", "there/is/none.json"], "", 1, "python -m updaters: [Errno 2] No such file or directory: 'there/is/none.json'"),
        (["plot", "-"], "{", 1, "python -m updaters: standard input is no JSON: "),
        (["plot", "-"], "[" * 99999, 1, "python -m updaters: standard input is no JSON: "),
        (
            ["plot", "-"],
            '{"version": 1, "type": "learning_rate.Exp", "value": 0.1, "gamma": 1e9}',
            1,
            "what is drawn was asked of Exp(0.1, gamma=1000000000.0), called with OptimizationState(",
        ),
        (["plot", "-"], "[1]", 1, "python -m updaters: config must be a mapping, got [1]"),
        (
            ["plot", "-"],
            '{"version": 1, "type": "Adm"}',
            1,
            "config.type must be the name of a class, got 'Adm'; did you mean 'Adam'?",
        ),
        (["plot", "-", "none/x.png"], CONFIG, 1, "python -m updaters: [Errno 2] No such file or directory: "),
        (["plot", "-", "x.jam"], CONFIG, 1, "python -m updaters: Format 'jam' is not supported"),
        (
            ["plot", "-"],
            '{"version": 1, "type": "SGD", "momentum": {"type": "learning_rate.Fixed", "value": 2.0}}',
            1,
            "python -m updaters: SGD.momentum must be in [0, 1], got 2.0 from Fixed(2.0) at ",
        ),
    ],
)
def test_what_is_wrong_in_a_shell_is_one_line_and_no_traceback(
    tmp_path: Path, arguments: list[str], stdin: str, status: int, message: str
) -> None:
    done = run("-m", "updaters", *arguments, stdin=stdin)
    assert done.returncode == status
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or status == 2


def test_the_shell_says_what_it_can_do() -> None:
    done = run("-m", "updaters", "--help")
    assert done.returncode == 0
    assert "plot" in done.stdout
    assert run("-m", "updaters", "--version").stdout == f"{up.__version__}\n"
    assert "CONFIG.json" in run("-m", "updaters", "plot", "--help").stdout


def test_every_hyperparameter_that_can_be_scheduled_is_drawn() -> None:
    rules = [value for name in up.__all__ if isinstance(value := getattr(up, name), type) and issubclass(value, up.Optimizer)]
    rules.remove(up.Optimizer)
    for rule in rules:
        for field in attrs.fields(rule):
            interval = field.metadata.get("interval")
            if interval is None:
                continue
            inside = next(value for value in (0.5, 1.5, 2.5) if value in interval)
            fields = {"momentum": 0.5} if (rule, field.name) == (up.SGD, "dampening") else {}
            figure: Any = up.plot(rule(**fields | {field.name: lambda state, inside=inside: inside}), epochs=2)
            panel = "learning rate" if field.name == "lr" else field.name
            assert panel in [axes.get_title("left") for axes in figure.axes], (rule, field.name)
