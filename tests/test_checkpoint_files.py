"""Files of updaters as files: that others can read them, what may be in their names, and that no damage gets through."""

import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import attrs
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import updaters as up
from tests.fuzz_checkpoint import CASES, Fuzzer, at, everything, file_of, nested, nodes, parts_of, with_value, without
from updaters.checkpoint import contents, files, names

DTYPES = {"F16": "f2", "BF16": ml_dtypes.bfloat16, "F32": "f4", "F64": "f8"}
PLATEAU = CASES[0]

# What is written.


def all_kinds():
    """Weights of every dtype and layout, with numbers in them; the first has all others at odd places, if they come as they are."""
    weights = {"half": np.ones(1, np.float16)}
    for name in ("f2", "f4", "f8", "c8", "c16", ">f2", ">f4", ">f8", ">c8", ">c16", ml_dtypes.bfloat16):
        for shape in ((), (0,), (3,), (2, 3), (3, 0, 2)):
            dtype = np.dtype(name)
            weights[f"{dtype.str} {dtype.name} {shape}"] = np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)
            weights[f"{dtype.str} {dtype.name} {shape} F"] = weights[f"{dtype.str} {dtype.name} {shape}"].copy("F")
    weights["strided"] = np.arange(12.0).reshape(3, 4)[::2, 1::2]
    return weights


def of_all_kinds(path):
    weights = all_kinds()
    update = up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy")
    update.step({index: np.ones_like(weight) for index, weight in weights.items()}, weights)
    update.save(path, weights=weights)
    return update, weights


def native(array):
    array = array.astype(array.dtype.newbyteorder("="))
    return array[..., np.newaxis].view(f"f{array.itemsize // 2}") if array.dtype.kind == "c" else array


def test_the_safetensors_library_reads_what_is_written(tmp_path):
    from safetensors.numpy import load_file

    update, weights = of_all_kinds(tmp_path / "run.safetensors")
    found = load_file(tmp_path / "run.safetensors")
    ((slot, *_),) = {tuple(kept.arrays) for kept in update.slots.values()}
    slots = {index: kept.arrays[slot] for index, kept in update.slots.items()}
    assert found.keys() == {*map(names.weight_name, weights), *(names.slot_name(index, slot) for index in slots)}
    for index, weight in weights.items():
        for name, array in ((names.weight_name(index), weight), (names.slot_name(index, slot), slots[index])):
            assert (found[name].dtype, found[name].shape) == (native(array).dtype, native(array).shape)
            assert found[name].tobytes() == native(array).tobytes()


@pytest.mark.parametrize("shape", [(1000, 4000), (1, 1000, 4000), (2, 2_000_000)])
def test_arrays_that_are_not_in_c_order_are_written_with_little_memory(tmp_path, shape):
    array = np.arange(4_000_000.0).reshape(shape, order="F")
    tracemalloc.start()
    files.write(tmp_path / "run", {"a": array}, "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes // 3
    assert (tmp_path / "run").read_bytes().endswith(array.tobytes("C"))


def test_a_file_is_laid_out_as_the_format_says(tmp_path):
    """https://huggingface.co/docs/safetensors: eight bytes of length, a header that begins with `{`, then data without holes."""
    _, weights = of_all_kinds(tmp_path / "run.safetensors")
    file = (tmp_path / "run.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", file[:8])
    assert length % 8 == 0
    assert file[8:9] == b"{"
    header = json.loads(file[8 : 8 + length])
    assert file[8 : 8 + length].rstrip(b" ").endswith(b"}}")
    assert all(type(value) is str for value in header.pop("__metadata__").values())
    end = 0
    for entry in header.values():
        assert entry.keys() == {"dtype", "shape", "data_offsets"}
        start, stop = entry["data_offsets"]
        size = np.dtype(DTYPES[entry["dtype"]]).itemsize
        assert start == end
        assert stop - start == size * int(np.prod(entry["shape"]))
        assert start % size == 0
        end = stop
    assert end == len(file) - 8 - length
    for index, weight in weights.items():
        start, stop = header[f"weights/{index}"]["data_offsets"]
        little = native(weight).astype(native(weight).dtype.newbyteorder("<"))
        assert file[8 + length + start : 8 + length + stop] == little.tobytes()


def test_json_and_struct_are_enough_to_read_what_is_kept(tmp_path):
    update, weights = PLATEAU.run(4)
    update.save(tmp_path / "run.safetensors", weights=weights, extra={"loss": [0.5, None]})
    header, data = parts_of((tmp_path / "run.safetensors").read_bytes())
    text = json.loads(header["__metadata__"]["updaters"])
    assert text["format"] == 1
    assert text["versions"].keys() == {"updaters", "numpy", "python"}
    assert text["versions"]["updaters"] == up.__version__
    assert (text["clock"]["iteration"], text["clock"]["held"], text["calls"]) == (4, 3, 1)
    assert text["optimizer"] == {**up.to_config(attrs.evolve(update.optimizer)), "version": 1}
    assert text["moving"] == {"optimizer.lr": update.optimizer.lr.state_dict()}
    assert text["loss_scale"]["scale"] == update.loss_scale
    assert text["extra"] == {"loss": [0.5, None]}
    assert [record["index"] for record in text["kept"]] == ["w", 0, ["a", [1, "m"]]]
    for record, (index, name) in zip(text["kept"], {"w": "w", 0: "0", ("a", (1, "m")): '["a", [1, "m"]]'}.items(), strict=True):
        kept = update.slots[index]
        assert (record["count"], record["gathered"], tuple(record["shape"])) == (1, 1, kept.shape)
        assert record["dtypes"].keys() == kept.arrays.keys()
        for slot, array in kept.arrays.items():
            start, stop = header[f"slots/{name}/{slot}"]["data_offsets"]
            assert data[start:stop] == array.tobytes()
        start, stop = header[f"weights/{name}"]["data_offsets"]
        assert data[start:stop] == weights[index].tobytes()


# Names.

parts = st.one_of(
    st.integers(),
    st.integers(-(10**4000), 10**4000),
    st.text(st.characters(), max_size=8).filter(lambda text: not names.PAIR.search(text)),
    st.sampled_from(
        ["0", "-1", "00", "", "a/m", "slots/a/m", "['a', 1]", '["a", 1]', '"0"', "[", "null", "1e5", "NaN", "\ud800", "\x00", "٣"]
    ),
)
indices = st.recursive(parts, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    [
        0,
        "0",
        '"0"',
        "a",
        "a/m",
        ("a", 1),
        "['a', 1]",
        '["a", 1]',
        ("a", "1"),
        "",
        (),
        ((),),
        "[]",
        "\ud800",
        '"\\ud800"',
        "\\ud800",
    ]
)
@example(
    ["\x00", "y" * 100_000, 10**4000, str(10**4000), -1, "-1", "slots/a/m", "weights/a", "0\n", "\ude00\ud83d", "\ud83d", "😀"]
)
@given(st.lists(indices, max_size=8, unique=True))
def test_indices_come_back_as_they_were_and_never_meet(tmp_path, names):
    weights = {index: np.array([float(place)]) for place, index in enumerate(names)}
    update = up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy")
    update.step({index: weight + 1 for index, weight in weights.items()}, weights)
    update.save(tmp_path / "run.safetensors", weights=weights)
    again, others = up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy"), {index: np.zeros(1) for index in names}
    report = again.load(tmp_path / "run.safetensors", weights=others)
    assert again == update
    assert others == weights
    assert [*again.slots] == [*report.slots] == [*report.weights] == names
    assert [type(index) for index in again.slots] == [type(index) for index in names]


def deep(depth):
    index = ()
    for _ in range(depth):
        index = (index,)
    return index


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (deep(201), r"index \(\(\(\(.*nested more than 200 deep"),
        (10**5000, "index of a weight.*an integer of 16610 bits, 0x"),
        (("a", -(2**14001)), "index .*cannot be saved: it has an integer of 14002 bits, -0x2"),
        (("\ud83d\ude00", 1), "index .*cannot be saved: it has two surrogates in a row"),
    ],
    ids=["deep", "large", "large within", "surrogates"],
)
@pytest.mark.parametrize("keeps", ["slots", "weights", "nothing"])
def test_an_index_that_cannot_be_read_again_is_an_error_before_anything_is_written(tmp_path, index, said, keeps):
    update = up.get_updater(up.SGD(0.1, momentum=0.9 if keeps == "slots" else None), backend="numpy")
    weights = {index: np.ones(1)}
    if keeps != "weights":
        update.step({index: np.ones(1)}, weights)
    with pytest.raises(ValueError, match=said):
        update.save(tmp_path / "run.safetensors", weights=weights)
    assert not [*tmp_path.iterdir()]


# What others have written.


def fresh():
    return up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy")


def refused(path, case=PLATEAU, *, update=None, strict=True):
    """The message of an error that changes nothing."""
    update, weights = (case.make(), case.weights()) if update is None else update
    before = everything(update, weights)
    with pytest.raises((ValueError, OSError)) as caught:
        update.load(path, weights=weights, strict=strict)
    assert everything(update, weights) == before
    assert path.name in str(caught.value)
    return str(caught.value)


def test_files_of_others_are_refused_with_what_they_lack(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "other.safetensors"
    save_file({"w": np.ones(3)}, path)
    assert "no updater has saved this file" in refused(path)
    save_file({"w": np.ones(3)}, path, metadata={"format": "pt"})
    assert "no updater has saved this file" in refused(path)
    np.savez(tmp_path / "other.npz", w=np.ones(3))
    assert "damaged, or no safetensors file" in refused(tmp_path / "other.npz")
    with zipfile.ZipFile(tmp_path / "other.pt", "w", zipfile.ZIP_STORED) as file:  # as torch.save makes them
        file.writestr("other/data.pkl", pickle.dumps({"w": [1.0]}))
        file.writestr("other/data/0", bytes(12))
    assert "damaged, or no safetensors file" in refused(tmp_path / "other.pt")
    path.write_bytes(b"")
    assert "damaged, or no safetensors file" in refused(path)
    with pytest.raises(ValueError, match="no regular file"):
        fresh().load(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing"):
        fresh().load(tmp_path / "missing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "no regular file" in refused(tmp_path / "pipe")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_not_loaded(tmp_path):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "other.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol) + bytes(100))
        assert "damaged, or no safetensors file" in refused(tmp_path / "other.pkl")
    assert not (tmp_path / "sprung").exists()


called = []


@up.register(name="tests.checkpoint_files.rate")
def rate(state):
    called.append("rate")
    return 0.1


@up.register(name="tests.checkpoint_files.Rate")
@attrs.frozen
class Rate:
    value: float = 0.1

    def __attrs_post_init__(self):
        called.append("Rate")

    def __call__(self, state):
        return self.value


def test_what_a_file_names_is_never_called_nor_made(tmp_path):
    path = tmp_path / "run.safetensors"
    names = [{"function": "tests.checkpoint_files.rate"}, {"type": "tests.checkpoint_files.Rate", "value": 0.1}]
    for lr, other in zip((rate, Rate()), reversed(names), strict=True):
        update = up.get_updater(up.SGD(lr, momentum=0.9), up.OptimizationState(iteration=1), backend="numpy")
        update("w", np.ones(2), np.ones(2))
        update.save(path)
        header, data = parts_of(path.read_bytes())
        text = json.loads(header["__metadata__"]["updaters"])
        assert text["optimizer"]["lr"] in names
        again = up.get_updater(update.optimizer, up.OptimizationState(), backend="numpy")
        called.clear()
        again.load(path)
        for place in (("optimizer", "lr"), ("optimizer", "momentum"), ("optimizer",), ("moving", "optimizer.lr"), ("extra",)):
            if place[0] == "moving":
                text["moving"] = {"optimizer.lr": None}
            path.write_bytes(file_of(header, data, text=with_value(text, place, other)))
            again = up.get_updater(update.optimizer, up.OptimizationState(), backend="numpy")
            called.clear()
            if place == ("extra",):
                text["moving"] = {}
            else:
                with pytest.raises(ValueError, match=r"run\.safetensors"):
                    again.load(path)
            again.load(path, strict=False)
            assert called == []


# Damage.


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of an updater that has of everything."""
    path = tmp_path_factory.mktemp("good") / "run.safetensors"
    update, weights = PLATEAU.run(4)
    update.save(path, weights=weights, extra={"loss": [0.5, float("inf")]})
    return path.read_bytes()


@pytest.fixture
def met():
    """An updater that has gone on, and its weights."""
    return PLATEAU.run(5)


def header_of(file):
    (length,) = struct.unpack("<Q", file[:8])
    return file[8 : 8 + length].rstrip(b" ")


def with_header(file, header):
    (length,) = struct.unpack("<Q", file[:8])
    return struct.pack("<Q", len(header)) + header + file[8 + length :]


def test_the_good_file_loads_and_so_does_what_the_helpers_make_of_it(tmp_path, good, met):
    header, data = parts_of(good)
    text = json.loads(header["__metadata__"]["updaters"])
    for file in (good, file_of(header, data), file_of(header, data, text=text), with_header(good, header_of(good))):
        (tmp_path / "run").write_bytes(file)
        met[0].load(tmp_path / "run", weights=met[1])
        update, weights = PLATEAU.run(4)
        assert everything(*met) == everything(update, weights)


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path):
    path, (update, weights) = tmp_path / "run", (fresh(), {"w": np.ones(20)})
    update.step({"w": np.ones(20)}, weights)
    update.save(path, weights=weights)
    before = everything(update, weights)
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    size = path.stat().st_size
    for place in (size - 1, *range(size - 8, 8 + length, -8), *range(8 + length, -1, -1)):
        os.truncate(path, place)
        with pytest.raises(ValueError, match="run is damaged"):
            update.load(path, weights=weights)
    assert everything(update, weights) == before


@pytest.mark.parametrize("more", [b"\0", b"x" * 8, bytes(100)])
def test_a_file_with_something_behind_it_is_refused(tmp_path, good, met, more):
    (tmp_path / "run").write_bytes(good + more)
    assert "run is damaged" in refused(tmp_path / "run", update=met)


@pytest.mark.parametrize("length", [0, 1, 2, 7, -1, 8, 2**20, 2**31, 2**32, 10**8 + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_wrong_length_of_the_header_is_refused(tmp_path, good, met, length):
    length = length if length not in (-1, 8) else struct.unpack("<Q", good[:8])[0] + length
    (tmp_path / "run").write_bytes(struct.pack("<Q", length) + good[8:])
    refused(tmp_path / "run", update=met)


def entries(good):
    """The header, the data, and the name and the bounds of an array in their middle, of 2 by 3 in float32."""
    header, data = parts_of(good)
    names = [name for name in header if name != "__metadata__"]
    name = next(name for name in names[1:-1] if header[name]["shape"] == [2, 3])
    return header, data, name, *header[name]["data_offsets"]


@pytest.mark.parametrize(
    "how",
    [
        "overlap",
        "same",
        "hole",
        "beyond",
        "far beyond",
        "negative",
        "backwards",
        "float",
        "text",
        "three",
        "one",
        "beyond 64 bits",
    ],
)
def test_offsets_that_are_not_one_after_the_other_within_the_file_are_refused(tmp_path, good, met, how):
    header, data, name, start, stop = entries(good)
    offsets = {
        "overlap": [start - 4, stop - 4], "same": [0, stop - start], "hole": [start + 4, stop + 4],
        "beyond": [len(data) - 4, len(data) - 4 + stop - start], "far beyond": [2**62, 2**62 + stop - start],
        "negative": [-24, 0], "backwards": [stop, start], "float": [float(start), float(stop)], "text": [str(start), str(stop)],
        "three": [start, stop, stop], "one": [start], "beyond 64 bits": [2**64 + start, 2**64 + stop],
    }[how]  # fmt: skip
    header[name]["data_offsets"] = offsets
    (tmp_path / "run").write_bytes(file_of(header, data))
    assert "run is damaged" in refused(tmp_path / "run", update=met)


@pytest.mark.parametrize(
    "shape",
    [
        [2**60],
        [2**32, 2**32],
        [2**63, 2],
        [2**64],
        [0, 2**62],
        [-2, -3],
        [-6],
        [2, 4],
        [1],
        [],
        [6.0],
        ["6"],
        [[6]],
        [3, 2],
        [1] * 100,
        [2, 3, 1],
        None,
    ],
)
@pytest.mark.parametrize("told", ["header", "both"])
def test_shapes_other_than_the_bytes_or_the_updater_have_are_refused(tmp_path, good, met, shape, told):
    header, data, name, *_ = entries(good)
    header[name]["shape"] = shape
    text = json.loads(header["__metadata__"]["updaters"])
    if told == "both":
        text["kept"][0]["shape"] = shape
    (tmp_path / "run").write_bytes(file_of(header, data, text=text))
    tracemalloc.start()
    refused(tmp_path / "run", update=met)
    refused(tmp_path / "run")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("dtype", ["F64", "F16", "BF16", "I32", "U32", "F8_E4M3", "BOOL", "C64", "float32", "f4", "", None, 4])
def test_a_dtype_that_is_not_the_array_s_is_refused(tmp_path, good, met, dtype):
    header, data, name, *_ = entries(good)
    header[name]["dtype"] = dtype
    (tmp_path / "run").write_bytes(file_of(header, data))
    refused(tmp_path / "run", update=met)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"__metadata__":', b'{"__metadata__":{},"__metadata__":'),
        (b'{"__metadata__":{', b'{"__metadata__":{"updaters":"",'),
        (b'{"__metadata__":{', b'{"__metadata__":{"format":"pt",'),
        (b',"weights/w":', b',"weights/w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"weights/w":'),
        (b'"F32","shape":[2,3]', b'"F32","dtype":"F32","shape":[2,3]'),
        (b'{\\"format\\":1', b'{\\"format\\":1,\\"format\\":1'),
        (b'{\\"index\\":\\"w\\"', b'{\\"index\\":0,\\"index\\":\\"w\\"'),
        (b'\\"iteration\\":4', b'\\"iteration\\":4,\\"iteration\\":5'),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path, good, met, old, new):
    assert header_of(good).count(old) >= 1
    (tmp_path / "run").write_bytes(with_header(good, header_of(good).replace(old, new, 1)))
    refused(tmp_path / "run", update=met)


@pytest.mark.parametrize(
    "word",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "01", "1.", "+1", "0x1", "'a'", "undefined", "1,", "[1,]"],
)
@pytest.mark.parametrize("place", ["extra", "scale", "iteration"])
def test_words_that_json_has_not_are_refused(tmp_path, good, met, word, place):
    header, data = parts_of(good)
    text = header["__metadata__"]["updaters"]
    scale = json.loads(text)["loss_scale"]["scale"]
    old = {"extra": "[0.5,", "scale": f'"scale":{scale},', "iteration": '"iteration":4,'}[place]
    new = {"extra": f"[{word},", "scale": f'"scale":{word},', "iteration": f'"iteration":{word},'}[place]
    assert text.count(old) == 1
    header["__metadata__"]["updaters"] = text.replace(old, new)
    (tmp_path / "run").write_bytes(file_of(header, data))
    refused(tmp_path / "run", update=met)


@pytest.mark.parametrize("depth", [202, 900, 1100, 100_000])
@pytest.mark.parametrize("kind", ["[]", '{"":}'])
@pytest.mark.parametrize("where", ["header", "metadata", "text", "extra", "optimizer", "index", "moving"])
def test_data_that_is_nested_deep_is_refused(tmp_path, good, met, depth, kind, where):
    deep = kind[:-1] * depth + "0" + kind[-1] * depth
    header, data = parts_of(good)
    text = header["__metadata__"]["updaters"]
    places = {
        "extra": ('"loss":[', f'"loss":[{deep},'), "optimizer": ('"beta1":', f'"beta0":{deep},"beta1":'),
        "index": ('"index":"w"', f'"index":{deep}'), "moving": ('"bad":', f'"bad":{deep},"worse":'),
    }  # fmt: skip
    if where == "text":
        header["__metadata__"]["updaters"] = deep
    elif where in places:
        assert places[where][0] in text
        header["__metadata__"]["updaters"] = text.replace(*places[where], 1)
    file = file_of(header, data)
    if where == "header":
        file = with_header(file, header_of(file)[:-1] + f',"x":{deep}}}'.encode())
    elif where == "metadata":
        file = with_header(file, b'{"__metadata__":' + deep.encode() + b"}")
    (tmp_path / "run").write_bytes(file)
    refused(tmp_path / "run", update=met)


def test_two_records_of_one_index_are_refused(tmp_path, good, met):
    header, data = parts_of(good)
    text = json.loads(header["__metadata__"]["updaters"])
    for place in ("kept", "weights"):
        (tmp_path / "run").write_bytes(file_of(header, data, text={**text, place: [*text[place], text[place][0]]}))
        refused(tmp_path / "run", update=met)
    text["kept"][1]["index"] = "w"
    (tmp_path / "run").write_bytes(file_of(header, data, text=text))
    assert "index 'w' is there twice" in refused(tmp_path / "run", update=met)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("calls",), 3, "calls that wait for others: 3 in the file, less than accumulate=3"),
        (("calls",), 2**63, "calls must be a count"),
        (("kept", 0, "gathered"), 3, "weight 'w': accumulated gradients: 3 in the file, less than accumulate=3"),
        (("kept", 0, "count"), 2**63, "weight 'w'.count must be a count"),
        (("clock", "iteration"), 2**63, "clock.iteration must be a count"),
        (("clock", "iteration"), True, "clock.iteration must be a count"),
        (("kept", 0, "dtype"), "x", "weight 'w'.dtype must be a dtype of weights, got 'x'"),
        (("kept", 0, "dtypes", "m"), "float16", "slot 'm' of weight 'w' must be an array of float16, got 'F32[2, 3]'"),
        (("clock", "unfinished"), 1, "OptimizationState.unfinished must be True or False"),
        (("loss_scale", "scale"), 0.0, "the loss scale must be in (0, inf)"),
        (("loss_scale", "scale"), {"float": "nan"}, "the loss scale must be in (0, inf)"),
        (("moving", "optimizer.lr", "bad"), -1, "optimizer.lr: Plateau.bad must be an integer of at least 0"),
        (("moving", "optimizer.lr", "reductions"), 10**400, "optimizer.lr: Plateau.reductions"),
    ],
)
def test_counts_and_names_that_do_not_fit_are_refused(tmp_path, good, met, place, value, said):
    header, data = parts_of(good)
    text = json.loads(header["__metadata__"]["updaters"])
    (tmp_path / "run").write_bytes(file_of(header, data, text=with_value(text, place, value)))
    assert said in refused(tmp_path / "run", update=met)


def test_gathered_gradients_without_a_slot_for_them_are_refused(tmp_path):
    update, weights = fresh(), {"w": np.ones(2)}
    update.step({"w": np.ones(2)}, weights)
    update.save(tmp_path / "run")
    header, data = parts_of((tmp_path / "run").read_bytes())
    text = with_value(json.loads(header["__metadata__"]["updaters"]), ("kept", 0, "gathered"), 1)
    (tmp_path / "run").write_bytes(file_of(header, data, text=text))
    assert "accumulated gradients: 1 in the file, less than accumulate=1" in refused(tmp_path / "run", update=(update, weights))


@pytest.mark.parametrize("known", [True, False])
def test_slots_of_a_frozen_weight_that_are_not_its_own_are_refused(tmp_path, known):
    """Before they are written over half of the others, or, where they wait, once the weight is no longer frozen."""
    update, weights = fresh(), {"v": np.ones(3), "w": np.ones(2)}
    update.step({"v": np.ones(3), "w": np.ones(2)}, weights)
    update.save(tmp_path / "run")
    header, data = parts_of((tmp_path / "run").read_bytes())
    text = json.loads(header["__metadata__"]["updaters"])
    (slot,) = update.slots["w"].arrays
    header[f"slots/w/{slot}"]["shape"] = [2, 1]
    (tmp_path / "run").write_bytes(file_of(header, data, text=text))
    if known:
        update.overrides = {"w": up.FROZEN}
        said = f"slot {slot!r}: float64[2, 1] in the file, float64[2] here"
        assert said in refused(tmp_path / "run", update=(update, weights))
        assert any(said in line for line in update.load(tmp_path / "run", strict=False).left)
    else:
        again = up.get_updater(up.SGD(0.1, momentum=0.9), overrides={"w": up.FROZEN}, backend="numpy")
        again.load(tmp_path / "run", strict=False)
        with pytest.raises(ValueError, match=rf"weight 'w': slot {slot!r}: float64\[2, 1\] was loaded, float64\[2\] here"):
            again.overrides = {}


def taking_turns(values, number):
    """Some of the values, of which all have their turn; all of them for UPDATERS_TEST_ALL=1."""
    return values if os.environ.get("UPDATERS_TEST_ALL") else values[number % 4 :: 4]


def may_stand(one, other, place):
    """Whether one value may well stand where the other does."""
    if place[-1:] == ("best",) and one is None:  # no metric yet
        return True
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (one, other))
    return numbers or (type(one) is type(other) and not isinstance(one, (dict, list)))


def test_whatever_stands_in_another_s_place_is_refused_or_changes_nothing(tmp_path, good):
    """Each value in the text in turn. One that might well stand there, as a number for a number, is not looked at."""
    header, data = parts_of(good)
    text = json.loads(header["__metadata__"]["updaters"])
    update, weights = PLATEAU.run(4)
    whole = everything(update, weights)
    path, loaded = tmp_path / "run", []
    target = PLATEAU.make(), PLATEAU.weights()
    before = everything(*target)
    for number, place in enumerate(nodes(text)):
        free = place[:1] in [("extra",), ("versions",), ("met",)]  # nothing goes by them
        old = at(text, place)
        others = taking_turns([None, True, -1, 1.5, "x", [], {}], number)
        texts = [with_value(text, place, value) for value in others if not may_stand(value, old, place)]
        for damaged in [*texts, *([without(text, place)] if place else [])]:
            path.unlink(missing_ok=True)  # some drives wait for the disk where a file is written over
            path.write_bytes(file_of(header, data, text=damaged))
            try:
                target[0].load(path, weights=target[1])
            except ValueError as error:
                assert str(path) in str(error), place  # noqa: PT017  # some load
            else:
                assert target[0] == update, place
                after = everything(*target)
                assert after == whole or free or place[-1] in ("device", "order"), place
                loaded.append(place)
                target = PLATEAU.make(), PLATEAU.weights()
        assert everything(*target) == before, place
    assert loaded


def test_a_state_dict_with_anything_in_another_s_place_is_refused_or_changes_nothing():
    update, _ = PLATEAU.run(4)
    good = update.state_dict()
    target = PLATEAU.make()
    before = everything(target, {})
    for number, place in enumerate(nodes(good)):
        old = at(good, place)
        arrays = [np.zeros(3), np.array([None]), np.ma.masked_all((2, 3), "f4")]
        others = taking_turns([None, True, -1, 1.5, "x", [], {}, *arrays, nested(900)], number)
        dicts = [with_value(good, place, value) for value in others if not may_stand(value, old, place)]
        for damaged in [*dicts, *([without(good, place)] if place else [])]:
            try:
                target.load_state_dict(damaged)
            except (ValueError, TypeError):
                pass
            else:
                assert target == update or (place[0] == "kept" and len(place) < 3), (
                    place
                )  # weights that are not there are not missed
                target = PLATEAU.make()
        assert everything(target, {}) == before, place


def test_a_state_dict_that_holds_itself_is_refused(met):
    before = everything(*met)
    for place in (("extra",), ("moving", "optimizer.lr"), ("optimizer", "lr"), ("met",), ("clock",), ("kept", "w", "scalars")):
        around = met[0].state_dict()
        inner = at(around, place[:-1])
        inner[place[-1]] = around
        with pytest.raises((ValueError, TypeError)):
            met[0].load_state_dict(around)
        loop = [1]
        loop[0] = inner[place[-1]] = loop
        with pytest.raises((ValueError, TypeError)):
            met[0].load_state_dict(around)
    assert everything(*met) == before


SIZE = 4_000_000
MANY = {
    "entries": '"x%07x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},',
    "short entries": '"x%07x":["F32",[0],[0,0]],',
    "metadata": '"x%07x":"",',
    "brackets": "[",
    "lists": "[],",
    "mappings": '{"":1},',
    "numbers": "1.5,",
    "a name": "x",
    "an escape": "\\",
    "wide": "x",
}


def huge(kind, text):
    """A header of so many bytes."""
    one = MANY[kind]
    if kind in ("entries", "short entries", "metadata"):
        many = "".join(one % i for i in range(SIZE // len(one)))[:-1]
        start = '{"__metadata__":{"updaters":' + json.dumps(text)
        return start + ("}," + many + "}" if kind != "metadata" else "," + many + "}}")
    if kind == "a name":
        return (
            '{"__metadata__":{"updaters":'
            + json.dumps(text)
            + '},"'
            + one * SIZE
            + '":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
        )
    if kind == "brackets":
        return '{"__metadata__":{"updaters":"' + one * SIZE + '"}}'
    if kind in ("an escape", "wide"):
        return '{"__metadata__":{"updaters":"' + ("\\ud83d\\ude00" if kind == "wide" else "") + one * SIZE + '"}}'
    many = one * (SIZE // len(json.dumps(one)[1:-1]))
    text = text.replace('"extra":null', f'"extra":[{many}0]')
    return json.dumps({"__metadata__": {"updaters": text}}, separators=(",", ":"))


PEAKS = """
import json, resource, sys
import numpy as np
import updaters as up

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)

update = up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy")
update.save(sys.argv[1])
update.load(sys.argv[1])
before = peak()
for path in sys.argv[2:]:
    try:
        update.load(path)
    except ValueError as error:
        print(json.dumps([path, peak() - before, str(error)]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no ru_maxrss")
def test_headers_of_millions_of_tiny_things_are_refused_with_little_memory(tmp_path):
    """Where the safetensors library reads them, it takes thirty times their size."""
    text = fresh()._contents(None, None).text()
    for kind in MANY:
        header = huge(kind, text).encode()
        (tmp_path / kind).write_bytes(struct.pack("<Q", len(header)) + header)
    command = [sys.executable, "-c", PEAKS, str(tmp_path / "good"), *(str(tmp_path / kind) for kind in MANY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(path).name for path, _, _ in found] == [*MANY]
    for path, peak, message in found:
        assert peak < 6 * SIZE, path
        assert path in message
        assert len(message) < 1000


def test_a_sparse_file_is_refused_without_reading_it(tmp_path, good, met):
    """A terabyte of zeros, where a drive can have that."""
    for head, said in (
        (b"", "a header of 0 bytes"),
        (struct.pack("<Q", 2**39), "a header of"),
        (struct.pack("<Q", 10**8), "no header of JSON"),
        (good, "damaged"),
    ):
        path = tmp_path / "run"
        path.write_bytes(head)
        try:
            os.truncate(path, 2**40)
        except OSError:
            pytest.skip("no files of a terabyte here")
        tracemalloc.start()
        assert said in refused(path, update=met)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()


def test_a_hundred_thousand_weights_are_not_too_many(monkeypatch):
    """Bounds are to hold only what is hostile: here by counting, since saving so many takes a while."""
    update = up.get_updater(up.Adam(0.1), backend="numpy")
    for count in (1, 2):
        update.step([np.ones((2, 2, 2))] * count, [np.ones((2, 2, 2)) for _ in range(count)])
    text, slots = update._contents(None, None).text(), 2
    one = json.dumps(json.loads(text)["kept"][1], separators=(",", ":"))
    values, mappings = sum(map(one.count, ",[{")) + 1, one.count("{")
    assert values < contents.VALUES_OF_EACH
    assert 4 * mappings < contents.VALUES_OF_EACH
    assert 100_000 * (len(json.dumps(one)) + slots * 150) < files.LONGEST


def test_values_go_by_the_arrays_that_the_text_speaks_of():
    contents.check_values('{"dtypes":{"m":"float32"}}', 1)
    with pytest.raises(ValueError, match="speaks of 0 arrays at most, and there are 1"):
        contents.check_values('[{"":1}]', 1)


def test_a_header_that_is_not_ascii_is_refused(tmp_path, good, met):
    """No updater writes one, and its bytes would have to be decoded before their number is known."""
    header = header_of(good).replace(b'\\"loss\\"', '\\"löss\\"'.encode())
    assert header != header_of(good)
    (tmp_path / "run").write_bytes(with_header(good, header))
    refused(tmp_path / "run", update=met)


def test_a_header_that_is_longer_than_the_format_allows_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LONGEST", 1000)
    update, _ = PLATEAU.run(1)
    with pytest.raises(ValueError, match="a file's header has at most 1000 bytes"):
        update.save(tmp_path / "run")
    assert not [*tmp_path.iterdir()]


def test_a_text_that_would_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "MOST_VALUES", 1000)
    update, _ = PLATEAU.run(1)
    update.save(tmp_path / "run", extra=[0] * 500)
    PLATEAU.make().load(tmp_path / "run")
    with pytest.raises(ValueError, match="has at most 1240 values"):
        update.save(tmp_path / "other", extra=[0] * 2000)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_another_file_that_takes_its_place_while_it_is_read_is_read_as_a_whole(tmp_path):
    path, texts = tmp_path / "run", []
    files.write(path, {"one": np.zeros(3)}, "1")
    files.write(tmp_path / "new", {"two": np.ones(5)}, "2")

    def read(text, count):
        texts.append(text)
        if text == "1":
            os.replace(tmp_path / "new", path)
        return text

    with files.opened(path, read) as (text, arrays):
        assert (text, texts, {name: array.view().tolist() for name, array in arrays.items()}) == (
            "2",
            ["1", "2"],
            {"two": [1.0] * 5},
        )


def test_a_fuzzer_finds_nothing(tmp_path):
    """Briefly; `python tests/fuzz_checkpoint.py --seconds 600` takes longer."""
    fuzzer = Fuzzer(tmp_path)
    came = {fuzzer.round(0, number) for number in range(60)}
    assert {"damaged_text refused", "damaged_text loaded", "damaged_header refused", "dict refused", "dict loaded"} <= came
