"""The spool: what is written is read back, after any crash, as far as it is whole."""

from pathlib import Path

import pytest

from benchsuite.engine.spool import Exchange, SpoolReader, SpoolWriter, tape_of
from benchsuite.engine.trial import segments, superseded

HEADER: dict[str, str | int] = {"point": 0, "trial": 1, "id_prefix": "r-"}


def exchange(index: int, parts: int = 3) -> Exchange:
    """One with every field set."""
    made = Exchange(index, due_ns=1_000 + index)
    made.sent_ns, made.sent_all_ns, made.end_ns = 2_000, 3_000, 1 << 62
    made.connect_ns, made.tls_ns = 40, 50
    made.status, made.complete, made.reconnects = 200, index % 2 == 0, 1
    made.user_clock = index % 2 == 1
    made.error = "reset" if index % 2 else ""
    made.headers = [b"Content-Type", b"text/event-stream", b"X-Name", "Grüße".encode("latin-1")]
    made.reads.extend((4_000, 4_100, 3_900, 0))
    for number in range(parts):
        made.parts.append(b"part\x00 %d" % number)
        made.reads.extend((5_000 + number, 5_100 + number, 4_900 + number, number + 1))
    return made


def written(
    folder: Path, exchanges: list[Exchange], rotate_bytes: int = 1 << 20, trial: int = 1
) -> list[Path]:
    stem = folder / f"0-{trial}-0"
    writer = SpoolWriter(str(stem), HEADER | {"trial": trial}, rotate_bytes)
    for one in exchanges:
        writer.append([one])
    writer.close()
    return segments(folder, f"0-{trial}")


def test_an_exchange_comes_back_as_a_tape(tmp_path: Path) -> None:
    (path,) = written(tmp_path, [exchange(0), exchange(1), Exchange(2, 7)])
    reader = SpoolReader(path)
    even, odd, empty = reader.read()
    assert reader.header == HEADER
    assert (even.index, even.due_ns, even.sent_ns, even.sent_all_ns, even.end_ns) == (
        0,
        1_000,
        2_000,
        3_000,
        1 << 62,
    )
    assert (even.connect_ns, even.tls_ns, even.status, even.reconnects) == (40, 50, 200, 1)
    assert even.body == b"part\x00 0part\x00 1part\x00 2"
    assert list(even.read_ns) == [4_000, 5_000, 5_001, 5_002]
    assert list(even.read_user_ns) == [4_100, 5_100, 5_101, 5_102]
    assert list(even.read_floor_ns) == [3_900, 4_900, 4_901, 4_902]
    assert list(even.read_ends) == [0, 7, 14, 21]
    assert even.headers == (("content-type", "text/event-stream"), ("x-name", "Grüße"))
    assert (even.framing_complete, even.clock, even.error, even.phase) == (True, "kernel", "", "measure")
    assert (odd.framing_complete, odd.clock, odd.error) == (False, "user", "reset")
    assert (empty.index, empty.due_ns, empty.status, empty.body, list(empty.read_ns)) == (2, 7, 0, b"", [])
    assert tape_of(exchange(1)) == odd


def test_trial_0_is_warm_up(tmp_path: Path) -> None:
    (path,) = written(tmp_path, [exchange(0)], trial=0)
    assert [tape.phase for tape in SpoolReader(path).read()] == ["warm_up"]


def test_a_file_cut_at_any_byte_gives_its_complete_frames(tmp_path: Path) -> None:
    stem, ends = str(tmp_path / "0-1-0"), []
    writer = SpoolWriter(stem, HEADER, 1 << 20)
    path = Path(f"{stem}.0")
    for index in range(3):
        writer.append([exchange(index, parts=1)])
        ends.append(path.stat().st_size)
    writer.close()
    data, cut = path.read_bytes(), tmp_path / "cut.0"
    for size in range(len(data) + 1):
        cut.write_bytes(data[:size])
        complete = sum(size >= end for end in ends)
        assert [tape.index for tape in SpoolReader(cut).read()] == list(range(complete))


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    (path,) = written(tmp_path, [exchange(index) for index in range(5)])
    data = path.read_bytes()
    growing = tmp_path / "growing.0"
    growing.write_bytes(b"")
    reader = SpoolReader(growing)
    seen: list[int] = []
    for size in range(0, len(data) + 50, 50):
        growing.write_bytes(data[:size])
        seen += [tape.index for tape in reader.read(limit=1)]
        assert len(list(reader.read(limit=0))) == 0
    seen += [tape.index for tape in reader.read()]
    assert seen == list(range(5))
    assert list(reader.read()) == []


def test_a_full_file_is_followed_by_the_next(tmp_path: Path) -> None:
    paths = written(tmp_path, [exchange(index) for index in range(30)], rotate_bytes=500)
    assert len(paths) > 10
    assert [path.name for path in paths] == [f"0-1-0.{number}" for number in range(len(paths))]
    read = [list(SpoolReader(path).read()) for path in paths]
    assert [tape.index for tapes in read for tape in tapes] == list(range(30))
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    other = SpoolWriter(str(tmp_path / "0-1-1"), HEADER, 1_000)
    other.close()
    assert superseded(tmp_path, "0-1") == paths[:-1]
    SpoolWriter(str(tmp_path / "0-11-0"), HEADER, 1_000).close()
    assert len(segments(tmp_path, "0-1")) == len(paths) + 1


def test_a_spool_is_never_overwritten(tmp_path: Path) -> None:
    written(tmp_path, [exchange(0)])
    with pytest.raises(FileExistsError):
        SpoolWriter(str(tmp_path / "0-1-0"), HEADER, 1_000)


def test_a_reader_can_pass_over_all_but_the_newest(tmp_path: Path) -> None:
    stem = str(tmp_path / "0-1-0")
    writer = SpoolWriter(stem, {"trial": 1}, rotate_bytes=1 << 30)
    exchanges = [Exchange(index, 0) for index in range(100)]
    writer.append(exchanges)
    writer.close()
    reader = SpoolReader(Path(f"{stem}.0"))
    size = Path(f"{stem}.0").stat().st_size
    reader.skip_to_last(size // 4)
    found = [tape.index for tape in reader.read()]
    assert found == list(range(100 - len(found), 100))
    assert 20 <= len(found) <= 26
