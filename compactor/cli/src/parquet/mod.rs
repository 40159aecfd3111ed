//! The data set as a Parquet file.
//!
//! Two passes: the first writes the sorted lines to a temporary file without a name and learns which fields there are
//! ([`schema`]); the second turns them into columns ([`columns`]). Row groups are cut by counts that depend on the
//! lines only, so that the same ledger gives the same bytes here too.

mod columns;
mod schema;

use std::io::{self, BufReader, BufWriter, Seek as _, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use orch_compactor::{Progress, Sorted, Summary};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use serde_json::Value;

use columns::Columns;
use schema::Fields;

/// The most rows of a row group.
const GROUP_ROWS: usize = 1 << 17;

/// The most bytes of JSON that make a row group: they and their columns are in memory at one time.
const GROUP_BYTES: usize = 64 << 20;

/// How many lines are written between two reports of progress.
const REPORT_EVERY: u64 = 8192;

/// Writes the data set to `out`; `tmp` is the directory for the temporary file.
///
/// # Errors
/// As the sort, the temporary file or the output fail; or if there are more fields than a table can have.
pub fn write(
    mut sorted: Sorted,
    tmp: &Path,
    out: &mut (dyn Write + Send),
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary> {
    let place = || format!("failed to use a temporary file in {}", tmp.display());
    let mut spool = tempfile::tempfile_in(tmp).with_context(place)?;
    let mut fields = Fields::default();
    let mut writer = BufWriter::with_capacity(256 << 10, &mut spool);
    // Both passes together are one progress: the first is half of it.
    let total = sorted.total();
    let mut learned = 0;
    while let Some(line) = sorted.next_line()? {
        fields.learn(&serde_json::from_slice(line).context("a candidate is not JSON")?);
        writer.write_all(line).and_then(|()| writer.write_all(b"\n")).with_context(place)?;
        learned += 1;
        if learned % REPORT_EVERY == 0 {
            progress(Progress::Writing { done: learned / 2, total });
        }
    }
    writer.flush().with_context(place)?;
    drop(writer);
    spool.rewind().with_context(place)?;
    let mut summary = sorted.summary().clone();
    let mut counted = Counted { out, bytes: 0 };
    write_table(&fields, BufReader::with_capacity(256 << 10, spool), &summary, &mut counted, progress)?;
    summary.bytes = counted.bytes;
    Ok(summary)
}

fn write_table(
    fields: &Fields,
    mut lines: impl io::BufRead,
    summary: &Summary,
    out: &mut (impl Write + Send),
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let mut columns = Columns::new(fields.columns()?);
    let schema = Arc::new(columns.schema()?);
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties(summary)))?;
    let (mut line, mut bytes, mut done) = (String::new(), 0, 0);
    loop {
        line.clear();
        if lines.read_line(&mut line).context("failed to read the temporary file")? == 0 {
            break;
        }
        let value: Value = serde_json::from_str(&line).context("the temporary file was read back altered")?;
        columns.push(&value);
        bytes += line.len();
        if columns.rows() == GROUP_ROWS || bytes >= GROUP_BYTES {
            columns.flush(&mut writer)?;
            bytes = 0;
        }
        done += 1;
        if done % REPORT_EVERY == 0 || done == summary.written {
            progress(Progress::Writing {
                done: done + summary.written.saturating_sub(done) / 2,
                total: summary.written,
            });
        }
    }
    if done != summary.written {
        bail!("the temporary file was read back altered: {done} lines instead of {}", summary.written);
    }
    columns.flush(&mut writer)?;
    writer.close()?;
    Ok(())
}

/// Snappy, and where the data comes from.
fn properties(summary: &Summary) -> WriterProperties {
    let origin = [
        ("orch.ledger", summary.ledger.clone().unwrap_or_default()),
        ("orch.seq", summary.seq.to_string()),
        ("orch.chain", summary.chain.to_string()),
    ];
    let origin = origin.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec();
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(origin))
        .build()
}

/// Counts what goes through it.
struct Counted<'a> {
    out: &'a mut (dyn Write + Send),
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
