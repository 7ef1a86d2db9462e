#!/usr/bin/env python3
"""Writes many small random CSV files, each with what pandas says about it.

    python many.py [--files 1000] [--seed 1] FOLDER

The folder is made anew: `NUMBER.csv`, `NUMBER.expected.json`, and `seed`, with which the same files can be made again.
The test `golden::generated_files_are_what_pandas_says` reads them. Nothing of it belongs into git.

A file is what a person would call comma-separated with a header of words. Beyond that anything goes that
`pandas.read_csv` reads with its defaults and that means the same to this project. Left out is what differs on purpose
or by pandas' guesses (docs/formats.md): leading zeros, rows longer than the header, infinities, integers beyond 64
bits, and unsigned ones beside nulls or negatives.
"""

import argparse
import json
import shutil
import sys
import warnings
from pathlib import Path
from random import Random

import pandas

import golden
from generate import BOM, DAYS, NULL_WORDS, pick

# Beyond it a double has no place for every integer, and pandas counts doubles where there are nulls.
EXACT_MAX = 2**53
WORDS = ("red", "green", "blue", "Lyon", "Oslo", "x", "X", "yes", "no", "it's", "5\" pipe", "a b", " lead", "trail ",
         "na", "-", "1.2.3", "12:30", "1/2", "$5", "50%", "0x1F", "1_000", "+", "e5")
LETTERS = ("北京", "Łódź", "São Paulo", "שלום", "مرحبا", "👩‍👩‍👧", "é", "e\u0301", "a\u2028b", "naïve", "Ωmega", "ｆｕｌｌ")
AWKWARD = ("a,b", ",", "say \"hi\"", "\"", "one\ntwo", "one\r\ntwo", "\n", "1,000", "x,\"y\",z", "1,2\n3,4\n", "  ")
NAMES = ("id", "name", "city", "price", "total", "when", "flag", "note", "名称", "città", "a b", "x,y", "per\"cent",
         "line\nbreak", "Value", "value", "unit price", "is_new")


def below(rng: Random, n: int) -> int:
    return int(rng.random() * n)


def whole(rng: Random, most: int) -> str:
    value = below(rng, most) if most < EXACT_MAX else rng.getrandbits(most.bit_length()) % most
    return f"{pick(rng, ('-', '', '', '+')) if value else ''}{value}"


def decimal(rng: Random, digits: int) -> str:
    return f"{(rng.random() - 0.3) * 10 ** below(rng, 6):.{digits}f}"


def exponent(rng: Random) -> str:
    mantissa = pick(rng, ("1", "2.5", "-3", "+6.02", ".5", "7.", "-.25", "9.99999"))
    return f"{mantissa}{pick(rng, 'eE')}{pick(rng, ('', '+', '-'))}{below(rng, 100)}"


def blanks(rng: Random, value: str) -> str:
    return pick(rng, ("", " ", "  ", "\t")) + value + pick(rng, ("", "", " "))


def truth(rng: Random) -> str:
    return pick(rng, ("True", "False", "true", "false", "TRUE", "FALSE", "tRuE"))


def moment(rng: Random) -> str:
    clock = f"{below(rng, 24):02}:{below(rng, 60):02}:{below(rng, 60):02}"
    return f"{pick(rng, DAYS)}{pick(rng, ' T')}{clock}{pick(rng, ('', '.5', '.123456'))}"


def sentence(rng: Random) -> str:
    return " ".join(pick(rng, WORDS[:8] + LETTERS + AWKWARD) for _ in range(1 + below(rng, 6)))


def column(rng: Random):
    """What makes the values of one column; the flag says whether nulls may lie among them."""
    most = pick(rng, (2, 10, 1000, 10**6, 10**12, EXACT_MAX))
    digits = 1 + below(rng, 12)
    few = [f"w{below(rng, 50)}" for _ in range(1 + below(rng, 20))]
    return pick(rng, (
        (lambda: whole(rng, most), True),
        (lambda: whole(rng, most), True),
        (lambda: str(rng.getrandbits(63)), False),
        (lambda: str(-rng.getrandbits(63)), False),
        (lambda: str(rng.getrandbits(64)), False),
        (lambda: decimal(rng, digits), True),
        (lambda: decimal(rng, digits), True),
        (lambda: pick(rng, (whole(rng, most), decimal(rng, 2))), True),
        (lambda: exponent(rng), True),
        (lambda: pick(rng, (exponent(rng), whole(rng, 100), decimal(rng, 3))), True),
        (lambda: blanks(rng, whole(rng, 100)), True),
        (lambda: blanks(rng, decimal(rng, 3)), True),
        (lambda: pick(rng, few), True),
        (lambda: pick(rng, few), True),
        (lambda: pick(rng, WORDS), True),
        (lambda: pick(rng, LETTERS), True),
        (lambda: pick(rng, AWKWARD + LETTERS + WORDS), True),
        (lambda: sentence(rng), True),
        (lambda: f"key{rng.getrandbits(40):x}", True),
        (lambda: "x" * below(rng, 300) + "y", True),
        (lambda: few[0], True),
        (lambda: str(most), True),
        (lambda: truth(rng), True),
        (lambda: truth(rng), True),
        (lambda: pick(rng, DAYS), True),
        (lambda: moment(rng), True),
        (lambda: moment(rng) + pick(rng, ("Z", "+08:00", "-0330")), True),
        (lambda: pick(rng, (pick(rng, DAYS), moment(rng))), True),
        (lambda: f"{1 + below(rng, 12)}/{1 + below(rng, 28)}/2024", True),
        (lambda: pick(rng, NULL_WORDS), True),
        (lambda: "", True),
        # a mixture, which is text
        (lambda: pick(rng, (whole(rng, 100), pick(rng, WORDS), truth(rng), pick(rng, DAYS))), True),
    ))


def values(rng: Random, rows: int) -> list:
    """The cells of one column: nulls at some rate, now and then a late surprise."""
    make, nullable = column(rng)
    words = [pick(rng, NULL_WORDS) for _ in range(3)] if rng.random() < 0.5 else [""]
    rate = pick(rng, (0, 0, 0.05, 0.3, 0.95)) if nullable else 0
    cells = [pick(rng, words) if rate and rng.random() < rate else make() for _ in range(rows)]
    if rows and nullable and rng.random() < 0.1:
        cells[rows - 1 - below(rng, 3) % rows] = pick(rng, ("1.5", "word", "NA", "True", "-7", "2024-02-29", "1e3"))
    return cells


def quoted(cell: str, always: bool) -> str:
    if always or any(c in cell for c in ",\n\r") or cell.startswith('"'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def file(rng: Random) -> bytes:
    width = pick(rng, (2, 3, 3, 4, 5, 6, 8, 12, 30))
    rows = pick(rng, (0, 1, 2, 3, 5, 8, 20, 50, 50, 100, 200, 400))
    if width == 30:
        rows = min(rows, 50)
    columns = [values(rng, rows) for _ in range(width)]
    always = pick(rng, (0, 0, 0.1, 0.5, 1))
    end = pick(rng, ("\n", "\n", "\n", "\r\n", "\r\n", "\r", None))
    short = pick(rng, (0, 0, 0, 0.1, 0.5))
    blank = pick(rng, (0, 0, 0, 0.05, 0.3))
    if end == "\r":
        # pandas 3.1 loses the comma that follows a blank line which ends in a bare CR.
        short = blank = 0
    if any(cell.isdigit() and int(cell) > EXACT_MAX for cells in columns for cell in cells):
        # Unsigned integers do not go with nulls.
        short = 0

    header = [pick(rng, NAMES) if rng.random() < 0.5 else f"column_{i}" for i in range(width)]
    lines = [",".join(quoted(name, always == 1) for name in header)]
    for row in zip(*columns):
        if rng.random() < short:
            row = row[: 1 + below(rng, width)]
        lines.append(",".join(quoted(cell, rng.random() < always) for cell in row))
        if rng.random() < blank:
            lines.append(pick(rng, ("", "", " ", "\t", "   ")))
    text = "".join(line + (end or pick(rng, ("\n", "\r\n"))) for line in lines)
    if rng.random() < 0.2:
        text = text.rstrip("\r\n")
    return (BOM if rng.random() < 0.1 else b"") + text.encode()


def expected(path: Path) -> dict:
    """What golden.py says, and what describe() leaves out: nulls, and how many different values there are."""
    answer = golden.expected(path)
    frame = golden.read(path)
    answer["nulls"] = {name: int(frame[name].isna().sum()) for name in frame.columns}
    answer["distinct"] = {name: int(frame[name].nunique()) for name in frame.columns}
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()

    rng = Random(args.seed)
    if args.folder.exists():
        if not (args.folder / "seed").exists():
            sys.exit(f"{args.folder} is there and not of this program's making: name another folder")
        shutil.rmtree(args.folder)
    args.folder.mkdir(parents=True)
    (args.folder / "seed").write_text(f"{args.seed}\n")
    rows = 0
    for number in range(args.files):
        path = args.folder / f"{number:04}.csv"
        path.write_bytes(file(rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                answer = expected(path)
        except Exception as error:
            sys.exit(f"seed {args.seed}: {path}: {type(error).__name__}: {error}")
        rows += answer["total_rows"]
        (args.folder / f"{number:04}.expected.json").write_text(json.dumps(answer, ensure_ascii=False))
    print(f"seed {args.seed}: {args.files} files, {rows:,} rows, as pandas {pandas.__version__} reads them")


if __name__ == "__main__":
    main()
