"""The README runs as pasted, the examples run, and every public name says what it must."""

import importlib
import inspect
import pkgutil
import re
import runpy
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import updaters as up
from tests.golden import Case, cases
from updaters import backends, compat

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "optimizers.md").read_text(encoding="utf-8")
RULES = {name: value for name in up.__all__ if inspect.isclass(value := getattr(up, name)) and issubclass(value, up.Optimizer)}
del RULES["Optimizer"]


@pytest.fixture
def numpy_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has updaters run as where numba is not installed, where what it compiles is not the point: most of the time would be its."""
    monkeypatch.setattr(backends, "best", backends.load)


@pytest.mark.usefixtures("numpy_alone")
def test_the_readme_runs_as_pasted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    line, schedulers, *others = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(line, namespace)
    np.testing.assert_allclose(namespace["weights"]["slope"], [1.0, -2.0, 0.5], atol=0.01)
    np.testing.assert_allclose(namespace["weights"]["offset"], [3.0], atol=0.01)
    exec(schedulers, namespace)
    assert capsys.readouterr().out.endswith("0.45\n")
    for block in others:
        exec(block, {})
    assert {path.name for path in tmp_path.iterdir()} >= {"run.safetensors", "run.1.safetensors"}
    assert re.search(r"^body.weight +0.004 +1 +", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.usefixtures("numpy_alone")
def test_the_page_of_policy_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    table, accumulated, carried = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "policy.md").read_text(), re.DOTALL)
    exec(table, {})
    assert re.search(r"^norm of all gradients: 10.58\n", capsys.readouterr().out, re.MULTILINE)
    exec(accumulated, {})
    comments = re.findall(r"print\(.*\) +# (.*?):", accumulated)
    assert [comment.split(" ", 1)[0] for comment in comments] == ["[-0.5]", "[-1.25]"]
    assert capsys.readouterr().out.splitlines() == [re.sub(" +", " ", comment.partition(":")[0]) for comment in comments]
    exec(carried, {})
    assert capsys.readouterr().out in carried.replace("# ", "\n").replace("  ", "")


@pytest.mark.usefixtures("numpy_alone")
def test_the_page_of_checkpoints_runs_as_pasted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    script, server, other, read = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "checkpoints.md").read_text(), re.DOTALL)
    first: dict[str, Any] = {}
    exec(script, first)
    assert {path.name for path in tmp_path.iterdir()} == {"run.safetensors", "run.1.safetensors", "run.2.safetensors"}
    (tmp_path / "run.1.safetensors").replace(tmp_path / "run.safetensors")  # as if it had been stopped 50 batches earlier
    again: dict[str, Any] = {}
    exec(script, again)
    assert again["state"] == first["state"]
    assert again["weights"]["slope"].tobytes() == first["weights"]["slope"].tobytes()
    rounds: dict[str, Any] = {}
    exec(server, rounds)
    (tmp_path / "server.safetensors").unlink()
    exec(server.replace("epochs(20)", "epochs(7)"), {})  # stopped between two rounds
    exec(server, again)
    assert again["state"] == rounds["state"]
    assert [weight.tobytes() for weight in again["weights"]] == [weight.tobytes() for weight in rounds["weights"]]
    exec(other, {})
    assert "optimizer.lr: 0.1 in the file, 0.2 here" in capsys.readouterr().out
    exec(read, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*\) +# (.*)", read)


def test_the_page_of_rules_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, {})
        comments = re.findall(r"print\(.*\) +# (.*)", block)
        for line, comment in zip(capsys.readouterr().out.splitlines(), comments, strict=True):
            assert comment.startswith(line)


def rows(heading: str) -> list[list[str]]:
    """The cells of a table of the page, by its first column's heading and the one after it."""
    table = re.findall(rf"^\| {heading} .*\n\|[-|]*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for part in table for line in part.splitlines()]


def test_the_page_of_rules_has_every_rule() -> None:
    documented = {cells[0].strip("`").partition("(")[0] for cells in rows(r"rule \| update")}
    assert documented == RULES.keys()


@pytest.mark.parametrize("cells", rows(r"rule \| update"), ids=lambda cells: cells[0])
def test_the_page_of_rules_counts_what_is_kept(cells: list[str]) -> None:
    call, _, slots, size, numbers, _, _ = cells
    weight = np.ones((40, 50), np.float32)
    update = up.get_updater(eval(call.strip("`"), RULES.copy()), backend="numpy")
    update("w", weight / 2, weight)
    kept = update.slots["w"]
    optimizer = kept.rule.optimizer
    assert re.findall(r"`(\w+)`", slots) == list(optimizer.slots)
    expected = 4 / 40 + 4 / 50 if size == "4/rows + 4/columns" else float(size)
    assert sum(kept[name].nbytes for name in optimizer.slots) == expected * weight.size
    counts = {"device": len(optimizer.numbers), "host": len(optimizer.scalars)}
    assert numbers == ", ".join(f"{count} on the {where}" for where, count in counts.items() if count)


def test_the_page_of_rules_says_where_a_decay_may_be() -> None:
    said = {rule: re.findall(r"\w+", words) for names, words in rows(r"rules \| `decay`") for rule in names.split(", ")}
    assert said.keys() == RULES.keys()
    for name, words in said.items():
        assert RULES[name]().decay == words[0]
        for word in ("l2", "decoupled", "inside", "outside"):
            with nullcontext() if word in words else pytest.raises(ValueError, match="decay"):
                RULES[name](decay=word)


SYSTEMS = [(systems, call) for _, systems, calls in rows(r"rule \| system") for call in re.findall(r"`(.*?)`", calls)]
GOLDEN = {
    (system, case.name.removesuffix(" in float64")): case for system in ("torch", "keras") for case in reversed(cases(system))
}
COMPARED = [
    (call, GOLDEN[system, f"{name}()"])
    for systems, call in SYSTEMS
    for system, heading in (("torch", "PyTorch"), ("keras", "Keras 3"))
    for name in re.findall(rf"{heading} `(\w+)`", systems)
]


@pytest.mark.parametrize("call", [call for _, call in SYSTEMS])
def test_the_calls_of_the_page_of_rules_are_optimizers(call: str) -> None:
    assert isinstance(eval(call, RULES.copy()), up.Optimizer)


@pytest.mark.parametrize(("call", "case"), COMPARED, ids=str)
def test_the_page_of_rules_knows_the_numerics_of_other_systems(call: str, case: Case) -> None:
    def rate(state: up.OptimizationState) -> float:
        return float(case.rates[state.iteration - 1])

    optimizer = attrs.evolve(eval(call, RULES.copy()), lr=rate)
    if isinstance(optimizer, up.Muon) and optimizer.otherwise is not None:
        optimizer = attrs.evolve(optimizer, otherwise=attrs.evolve(optimizer.otherwise, lr=rate))
    weights = {name: start.copy() for name, start in case.start.items()}
    update = up.get_updater(optimizer, backend="numpy")
    for k in range(len(case.rates)):
        update.step({name: gradients[k] for name, gradients in case.gradients.items()}, weights)
        for name, weight in case.expected.get(k + 1, {}).items():
            np.testing.assert_allclose(weights[name], weight, rtol=case.tolerance, atol=case.tolerance)


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in ROOT.glob("**/*.md"):
        if not {".venv", ".cache"} & set(document.parts):
            for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
                assert (document.parent / target).exists(), (document.name, target)


PUBLIC = [getattr(up, name) for name in up.__all__]
PUBLIC += [getattr(module, name) for module in (up.learning_rate, up.momentum, up.loss_scale) for name in module.__all__]
COMPAT = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(compat.__path__, "updaters.compat.")
    if "._" not in found.name
]
PUBLIC += [getattr(module, name) for module in COMPAT for name in module.__all__]
PUBLIC = [value for value in PUBLIC if inspect.isclass(value) or inspect.isfunction(value)]


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: f"{value.__module__}.{value.__name__}")
def test_public_docstrings(value: Any) -> None:
    documented = inspect.getdoc(value) or ""
    assert documented.split("\n\n")[0].endswith("."), "one sentence first"
    members = [member for name, member in vars(value).items() if not name.startswith("_")] if inspect.isclass(value) else []
    for member in members:
        if inspect.isfunction(member) and member.__qualname__.startswith(value.__name__) and member.__name__ != "coefficients":
            assert inspect.getdoc(member), member
    if inspect.isclass(value) and (getattr(value, "_is_protocol", False) or value in (up.Optimizer, up.Updater)):
        return
    assert "Example:" in documented
    if inspect.isclass(value) and issubclass(value, up.Optimizer):
        assert [heading for heading in ("Attributes", "Conventions", "References") if f"{heading}:" not in documented] == []


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: f"{value.__module__}.{value.__name__}")
def test_the_prose_repeats_no_default(value: Any) -> None:
    assert not re.search(r"\bdefaults?\b(?! to None)", inspect.getdoc(value) or "", re.IGNORECASE)


Example = Callable[..., str]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Example:
    """Runs an example and gives what it prints; here, since to import what it needs takes longer than most of them."""
    plt = importlib.import_module("matplotlib.pyplot")

    def run(name: str, *arguments: str) -> str:
        path = ROOT / "examples" / f"{name}.py"
        monkeypatch.syspath_prepend(path.parent)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        with plt.rc_context():  # which is every test's
            runpy.run_path(str(path), run_name="__main__")
        plt.close("all")
        out, err = capsys.readouterr()
        assert not err
        return out

    return run


def test_a_rule_of_ones_own_runs_compiled(example: Example) -> None:
    assert "15 spikes among them: True" in example("custom_rule")


def test_a_momentum_of_ones_own_runs(example: Example) -> None:
    assert example("custom_momentum")


@pytest.mark.usefixtures("numpy_alone")
def test_training_in_half_precision_runs(example: Example) -> None:
    shown = example("half_precision", "--epochs=1")
    assert len(re.findall(r"^float(?:16|32).*%$", shown, re.MULTILINE)) == 4
    assert re.search(r"^W2 +\S+ +\S+ +\S+ +\S+ +\S+ +42$", shown, re.MULTILINE)


def test_the_race_runs(example: Example, tmp_path: Path) -> None:
    shown = example("rules_race", "--quick", "--output", str(tmp_path / "race.png"))
    assert [name for name in RULES if not re.search(rf"^{name}\b", shown, re.MULTILINE)] == []
    assert (tmp_path / "race.png").stat().st_size > 0


def test_a_run_that_is_killed_goes_on_as_if_nothing_had_happened(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    shown = example("resume", "--show", "--kills=1", "--epochs=3", "--seed=1")
    first, second = re.findall(r"^goes on after batch \d+ of epoch (\d)$", shown, re.MULTILINE)
    assert first == "0"
    assert second in "23"
    assert shown.endswith("\nAll weights have the same bits\n")
