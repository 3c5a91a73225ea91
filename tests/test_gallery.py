"""The gallery of schedules shows all of them, and what it says and draws is true."""

import importlib.util
import inspect
import math
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from PIL import Image

import updaters as up
from updaters import __main__, config, learning_rate, momentum
from updaters.schedules.base import Schedule, at

DOCS = Path(__file__).parent.parent / "docs"


def script() -> Any:
    """docs/make_gallery.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


gallery = script()
ENTRIES = [entry for entries in gallery.GALLERY.values() for entry in entries]
PICTURED = [*ENTRIES, *gallery.COMPOSITIONS]
TEXT = (DOCS / "schedules.md").read_text(encoding="utf-8")
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def clock(t: int, batches: int = 1) -> up.OptimizationState:
    return up.OptimizationState(epoch=(t - 1) // batches + 1, batch=(t - 1) % batches + 1, iteration=t)


def test_the_page_is_what_the_script_writes() -> None:
    assert gallery.page() == TEXT


def test_every_schedule_has_one_entry() -> None:
    shown = [eval(entry.name, gallery.NAMES.copy()) for entry in ENTRIES]
    assert len(set(shown)) == len(shown)
    public = {getattr(module, name) for module in (learning_rate, momentum) for name in module.__all__}
    assert public - set(shown) == {learning_rate.PerStep}  # which is what per_step gives
    assert set(shown) <= public


@each_entry
def test_what_is_drawn_is_what_the_call_gives(entry: Any) -> None:
    schedule = eval(entry.call, gallery.NAMES.copy())
    assert isinstance(schedule, Schedule)
    assert f"`{entry.call}`" in TEXT
    expected = [schedule(clock(t)) for t in range(1, entry.length + 1)]
    if isinstance(schedule, learning_rate.Plateau):  # the loss stands still at epochs 13, 25 and 50
        expected = [0.1] * 19 + [0.05] * 12 + [0.025] * 25 + [0.0125] * 44
    assert entry.values() == expected


WRITTEN = {"·": "*", "^": "**", "π": "pi", "⌊": "floor(", "⌋": ")", "√": "sqrt", " mod ": " % "}


def computed(schedule: Any, equation: str, t: int, reductions: int) -> float:
    """What an equation of the page gives."""

    def valued(member: Any) -> Any:
        return lambda count: at(member, count, count, clock(t))

    for sign, python in WRITTEN.items():
        equation = equation.replace(sign, python)
    value, *definitions = re.split(r", (?=\w+ = )", re.sub(r"\|([^|]*)\|", r"abs(\1)", equation))
    names: dict[str, Any] = {name: getattr(math, name) for name in ("cos", "pi", "e", "sqrt", "floor")}
    names |= {"count": sum, "ease": lambda x: math.sin(math.pi * x / 2) ** 2, "T": t, "noise": 0.0, "reductions": reductions}
    names |= attrs.asdict(schedule, recurse=False)
    names |= {name: valued(names[name]) for name in ("inner", "left", "right") if name in names}
    names["schedules"] = [valued(member) for member in names.get("schedules", ())]
    if "period_factor" in names:
        names |= {"T_i": t - 1, "i": 0, "period_i": schedule.period}
        while names["T_i"] >= names["period_i"]:
            names["T_i"] -= names["period_i"]
            names["period_i"] *= schedule.period_factor
            names["i"] += 1
    for definition in definitions:
        name, _, value_of = definition.partition(" = ")
        names[name] = eval(value_of, names)
    return float(eval(value, names))


@each_entry
def test_the_equation_is_what_the_call_gives(entry: Any) -> None:
    assert f"`{entry.equation}`" in TEXT
    schedule = entry.schedule()
    if isinstance(schedule, learning_rate.NoisyLinearCosine):
        schedule = attrs.evolve(schedule, initial_variance=0.0)
    beyond = [t * entry.length // 7 for t in range(1, 12)]
    for t in (1, 2, 3, *beyond):
        assert computed(schedule, entry.equation, t, 0) == pytest.approx(schedule(clock(t)), rel=1e-12, abs=1e-16), t
    if isinstance(schedule, learning_rate.Plateau):
        schedule.load_state_dict({"best": 1.0, "bad": 0, "cooling": 0, "reductions": 3})
        assert computed(schedule, entry.equation, 1, 3) == schedule(clock(1)) == 0.0125


@pytest.mark.parametrize("each", gallery.COMPOSITIONS, ids=lambda each: each.title)
def test_what_is_drawn_of_a_composition_is_what_it_gives(each: Any) -> None:
    assert f"```python\n{each.code}```" in TEXT
    namespace: dict[str, Any] = {}
    exec(each.code, namespace)
    drawn = each.values()
    assert len(each.spans) == len(drawn)
    assert drawn.keys() == each.panels.keys()
    if "rates" in namespace:
        assert drawn["loss"][18:20] == [0.08, 0.05]
        rise, held = [0.02, 0.04, 0.06, 0.08, 0.1], [0.1] * 14 + [0.05] * 12 + [0.025] * 25 + [0.0125] * 4
        fall = [0.0125 * math.cos(math.pi * t / 60) ** 2 for t in range(1, 31)]
        assert drawn["learning rate"] == pytest.approx(rise + held + fall, rel=1e-12, abs=1e-16)
        return
    schedules = {title: eval(expression, namespace) for title, expression in each.panels.items()}
    for t in range(1, 90 * each.batches + 1):
        assert {title: values[t - 1] for title, values in drawn.items()} == {
            title: schedule(clock(t, each.batches)) for title, schedule in schedules.items()
        }
    assert {len(values) for values in drawn.values()} == {90 * each.batches}
    if "figure" in namespace:
        plotted = {axes.get_title("left"): axes.lines[0] for axes in namespace["figure"].axes}
        for title, values in drawn.items():
            for x, y in zip(plotted[title].get_xdata()[1:], plotted[title].get_ydata()[1:], strict=True):
                assert values[round(x * each.batches) - 1] == y


def test_the_code_runs_as_pasted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for names in ("_types", "_functions"):
        monkeypatch.setattr(config, names, getattr(config, names).copy())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 4 + len(gallery.COMPOSITIONS)
    for block in blocks:
        namespace: dict[str, Any] = {}
        exec(block, namespace)
        said = re.findall(r"^print\(.*\) +# (.*)", block, re.MULTILINE)
        for line, comment in zip(capsys.readouterr().out.splitlines(), said, strict=True):
            assert comment.startswith(line)
        if "text" in namespace:
            Path("adam.json").write_text(namespace["text"], encoding="utf-8")
    command = re.findall(r"```sh\n(.*?)\n```", TEXT)
    python, *arguments = shlex.split(command[0])
    assert (python, arguments[:2]) == ("python", ["-m", "updaters"])
    assert __main__.main(arguments[2:]) == 0
    assert Path("adam.png").stat().st_size > 0


def test_what_the_page_says_in_passing() -> None:
    from updaters.learning_rate import Cosine, Exp, Linear, Step, Warmup

    assert round(Exp(0.1)(clock(1)), 12) == 0.09
    assert Linear(0.1, 10)(clock(10)) == 0.0
    assert [Step(0.1, 30)(clock(t)) == 0.1 for t in (1, 30, 31)] == [True, True, False]
    longer = Warmup(Cosine(0.1, 8500, clock="iteration"), 500)
    assert longer(clock(8999)) > longer(clock(9000)) == 0.0
    by_iterations = {
        name
        for name in learning_rate.__all__ + momentum.__all__
        for module in (learning_rate, momentum)
        if inspect.isclass(kind := getattr(module, name, None))
        and attrs.has(kind)
        and getattr(attrs.fields_dict(kind).get("clock"), "default", None) == "iteration"
    }
    assert by_iterations == {"Noam", "InverseSqrt", "WarmupStableDecay", "Cyclic", "OneCycle", "Nadam", "PerStep"}


def test_the_modules_that_are_named_are_there() -> None:
    modules = set(re.findall(r"`(updaters\.compat\.[\w.]+)`", TEXT))
    assert len(modules) == 6
    for module in modules:
        importlib.import_module(module)


def test_the_pictures_are_there_and_small() -> None:
    shown = re.findall(r'<img src="schedules/(\w+\.png)" width="(\d+)"', TEXT)
    assert [file for file, _ in shown] == [pictured.file for pictured in PICTURED]
    files = {file.name: file for file in (DOCS / "schedules").iterdir()}
    assert files.keys() == {file for file, _ in shown}
    assert sum(file.stat().st_size for file in files.values()) < 600_000
    for (name, width), pictured in zip(shown, PICTURED, strict=True):
        with Image.open(files[name]) as picture:
            assert picture.format == "PNG"
            assert picture.width == 2 * int(width)
            # A row that was changed without drawing it again has another description.
            assert picture.text["Description"] == getattr(pictured, "description", getattr(pictured, "code", ""))
            pixels = picture.convert("RGBA").getcolors(1 << 20)
        blue = sum(count for count, (red, _, blue, alpha) in pixels if alpha > 128 and blue > red + 64)
        assert blue > 500, name
