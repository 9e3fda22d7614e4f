//! Series with their truth, from files as `synth.py` writes them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use flate2::read::GzDecoder;

use super::score::Series;

/// The set the detector was tuned on: seed 1 of `synth.py`.
pub fn development() -> Vec<Series> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/detection");
    read(&folder.join("dev.jsonl.gz")).expect("the development set is part of the repository")
}

/// Series from JSON lines, compressed or not.
pub fn read(path: &Path) -> Result<Vec<Series>, String> {
    let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| about(&error))?;
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text)
    } else {
        BufReader::new(file).read_to_string(&mut text)
    }
    .map_err(|error| about(&error))?;
    let lines = text.as_bytes().lines().map_while(Result::ok);
    lines
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(&line).map_err(|error| about(&error)))
        .collect()
}
