//! What the program stands on: licences and known advisories, checked without a network.
//!
//! `deny.toml` has the same rules for `cargo deny`, which can also ask for today's advisories.

use std::path::Path;
use std::process::Command;

use semver::{Version, VersionReq};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Name, version and licence of everything that is compiled for Linux.
fn packages() -> Vec<(String, Version, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: Vec<&Value> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| used.contains(&&package["id"]))
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
            (text("name"), text("version").parse().unwrap(), text("license"))
        })
        .collect()
}

/// Stricter than needed, and so without a parser of expressions: every licence that a crate names is one of those in
/// `deny.toml`.
#[test]
fn licences_are_allowed() {
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let allowed = deny.split("allow = [").nth(1).unwrap().split(']').next().unwrap();
    let mut broken = Vec::new();
    for (name, version, licence) in packages() {
        let terms = licence.replace(['(', ')'], "").replace('/', " OR ").replace(" AND ", " OR ");
        let fine = |term: &str| allowed.contains(&format!("\"{}\"", term.trim()));
        if licence.is_empty() || !terms.split(" OR ").all(fine) {
            broken.push(format!("{name} {version}: {licence:?} is not allowed by deny.toml"));
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Advisories that do not concern us, each with its reason.
const ACCEPTED: &[(&str, &str)] = &[];

#[test]
fn no_dependency_has_a_known_advisory() {
    let path = root().join("tests/advisories/advisories.json");
    let known: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let covered = list(&known["packages"]);
    let mut broken = Vec::new();
    for (name, version, _) in packages() {
        if !covered.contains(&name) {
            broken.push(format!("{name}: unknown to tests/advisories; run extract.py there"));
        }
        for advisory in known["advisories"].as_array().unwrap() {
            let safe = [&advisory["patched"], &advisory["unaffected"]]
                .into_iter()
                .flat_map(list)
                .any(|range| VersionReq::parse(&range).unwrap().matches(&version));
            let id = advisory["id"].as_str().unwrap();
            let accepted = ACCEPTED.iter().any(|(accepted, _)| *accepted == id);
            if advisory["package"] == name.as_str() && !safe && !accepted {
                broken.push(format!("{name} {version}: {id}: {}", advisory["title"]));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
