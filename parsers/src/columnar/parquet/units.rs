//! What is read of a Parquet file at a time: a column, or all that belongs to a list.
//!
//! Promise: a text is never copied once for each of its rows: it is read as a view of its page or dictionary, or as its
//! place in the dictionary.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::Type as Physical;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::footer::Footer;
use crate::columnar::{leaves, malformed};
use crate::error::Error;

/// A part of the table that is read by itself.
pub(super) struct Unit {
    /// Its columns in the file.
    pub(super) chunks: Range<usize>,
    /// Its first column in the table, and how many it has there.
    pub(super) first: usize,
    pub(super) width: usize,
    /// Of the file's columns below the same root, which the first of `chunks` is.
    pub(super) local: usize,
    /// Whether a row may have several values, which are read together.
    pub(super) is_repeated: bool,
    pub(super) schema: Arc<SchemaDescriptor>,
    pub(super) levels: FieldLevels,
    /// How texts are read whose chunk is all dictionary.
    pub(super) by_place: Option<FieldLevels>,
}

impl Unit {
    /// What a value has that is always as long, whether it is there or not.
    pub(super) fn value_bytes(&self) -> usize {
        let columns = self.schema.columns().iter().skip(self.local).take(self.chunks.len());
        let fixed = columns.filter(|column| column.physical_type() == Physical::FIXED_LEN_BYTE_ARRAY);
        fixed.map(|column| usize::try_from(column.type_length()).unwrap_or(0)).max().unwrap_or(0)
    }

    /// How the column is called that it is, or is of.
    pub(super) fn name(&self) -> &str {
        self.schema.root_schema().get_fields().first().map_or("", |root| root.name())
    }
}

/// The units of a file, in the order of its columns.
pub(super) fn units(footer: &Footer) -> Result<Vec<Unit>, Error> {
    let wrong = |error| malformed(format!("the schema of the Parquet file cannot be read: {error}"));
    let roots = footer.metadata.file_metadata().schema_descr().root_schema().get_fields();
    let fields = footer.schema.fields();
    if roots.len() != fields.len() {
        return Err(malformed("the schema of the Parquet file has columns without a type"));
    }
    let (mut units, mut chunk, mut first) = (Vec::new(), 0, 0);
    for (root, field) in roots.iter().zip(fields) {
        let table = Type::group_type_builder("schema").with_fields(vec![Arc::clone(root)]).build();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(table.map_err(wrong)?)));
        let levels = |mask: ProjectionMask, field: Field| {
            parquet_to_arrow_field_levels(&schema, mask, Some(&Fields::from(vec![field]))).map_err(wrong)
        };
        let columns = schema.columns();
        let width = leaves::width(field.data_type());
        if columns.iter().any(|column| column.max_rep_level() > 0) || width != columns.len() {
            units.push(Unit {
                chunks: chunk..chunk + columns.len(),
                first,
                width,
                local: 0,
                is_repeated: true,
                levels: levels(ProjectionMask::all(), mapped(field, &|texts| texts))?,
                by_place: None,
                schema: Arc::clone(&schema),
            });
        } else {
            for (local, column) in columns.iter().enumerate() {
                let mask = || ProjectionMask::leaves(&schema, [local]);
                // Nanoseconds of this type do not fit into 64 bits.
                let is_int96 = column.physical_type() == Physical::INT96;
                let view = mapped(field, &|kind| match kind {
                    DataType::Timestamp(TimeUnit::Nanosecond, zone) if is_int96 => {
                        DataType::Timestamp(TimeUnit::Microsecond, zone)
                    }
                    kind => kind,
                });
                let by_place = match column.physical_type() {
                    Physical::BYTE_ARRAY => Some(levels(mask(), mapped(field, &placed))?),
                    _ => None,
                };
                units.push(Unit {
                    chunks: chunk + local..chunk + local + 1,
                    first: first + local,
                    width: 1,
                    local,
                    is_repeated: false,
                    levels: levels(mask(), view)?,
                    by_place,
                    schema: Arc::clone(&schema),
                });
            }
        }
        chunk += columns.len();
        first += width;
    }
    Ok(units)
}

/// The place of a text instead of a view of it.
fn placed(kind: DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        DataType::BinaryView => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary)),
        kind => kind,
    }
}

/// The field as it is to be read: texts as views, and then as `last` has it.
fn mapped(field: &Field, last: &dyn Fn(DataType) -> DataType) -> Field {
    field.clone().with_data_type(last(as_views(field.data_type(), last)))
}

fn as_views(kind: &DataType, last: &dyn Fn(DataType) -> DataType) -> DataType {
    let child = |field: &FieldRef| Arc::new(mapped(field, last));
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => as_views(values, last),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::List(item) => DataType::List(child(item)),
        DataType::LargeList(item) => DataType::LargeList(child(item)),
        DataType::FixedSizeList(item, len) => DataType::FixedSizeList(child(item), *len),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        kind => kind.clone(),
    }
}
