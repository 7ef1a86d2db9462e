//! The sample datasets of the repository.

use std::path::{Path, PathBuf};

/// The folder of the datasets.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")
}

/// A sample file by name.
///
/// # Panics
/// When there is none.
pub fn sample(name: &str) -> Vec<u8> {
    std::fs::read(root().join("samples").join(name)).expect("the sample should be in datasets/samples")
}

/// A sample file, its rows repeated until there are so many bytes: the header once.
///
/// # Panics
/// When there is none.
pub fn repeated(name: &str, bytes_min: usize) -> Vec<u8> {
    let bytes = sample(name);
    let header = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut file = bytes.clone();
    while file.len() < bytes_min {
        if file.last() != Some(&b'\n') {
            file.push(b'\n');
        }
        file.extend_from_slice(&bytes[header..]);
    }
    file
}

/// The names of the samples that can be summarised, in order.
///
/// # Panics
/// When the folder cannot be read.
pub fn good_samples() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("samples"))
        .expect("datasets/samples should be there")
        .map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "corrupt.csv.gz" && name != "photo.png")
        .collect();
    names.sort();
    names
}
