//! Writing records: byte for byte, or in a line for people.

use orch_ledger::Line;

use crate::args::Format;
use crate::exit::Failure;
use crate::output::Lines;
use crate::view::record_summary;

/// Writes records in one format.
#[derive(Debug)]
pub struct Writer {
    out: Lines,
    format: Format,
}

impl Writer {
    /// To standard output.
    pub fn new(format: Format) -> Self {
        Self { out: Lines::new(), format }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn record(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        match self.format {
            // A record is a line of JSON already, and must stay the bytes that the chain is made of.
            Format::Json | Format::Jsonl => {
                self.out.write(line.raw())?;
                self.out.write(b"\n")
            }
            Format::Name => self.out.write(format!("{}\n", line.seq).as_bytes()),
            Format::Table => {
                let (name, fields) = record_summary(&serde_json::from_str(line.event_json).unwrap_or_default(), false);
                let fields: String = fields.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                self.out.write(format!("{:>9}  {}  {name:<22}  {fields}\n", line.seq.0, line.at).as_bytes())
            }
            Format::Yaml => {
                let value: serde_json::Value = serde_json::from_slice(line.raw())
                    .map_err(|error| Failure::error(format!("record {}", line.seq)).because(error))?;
                let text = serde_saphyr::to_string(&value)
                    .map_err(|error| Failure::error(format!("record {}", line.seq)).because(error))?;
                self.out.write(format!("---\n{text}").as_bytes())
            }
        }
    }

    /// Makes what was written visible.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }
}
