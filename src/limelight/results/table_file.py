"""Write tables of numbers, and read them again."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from limelight import files
from limelight.model.cost import check_recorded
from limelight.results.row import Column, Row
from limelight.text import csv_cell, markdown

Columns = Mapping[str, Column]
Settings = Mapping[str, Any]

FIELDS = (
    *("image", "method", "target", "label", "probability", "degenerate", "reason"),
    *("seconds", "forwards", "backwards", "calls"),
)
"""What stands in every line before the metrics."""

EXTRA = "_extra"
"""Column of a Parquet file with passes and curves, as JSON."""

_TEXTS = ("image", "method", "label", "reason", "degenerate", EXTRA)


def list_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a flat dictionary per row: what is known of it, then the metrics and their parts."""
    return [{name: getattr(row, name) for name in FIELDS} | {**row.values, **row.parts} for row in rows]


def list_protocols(columns: Columns) -> dict[str, str]:
    """Return the protocol of each metric."""
    return {name: column.protocol for name, column in columns.items()}


def write_parquet(path: Path, rows: Sequence[Row], columns: Columns, settings: Settings) -> None:
    """Write all that is known, so that ``read_parquet`` gives it again."""
    arrow, parquet = files.arrow()
    kinds = [vars(column) | {"label": name} for name, column in columns.items()]
    extra = [{"spent": dict(r.spent), "curves": {k: list(v) for k, v in r.curves.items()}} for r in rows]
    table = arrow.Table.from_pylist(
        [
            {k: files.storable(v) if isinstance(v, str) else v for k, v in record.items()} | {EXTRA: json.dumps(more)}
            for record, more in zip(list_records(rows), extra, strict=True)
        ]
    )
    about = json.dumps({"columns": kinds, "settings": settings}, default=str)
    with files.whole(path) as draft:
        parquet.write_table(table.replace_schema_metadata({"limelight": about}), draft)


def read_parquet(path: str | Path) -> tuple[list[Row], dict[str, Column], dict[str, Any]]:
    """Return the rows, columns and settings that ``write_parquet`` wrote; of a damaged file anything may be raised."""
    table = files.rows_in(files.content_of(path))
    metadata: dict[bytes, bytes] = table.schema.metadata or {}
    about = json.loads(metadata[b"limelight"])
    known = pydantic.TypeAdapter(Column)
    columns = {c.pop("label"): known.validate_python(c) for c in about["columns"]}
    empty = [field.name for field in table.schema if str(field.type) == "null"]  # parts that no row has
    check_recorded({n: table[n].to_numpy() for n in table.column_names if n not in (*_TEXTS, *empty)})
    records = [_parse_record(record, columns) for record in table.to_pylist()]
    return pydantic.TypeAdapter(list[Row]).validate_python(records), columns, about["settings"]


def _parse_record(record: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """Return the fields of the row that stands in a line of a Parquet file."""
    extra = json.loads(record.pop(EXTRA))
    record.setdefault("calls", np.nan)  # older files have none
    known = {name: record.pop(name) for name in FIELDS}
    known.pop("degenerate")  # follows from the reason
    numbers = {name: np.nan if value is None else value for name, value in record.items()}
    values = {name: numbers.pop(name) for name in columns}
    return {**known, "values": values, "parts": numbers, "spent": extra["spent"], "curves": extra["curves"]}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows alone, for spreadsheets."""
    records = list_records(rows)
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(csv_cell, names))
    writer.writerows([csv_cell(record.get(name, "")) for name in names] for record in records)
    files.write(path, text.getvalue())


def write_json(path: Path, rows: Sequence[Row], columns: Columns, settings: Settings) -> None:
    """Write rows, protocols and settings; what is not defined is null."""
    records = [{k: None if v != v else v for k, v in record.items()} for record in list_records(rows)]
    about = {"protocols": list_protocols(columns), "settings": settings, "rows": records}
    files.write(path, json.dumps(about, indent=1, default=str))


def write_markdown(path: Path, table: str, unreadable: Mapping[str, str]) -> None:
    """Write the summary's table, and the pictures that can't be read with the reason why."""
    listed = [f"- {markdown(name)}: {markdown(why)}" for name, why in unreadable.items()]
    heading = ["", "Pictures that can't be read, and were left out:", "", *listed] if listed else []
    files.write(path, "\n".join([table, *heading, ""]))
