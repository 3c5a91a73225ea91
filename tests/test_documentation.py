"""The README runs as pasted, the examples run, and every public name says what it must."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import updaters as up

ROOT = Path(__file__).parent.parent


def test_the_readme_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        exec(block, namespace)
    np.testing.assert_allclose(namespace["weights"]["slope"], [1.0, -2.0, 0.5], atol=0.01)
    np.testing.assert_allclose(namespace["weights"]["offset"], [3.0], atol=0.01)
    assert capsys.readouterr().out.endswith("0.45\n")


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in ROOT.glob("**/*.md"):
        if not {".venv", ".cache"} & set(document.parts):
            for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text()):
                assert (document.parent / target).exists(), (document.name, target)


PUBLIC = [getattr(up, name) for name in up.__all__]
PUBLIC += [getattr(module, name) for module in (up.learning_rate, up.momentum) for name in module.__all__]
COMPAT = [importlib.import_module(f"updaters.compat.{path.stem}") for path in (ROOT / "updaters/compat").glob("[a-z]*.py")]
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
        assert all(f"{heading}:" in documented for heading in ("Attributes", "Conventions", "References"))


@pytest.mark.parametrize("value", PUBLIC, ids=lambda value: f"{value.__module__}.{value.__name__}")
def test_the_prose_repeats_no_default(value: Any) -> None:
    assert not re.search(r"\bdefaults?\b(?! to None)", inspect.getdoc(value) or "", re.IGNORECASE)


@pytest.mark.parametrize("name", ["custom_rule", "custom_momentum"])
def test_an_example_runs(name: str) -> None:
    done = run(f"examples/{name}.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr


def run(script: str, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", ROOT / script, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
