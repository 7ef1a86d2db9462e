#!/usr/bin/env python3
"""Writes what pandas says about the datasets.

    pip install -r requirements.txt
    python golden.py            rewrites every derived file
    python golden.py --check    changes nothing; fails where a file differs

Derived are golden/*.expected.json, golden/samples/*.expected.json,
malformed/README.md, the table of samples in README.md, and SHA256SUMS.

An expected file is `pandas.read_csv(path)` (tabs for .tsv, else defaults), or
for JSON `pandas.json_normalize` of what Python's json reads, and
`describe(include="all")`: statistics that are NaN are left out, whole numbers
are JSON integers, `top` is always a string, and `min` and `max` of an integer
column are taken from the column itself, since describe() rounds them to
doubles. Logs and texts are taken apart here by regular expressions made for
these very files, and described like a table of their lines. --check allows 1e-12 between decimals: numpy's sums may differ in the
last bit from one processor to another.
"""

import argparse
import hashlib
import json
import math
import re
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path

import numpy
import pandas

import fetch
import generate

HERE = Path(__file__).resolve().parent
GOLDEN, SAMPLES, MALFORMED, COLUMNS = (HERE / name for name in ("golden", "samples", "malformed", "columns"))
JSON = (".json", ".jsonl")
# An object around the records, and its member that holds them.
WRAPPED = {"json_wrapped.json": "rows"}
MUST_FAIL = ("corrupt.csv.gz", "photo.png")
BEGIN, END = "<!-- samples: written by golden.py -->", "<!-- end -->"


def read(path: Path, **options) -> pandas.DataFrame:
    return pandas.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", **options)


def names(record: dict, prefix: str = ""):
    """The columns of a record, in the order of its keys."""
    for key, value in record.items():
        yield from names(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]


def records(path: Path) -> pandas.DataFrame:
    """The records of a JSON file: those of an array, or one value after another."""
    text, values, at = path.read_bytes().decode("utf-8-sig"), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = json.JSONDecoder().raw_decode(text, at)
        values.append(value)
    if path.name in WRAPPED:
        values = values[0][WRAPPED[path.name]]
    elif len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    values = [v if isinstance(v, dict) else {"value": v} for v in values]
    # json_normalize puts nested columns behind the others; here they keep the order of the file.
    order = dict.fromkeys(name for v in values for name in names(v))
    frame = pandas.json_normalize(values)[list(order)]
    shown = lambda v: json.dumps(v, ensure_ascii=False, separators=(",", ":")) if isinstance(v, list) else v
    frame = frame.map(shown)
    for name in frame.columns:
        # A column without values has no type, as in a CSV file.
        if frame[name].isna().all():
            frame[name] = frame[name].astype(float)
    return frame


def plain(value):
    """A statistic as JSON holds it."""
    if isinstance(value, (bool, numpy.bool_)):
        return str(bool(value))
    if isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} cannot be a JSON number")
    return int(number) if number.is_integer() and abs(number) <= 2**53 else number


LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR"}
CONTINUED = re.compile(r"[ \t]|Caused by: ")
MASKS = [
    (r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", "<time>"),
    (r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0200\]", "[<time>]"),
    (r'"[^"]*"', "<str>"),
    (r"(?<= )/\S+", "<path>"),
    (r"\d+\.\d+\.\d+\.\d+", "<ip>"),
    (r"0x[0-9a-f]+|\b[0-9a-f]{32}\b", "<hex>"),
    (r"\d+(\.\d+)?", "<n>"),
]


def log_line(line: str) -> dict:
    """A line of app.log or access.log; what is not there is None."""
    time = None
    if found := re.match(r"\d{4}-\d\d-\d\d \S+", line):
        time = datetime.strptime(found[0], "%Y-%m-%d %H:%M:%S,%f").isoformat(timespec="milliseconds")
        time = time.rstrip("0").rstrip(".") if "." in time else time
    elif found := re.search(r"\[(\d\d/\w{3}/\d{4}:[^]]+)\]", line):
        moment = datetime.strptime(found[1], "%d/%b/%Y:%H:%M:%S %z").astimezone(timezone.utc)
        time = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    level = re.match(r"\S+ \S+ ([A-Z]+) ", line)
    continued = None if not line.strip() else str(CONTINUED.match(line) is not None)
    template = None
    if continued == "False":
        template = line
        for pattern, mask in MASKS:
            template = re.sub(pattern, mask, template)
    return {"timestamp": time, "level": LEVELS[level[1]] if level else None, "template": template, "continuation": continued}


def line_frame(path: Path) -> pandas.DataFrame:
    """A log or a text, a row a line."""
    rows = []
    for line in path.read_bytes().decode().removesuffix("\n").split("\n"):
        line = line.removesuffix("\r")
        row = log_line(line) if path.suffix == ".log" else {"words": len(line.split())}
        rows.append(row | {"blank": str(not line.strip()), "line_length": len(line.encode())})
    return pandas.DataFrame(rows)


def expected(path: Path) -> dict:
    if path.suffix in (".log", ".txt"):
        frame = line_frame(path)
    elif path.suffix in JSON:
        frame = records(path)
    else:
        frame = read(path)
        check_leading_zeros(path, frame)
    if index_taken(frame):
        raise ValueError("pandas took a column for an index")
    described = frame.describe(include="all")
    summary = {}
    for name in frame.columns:
        stats = {k: str(v) if k == "top" else plain(v) for k, v in described[name].items() if not pandas.isna(v)}
        if len(frame) and not stats["count"]:
            stats = {"count": 0}
        if pandas.api.types.is_integer_dtype(frame[name]) and len(frame):
            stats |= {"min": int(frame[name].min()), "max": int(frame[name].max())}
        summary[name] = stats
    return {"total_rows": len(frame), "columns": list(frame.columns), "summary": summary}


def index_taken(frame: pandas.DataFrame) -> bool:
    """Whether pandas made row labels of columns: it does where rows are longer than the header."""
    return not frame.index.equals(pandas.RangeIndex(len(frame)))


def check_leading_zeros(path: Path, frame: pandas.DataFrame) -> None:
    """007 is text to this project and 7 to pandas: no golden file may hold it."""
    raw = read(path, dtype=str)
    for name in frame.columns:
        if pandas.api.types.is_numeric_dtype(frame[name]):
            if raw[name].dropna().str.match(r"\s*[+-]?0\d").any():
                raise ValueError(f"column {name} holds leading zeros")


def data_files(folder: Path) -> list:
    return sorted(p for p in folder.iterdir() if generate.is_data(p))


def case(path: Path) -> str:
    name = path.stem if path.suffix in generate.PACKED else path.name
    return name.rsplit(".", 1)[0]


def expected_files() -> dict:
    made = {}
    for path in data_files(GOLDEN):
        made[GOLDEN / f"{case(path)}.expected.json"] = path
    for path in data_files(SAMPLES):
        if path.name not in MUST_FAIL:
            made[GOLDEN / "samples" / f"{path.name}.expected.json"] = path
    result = {}
    for target, path in made.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                value = expected(path)
        except Exception as error:
            sys.exit(f"{path.relative_to(HERE)}: {type(error).__name__}: {error}")
        result[target] = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    return result


# --------------------------------------------------------------------------
# tables


def kind(column: pandas.Series) -> str:
    name = str(column.dtype)
    if name == "object":
        types = {type(v).__name__ for v in column.dropna()}
        return "object of " + " and ".join(sorted(types)) if types else "object"
    return {"str": "text"}.get(name, name)


def cell(text: str) -> str:
    """Text for a table: control characters visible, bars escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown.replace("|", "\\|")


def outcome(path: Path) -> str:
    """What pandas makes of a malformed file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = pandas.read_json(path, lines=path.suffix == ".jsonl") if path.suffix in JSON else read(path)
    except Exception as error:
        message = str(error).strip().split("\n")[0].replace(str(path), path.name)
        return cell(f"{type(error).__name__}: {message}")
    columns = [f"`{cell(str(n))}` {kind(frame[n])}" for n in frame.columns[:4]]
    more = f", … ({len(frame.columns)} columns)" if len(frame.columns) > 4 else ""
    nulls = int(frame.isna().sum().sum())
    index = "" if not index_taken(frame) else "; **leading columns became the index**"
    count = f"{len(frame)} row" + ("" if len(frame) == 1 else "s")
    return (f"{count}: {', '.join(columns)}{more}"
            + (f"; {nulls} null" if nulls else "") + index)


def malformed_readme() -> str:
    defects = generate.malformed()
    names = {p.name for p in MALFORMED.iterdir()} - {"README.md"}
    if names != set(defects):
        sys.exit(f"malformed/ and generate.py differ: {sorted(names ^ set(defects))}")
    rows = [f"| `{name}` | {cell(defect)} | {outcome(MALFORMED / name)} |" for name, (_, defect) in sorted(defects.items())]
    return "\n".join([
        "# Malformed files",
        "",
        "One defect a file, named by it. Written by `generate.py malformed`; this page by `golden.py`.",
        f"The last column is `pandas.read_csv(file)`, or `read_json`, of pandas {pandas.__version__} with its defaults: what users are used to,",
        "not what is right. No reader may crash on any of these, nor lose a row without saying so.",
        "",
        "| file | defect | what pandas does |",
        "| --- | --- | --- |",
        *rows,
        "",
    ])


def samples_table() -> str:
    rows = ["| file | what | package | licence | bytes | rows × columns |", "| --- | --- | --- | --- | --- | --- |"]
    versions = fetch.PYPI | fetch.NPM
    names = {p.name for p in SAMPLES.iterdir()}
    if names != set(fetch.ABOUT):
        sys.exit(f"samples/ and fetch.py differ: {sorted(names ^ set(fetch.ABOUT))}")
    for name, (package, licence, what) in sorted(fetch.ABOUT.items()):
        path = SAMPLES / name
        shape = "–" if name in MUST_FAIL else "{:,} × {}".format(*read(path).shape)
        registry = "npm" if package in fetch.NPM else "PyPI"
        origin = f"{registry} `{package}` {versions[package]}" if package else "–"
        rows.append(f"| `{name}` | {what} | {origin} | {licence} | {path.stat().st_size:,} | {shape} |")
    return "\n".join(rows)


def readme() -> str:
    before, rest = (HERE / "README.md").read_text().split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{samples_table()}\n\n{END}{after}"


def sums() -> str:
    """sha256 of every data file, as `sha256sum -c` reads it."""
    files = {p: p.read_bytes() for folder in (COLUMNS, GOLDEN, SAMPLES, MALFORMED) for p in folder.iterdir()
             if p.is_file() and p.name != "README.md" and not p.name.endswith(".expected.json")}
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {path.relative_to(HERE).as_posix()}\n"
                   for path, data in sorted(files.items()))


# --------------------------------------------------------------------------


def same(a, b) -> bool:
    """Equal, decimals to 1e-12."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not (isinstance(a, int) and isinstance(b, int)):
        return math.isclose(a, b, rel_tol=1e-12)
    return a == b


def agrees(path: Path, text: str) -> bool:
    if not path.exists():
        return False
    kept = path.read_bytes().decode()
    if path.suffix == ".json":
        return same(json.loads(kept), json.loads(text))
    return kept == text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 where a file differs")
    check = parser.parse_args().check
    pinned = dict(re.findall(r"(\w+)==(\S+)", (HERE / "requirements.txt").read_text()))
    if pandas.__version__ != pinned["pandas"]:
        sys.exit(f"pandas {pandas.__version__} is installed, requirements.txt pins {pinned['pandas']}")

    files = expected_files()
    orphans = [p for folder in (GOLDEN, GOLDEN / "samples") if folder.exists()
               for p in folder.glob("*.expected.json") if p not in files]
    files[MALFORMED / "README.md"] = malformed_readme()
    files[HERE / "README.md"] = readme()
    files[HERE / "SHA256SUMS"] = sums()

    differing = [p for p, text in files.items() if not agrees(p, text)]
    if check:
        for path in sorted(differing):
            print(f"differs: {path.relative_to(HERE)}")
        for path in sorted(orphans):
            print(f"belongs to no file: {path.relative_to(HERE)}")
        if differing or orphans:
            sys.exit(1)
        print(f"{len(files)} files agree with pandas {pandas.__version__}")
        return
    for path in differing:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(files[path].encode())
    for path in orphans:
        path.unlink()
    print(f"{len(files)} files, {len(differing)} rewritten, {len(orphans)} removed")


if __name__ == "__main__":
    main()
