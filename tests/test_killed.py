"""Saves that are killed, interrupted or refused by the disk: the old file or the new one is there, whole, and it is said which."""

import errno
import linecache
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import pytest

import updaters as up
from tests import killed
from tests.test_threads import PATIENCE, ignore_fork_warning, needs_fork
from updaters.checkpoint import files, replacing

fcntl = pytest.importorskip("fcntl")
resource = pytest.importorskip("resource")

ROOT = Path(__file__).parent.parent
PIECES = 2
AS_IT_WAS = "nothing is saved, and what was there before is as it was"


def write(path, number, keep=1):
    """A file of some pieces, all of whose elements are the number that its text says."""
    arrays = {"a": np.full((PIECES, 1000), number, np.float32), "b": np.full(7, number, np.float64)}
    files.write(path, arrays, str(number), keep)


def read(path):
    """The number of a file, which is a whole one."""
    with files.opened(path, lambda text, count: text) as (text, arrays):
        assert arrays.keys() == {"a", "b"}
        assert {value for array in arrays.values() for value in np.unique(array.view())} == {float(text)}
    return int(text)


def kept(path):
    """The numbers of a file and of the older ones beside it, all whole, and where they are."""
    return {found.name: read(found) for found in sorted(path.parent.glob("run*"))}


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(files, "PIECE", 4000)


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    return folder / "run.safetensors"


# ---- at random moments


def test_runs_that_are_killed_at_random_moments_end_with_the_bits_of_one_that_was_not(path):
    tally = killed.kill(path.parent, kills=3, seed=1)
    assert tally.kills == 3
    assert tally.runs > 0


# ---- at each line


@contextmanager
def at_line(number, act, only=r""):
    """Act before that line of the file's code that is run as the so-manieth and matches a pattern; gives the lines so far."""
    lines = []

    def trace(frame, event, _):
        if frame.f_code.co_filename not in SOURCES or "_header" in frame.f_code.co_name:
            return None
        if event == "line" and re.search(only, linecache.getline(frame.f_code.co_filename, frame.f_lineno)):
            lines.append(frame.f_lineno)
            if len(lines) == number:
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


SOURCES = (files.__file__, replacing.__file__)
TOUCHING = r"\b(os|fcntl|file|shutil)\.|_created|_link|_number|_drop|\.exists|with "
FAILING = r"^(?!.*samestat).*\b(os|file|shutil)\."


@pytest.fixture
def drive(request, monkeypatch):
    """A drive that has all that saving can use, or not; none whose power fails."""

    def refuse(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fsync", lambda _: None)
    if request.param == "no links":
        monkeypatch.setattr(os, "link", refuse)
    if request.param == "no locks":
        monkeypatch.setattr(fcntl, "flock", refuse)
    return request.param


drives = pytest.mark.parametrize(("drive", "keep"), [("links", 3), ("no links", 2), ("no locks", 1)], indirect=["drive"])
only_just_opened = pytest.mark.filterwarnings("ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning")


def begin(path, keep):
    """As many files as are kept, the newest of which is 3."""
    for number in range(4 - keep, 4):
        write(path, number, keep)


@attrs.define
class Saves:
    """Saves to one path, each of which but the first is to come to grief, at another line.

    Attributes:
        path: where.
        keep: how many files are kept.
        drive: what the drive has.
        only: a pattern of the lines.
        held: the numbers of the files that are there, the newest first.
        landed: of each save that came to grief, whether its file is there.
    """

    path: Path
    keep: int
    drive: str
    only: str = ""
    held: list[int] = attrs.field(factory=list)
    landed: list[bool] = attrs.field(factory=list)

    def lines(self):
        """Each line's place, with the number that is to be saved."""
        begin(self.path, self.keep)
        with at_line(0, None, self.only) as lines:
            write(self.path, 4, self.keep)
        self.held = [4, 3, 2][: self.keep]
        for place in range(1, len(lines) + 1):
            yield place, self.held[0] + 1
            self.check(self.held[0] + 1)

    def check(self, number):
        """Whole files, of which none that is to be kept is lost; and the next save is as any other, and cleans up."""
        left = kept(self.path)
        newest = left[self.path.name]
        assert newest in (number, self.held[0])
        self.landed.append(newest == number)
        held = [number, *self.held] if newest == number else self.held
        assert {*left.values()} >= {*held[: self.keep]}
        write(self.path, number + 1, self.keep)
        self.held = [number + 1, *held][: self.keep]
        assert list(kept(self.path).values()) == [*self.held[1:], self.held[0]]
        for stray in names(self.path.parent) - kept(self.path).keys():
            assert self.drive == "no locks", "where nobody can know whether another process writes it still"
            (self.path.parent / stray).unlink()


@needs_fork
@ignore_fork_warning
@drives
def test_a_save_that_is_killed_at_any_line_leaves_whole_files_and_loses_none(path, keep, drive):
    saves = Saves(path, keep, drive, TOUCHING)
    for line, number in saves.lines():
        child = os.fork()
        if child == 0:
            with at_line(line, partial(os._exit, 9), TOUCHING):
                write(path, number, keep)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert saves.landed == sorted(saves.landed)
    assert {*saves.landed} == {False, True}


@drives
@only_just_opened
def test_a_save_that_is_interrupted_at_any_line_leaves_whole_files_and_nothing_beside_them(path, keep, drive):
    def interrupt():
        raise KeyboardInterrupt

    saves = Saves(path, keep, drive)
    for line, number in saves.lines():
        with at_line(line, interrupt), pytest.raises(KeyboardInterrupt):
            write(path, number, keep)
        stray = [path.parent / left for left in names(path.parent) if not left.startswith("run")]
        assert [left.stat().st_size for left in stray] in ([], [0]), "one that was only just made may stay"
    assert {*saves.landed} == {False, True}


@drives
@only_just_opened
def test_an_error_of_the_disk_at_any_line_says_what_is_saved(path, keep, drive):
    def fail():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    saves, said = Saves(path, keep, drive, FAILING), []
    for line, number in saves.lines():
        error = None
        with at_line(line, fail, FAILING):
            try:
                write(path, number, keep)
            except OSError as raised:
                error = raised
        is_new = read(path) == number
        if error is None:
            assert is_new
        else:
            assert (type(error), error.errno, error.filename) == (OSError, errno.ENOSPC, str(path))
            outcome = "it is saved, but older files may be left" if is_new else AS_IT_WAS
            assert error.strerror == f"{os.strerror(errno.ENOSPC)}; {outcome}"
            said.append(is_new)
        stray = {f".{path.name}.partial"} if drive == "no locks" and error is None else set()  # by the error
        assert names(path.parent) - stray <= {path.name, *(f"run.{older}.safetensors" for older in range(1, keep + 1))}
    assert {*said} == {False, True}


# ---- what a disk refuses


@contextmanager
def largest_file(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def new_run(size=1000):
    weights = {"w": np.ones(size)}
    update = up.get_updater(up.Adam(0.1), backend="numpy")
    update.step({"w": np.ones(size)}, weights)
    return update, weights


@pytest.mark.parametrize("size", [0, 100, 8192, 20_000])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_file_that_grows_too_large_for_the_disk_leaves_the_old_one(path, size, keep):
    update, weights = new_run()
    update.save(path, weights=weights)
    before = path.read_bytes()
    update.step({"w": np.ones(1000)}, weights)
    with largest_file(size), pytest.raises(OSError, match=AS_IT_WAS) as error:
        update.save(path, weights=weights, keep=keep)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(path))
    assert names(path.parent) == {path.name}
    assert path.read_bytes() == before
    update.save(path, weights=weights)
    assert path.read_bytes() != before


FULL_DISK = """
import os, sys
import numpy as np
import updaters as up

path, other = (os.path.join(sys.argv[1], name) for name in ("run.safetensors", "other"))
update = up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy")
update("w", np.ones(30_000), np.ones(30_000))
update.save(path)
with open(path, "rb") as file:
    before = file.read()
for left in (100_000, 0):
    with open(other, "wb") as file:
        free = os.statvfs(sys.argv[1])
        file.write(bytes(free.f_bavail * free.f_bsize - left))
    for keep in (1, 2):
        try:
            update.save(path, keep=keep)
        except OSError as error:
            print(error)
    with open(path, "rb") as file:
        assert file.read() == before
    assert sorted(os.listdir(sys.argv[1])) == ["other", "run.safetensors"]
    os.unlink(other)
update.save(path, keep=2)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path):
    script = 'mount -t tmpfs -o size=1m none "$2" 2>/dev/null || exit 77; exec "$0" -W error -c "$1" "$2"'
    try:
        done = subprocess.run(
            ["unshare", "-Urm", "sh", "-c", script, sys.executable, FULL_DISK, tmp_path],
            env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("unshare is not here")
    if "unshare" in done.stderr or done.returncode == 77:
        pytest.skip("no disk of one's own can be mounted here")
    said = f"[Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}; {AS_IT_WAS}: '{tmp_path / 'run.safetensors'}'\n"
    assert (done.stdout, done.stderr) == (said * 4, "")


def missing_folder(path):
    return path.parent / "missing" / path.name, errno.ENOENT


def file_as_folder(path):
    path.write_bytes(b"text")
    return path / "run.safetensors", errno.ENOTDIR


def folder_as_file(path):
    path.mkdir()
    return path, errno.EEXIST


def pipe_as_file(path):
    os.mkfifo(path)
    return path, errno.EEXIST


def device_as_file(path):
    return Path("/dev/null"), errno.EEXIST


def too_long_name(path):
    return path.with_name("x" * 300), errno.ENAMETOOLONG


def link_where_the_file_is_written(path):
    path.with_name("mine").write_bytes(b"text")
    path.with_name(f".{path.name}.partial").symlink_to("mine")
    return path, errno.ELOOP


def folder_where_the_file_is_written(path):
    path.with_name(f".{path.name}.partial").mkdir()
    return path, errno.EISDIR


def read_only_folder(path):
    if os.geteuid() == 0:
        pytest.skip("root may write to all folders")
    path.parent.chmod(0o500)
    return path, errno.EACCES


REFUSALS = [
    missing_folder, file_as_folder, folder_as_file, pipe_as_file, device_as_file, too_long_name, link_where_the_file_is_written,
    folder_where_the_file_is_written, read_only_folder,
]  # fmt: skip


@pytest.mark.parametrize("wait", [True, False], ids=["at once", "in the background"])
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.__name__)
def test_a_path_that_cannot_be_written_is_named_and_all_stays_as_it_was(path, refusal, wait):
    target, number = refusal(path)
    before = {left.name: left.is_file() and left.read_bytes() for left in path.parent.iterdir()}
    update, _ = new_run()
    try:
        with pytest.raises(OSError, match=AS_IT_WAS) as error:  # noqa: PT012
            update.save(target, wait=wait)
            update.finish_saving()
        assert (error.value.errno, error.value.filename) == (number, str(target))
        assert {left.name: left.is_file() and left.read_bytes() for left in path.parent.iterdir()} == before
    finally:
        path.parent.chmod(0o700)


def test_what_is_left_of_a_longer_file_is_written_over(path):
    path.with_name(f".{path.name}.partial").write_bytes(bytes(100_000))
    write(path, 1)
    assert kept(path) == {path.name: 1}
    assert names(path.parent) == {path.name}


def test_a_save_that_is_interrupted_once_it_is_in_place_leaves_alone_what_another_process_has_begun(path, monkeypatch):
    replace, partial = os.replace, path.with_name(f".{path.name}.partial")

    def interrupted(*names):
        replace(*names)
        partial.write_bytes(b"begun")
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path, 1)
    assert kept(path) == {path.name: 1}
    assert partial.read_bytes() == b"begun"


def test_an_older_file_that_cannot_be_removed_is_named_once_the_new_one_is_saved(path):
    begin(path, keep=2)
    path.with_name("run.2.safetensors").mkdir()
    with pytest.raises(OSError, match="it is saved, but older files may be left"):
        write(path, 4, keep=2)
    assert read(path) == 4
    assert read(path.with_name("run.1.safetensors")) == 3


def test_a_file_keeps_its_permissions(path):
    before = os.umask(0o022)
    try:
        write(path, 1)
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o600)
        write(path, 2, keep=2)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.with_name("run.1.safetensors").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


# ---- in the background


def test_what_is_written_in_the_background_is_what_there_was_when_it_was_asked_for(path, monkeypatch):
    went_on, pieces = threading.Event(), files._pieces

    def late(array):
        assert went_on.wait(PATIENCE)
        yield from pieces(array)

    update, weights = new_run()
    before, kept = weights["w"].copy(), update.state_dict()["kept"]["w"]["slots"]
    monkeypatch.setattr(files, "_pieces", late)
    update.save(path, weights=weights, wait=False)
    update.step({"w": np.ones(1000)}, weights)
    went_on.set()
    update.finish_saving()
    again, others = up.get_updater(up.Adam(0.1), backend="numpy"), {"w": np.zeros(1000)}
    assert again.load(path, weights=others).clock.iteration == 1
    assert np.array_equal(others["w"], before)
    assert {name: array.tolist() for name, array in again.slots["w"].arrays.items()} == {n: a.tolist() for n, a in kept.items()}


def failed_save(path):
    """A run whose file could not be written, and nobody has been told."""
    update, weights = new_run()
    update.save(path, weights=weights)
    state = update.state_dict()
    update.save(path.parent / "missing" / "run.safetensors", wait=False)
    for thread in threading.enumerate():
        if thread.name == "saving run.safetensors":
            thread.join()
    return update, weights, state


CALLS = {
    "update": lambda update, weights, state, path: update("w", np.ones(1000), weights["w"]),
    "step": lambda update, weights, state, path: update.step({"w": np.ones(1000)}, weights),
    "flush": lambda update, weights, state, path: update.flush(weights),
    "save": lambda update, weights, state, path: update.save(path),
    "load": lambda update, weights, state, path: update.load(path, weights=weights),
    "load_state_dict": lambda update, weights, state, path: update.load_state_dict(state),
    "finish_saving": lambda update, weights, state, path: update.finish_saving(),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_error_in_the_background_comes_at_the_next_call_and_once(path, name, capsys):
    update, weights, state = failed_save(path)
    before, saved = weights["w"].copy(), path.read_bytes()
    with pytest.raises(FileNotFoundError, match=AS_IT_WAS) as error:
        CALLS[name](update, weights, state, path)
    assert error.value.filename == str(path.parent / "missing" / "run.safetensors")
    assert update.state.iteration == 1
    assert np.array_equal(weights["w"], before)
    assert path.read_bytes() == saved
    CALLS[name](update, weights, state, path)
    update.finish_saving()
    del update, error
    assert capsys.readouterr().err == ""


def test_an_error_in_the_background_is_said_to_one_of_two_who_wait(path):
    update, _, _ = failed_save(path)
    saving = update._saving
    with pytest.raises(FileNotFoundError):
        update.finish_saving()
    saving.finish()


def test_a_wait_for_the_background_that_is_interrupted_is_taken_up_again(path, monkeypatch):
    def interrupted(thread, timeout=None):
        raise KeyboardInterrupt

    update, _, _ = failed_save(path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            update.finish_saving()
    with pytest.raises(FileNotFoundError, match=AS_IT_WAS):
        update.finish_saving()
    update.finish_saving()


def test_an_error_in_the_background_is_printed_once_its_updater_is_gone(path, capsys):
    update, _, _ = failed_save(path)
    assert capsys.readouterr().err == ""
    del update
    assert capsys.readouterr().err.count(AS_IT_WAS) == 1


def test_an_error_that_comes_after_its_updater_is_gone_is_printed(path, capsys, monkeypatch):
    collected = threading.Event()

    def refuse(*_):
        assert collected.wait(PATIENCE)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    update, _ = new_run()
    monkeypatch.setattr(os, "fsync", refuse)
    update.save(path, wait=False)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "saving run.safetensors")
    del update  # and nothing waits, for a collection of garbage may come at any time, in that thread too
    collected.set()
    thread.join()
    assert capsys.readouterr().err.count(f"{AS_IT_WAS}: '{path}'") == 1
    assert names(path.parent) == set()


ENDING = """
import os, sys, time
import numpy as np
import updaters as up

fsync = os.fsync
os.fsync = lambda file: (time.sleep(0.1), fsync(file))  # longer than the interpreter takes to end
updates = []
for path in sys.argv[1:]:
    update = up.get_updater(up.SGD(0.1, momentum=0.9), backend="numpy")
    update("w", np.ones(3), np.ones(3))
    update.save(path, wait=False)
    updates.append(update)
"""


def test_the_interpreter_ends_when_files_are_written_and_says_which_are_not(path):
    missing = path.parent / "missing" / path.name
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDING, path, missing],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    with files.opened(path, lambda text, count: text) as (_, arrays):
        assert [array.shape for array in arrays.values()] == [(3,)]
    assert names(path.parent) == {path.name}
    assert done.stderr.count("Traceback") == 1 + done.stderr.count("direct cause")
    assert done.stderr.endswith(f"No such file or directory; {AS_IT_WAS}: '{missing}'\n")


def test_saves_in_the_background_leave_no_trace_in_memory(path):
    update, _ = new_run()
    update.save(path, wait=False)
    update.finish_saving()
    before = len(weakref.finalize._registry)
    for _ in range(3):
        update.save(path, wait=False)
    update.finish_saving()
    assert len(weakref.finalize._registry) == before


# ---- several at once


@contextmanager
def in_the_midst(monkeypatch, act):
    """Act once, while a file is half written."""
    pieces, waiting = files._pieces, [act]

    def halting(array):
        for piece in pieces(array):
            yield piece
            if waiting:
                waiting.pop()()

    monkeypatch.setattr(files, "_pieces", halting)
    yield
    assert not waiting


def test_a_save_waits_for_another_of_the_same_path(path, monkeypatch):
    other = threading.Thread(target=write, args=(path, 2))

    def begin_another():
        other.start()
        other.join(0.1)  # which it takes only where it does not wait
        assert not path.exists()

    with in_the_midst(monkeypatch, begin_another):
        write(path, 1)
    other.join()
    assert kept(path) == {path.name: 2}
    assert names(path.parent) == {path.name}


def test_a_save_where_there_are_no_locks_disturbs_no_other(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    seen = []

    def another():
        write(path, 2)
        seen.append(read(path))

    with in_the_midst(monkeypatch, another):
        write(path, 1)
    assert seen == [2]
    assert kept(path) == {path.name: 1}
    assert names(path.parent) == {path.name}


@pytest.mark.parametrize("keep", [1, 3])
def test_the_handler_of_a_signal_saves_where_its_thread_was_saving(path, monkeypatch, keep):
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("a thread waits for itself"))
    signal.alarm(PATIENCE)
    try:
        with in_the_midst(monkeypatch, lambda: write(path, 2, keep)):
            write(path, 1, keep)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert read(path) == 1
    assert names(path.parent) == ({path.name} if keep == 1 else {path.name, "run.1.safetensors"})


@needs_fork
@ignore_fork_warning
def test_a_process_that_is_forked_off_in_the_midst_of_a_save_keeps_nothing_locked(path, monkeypatch):
    ours, theirs = socket.socketpair()
    children = []

    def fork():
        child = os.fork()
        if child == 0:
            ours.close()
            theirs.send(b"begun")
            theirs.recv(1)  # until the other process is done
            os._exit(0)
        children.append(child)
        ours.recv(5)

    try:
        with in_the_midst(monkeypatch, fork):
            write(path, 1)
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        ours.close()
        theirs.close()
        for child in children:
            os.waitpid(child, 0)
    assert kept(path) == {path.name: 1}


@needs_fork
@ignore_fork_warning
def test_a_process_that_is_forked_off_while_a_file_is_opened_keeps_nothing_locked(path, monkeypatch):
    open_file, begun, goes_on = os.open, threading.Event(), threading.Event()

    def open_slowly(*args):
        file = open_file(*args)
        begun.set()
        assert goes_on.wait(PATIENCE)
        return file

    monkeypatch.setattr(os, "open", open_slowly)
    other = threading.Thread(target=write, args=(path, 1))
    other.start()
    assert begun.wait(PATIENCE)
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        theirs.recv(1)  # until the other process is done
        os._exit(0)
    try:
        goes_on.set()
        other.join()
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        ours.close()
        theirs.close()
        os.waitpid(child, 0)
    assert kept(path) == {path.name: 1}


@needs_fork
@ignore_fork_warning
def test_processes_that_save_to_one_path_at_once_never_mix(path):
    write(path, 0, keep=3)
    children = []
    for process in range(2):
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                for number in range(1, 21):
                    write(path, 100 * process + number, keep=3)
                os._exit(0)
            os._exit(1)
        children.append(child)
    seen = set()
    running = set(children)
    codes = []
    while running:
        seen.add(read(path))
        for child in list(running):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes.append(os.waitstatus_to_exitcode(status))
                running.remove(child)
    assert codes == [0, 0]
    left = kept(path)
    assert left.keys() == names(path.parent) == {path.name, "run.1.safetensors", "run.2.safetensors"}
    assert left[path.name] % 100 == 20
    assert len(set(left.values())) == 3


@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("run.safetensors", "run.2.safetensors"),
        ("run", "run.2"),
        ("run-0.5", "run-0.5.2"),
        ("run.tar.st", "run.tar.2.st"),
        (".run", ".run.2"),
    ],
)
def test_older_files_have_a_number_before_the_suffix_or_behind_a_name_that_has_none(name, older):
    assert replacing.numbered(Path("folder") / name, 2) == Path("folder") / older
    assert replacing.numbered(Path("folder") / name, 0) == Path("folder") / name
