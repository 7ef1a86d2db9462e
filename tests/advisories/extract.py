#!/usr/bin/env python3
"""Writes advisories.json: what the RustSec advisory database (CC0) says of the crates in Cargo.lock.

    extract.py PATH-TO-A-CHECKOUT-OF-THE-DATABASE

The test `dependencies::no_dependency_has_a_known_advisory` reads the file, so that the check needs no network. Run this
after every change of Cargo.lock, with a fresh checkout; `cargo deny check advisories` does the same online.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

here = Path(__file__).resolve().parent
database = Path(sys.argv[1])
lock = tomllib.loads((here.parent.parent / "Cargo.lock").read_text())
names = sorted({package["name"] for package in lock["package"]})
advisories = []
for name in names:
    for file in sorted((database / "crates" / name).glob("RUSTSEC-*.md")):
        text = file.read_text()
        head = tomllib.loads(text.split("```toml", 1)[1].split("```", 1)[0])
        advisory, versions = head["advisory"], head.get("versions", {})
        if "withdrawn" in advisory:
            continue
        title = next(line[2:] for line in text.splitlines() if line.startswith("# "))
        advisories.append(
            {
                "id": advisory["id"],
                "package": advisory["package"],
                "title": title,
                "informational": advisory.get("informational"),
                "patched": versions.get("patched", []),
                "unaffected": versions.get("unaffected", []),
            }
        )
revision = subprocess.run(
    ["git", "-C", database, "log", "-1", "--format=%H %cs"], capture_output=True, text=True
).stdout.strip()
document = {"database": revision or "unknown", "packages": names, "advisories": advisories}
(here / "advisories.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
print(f"{len(advisories)} advisories about {len(names)} crates")
