#!/usr/bin/env python3
"""Writes columns/*: two samples as Parquet and Arrow, as different programs write them.

    pip install polars==2.1.0 pyarrow==26.0.1
    python columns.py

Each file is named after its sample and how it is written. Its summary must be
that of the sample, which tests/golden.rs checks. Another version of a library
may write other bytes for the same tables; then `golden.py` renews the sums.
"""

from pathlib import Path

import polars
import pyarrow
from pyarrow import feather, parquet

HERE = Path(__file__).resolve().parent
COLUMNS = HERE / "columns"


def sample(name: str) -> polars.DataFrame:
    return polars.read_csv(HERE / "samples" / f"{name}.csv", null_values=["NA"], try_parse_dates=True)


def main() -> None:
    COLUMNS.mkdir(exist_ok=True)
    penguins = sample("penguins")
    table = penguins.to_arrow()
    for codec in ("snappy", "gzip", "zstd", "lz4", "none"):
        parquet.write_table(table, COLUMNS / f"penguins.{codec}.parquet", compression=codec)
    texts = {name: "DELTA_BYTE_ARRAY" for name in ("species", "island", "sex")}
    parquet.write_table(table, COLUMNS / "penguins.newer.parquet", compression="zstd", data_page_version="2.0",
                        use_dictionary=False, column_encoding=texts, row_group_size=100, write_page_checksum=True)
    penguins.write_parquet(COLUMNS / "penguins.polars.pq")
    feather.write_feather(table, COLUMNS / "penguins.lz4.feather", compression="lz4")
    penguins.with_columns(polars.col("species").cast(polars.Categorical)).write_ipc(
        COLUMNS / "penguins.zstd.arrow", compression="zstd")
    with pyarrow.ipc.new_stream(COLUMNS / "penguins.stream.ipc", table.schema) as stream:
        stream.write_table(table, max_chunksize=100)
    weather = sample("seattle_weather")
    weather.write_parquet(COLUMNS / "seattle_weather.polars.parquet", compression="snappy", row_group_size=500)
    weather.write_ipc(COLUMNS / "seattle_weather.polars.arrow", compression="lz4")


if __name__ == "__main__":
    main()
