"""Scores `pipeline convert` with the evaluation of the Pollock benchmark (VLDB 2023), nothing told about the files.

    python3 benches/pollock/score.py CHECKOUT [--program target/release/pipeline] [--reproduce pandas] [--worst 20]

CHECKOUT is a checkout of the benchmark, https://github.com/HPI-Information-Systems/Pollock; nothing is fetched. Its
requirements, as far as the evaluation needs them: pandas multiset pqdm python-dotenv chardet python-dateutil
price-parser joblib numpy.

--reproduce NAME scores the results that the benchmark publishes for a system (results/NAME) and prints the published
score beside it: then one knows that the evaluation runs right.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MEASURES = [f"{part}_{what}" for part in ("header", "record", "cell") for what in ("precision", "recall", "f1")]


def load(checkout):
    """The benchmark's own measures. Cells come again and again, so their normal form is remembered."""
    sys.path.insert(0, str(checkout))
    from pollock import metrics

    metrics.normalize_cell = functools.lru_cache(maxsize=None)(metrics.normalize_cell)
    return metrics


def scores(metrics, checkout, loading):
    """The ten measures of each file, as evaluate.py takes them."""
    result = {}
    for name in sorted(os.listdir(checkout / "polluted_files" / "csv")):
        clean, loaded = checkout / "polluted_files" / "clean" / name, loading / f"{name}_converted.csv"
        try:
            success = metrics.successful_csv(loaded)
            measures = metrics.header_record_cell_measures_csv(clean, loaded) if success else [0] * 9
        except Exception:  # noqa: BLE001: evaluate.py counts every error as a failure, and so does this.
            success, measures = 0, [0] * 9
        result[name] = dict(zip(["success"] + MEASURES, [success, *map(float, measures)]))
    return result


def total(result, checkout):
    """The simple score, each file the same, and the one weighted by how often a pollution occurs."""
    weights = json.loads((checkout / "pollock_weights.json").read_text())
    sums = {name: sum(measures.values()) for name, measures in result.items()}
    all_weights = sum(weights.get(name, -1) for name in sums)
    simple = sum(sums.values()) / len(sums)
    weighted = sum(value * weights.get(name, -1) / all_weights for name, value in sums.items())
    return simple, weighted


def convert(program, checkout, loading):
    for path in sorted((checkout / "polluted_files" / "csv").iterdir()):
        target = loading / f"{path.name}_converted.csv"
        command = [program, "convert", str(path), "--to", "csv", "--output", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            target.write_text("Application Error\n" + done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--program", default="target/release/pipeline")
    parser.add_argument("--loading", type=Path, help="files that are converted already")
    parser.add_argument("--reproduce", metavar="NAME")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="show the N files that cost the most")
    options = parser.parse_args()
    checkout = options.checkout.resolve()
    metrics = load(checkout)
    if options.reproduce:
        loading = checkout / "results" / options.reproduce / "polluted_files" / "loading"
        simple, weighted = total(scores(metrics, checkout, loading), checkout)
        print(f"{options.reproduce}: simple {simple:.3f}, weighted {weighted:.3f}; published:")
        published = (checkout / "results" / "aggregate_results_polluted_files.csv").read_text().splitlines()
        header = published[0].split(",")
        for line in published[1:]:
            if line.split(",")[0] == options.reproduce:
                row = dict(zip(header, line.split(",")))
                print(f"  simple {row['pollock_simple']}, weighted {row['pollock_weighted']}")
    with tempfile.TemporaryDirectory() as folder:
        loading = options.loading or Path(folder)
        if not options.loading:
            convert(options.program, checkout, loading)
        result = scores(metrics, checkout, loading)
    simple, weighted = total(result, checkout)
    print(f"pipeline: simple {simple:.3f}, weighted {weighted:.3f}, of 10, {len(result)} files")
    worst = sorted(result.items(), key=lambda pair: sum(pair[1].values()))
    for name, measures in worst[: options.worst]:
        print(f"  {sum(measures.values()):6.3f}  {name}")


if __name__ == "__main__":
    main()
