#!/usr/bin/env python3
"""Side by side: `pipeline summarize` and what else people would reach for. Linux. Usually by benches/versus/run.

    versus.py [--megabytes 1000] [--files 10000] [--rounds 5] [--tables flights,taxi,…] [--peers TEXT]

Makes the data (data.py), then runs every program (peers.py) on every table in turn, round after round, each as a
process of its own, and writes medians, ratios and peak memory to results/: a table, a plot, and all single runs as JSON.
That is written after each table; what is known of tables that are not run stays.
Answers are compared before anything is timed: rows, nulls, min, max, mean to 1e-6 with each program that tells them,
distinct values with the exact ones (ours within the bound that our summary states). A program that differs is said so
in the table; one that fails as well.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import data
import peers
import report

RESULTS = Path(__file__).resolve().parent / "results"
CLOCK = Path(__file__).resolve().parent / "clock.py"
# Longer than any of them needs for a gigabyte.
SECONDS_MAX = 900


def command(program: str, table: str, files: list, scratch: Path) -> list:
    if program == peers.OURS:
        return peers.pipeline(table, files)
    listed = scratch / "files"
    listed.write_text("\n".join(files))
    return [sys.executable, peers.__file__, program, table, f"@{listed}"]


def run(arguments: list, output) -> tuple:
    """Seconds, and peak memory in MiB."""
    timed = [sys.executable, CLOCK, "timeout", str(SECONDS_MAX), *arguments]
    done = subprocess.run(timed, stdout=output, stderr=subprocess.PIPE)
    *lines, told = done.stderr.decode(errors="replace").replace(f"{data.ROOT}/", "").strip().splitlines()
    if done.returncode:
        lines = [line for line in lines[-20:] if line] or [f"status {done.returncode}"]
        errors = [line for line in lines if "rror" in line]
        raise RuntimeError((errors or lines)[-1][:200])
    seconds, peak = told.split()
    return float(seconds), float(peak)


def answer(program: str, arguments: list, scratch: Path) -> dict:
    with (scratch / "answer").open("wb") as output:
        run(arguments, output)
    text = (scratch / "answer").read_text()
    return peers.of_pipeline(text) if program == peers.OURS else json.loads(text)


def close(a, b) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
    return str(a) == str(b)


def differences(ours: dict, theirs: dict, exact: bool) -> list:
    """Where two answers differ; estimates of others have no bound, so only exact counts are held against ours."""
    found = [] if ours["rows"] == theirs["rows"] else [f"rows: ours {ours['rows']}, theirs {theirs['rows']}"]
    if not ours["columns"]:
        return found
    for name, their in theirs["columns"].items():
        our = ours["columns"][name]
        for fact in ("nulls", "min", "max", "mean"):
            if their.get(fact) is not None and fact in our and not close(our[fact], their[fact]):
                found.append(f"{name}.{fact}: ours {our[fact]}, theirs {their[fact]}")
        if exact and their.get("distinct") is not None:
            off = abs(our["distinct"] - their["distinct"]) / max(their["distinct"], 1)
            if off > our["bound"]:
                found.append(f"{name}.distinct: ours {our['distinct']} ± {our['bound']:.1%}, theirs {their['distinct']}")
    return found


def measure(table: str, files: list, rounds: int, wanted: str) -> dict:
    """Every program that has this table: its answer, then its rounds, in turn with the others."""
    names = [name for name, (*_, tables) in peers.PEERS.items() if table in tables and wanted.lower() in name.lower()]
    programs = {name: {"runs": [], "full": peers.PEERS[name][1] if name != peers.OURS else True, "note": ""}
                for name in [peers.OURS, *names]}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ours = None
        for name, program in programs.items():
            try:
                told = answer(name, command(name, table, files, scratch), scratch)
            except (RuntimeError, ValueError, KeyError) as error:
                program["note"] = f"failed: {error}"
                print(f"  {name}: failed: {error}", flush=True)
                continue
            ours = told if name == peers.OURS else ours
            if ours is None or name == peers.OURS:
                continue
            found = differences(ours, told, peers.PEERS[name][2])
            for difference in found:
                print(f"  {name}: {difference}", flush=True)
            agreed = "agree" if told["columns"] and ours["columns"] else "rows agree"
            program["note"] = f"{len(found)} differ: {found[0]}" if found else agreed
        for _ in range(rounds):
            for name, program in programs.items():
                if not program["note"].startswith("failed"):
                    warm(files)
                    program["runs"].append(run(command(name, table, files, scratch), subprocess.DEVNULL))
    for program in programs.values():
        if program["runs"]:
            program["seconds"] = statistics.median(seconds for seconds, _ in program["runs"])
            program["peak"] = statistics.median(peak for _, peak in program["runs"])
    return programs


def warm(files: list) -> None:
    """Reads everything through once: a host takes memory back that its guest has not touched for a while, and then the
    first to come pays for all, whoever it is."""
    for file in files:
        with open(file, "rb") as opened:
            while opened.read(1 << 20):
                pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", default=",".join(data.TABLES))
    parser.add_argument("--peers", default="", help="only those whose name holds this text; a table then has no others")
    options = parser.parse_args()

    for table in options.tables.split(","):
        files = [str(path) for path in data.made(table, options.megabytes, options.files)]
        # Of a packed table, what it unpacks to.
        plain = data.made(table.partition(".")[0], options.megabytes, options.files)
        size = sum(path.stat().st_size for path in plain) / 1e6
        print(f"{table}: {size:.0f} MB in {len(files)} files", flush=True)
        note(table, {
            "megabytes": size, "files": len(files), "rounds": options.rounds, "day": time.strftime("%Y-%m-%d"),
            "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
            "programs": measure(table, files, options.rounds, options.peers),
        })
    print((RESULTS / "README.md").read_text())


def note(table: str, result: dict) -> None:
    """Writes the result of a table to those of the others."""
    RESULTS.mkdir(exist_ok=True)
    runs = RESULTS / "runs.json"
    known = (json.loads(runs.read_text()) if runs.exists() else {}) | {table: result}
    results = {name: known[name] for name in data.TABLES if name in known}
    runs.write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "README.md").write_text(report.markdown(results))
    (RESULTS / "plot.svg").write_text(report.svg(results))


if __name__ == "__main__":
    main()
