//! The names of the columns, made unique and never empty, as pandas does it.

use std::collections::{HashMap, HashSet};

use crate::csv::records::Record;
use crate::error::{Error, ErrorKind};

/// The names of the header `record`, and of as many more columns as make `width`.
pub(crate) fn names(record: &Record<'_>, width: usize, bytes_max: usize) -> Result<Vec<String>, Error> {
    if record.bytes.len() > bytes_max {
        let message = format!("the column names are longer than {bytes_max} bytes");
        return Err(Error::new(ErrorKind::Limit, message).at(record.position));
    }
    let mut names: Vec<String> =
        record.fields().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    names.resize(names.len().max(width), String::new());
    Ok(unique(names))
}

/// Names empty columns `Unnamed: 2` and repeated ones `name.1`, `name.2`, … Given names come before made-up
/// ones, so a column that is called `Unnamed: 2` keeps its name.
pub(crate) fn unique(mut names: Vec<String>) -> Vec<String> {
    let mut present: HashSet<&str> = HashSet::with_capacity(names.len());
    if names.iter().all(|name| !name.is_empty() && present.insert(name)) {
        return names;
    }
    let unnamed: Vec<usize> = (0..names.len()).filter(|&i| names[i].is_empty()).collect();
    for &i in &unnamed {
        names[i] = format!("Unnamed: {i}");
    }
    let named = (0..names.len()).filter(|i| unnamed.binary_search(i).is_err());
    let order: Vec<usize> = named.chain(unnamed.iter().copied()).collect();
    let mut present: HashSet<String> = names.iter().cloned().collect();
    // How many columns have taken each name, which is also the next suffix to try.
    let mut counts: HashMap<String, usize> = HashMap::new();
    for i in order {
        let name = names[i].clone();
        let mut count = counts.get(&name).copied().unwrap_or(0);
        let mut chosen = name.clone();
        while count > 0 {
            counts.insert(name.clone(), count + 1);
            chosen = format!("{name}.{count}");
            count =
                if present.contains(&chosen) { count + 1 } else { counts.get(&chosen).copied().unwrap_or(0) };
        }
        present.insert(chosen.clone());
        counts.entry(chosen.clone()).and_modify(|n| *n += 1).or_insert(1);
        names[i] = chosen;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_pandas() {
        // Each expectation is what pandas 3.1 answers.
        let cases = [
            ("a,a,a", "a,a.1,a.2"),
            ("a,a.1,a", "a,a.1,a.2"),
            ("a,a,a.1", "a,a.2,a.1"),
            ("a.1,a,a", "a.1,a,a.2"),
            (",b", "Unnamed: 0,b"),
            ("a,,", "a,Unnamed: 1,Unnamed: 2"),
            (",Unnamed: 0", "Unnamed: 0.1,Unnamed: 0"),
            ("Unnamed: 1,", "Unnamed: 1,Unnamed: 1.1"),
            ("a,a,a,a.2,a.2,a.3", "a,a.1,a.4,a.2,a.2.1,a.3"),
            (" a ,b ", " a ,b "),
            ("NA,nan", "NA,nan"),
        ];
        for (header, expected) in cases {
            let names = unique(header.split(',').map(str::to_owned).collect());
            assert_eq!(names.join(","), expected, "{header}");
        }
    }
}
