"""Writes the rows that files_test.go expects: python write.py FILE CODEC PAGE_VERSION"""
import datetime
import sys

import pyarrow as pa
import pyarrow.parquet as pq

at = datetime.datetime(2026, 1, 2, 3, 4, 5, 500000, datetime.timezone.utc)
first = {
    "lang": "en", "n": 1, "tags": ["a", "b"], "score": 1.5, "ok": True, "day": at.date(), "at": at, "props": [("k", "v")],
}
second = {"lang": "de", "n": None, "tags": [], "score": None, "ok": False, "day": None, "at": None, "props": []}
metadata = pa.struct([
    ("lang", pa.string()), ("n", pa.int64()), ("tags", pa.list_(pa.string())), ("score", pa.float64()), ("ok", pa.bool_()),
    ("day", pa.date32()), ("at", pa.timestamp("us", tz="UTC")), ("props", pa.map_(pa.string(), pa.string())),
])
table = pa.table({
    "source": pa.array(["docs", "docs", None, "docs"]),
    "document_id": pa.array(["handbook", "handbook", "handbook", None]),
    "chunk_id": pa.array(["intro", "outro", "third", "x"]),
    "position": pa.array([0, 1, 2, 3], pa.int32()),
    "text": pa.array(["Welcome.", "Grüße, 世界.", "Third.", "lost"]),
    "version": pa.array([9007199254740991, 7, None, 4], pa.int64()),
    "ts": pa.array([at, at, at, None], pa.timestamp("us", tz="UTC")),
    "metadata": pa.array([first, second, None, None], metadata),
    "blob": pa.array([b"\xff\x00"] * 4),
})
pq.write_table(table, sys.argv[1], compression=sys.argv[2], row_group_size=2, data_page_version=sys.argv[3])
