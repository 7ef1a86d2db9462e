//! The sample files, inside the program so that the demo needs nothing else. Origins: `datasets/README.md`.

/// A sample file.
pub(super) struct Sample {
    pub name: &'static str,
    pub bytes: &'static [u8],
    pub expected: Expected,
}

/// What must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Success,
    Failed,
}

macro_rules! samples {
    ($($expected:ident $name:literal,)+) => {
        /// All of them.
        pub(super) const SAMPLES: &[Sample] = &[$(Sample {
            name: $name,
            bytes: include_bytes!(concat!("../../../../datasets/samples/", $name)),
            expected: Expected::$expected,
        },)+];
    };
}

samples! {
    Success "airlines.csv",
    Success "china_areas.csv",
    // Cut in the middle.
    Failed "corrupt.csv.gz",
    Success "flights.csv",
    Success "penguins.csv",
    Success "penguins_raw.csv",
    // No table at all.
    Failed "photo.png",
    Success "planes.csv",
    Success "seattle_weather.csv",
    Success "spdx_licences.csv",
    Success "tang_poems.csv",
    Success "unemployment.tsv",
    Success "weather.csv.gz",
    Success "world_airports.csv",
}
