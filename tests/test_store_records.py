"""Records on disk: nothing is lost or half there, and other programs can read them."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.errors import StoreError, UsageError
from benchsuite.store.export import PUBLIC_COLUMNS, export_records
from benchsuite.store.records import RECORD_SCHEMA, RecordWriter, gaps_us, read_records, table_of
from benchsuite.testing import record
from benchsuite.types import Record

FULL = Record(
    request_id="r-0",
    index=0,
    phase="measure",
    outcome="ok",
    error_kind="",
    http_status=200,
    due_ns=2**53 + 1,
    sent_ns=2**53 + 3,
    sent_all_ns=2**53 + 5,
    first_byte_ns=2**53 + 7,
    first_token_ns=2**53 + 9,
    first_output_ns=2**53 + 11,
    last_token_ns=2**53 + 13,
    end_ns=2**53 + 15,
    gaps_us=[7, 0, 5_000_000],
    prompt_tokens=512,
    output_tokens=4,
    cached_tokens=0,
    reasoning_tokens=1,
    streamed_reasoning=True,
    finish_reason="length",
    reads=3,
    merged_events=1,
    reader_lag_us=40,
    user_stamps=True,
    reconnects=1,
    connect_us=80,
    tls_us=900,
    server_timings='{"prompt_ms": 1.5}',
    cost_usd=0.0025,
    text='said "so",\nÜ',
)
BARE = Record(
    request_id="r-1",
    index=1,
    phase="measure",
    outcome="refused",
    error_kind="connect",
    http_status=0,
    due_ns=1,
    sent_ns=None,
    sent_all_ns=None,
    first_byte_ns=None,
    first_token_ns=None,
    first_output_ns=None,
    last_token_ns=None,
    end_ns=2,
    gaps_us=[],
    prompt_tokens=None,
    output_tokens=None,
    cached_tokens=None,
    reasoning_tokens=None,
    streamed_reasoning=False,
    finish_reason=None,
    reads=0,
    merged_events=0,
    reader_lag_us=0,
    user_stamps=False,
    reconnects=0,
    connect_us=None,
    tls_us=None,
    server_timings=None,
)


def as_dict(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_every_field_comes_back_as_it_was(tmp_path):
    with RecordWriter(tmp_path / "0-1.parquet") as writer:
        writer.write(FULL)
        writer.write(BARE)
    table = read_records([tmp_path / "0-1.parquet"])
    assert table.to_pylist() == [as_dict(FULL), as_dict(BARE)]
    assert table.equals(table_of([FULL, BARE]))


def test_files_are_read_in_the_order_asked_and_only_the_columns_asked(tmp_path):
    for name, one in (("a", FULL), ("b", BARE)):
        with RecordWriter(tmp_path / name) as writer:
            writer.write(one)
    table = read_records([tmp_path / "b", tmp_path / "a"], ["outcome"])
    assert table.to_pydict() == {"outcome": ["refused", "ok"]}
    assert read_records([]).schema.equals(RECORD_SCHEMA)


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "0-1.parquet"
    writer = RecordWriter(path)
    with writer:
        for _ in range(10_000):
            writer.write(FULL)
        assert not path.exists()
    assert read_records([path]).num_rows == 10_000
    assert [item.name for item in tmp_path.iterdir()] == ["0-1.parquet"]


def test_a_failure_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), RecordWriter(tmp_path / "0-1.parquet") as writer:
        writer.write(FULL)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_long_answers_make_small_row_groups(tmp_path):
    # A row group of 8,192 such records would hold 320 MB of gaps.
    with RecordWriter(tmp_path / "long") as writer:
        for _ in range(600):
            writer.write(Record(**as_dict(FULL) | {"gaps_us": [10] * 10_000}))
    assert pq.ParquetFile(tmp_path / "long").metadata.num_row_groups >= 2


def test_a_gap_too_long_for_its_column_is_told_as_the_longest(tmp_path):
    with RecordWriter(tmp_path / "r") as writer:
        writer.write(Record(**as_dict(FULL) | {"gaps_us": [7, 2**40]}))
    assert read_records([tmp_path / "r"])["gaps_us"].to_pylist() == [[7, 2**31 - 1]]


def test_gaps_and_instants_are_delta_encoded(tmp_path):
    with RecordWriter(tmp_path / "r") as writer:
        writer.write(FULL)
    group = pq.ParquetFile(tmp_path / "r").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for name in ("sent_ns", "end_ns", "gaps_us.list.element"):
        assert "DELTA_BINARY_PACKED" in columns[name].encodings
        assert columns[name].compression == "ZSTD"


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=50).map(sorted))
def test_gaps_add_up_to_last_minus_first(arrivals):
    gaps = gaps_us(arrivals)
    assert len(gaps) == len(arrivals) - 1
    assert abs(sum(gaps) * 1000 - (arrivals[-1] - arrivals[0])) <= 500


def test_gaps_of_few_arrivals():
    assert gaps_us([]) == gaps_us([5]) == []
    # Each alone would round to 1 µs, and their sum would be 4 µs instead of 2.4.
    assert gaps_us([0, 600, 1200, 1800, 2400]) == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("metadata", "says"),
    [({"benchsuite.schema": "2"}, "schema 2"), ({}, "no benchsuite records")],
)
def test_files_of_others_are_refused(tmp_path, metadata, says):
    pq.write_table(table_of([FULL]).replace_schema_metadata(metadata), tmp_path / "x.parquet")
    with pytest.raises(StoreError, match=says):
        read_records([tmp_path / "x.parquet"])


def test_damaged_and_missing_files_are_refused_in_one_line(tmp_path):
    with RecordWriter(tmp_path / "x.parquet") as writer:
        writer.write(FULL)
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="is damaged") as damaged:
        read_records([tmp_path / "x.parquet"])
    assert "\n" not in str(damaged.value)
    with pytest.raises(StoreError, match="is missing"):
        read_records([tmp_path / "y.parquet"])


def exported(format):
    stream = io.BytesIO()
    export_records(table_of([FULL, BARE]), format, stream)
    return stream.getvalue()


def test_export_as_json_lines():
    rows = [json.loads(line) for line in exported("jsonl").splitlines()]
    assert list(rows[0])[: len(PUBLIC_COLUMNS)] == list(PUBLIC_COLUMNS)
    assert rows == [as_dict(FULL), as_dict(BARE)]


def test_export_as_csv():
    rows = list(csv.DictReader(io.StringIO(exported("csv").decode(), newline="")))
    assert list(rows[0])[: len(PUBLIC_COLUMNS)] == list(PUBLIC_COLUMNS)
    assert rows[0]["gaps_us"] == "7 0 5000000" and rows[0]["text"] == FULL.text
    assert rows[0]["sent_ns"] == str(2**53 + 3) and rows[0]["user_stamps"] == "true"
    assert rows[1]["sent_ns"] == rows[1]["gaps_us"] == rows[1]["cached_tokens"] == ""


def test_export_as_parquet_to_a_path(tmp_path):
    export_records(table_of([FULL, BARE]), "parquet", tmp_path / "out.parquet")
    table = pq.read_table(pa.py_buffer((tmp_path / "out.parquet").read_bytes()))
    assert table.column_names[: len(PUBLIC_COLUMNS)] == list(PUBLIC_COLUMNS)
    assert table.to_pylist() == [as_dict(FULL), as_dict(BARE)]


def test_export_in_no_known_format():
    with pytest.raises(UsageError, match="jsonl, csv, parquet"):
        exported("xml")


def test_a_file_of_an_earlier_version_gets_the_columns_that_came_later(tmp_path):
    whole = tmp_path / "1.parquet"
    with RecordWriter(whole) as writer:
        writer.write(record(cache_write_tokens=3))
    old = tmp_path / "2.parquet"
    later = ["cache_write_tokens", "cache_write_1h_tokens", "retry_after_s"]
    pq.write_table(pq.read_table(whole).drop_columns(later), old)
    assert read_records([old]).schema.names == read_records([whole]).schema.names
    both = read_records([whole, old], ["index", "cache_write_tokens"])
    assert both.column("cache_write_tokens").to_pylist() == [3, None]
