"""The page of schedules: every one is on it, its pictures show what its calls give, and its code runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import updaters as up
from updaters import learning_rate, momentum
from updaters.learning_rate import Plateau
from updaters.schedules import Schedule

ROOT = Path(__file__).parent.parent


def script() -> Any:
    spec = importlib.util.spec_from_file_location("make_gallery", ROOT / "docs" / "make_gallery.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gallery = script()
PAGE = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
ENTRIES = [entry for entries in gallery.GALLERY.values() for entry in entries]


def test_the_page_is_what_its_script_writes() -> None:
    assert gallery.page() == PAGE


def test_every_schedule_has_an_entry() -> None:
    shown = {entry.name for entry in ENTRIES}
    wanted = {*learning_rate.__all__, *(f"momentum.{name}" for name in momentum.__all__ if not hasattr(learning_rate, name))}
    assert shown == wanted - {"PerStep"} | {"momentum.Cyclic", "momentum.OneCycle"}
    assert len(shown) == len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.call)
def test_a_picture_shows_what_the_call_gives(entry: Any) -> None:
    schedule = eval(entry.call, vars(learning_rate) | {"momentum": momentum})
    assert isinstance(schedule, Schedule)
    values = entry.values()
    assert len(values) == entry.length
    if not isinstance(schedule, Plateau):
        for t in (1, 2, entry.length // 3, entry.length):
            assert values[t - 1] == schedule(up.OptimizationState(epoch=t, iteration=t))
    else:
        assert values == sorted(values, reverse=True) != values[:1] * len(values)
    low, high = entry.span
    assert min(values) >= low
    assert max(values) <= 1.2 * high


@pytest.mark.parametrize("composition", gallery.COMPOSITIONS, ids=lambda composition: composition.title)
def test_a_composition_is_drawn_over_all_of_its_run(composition: Any) -> None:
    values = composition.values()
    assert values.keys() == composition.panels.keys()
    assert {len(each) for each in values.values()} == {90 * composition.batches}
    assert all(len(set(each)) > 1 for each in values.values())
    assert composition.code in PAGE


def test_the_pictures_are_there_and_small() -> None:
    named = set(re.findall(r'src="schedules/(.*?)"', PAGE))
    files = {path.name: path.read_bytes() for path in (ROOT / "docs" / "schedules").iterdir()}
    assert named == files.keys() == {each.file for each in (*ENTRIES, *gallery.COMPOSITIONS)}
    assert all(data.startswith(b"\x89PNG") for data in files.values())
    assert sum(map(len, files.values())) < 600_000


def test_what_is_drawn_is_in_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **options: drawn.append(figure))
    gallery.draw({"one": [0.3, 0.1, 0.2, 0.2]}, tmp_path / "x.png", unit="epochs", batches=2, size=(3, 2))
    (line,) = drawn[0].axes[0].lines
    assert line.get_drawstyle() == "steps-pre"
    assert list(line.get_xdata()) == [0, 0.5, 1, 1.5, 2]
    assert list(line.get_ydata()) == [0.3, 0.3, 0.1, 0.2, 0.2]
    assert drawn[0].axes[0].get_xlabel() == "epochs"


def test_the_page_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, {"__name__": "page"})
        comments = re.findall(r"print\(.*\) +# (.*)", block)
        for line, comment in zip(capsys.readouterr().out.splitlines(), comments, strict=True):
            assert comment.startswith(line)
