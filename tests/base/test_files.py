"""Files written whole, what killed processes leave, records with a digest, and locks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efa_zoo.base.files import (
    FolderInUse,
    locked,
    read_record,
    replacing,
    write_atomically,
    write_record,
)

KILLED = """
import os, signal, sys
from pathlib import Path
from efa_zoo.base.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path, other = tmp_path / "run.json", tmp_path / "run2.json"
    for file in (path, other):
        subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    assert len(list(tmp_path.glob(".run*.tmp.json"))) == 2
    with replacing(path) as mine:  # that of a process which runs stays
        mine.write_text("mine")
        write_atomically(path, b"whole")
        assert mine.exists()
    assert sorted(file.name.partition("-")[0][:5] for file in tmp_path.iterdir()) == [
        ".run2",
        "run.j",
    ]
    assert path.read_text() == "mine"


def test_what_another_machine_has_left_is_removed_after_a_day(tmp_path: Path) -> None:
    fresh, old = (tmp_path / f".a.0000000{n}-1-0123abcd.tmp.json" for n in (1, 2))
    for file in (fresh, old):
        file.write_text("half of")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    write_atomically(tmp_path / "a.json", b"whole")
    assert fresh.exists()
    assert not old.exists()


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(OSError, match="No space left") as caught, replacing(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key != "digest"), JSON), st.data())
def test_records_are_read_again_and_no_altered_one_is(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, object], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("records") / "record.json"
    write_record(path, content)
    assert read_record(path) == content
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255))
    path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    with contextlib.suppress(ValueError):
        assert read_record(path) == content  # another way to write the same
    path.write_bytes(whole[:place])
    with pytest.raises(ValueError):
        read_record(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"digest": 1}', "[" * 100_000])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        read_record(path)


def test_numbers_that_json_lacks_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, {"energy": float("inf")})
    assert json.loads(path.read_text())["energy"] == float("inf")
    assert read_record(path) == {"energy": float("inf")}


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(FolderInUse, match=f"process {os.getpid()} on "), locked(tmp_path):
            pass
        assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
