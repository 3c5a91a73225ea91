"""What CuPy is given compiles, without a warning, to the IEEE operations that were recorded. No GPU is needed."""

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fake_cupy
from tests.fake_cupy import KERNELS as RECORDED
from tests.fake_cupy import OTHER_PRECISION, RULES
from tests.weight_rules import NORM_RULES
from updaters.backends.stages import split
from updaters.backends.trace import Recording, dithered, record, rounded
from updaters.formula import Formula
from updaters.rule import Rule

PRECISIONS = ["float16", "bfloat16", "float32", "float64"]
CUPYS_OPTIONS = ("-ftz=true",)  # what CuPy adds to a kernel's own

KERNELS = [(rule, weight, grad) for rule in RECORDED for weight in PRECISIONS for grad in (weight, OTHER_PRECISION[weight])]

ARITHMETIC = {"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "sqrt": "sqrt"}


def kernel_of(backend: Any, rule: str, weight: str, grad: str) -> tuple[Recording, Any]:
    """A rule's recording, and its kernel for these dtypes."""
    recording = Rule.of(RULES[rule]).recording
    compute = "float64" if weight == "float64" else "float32"
    return recording, backend.elementwise(recording, [weight, grad, *[compute] * (len(recording.arrays) - 2)], compute)


def check_ptx(ptx: str, recording: Recording, compute: str) -> None:
    """Hold the instructions to the recording: each division and root once, rounded to nearest, nothing fused."""
    found = Counter(re.findall(r"^\s+(?:@!?%p\d+\s+)?([a-z]\w*)((?:\.\w+)*)\s", ptx, re.MULTILINE))
    kind = {"float32": "f32", "float64": "f64"}[compute]
    counts: Counter[str] = Counter()
    for (name, suffix), count in found.items():
        if not re.search(r"\.f(16|32|64)\b", suffix) or name in ("ld", "st", "mov", "selp", "setp"):
            continue
        if name == "cvt":
            assert suffix in CONVERSIONS, suffix
            continue
        assert name in (*ARITHMETIC.values(), "neg", "abs"), name + suffix
        rounded = ".rn" if name not in ("neg", "abs") else ""
        assert suffix in (f"{rounded}.{kind}", f"{rounded}.ftz.{kind}"), name + suffix
        counts[name] += count
    wanted = Counter(ARITHMETIC[node.operation] for node in recording.nodes if node.operation in ARITHMETIC)
    # A compiler may write a - b as a + -b, and nothing else here in another way.
    counts["add"] += counts.pop("sub", 0)
    wanted["add"] += wanted.pop("sub", 0)
    del counts["neg"], counts["abs"]
    assert counts == wanted


CONVERSIONS = {
    ".rn.f32.f64", ".rn.ftz.f32.f64",  # coefficients, float64 gradients
    ".f64.f32", ".ftz.f64.f32",  # float32 gradients of float64 weights
    ".f32.f16", ".rn.f16.f32",  # halves
}  # fmt: skip


# nvcc, with CuPy's own headers where it is installed, since these take names.


@cache
def headers() -> tuple[list[str], str]:
    """Options and text that a kernel of CuPy's begins with; without CuPy, only the names its headers take."""
    spec = importlib.util.find_spec("cupy")
    if spec is None or spec.origin is None:
        names = "complex", "real", "imag", "arg", "conj", "float16", "bfloat16", "CArray", "CIndexer"
        return [], "\n".join(f"template <class T> struct {name};" for name in names)
    include = Path(spec.origin).parent / "_core" / "include"
    folders = [include, *(include / "cupy" / "_cccl" / part for part in ("cub", "thrust", "libcudacxx"))]
    files = ("complex", "carray", "atomics")
    return [f"-isystem={folder}" for folder in folders], "\n".join(f"#include <cupy/{file}.cuh>" for file in files)


@pytest.fixture(scope="module")
def ptx(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The PTX of each of KERNELS, compiled in one file for float32 arithmetic and one for float64."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed: the CUDA text cannot be compiled")
    folder = tmp_path_factory.mktemp("cuda")
    options, begin = headers()
    texts: dict[str, str] = {}
    switches: set[Any] = set()
    with fake_cupy.installed():
        from updaters.backends import cupy as backend

        for number, case in enumerate(KERNELS):
            _, kernel = kernel_of(backend, *case)
            switches.add(kernel.options)
            texts.setdefault(kernel.preamble, f"{begin}\n{kernel.preamble}\n")
            texts[kernel.preamble] += around(kernel, number)
    assert len(texts) == 2
    assert len(switches) == 1
    running = []
    for name, text in zip(("one", "other"), texts.values(), strict=True):
        (folder / f"{name}.cu").write_text(text)
        command = [nvcc, "-ptx", "-arch=sm_80", "-std=c++17", *switches.copy().pop(), *CUPYS_OPTIONS, *options]
        command += ["-o", str(folder / f"{name}.ptx"), str(folder / f"{name}.cu")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    outputs = [process.communicate()[0] for process in running]
    assert outputs == ["", ""]
    found = "".join((folder / f"{name}.ptx").read_text() for name in ("one", "other"))
    return {int(number): body for number, body in re.findall(r"\.entry kernel_(\d+)\((.*?)^}", found, re.DOTALL | re.MULTILINE)}


def around(kernel: Any, number: int) -> str:
    """A kernel as CuPy writes it around what it is given, but for arrays that lie densely."""
    parameters, lines = [], []
    for (*_, kind, name), const in [(p, "const ") for p in kernel.inputs] + [(p, "") for p in kernel.outputs]:
        if name in kernel.raw:
            parameters.append(f"const double *{name}")
        elif name.startswith("c"):
            parameters.append(f"const double {name}")
        else:
            parameters.append(f"{fake_cupy.TYPES[kind]} *_raw_{name}")
            lines.append(f"{const}{fake_cupy.TYPES[kind]} &{name} = _raw_{name}[i];")
    body = "\n".join([*lines, kernel.operation])
    return f"""
extern "C" __global__ void kernel_{number}({", ".join(parameters)}, ptrdiff_t size) {{
    #pragma unroll 1
    for (ptrdiff_t i = (ptrdiff_t)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += (ptrdiff_t)gridDim.x * blockDim.x) {{
{body};
    }}
}}
"""


@pytest.mark.parametrize("number", range(len(KERNELS)), ids=[" ".join(case) for case in KERNELS])
def test_nvcc_makes_the_recorded_operations(ptx: dict[int, str], number: int) -> None:
    rule, weight, _ = KERNELS[number]
    check_ptx(ptx[number], Rule.of(RULES[rule]).recording, "float64" if weight == "float64" else "float32")


# NVRTC, where CuPy finds one, and the very text that CuPy writes.


@pytest.fixture(scope="module")
def cupy() -> Any:
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        module.cuda.nvrtc.getVersion()
    except Exception as error:
        pytest.skip(f"CuPy finds no NVRTC: {error}")
    return module


def cupys_ptx(cupy: Any, kernel: Any, ndim: int, dense: bool, short: bool) -> str:
    """The PTX of a kernel as CuPy would make it for arrays with so many axes, dense or not, below 2 GiB or not."""
    core, inner = cupy._core.core, cupy._core._kernel
    array, indexer, scalar = 1, 2, 3
    try:
        infos = [
            inner._ArgInfo(scalar, object, np.dtype(np.float64), 0, True, True)
            if parameter.name.startswith("c")
            else inner._ArgInfo(array, cupy.ndarray, parameter.dtype, ndim, dense, short)
            for parameter in kernel.params[:-1]
        ]
        infos.append(inner._ArgInfo(indexer, object, None, ndim, True, short))
        begin = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
        options = (*core.assemble_cupy_compiler_options(kernel.kwargs["options"]), *CUPYS_OPTIONS, "-arch=compute_80")
        write, types = inner._get_elementwise_kernel_code, inner._TypeMap(())
    except (AttributeError, TypeError) as error:
        pytest.skip(f"this CuPy is another inside: {error}")
    text = write(tuple(infos), types, kernel.params, kernel.operation, kernel.name, kernel.preamble, **kernel.kwargs)
    nvrtc = cupy.cuda.nvrtc
    program = nvrtc.createProgram(begin + text, "kernel.cu", (), ())
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError:
            pytest.fail(nvrtc.getProgramLog(program))
        assert nvrtc.getProgramLog(program).strip() == ""
        made = nvrtc.getPTX(program)
    finally:
        nvrtc.destroyProgram(program)
    return made.decode() if isinstance(made, bytes) else made


VARIANTS = [("adam everything l2", precision, *how) for precision in PRECISIONS for how in [(0, True, True), (3, False, False)]]


@pytest.mark.parametrize(
    ("rule", "precision", "ndim", "dense", "short"),
    [*[(rule, precision, 1, True, True) for rule in ("sgd", "nesterov", "amsgrad") for precision in PRECISIONS], *VARIANTS],
)
def test_cupys_own_kernel_makes_the_recorded_operations(
    cupy: Any, rule: str, precision: str, ndim: int, dense: bool, short: bool
) -> None:
    from updaters.backends import cupy as backend

    recording, kernel = kernel_of(backend, rule, precision, precision)
    check_ptx(cupys_ptx(cupy, kernel, ndim, dense, short), recording, "float64" if precision == "float64" else "float32")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_nvcc_takes_rounding_and_peaks_and_shared_coefficients(dtype: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed: the CUDA text cannot be compiled")

    def formula(w: Any, g: Any, n: Any, rate: Any, low: Any, high: Any) -> Any:
        new = dithered(w - rate * g, low, high, dtype)
        return rounded(rate * new / np.linalg.norm(new, np.inf), dtype), np.linalg.norm(new, 1)

    stages = split(record(Formula("Rounding", formula, (), ("n",), ("rate", "low", "high"), shared=(0, 2))))
    first, second = stages.passes
    options, begin = headers()
    with fake_cupy.installed():
        from updaters.backends import cupy as backend

        sums = backend.summing(first, [dtype, "float32"], "float32")
        kernel = backend.elementwise(second.recording, [dtype, "float32"], "float32", second.imports)
        steps = [step for now in range(3) if (step := backend.between(stages, now)) is not None]
    texts = {
        "sums": sums.code,
        "kernel": kernel.preamble + around(kernel, 0),
        **{f"step{place}": step.code for place, step in enumerate(steps)},
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.cu").write_text(f"{begin}\n{text}")
        command = [nvcc, "-ptx", "-arch=sm_80", "-std=c++17", "--fmad=false", *CUPYS_OPTIONS, *options]
        done = subprocess.run(
            [*command, "-o", tmp_path / f"{name}.ptx", tmp_path / f"{name}.cu"], capture_output=True, text=True, check=False
        )
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
        ptx = (tmp_path / f"{name}.ptx").read_text()
        assert not re.search(r"\bfma\b|\bmad\.\w*\.?f\d\d", ptx), name
        assert ("mul.lo.s64" in ptx) == (name in ("sums", "kernel")), "splitmix64 multiplies in 64 bits"


# Rules with norms: kernels of several passes, and of one thread in between.

STAGED = [(rule, weight) for rule in NORM_RULES for weight in ("float16", "float32", "float64")]


@pytest.fixture(scope="module")
def staged_ptx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The PTX of every kernel of STAGED, by its name."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed: the CUDA text cannot be compiled")
    folder = tmp_path_factory.mktemp("staged")
    options, begin = headers()
    texts: dict[str, str] = {}
    with fake_cupy.installed():
        from updaters.backends import cupy as backend

        def add(kernel: Any, preamble: str, number: int, which: str) -> None:
            texts.setdefault(preamble, f"{begin}\n{preamble}\n")
            assert kernel.options == ("--fmad=false",)
            texts[preamble] += kernel.code.removeprefix(preamble).replace(kernel.name, f"kernel_{number}_{which}")

        for number, (rule, weight) in enumerate(STAGED):
            recording = Rule.of(NORM_RULES[rule]).recording
            assert recording is not None
            stages = split(recording)
            compute = "float64" if weight == "float64" else "float32"
            dtypes = [weight, weight, *[compute] * (len(recording.arrays) - 2)]
            for now, made in enumerate(stages.passes):
                if made.sums:
                    add(backend.summing(made, dtypes, compute), backend.preamble(compute) + backend.SUMMING, number, f"sums{now}")
            for now in range(len(stages.passes) + 1):
                if (step := backend.between(stages, now)) is not None:
                    add(step, backend.preamble("float64"), number, f"between{now}")
    running = []
    for place, text in enumerate(texts.values()):
        (folder / f"{place}.cu").write_text(text)
        command = [nvcc, "-ptx", "-arch=sm_80", "-std=c++17", "--fmad=false", *CUPYS_OPTIONS, *options]
        command += ["-o", str(folder / f"{place}.ptx"), str(folder / f"{place}.cu")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    assert [process.communicate()[0] for process in running] == [""] * len(texts)
    found = "".join((folder / f"{place}.ptx").read_text() for place in range(len(texts)))
    return dict(re.findall(r"\.entry kernel_(\d+_\w+)\((.*?)^}", found, re.DOTALL | re.MULTILINE))


@pytest.mark.parametrize("number", range(len(STAGED)), ids=[" ".join(case) for case in STAGED])
def test_nvcc_fuses_nothing_in_passes_and_between_them(staged_ptx: dict[str, str], number: int) -> None:
    rule, _ = STAGED[number]
    recording = Rule.of(NORM_RULES[rule]).recording
    assert recording is not None
    bodies = {name: body for name, body in staged_ptx.items() if name.startswith(f"{number}_")}
    sums = sum("sums" in name for name in bodies)
    assert sums == sum(bool(made.sums) for made in split(recording).passes)
    for name, body in bodies.items():
        assert not re.search(r"\bfma\b|\bmad\.\w*\.?f\d\d", body), name
        for operation, suffix in re.findall(
            r"^\s+(?:@!?%p\d+\s+)?(div|sqrt|add|sub|mul)((?:\.\w+)*\.f\d\d)\s", body, re.MULTILINE
        ):
            assert suffix.startswith(".rn"), (name, operation, suffix)
        if "sums" in name:
            assert body.count("bar.sync") >= 2, "lanes wait for each other"
            assert ".maxntid 1024" in body
            assert "st.shared.f64" in body
