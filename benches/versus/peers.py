"""The peers: each runs as a process of its own, `python peers.py PEER TABLE FILE…`, and prints its answer as JSON.

Full work: rows, nulls, mean, std, min, quartiles, max and distinct values of every column, of words the most frequent one
as well. Types and null words are told to those that take them. An answer has, by column, what is compared:
`{"rows": 1, "columns": {"a": {"nulls": 0, "min": 1, "max": 2, "mean": 1.5, "distinct": 2}}}`.
"""

import json
import subprocess
import sys
from pathlib import Path

import data

NUMBERS = ("int", "float")


def answer(table: str, row: list, facts) -> dict:
    """A row of statistics in the order that `facts` gives for each type, the number of rows first."""
    cells = iter(row)
    rows = next(cells)
    columns = {}
    for name, kind in data.columns(table).items():
        told = {fact: next(cells) for fact in facts(kind)}
        count = told.pop("count")
        columns[name] = {key: shown(told[key]) for key in ("min", "max", "mean", "distinct") if key in told}
        columns[name]["nulls"] = rows - count
    return {"rows": rows, "columns": columns}


def shown(value):
    """Numbers stay numbers; a time is ISO 8601."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = str(value).replace(" ", "T")
    return text.split("+")[0].split(".0")[0] if "T" in text else text


def in_order(kind: str) -> list:
    if kind in NUMBERS:
        return ["count", "mean", "std", "min", "max", "quartiles", "distinct"]
    return ["count", "distinct", "top"] + (["min", "max"] if kind in ("date", "time") else [])


def select(table: str, sql: dict) -> str:
    """The statement of a full summary, its functions by fact."""
    parts = ["count(*)"]
    for name, kind in data.columns(table).items():
        parts += [sql[fact].format(f'"{name}"') for fact in in_order(kind)]
    return "select " + ", ".join(parts)


def one_or_all(files: list) -> str:
    """One file, or all of its folder."""
    return files[0] if len(files) == 1 else str(Path(files[0]).parent / "*.csv")


# --------------------------------------------------------------------------

COMMON = {"count": "count({})", "mean": "avg({})", "std": "stddev_samp({})", "min": "min({})", "max": "max({})"}
DUCKDB = COMMON | {"quartiles": "approx_quantile({}, [0.25, 0.5, 0.75])", "distinct": "approx_count_distinct({})",
                   "top": "approx_top_k({}, 1)"}
DUCKDB_EXACT = COMMON | {"quartiles": "quantile_cont({}, [0.25, 0.5, 0.75])", "distinct": "count(distinct {})",
                         "top": "mode({})"}
DUCKDB_TYPES = {"int": "BIGINT", "float": "DOUBLE", "text": "VARCHAR", "date": "DATE", "time": "TIMESTAMP"}


def duckdb_full(table: str, files: list, sql=DUCKDB) -> dict:
    import duckdb

    types = ", ".join(f"'{name}': '{DUCKDB_TYPES[kind]}'" for name, kind in data.columns(table).items())
    source = f"read_csv('{one_or_all(files)}', nullstr='{data.null(table)}', columns={{{types}}}, header=true)"
    return answer(table, duckdb.sql(f"{select(table, sql)} from {source}").fetchall()[0], in_order)


def duckdb_exact(table: str, files: list) -> dict:
    return duckdb_full(table, files, DUCKDB_EXACT)


def duckdb_each(table: str, files: list) -> dict:
    return each(lambda file: duckdb_full(table, [file]), files)


CLICKHOUSE = {"count": "count({})", "mean": "avg({})", "std": "stddevSamp({})", "min": "min({})", "max": "max({})",
              "quartiles": "quantiles(0.25, 0.5, 0.75)({})", "distinct": "uniq({})", "top": "topK(1)({})"}
CLICKHOUSE_TYPES = {"int": "Int64", "float": "Float64", "text": "String", "date": "Date32", "time": "DateTime64(0)"}


def clickhouse(table: str, files: list) -> dict:
    import chdb

    types = ", ".join(f"{name} Nullable({CLICKHOUSE_TYPES[kind]})" for name, kind in data.columns(table).items())
    source = f"file('{one_or_all(files)}', 'CSVWithNames', '{types}')"
    if not data.null(table):
        # An empty field in quotes is a word to ClickHouse, and a null to the others.
        names = ", ".join(f"nullIf({name}, '') as {name}" if kind == "text" else name
                          for name, kind in data.columns(table).items())
        source = f"(select {names} from {source})"
    settings = f"settings format_csv_null_representation='{data.null(table)}', session_timezone='UTC'"
    text = str(chdb.query(f"{select(table, CLICKHOUSE)} from {source} {settings}", "JSONCompact"))
    row = json.loads(text)["data"][0]
    return answer(table, [int(cell) if isinstance(cell, str) and cell.isdigit() else cell for cell in row], in_order)


DATAFUSION = COMMON | {"std": "stddev({})", "quartiles": "approx_percentile_cont(0.25) within group (order by {0}), "
                       "approx_percentile_cont(0.5) within group (order by {0}), "
                       "approx_percentile_cont(0.75) within group (order by {0})", "distinct": "approx_distinct({})"}


def datafusion(table: str, files: list) -> dict:
    from datafusion import SessionContext

    context = SessionContext()
    kinds = data.columns(table)
    # It parses before it looks for null words: where there are any, numbers are read as text.
    late = {name for name, kind in kinds.items() if data.null(table) and kind in NUMBERS}
    types = ", ".join(f'"{name}" {"VARCHAR" if name in late else DUCKDB_TYPES[kind]}' for name, kind in kinds.items())
    place = files[0] if len(files) == 1 else str(Path(files[0]).parent) + "/"
    context.sql(f"create external table t ({types}) stored as csv location '{place}' options "
                "('format.has_header' 'true', 'format.newlines_in_values' 'true')")
    read = lambda name: f"cast(nullif(\"{name}\", '{data.null(table)}') as {DUCKDB_TYPES[kinds[name]]}) as \"{name}\""
    source = ", ".join(read(name) if name in late else f"nullif(\"{name}\", '{data.null(table)}') as \"{name}\"" if kind == "text"
                       else f'"{name}"' for name, kind in kinds.items())
    # It counts no distinct floats, and all floats here are cents.
    parts = ["count(*)"]
    for name, kind in kinds.items():
        sql = DATAFUSION | ({"distinct": "approx_distinct(cast(round({} * 100) as bigint))"} if kind == "float" else {})
        parts += [sql[fact].format(f'"{name}"') for fact in in_order(kind) if fact != "top"]
    frame = context.sql(f"select {', '.join(parts)} from (select {source} from t)").collect()[0]
    row = [frame.column(i)[0].as_py() for i in range(frame.num_columns)]
    return answer(table, row, lambda kind: [fact for fact in three_quartiles(kind) if fact != "top"])


def three_quartiles(kind: str) -> list:
    """`in_order` of those that give each quartile by itself."""
    return [name for fact in in_order(kind) for name in ([fact] if fact != "quartiles" else ("q0.25", "q0.5", "q0.75"))]


def polars_scan(table: str, files: list):
    import polars

    types = {"int": polars.Int64, "float": polars.Float64, "text": polars.String, "date": polars.Date,
             "time": polars.Datetime}
    schema = {name: types[kind] for name, kind in data.columns(table).items()}
    return polars.scan_csv(one_or_all(files), schema=schema, null_values=data.null(table), try_parse_dates=True)


def polars_full(table: str, files: list) -> dict:
    from polars import col, len as rows

    wanted = [rows().alias("rows")]
    for name, kind in data.columns(table).items():
        column = col(name)
        facts = {"count": column.count(), "mean": column.mean(), "std": column.std(), "min": column.min(),
                 "max": column.max(), "distinct": column.drop_nulls().n_unique(),
                 "top": column.drop_nulls().mode().first(),
                 **{f"q{q}": column.quantile(q, "linear") for q in (0.25, 0.5, 0.75)}}
        for fact in three_quartiles(kind):
            wanted.append(facts[fact].alias(f"{name}.{fact}"))
    row = polars_scan(table, files).select(wanted).collect(engine="streaming").row(0)
    return answer(table, row, three_quartiles)


def polars_describe(table: str, files: list) -> dict:
    frame = polars_scan(table, files).collect().describe()
    facts = dict(zip(frame["statistic"], frame.rows(named=True)))
    rows = int(facts["count"][frame.columns[1]]) + int(facts["null_count"][frame.columns[1]])
    columns = {}
    for name, kind in data.columns(table).items():
        columns[name] = {"nulls": int(facts["null_count"][name])}
        if kind in NUMBERS:
            columns[name] |= {key: float(facts[key][name]) for key in ("mean", "min", "max")}
    return {"rows": rows, "columns": columns}


def pandas(table: str, files: list) -> dict:
    import pandas

    frame = pandas.concat([pandas.read_csv(file) for file in files], ignore_index=True)
    described = frame.describe(include="all")
    columns = {}
    for name, kind in data.columns(table).items():
        columns[name] = {"nulls": int(frame[name].isna().sum()), "distinct": int(frame[name].nunique())}
        if kind in NUMBERS:
            columns[name] |= {key: float(described[name][key]) for key in ("mean", "min", "max")}
    return {"rows": len(frame), "columns": columns}


def pandas_each(table: str, files: list) -> dict:
    return each(lambda file: pandas(table, [file]), files)


def each(summary, files: list) -> dict:
    """One summary a file; of all of them, only the rows are told."""
    return {"rows": sum(summary(file)["rows"] for file in files), "columns": {}}


# --------------------------------------------------------------------------


def xan() -> str:
    return str(data.ROOT / "target" / "versus" / "bin" / "xan")


def xan_rows(text: str) -> dict:
    """xan knows no null words but the empty field, so that only its rows can be compared."""
    import csv

    first = next(csv.DictReader(text.splitlines()))
    return {"rows": int(first["count"]) + int(first["count_empty"]), "columns": {}}


def xan_stats(_: str, files: list, *options: str) -> dict:
    return xan_rows(subprocess.run([xan(), "stats", *options, *files], check=True, capture_output=True, text=True).stdout)


def xan_exact(table: str, files: list) -> dict:
    return xan_stats(table, files, "-A", "-p")


def xan_estimates(table: str, files: list) -> dict:
    return xan_stats(table, files, "-a", "-p")


def xan_each(_: str, files: list) -> dict:
    command = ["xargs", "-n1", "-P2", xan(), "stats", "-a"]
    text = subprocess.run(command, input="\n".join(files), check=True, capture_output=True, text=True).stdout
    lines = text.splitlines()
    # Every file repeats the header, and begins with the column `year`.
    firsts = [lines[0]] + [line for line in lines if line.startswith("year,")]
    return {"rows": sum(xan_rows(f"{lines[0]}\n{line}")["rows"] for line in firsts[1:]), "columns": {}}


def xan_parallel(_: str, files: list) -> dict:
    command = [xan(), "parallel", "stats", *files]
    return xan_rows(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def pipeline(table: str, files: list) -> list:
    """The command itself: nothing stands between it and the clock."""
    merge = ["--merge"] if table == "files merged" else []
    return [str(data.ROOT / "target" / "release" / "pipeline"), "summarize", *merge, *files]


def of_pipeline(text: str) -> dict:
    """The answer in what `pipeline summarize` printed: one summary, or many, of which only the rows are told."""
    decoder, at, summaries = json.JSONDecoder(), 0, []
    while at < len(text):
        summary, at = decoder.raw_decode(text, at)
        summaries.append(summary)
        at = json.decoder.WHITESPACE.match(text, at).end()
    if len(summaries) != 1:
        return {"rows": sum(summary["total_rows"] for summary in summaries), "columns": {}}
    summary, columns = summaries[0], {}
    for schema in summary["schema"]:
        stats = summary["summary"][schema["name"]]
        columns[schema["name"]] = {key: stats[key] for key in ("min", "max", "mean") if key in stats}
        columns[schema["name"]] |= {"nulls": schema["nulls"], "distinct": schema["distinct"]["value"],
                                    "bound": schema["distinct"].get("error", 0)}
    return {"rows": summary["total_rows"], "columns": columns}


OURS = "pipeline summarize"
SINGLE = ("flights", "taxi", "lineitem", "text", "quoted")
PACKED = ("lineitem.gz", "lineitem.zst")
# name -> (function, whether it is the same full work as ours, whether its counts are exact, tables)
PEERS = {
    "ClickHouse (chdb), full, estimates": (clickhouse, True, False, (*SINGLE, *PACKED, "files merged")),
    "DuckDB, full, estimates": (duckdb_full, True, False, (*SINGLE, *PACKED, "files merged")),
    "DuckDB, full, exact": (duckdb_exact, True, True, SINGLE),
    "DataFusion, full but top": (datafusion, True, False, (*SINGLE, "files merged")),
    "Polars streaming, full": (polars_full, True, True, (*SINGLE, *PACKED, "files merged")),
    "Polars describe (no distinct, no top)": (polars_describe, False, True, (*SINGLE, *PACKED)),
    "pandas describe": (pandas, True, True, (*SINGLE, *PACKED)),
    "xan stats -A -p, exact": (xan_exact, True, True, SINGLE),
    "xan stats -a -p, estimates": (xan_estimates, True, False, (*SINGLE, *PACKED)),
    "xan by xargs": (xan_each, True, False, ("files",)),
    "pandas, a loop": (pandas_each, True, True, ("files",)),
    "DuckDB, a loop": (duckdb_each, True, False, ("files",)),
    "xan parallel (moments only)": (xan_parallel, False, True, ("files merged",)),
}

if __name__ == "__main__":
    peer, table, *files = sys.argv[1:]
    if files[0].startswith("@"):
        files = Path(files[0][1:]).read_text().splitlines()
    print(json.dumps(PEERS[peer][0](table, files)))
