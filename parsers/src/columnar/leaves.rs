//! The columns of a table: what lies within structs becomes columns of its own, with dotted names, as in JSON.
//!
//! Promise: names and leaves come in one order; a value within a null struct is a null.

use std::sync::{Arc, OnceLock};

use arrow::array::{AnyDictionaryArray, Array, ArrayRef, AsArray, downcast_run_array};
use arrow::buffer::{NullBuffer, RunEndBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Fields};

use crate::aggregate::{Columns, Sink, Values};
use crate::columnar::words::{self, Often, Once};
use crate::csv::unique_names;
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;

/// The names of all columns of a table with these fields.
pub(super) fn names(fields: &Fields, limits: &Limits) -> Result<Vec<String>, Error> {
    let (mut names, mut bytes) = (Vec::new(), 0);
    collect(fields, "", &mut |name| {
        bytes += name.len();
        names.push(name);
        if names.len() > limits.columns_max {
            let message = format!("more than {} columns, those within structs included", limits.columns_max);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if bytes > limits.header_bytes_max {
            let message = format!("the column names are longer than {} bytes", limits.header_bytes_max);
            return Err(Error::new(ErrorKind::Limit, message));
        }
        Ok(())
    })?;
    Ok(unique_names(names))
}

fn collect(
    fields: &Fields,
    prefix: &str,
    found: &mut impl FnMut(String) -> Result<(), Error>,
) -> Result<(), Error> {
    for field in fields {
        let name = format!("{prefix}{}", field.name());
        match field.data_type() {
            DataType::Struct(children) => collect(children, &format!("{name}."), found)?,
            _ => found(name)?,
        }
    }
    Ok(())
}

/// How many columns a field becomes.
pub(super) fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(children) => children.iter().map(|child| width(child.data_type())).sum(),
        _ => 1,
    }
}

/// A stretch of one column.
pub(super) struct Leaf {
    array: ArrayRef,
    nulls: Option<NullBuffer>,
    text_bytes_max: usize,
}

impl Leaf {
    /// The leaves of an array, in the order of [`names`]. A value longer than `text_bytes_max` will be refused.
    pub(super) fn all(array: &ArrayRef, text_bytes_max: usize) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        flatten(array, None, text_bytes_max, &mut leaves);
        leaves
    }

    /// How many rows have no value.
    pub(super) fn missing(&self) -> u64 {
        self.nulls.as_ref().map_or(0, NullBuffer::null_count) as u64
    }
}

fn flatten(array: &ArrayRef, above: Option<&NullBuffer>, text_bytes_max: usize, leaves: &mut Vec<Leaf>) {
    let nulls = NullBuffer::union(above, array.logical_nulls().as_ref());
    match array.as_struct_opt() {
        Some(structs) => {
            structs.columns().iter().for_each(|child| flatten(child, nulls.as_ref(), text_bytes_max, leaves));
        }
        None => leaves.push(Leaf { array: Arc::clone(array), nulls, text_bytes_max }),
    }
}

impl Leaf {
    fn show(&self, from: usize, sink: &mut impl Sink) -> Result<(), Error> {
        let Leaf { array, nulls, text_bytes_max } = self;
        let nulls = nulls.as_ref().filter(|nulls| nulls.null_count() > 0);
        let mut often = |array: &dyn Array, rows: Vec<(usize, u64)>| {
            words::show(array, Often(rows.into_iter().skip(from)), *text_bytes_max, sink)
        };
        match array.data_type() {
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                often(dictionary.values(), counted(dictionary, nulls))
            }
            DataType::RunEndEncoded(_, _) => downcast_run_array! {
                array => often(array.values(), runs(array.run_ends(), nulls)),
                _ => Ok(())
            },
            _ => match nulls {
                None => words::show(array, Once(from..array.len()), *text_bytes_max, sink),
                Some(nulls) => {
                    words::show(array, Once(nulls.valid_indices().skip(from)), *text_bytes_max, sink)
                }
            },
        }
    }
}

/// Takes in a stretch of these columns, in their order; of those that are not read now there is nothing.
pub(super) fn take(columns: &mut Columns, leaves: &[Option<&Leaf>]) -> Result<(), Error> {
    let failed: Vec<OnceLock<Error>> = leaves.iter().map(|_| OnceLock::new()).collect();
    columns.add_batch(|index| {
        let leaf = leaves.get(index).copied().flatten();
        Shown { leaf, failed: failed.get(index) }
    });
    if let Some(error) = failed.into_iter().find_map(OnceLock::into_inner) {
        return Err(error);
    }
    for (index, leaf) in leaves.iter().enumerate() {
        columns.add_missing(index, leaf.map_or(0, Leaf::missing));
    }
    Ok(())
}

/// A column that may not be read now, and why it could not be shown.
struct Shown<'a> {
    leaf: Option<&'a Leaf>,
    failed: Option<&'a OnceLock<Error>>,
}

impl Values for Shown<'_> {
    fn show(self, from: usize, sink: &mut impl Sink) {
        if let (Some(leaf), Some(failed)) = (self.leaf, self.failed)
            && let Err(error) = leaf.show(from, sink)
        {
            // A column is shown twice at most, and then it fails alike.
            let _ = failed.set(error);
        }
    }
}

/// The values of a dictionary that occur, and how often, in the order of first appearance.
fn counted(dictionary: &dyn AnyDictionaryArray, nulls: Option<&NullBuffer>) -> Vec<(usize, u64)> {
    let distinct = dictionary.values().len();
    if distinct == 0 {
        return Vec::new();
    }
    let keys = dictionary.normalized_keys();
    let valid = keys.iter().enumerate().filter(|(row, _)| nulls.is_none_or(|nulls| nulls.is_valid(*row)));
    let valid = valid.map(|(_, key)| *key);
    if distinct > keys.len() {
        return valid.map(|key| (key, 1)).collect();
    }
    // Where each value stands in the answer, once it does.
    let (mut places, mut counted) = (vec![usize::MAX; distinct], Vec::new());
    for key in valid {
        match counted.get_mut(places[key]) {
            Some((_, times)) => *times += 1,
            None => {
                places[key] = counted.len();
                counted.push((key, 1));
            }
        }
    }
    counted
}

/// The values of the runs of an array, and how many rows each has.
fn runs<E: ArrowNativeType>(ends: &RunEndBuffer<E>, nulls: Option<&NullBuffer>) -> Vec<(usize, u64)> {
    let (mut run, mut runs) = (ends.get_start_physical_index(), Vec::<(usize, u64)>::new());
    for row in 0..ends.len() {
        while ends.values().get(run).is_some_and(|end| end.as_usize() <= row + ends.offset()) {
            run += 1;
        }
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        match runs.last_mut() {
            Some((last, times)) if *last == run => *times += 1,
            _ => runs.push((run, 1)),
        }
    }
    runs
}
