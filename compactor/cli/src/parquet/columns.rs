//! Lines turned into columns, a row group at a time.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, bail};
use orch_core::json;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type as Schema;
use serde_json::Value;

use super::schema::{Column, Type};

/// The columns of a table, with the rows that were not written yet.
pub(super) struct Columns {
    columns: Vec<(Column, Cells)>,
    rows: usize,
}

/// The values of a column.
struct Cells {
    values: Values,
    /// For each row 1 if it has a value, else 0.
    levels: Vec<i16>,
}

enum Values {
    Integer(Vec<i64>),
    Double(Vec<f64>),
    Boolean(Vec<bool>),
    Text(Vec<ByteArray>),
    Json(Vec<ByteArray>),
}

impl Columns {
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let columns = columns.into_iter().map(|column| {
            let cells = Cells { values: Values::new(column.ty), levels: Vec::new() };
            (column, cells)
        });
        Self { columns: columns.collect(), rows: 0 }
    }

    /// The table's schema.
    pub(super) fn schema(&self) -> Result<Schema> {
        let mut fields = Vec::with_capacity(self.columns.len());
        for (column, _) in &self.columns {
            let (physical, logical) = match column.ty {
                Type::Integer => (Physical::INT64, None),
                Type::Double => (Physical::DOUBLE, None),
                Type::Boolean => (Physical::BOOLEAN, None),
                // JSON too is plain text: not every reader knows the logical type for it.
                Type::Text | Type::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            };
            let repetition = if column.optional { Repetition::OPTIONAL } else { Repetition::REQUIRED };
            let name = column.name();
            let field = Schema::primitive_type_builder(&name, physical);
            fields.push(Arc::new(field.with_repetition(repetition).with_logical_type(logical).build()?));
        }
        Ok(Schema::group_type_builder("schema").with_fields(fields).build()?)
    }

    /// How many rows were not written yet.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes a line as a row.
    pub(super) fn push(&mut self, line: &Value) {
        for (column, cells) in &mut self.columns {
            let value = column.path.iter().try_fold(line, |value, key| value.get(key));
            let there = value.is_some_and(|value| cells.values.push(value));
            cells.levels.push(i16::from(there));
        }
        self.rows += 1;
    }

    /// Writes the rows as a row group, if there are any.
    pub(super) fn flush<W: Write + Send>(&mut self, writer: &mut SerializedFileWriter<W>) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = writer.next_row_group()?;
        for (column, cells) in &mut self.columns {
            let Some(mut out) = group.next_column()? else { bail!("the table has fewer columns than its schema") };
            let levels = column.optional.then_some(cells.levels.as_slice());
            match &cells.values {
                Values::Integer(values) => write::<Int64Type>(&mut out, values, levels),
                Values::Double(values) => write::<DoubleType>(&mut out, values, levels),
                Values::Boolean(values) => write::<BoolType>(&mut out, values, levels),
                Values::Text(values) | Values::Json(values) => write::<ByteArrayType>(&mut out, values, levels),
            }?;
            out.close()?;
            *cells = Cells { values: Values::new(column.ty), levels: Vec::new() };
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

fn write<T: DataType>(
    out: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> parquet::errors::Result<()> {
    out.typed::<T>().write_batch(values, levels, None).map(drop)
}

impl Values {
    fn new(ty: Type) -> Self {
        match ty {
            Type::Integer => Self::Integer(Vec::new()),
            Type::Double => Self::Double(Vec::new()),
            Type::Boolean => Self::Boolean(Vec::new()),
            Type::Text => Self::Text(Vec::new()),
            Type::Json => Self::Json(Vec::new()),
        }
    }

    /// Takes a value. `false`: it is null. A value of another type cannot come, the schema having seen them all.
    fn push(&mut self, value: &Value) -> bool {
        match self {
            Self::Integer(values) => value.as_i64().map(|value| values.push(value)),
            Self::Double(values) => value.as_f64().map(|value| values.push(value)),
            Self::Boolean(values) => value.as_bool().map(|value| values.push(value)),
            Self::Text(values) => value.as_str().map(|value| values.push(value.into())),
            Self::Json(values) if !value.is_null() => {
                values.push(json::canonical_text(value).into_bytes().into());
                Some(())
            }
            Self::Json(_) => None,
        }
        .is_some()
    }
}
