"""What may be named on the command line, and what is said when it cannot be read."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from capture_files import call_ids, pcap, pcapng, read, sip_records

from sipwatch.capture.files import CaptureFiles
from sipwatch.capture.inputs import expand
from sipwatch.capture.stats import CaptureError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Captures under different names, other files, and a folder below."""
    (tmp_path / "b.pcap").write_bytes(pcap(sip_records([1])))
    (tmp_path / "a.pcapng").write_bytes(pcapng(sip_records([2])))
    (tmp_path / "without-a-name").write_bytes(pcap(sip_records([3])))
    (tmp_path / "ring.pcap12").write_bytes(pcap(sip_records([4])))
    (tmp_path / "packed").write_bytes(gzip.compress(pcap(sip_records([5]))))
    (tmp_path / "README.md").write_text("# no capture")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "c.pcap").write_bytes(pcap(sip_records([6])))
    return tmp_path


def names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in expand(paths)]


def test_a_folder_gives_its_captures_by_name_or_content(folder: Path) -> None:
    assert names([str(folder)]) == ["a.pcapng", "b.pcap", "packed", "ring.pcap12", "without-a-name"]
    assert call_ids(read(folder)[0]) == [1, 2, 3, 4, 5]


def test_patterns(folder: Path) -> None:
    assert names([f"{folder}/*.pcap"]) == ["b.pcap"]
    assert names([f"{folder}/**/*.pcap"]) == ["b.pcap", "c.pcap"]
    assert names([f"{folder}/[ab].*"]) == ["a.pcapng", "b.pcap"]
    # A folder that matches counts as itself.
    assert names([f"{folder}/bel*"]) == ["c.pcap"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "call[1].pcap").write_bytes(pcap(sip_records([1])))
    assert names([f"{tmp_path}/call[1].pcap"]) == ["call[1].pcap"]


def test_a_file_that_is_named_twice_is_read_once(folder: Path) -> None:
    os.symlink(folder / "b.pcap", folder / "link.pcap")
    paths = [f"{folder}/b.pcap", f"{folder}/below/../b.pcap", f"{folder}/link.pcap"]
    assert names(paths) == ["b.pcap"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.pcap", "missing.pcap: no such file or folder"),
        ("*.nothing", "no file matches"),
        ("nocaptures", r"no captures .* in this folder"),
        ("README.md", r"is no capture .* convert it: editcap"),
        ("empty", "is empty"),
        ("zero\0byte", "zero byte"),
        ("b.pcap/x", "no such file"),
        ("x" * 300, "File name too long"),
        ("dangling", "no such file"),
    ],
)
def test_one_line_says_what_is_wrong(folder: Path, path: str, message: str) -> None:
    (folder / "nocaptures").mkdir()
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "nocaptures" / "text").write_text("text")
    with pytest.raises(CaptureError, match=message) as caught:
        CaptureFiles([f"{folder}/{path}"])
    assert "\n" not in str(caught.value)


def test_nothing_named() -> None:
    with pytest.raises(CaptureError, match="no capture file was named"):
        CaptureFiles([])


def test_one_bad_file_among_good_ones_is_damage(folder: Path) -> None:
    found, stats = read(folder / "b.pcap", folder / "README.md", folder / "empty")
    assert call_ids(found) == [1]
    assert [Path(damage.file).name for damage in stats.damage] == ["README.md", "empty"]
    assert "is empty" in str(stats.damage[1])


def test_all_files_bad(folder: Path) -> None:
    with pytest.raises(CaptureError, match=r"README.*and 1 more"):
        CaptureFiles([str(folder / "README.md"), str(folder / "empty")])


def test_a_file_that_vanishes_between_look_and_read(folder: Path) -> None:
    files = CaptureFiles([str(folder / "b.pcap"), str(folder / "a.pcapng")])
    (folder / "b.pcap").unlink()
    found = [one for batch in files.batches() for one in batch]
    assert call_ids(found) == [2]
    (damage,) = files.stats().damage
    assert "No such file" in damage.what


# Standard input and pipes -------------------------------------------------------------------------

READ_STANDARD_INPUT = """
import sys
from sipwatch.capture.files import CaptureFiles
files = CaptureFiles(["-"])
assert files.bytes_total is None
for batch in files.batches():
    for one in batch:
        print(one.number, one.interface, len(one.payload), flush=True)
print("end", files.stats().packets, files.bytes_read, [str(d) for d in files.stats().damage])
"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input(pack: type[bytes]) -> None:
    data = pack(pcap(sip_records(range(3000))))
    done = subprocess.run(
        [sys.executable, "-c", READ_STANDARD_INPUT],
        input=data,
        capture_output=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("1 - ")
    assert lines[-2].startswith("3000 - ")
    assert lines[-1] == f"end 3000 {len(data)} []"


@pytest.mark.parametrize("build", [pcap, pcapng])
def test_what_has_come_through_a_pipe_is_given_at_once(build: type[bytes]) -> None:
    data = build(sip_records(range(3)))
    cut = len(build(sip_records(range(2))))
    with subprocess.Popen(
        [sys.executable, "-c", READ_STANDARD_INPUT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            # The third packet has not come whole, and nothing ends the input.
            process.stdin.write(data[: cut + 5])
            process.stdin.flush()
            assert process.stdout.readline().startswith(b"1 - ")
            assert process.stdout.readline().startswith(b"2 - ")
            process.stdin.write(data[cut + 5 :])
            process.stdin.close()
            assert process.stdout.readline().startswith(b"3 - ")
            assert process.stdout.readline().startswith(b"end 3 ")
        finally:
            watchdog.cancel()


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "-: is empty"), (b"text that is no capture", "is no capture")]
)
def test_standard_input_that_is_no_capture(
    monkeypatch: pytest.MonkeyPatch, data: bytes, message: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    files = CaptureFiles(["-"])
    with pytest.raises(CaptureError, match=message):
        list(files.batches())


def test_standard_input_that_is_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pcap(sip_records([8])))))
    assert call_ids(read("-")[0]) == [8]


def test_named_pipes_beside_files(tmp_path: Path) -> None:
    (tmp_path / "file.pcap").write_bytes(pcap(sip_records([1, 4])))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(pcap(sip_records([2, 5])),))
    writer.start()
    found, stats = read(tmp_path / "file.pcap", pipe)
    writer.join(20)
    assert call_ids(found) == [1, 2, 4, 5]
    assert not stats.damage


def test_how_far_the_reading_has_come(folder: Path) -> None:
    paths = [str(folder / "a.pcapng"), str(folder / "b.pcap"), str(folder / "packed")]
    files = CaptureFiles(paths, chunk=64)
    total = sum(Path(path).stat().st_size for path in paths)
    assert (files.bytes_total, files.bytes_read) == (total, 0)
    steps = [files.bytes_read for _ in files.batches()]
    assert steps == sorted(steps)
    assert len(set(steps)) > 5
    assert files.bytes_read == total
