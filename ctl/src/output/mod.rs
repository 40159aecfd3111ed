//! Writing results: one view, five formats. Results go to standard output, everything else to standard error.

mod stream;
mod table;

pub use stream::Lines;
pub use table::{Cell, Table, Tint, key_values};

use std::io::Write as _;

use orch_core::time::Timestamp;
use serde::Serialize;

use crate::args::Format;
use crate::exit::{Exit, Failure};

/// What a table may depend on beside the view.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// For ages.
    pub now: Timestamp,
    /// Whether to colour.
    pub color: bool,
}

/// Something that can be printed. Its `Serialize` is the stable JSON shape: snake_case, times in RFC 3339, ids as
/// numbers.
pub trait View: Serialize {
    /// For people.
    fn table(&self, page: &Page) -> String;

    /// Ids or names, for the next command.
    fn names(&self) -> Vec<String>;

    /// What `jsonl` prints, one a line: the items of a list, or the view itself.
    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        Ok(vec![serde_json::to_string(self)?])
    }
}

/// The items of a list, as [`View::items`] wants them.
pub fn each<T: Serialize>(items: &[T]) -> Result<Vec<String>, serde_json::Error> {
    items.iter().map(serde_json::to_string).collect()
}

/// The view as text in `format`, newline at the end unless it is empty.
pub fn render<V: View>(view: &V, format: Format, page: &Page) -> Result<String, Failure> {
    let unwritable = |error: &dyn std::fmt::Display| {
        Failure::error(format!("cannot write the result as {}: {error}", format.name()))
    };
    let mut text = match format {
        Format::Table => view.table(page),
        Format::Json => serde_json::to_string_pretty(view).map_err(|error| unwritable(&error))?,
        Format::Jsonl => {
            let items = view.items().map_err(|error| unwritable(&error))?;
            items.join("\n")
        }
        Format::Yaml => serde_saphyr::to_string(view).map_err(|error| unwritable(&error))?,
        Format::Name => view.names().join("\n"),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Writes text to standard output.
///
/// # Errors
/// A silent failure when nobody reads any more, a loud one when the output cannot be written (a full disk).
pub fn emit(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(lost_output)
}

/// What an error on standard output means.
pub(crate) fn lost_output(error: std::io::Error) -> Failure {
    match error.kind() {
        // The reader has what it wanted: `orchctl job list | head`.
        std::io::ErrorKind::BrokenPipe => Failure::silent(Exit::Done),
        _ => Failure::error("cannot write to standard output").because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Two {
        pair: [u8; 2],
    }

    impl View for Two {
        fn table(&self, _page: &Page) -> String {
            "a b".into()
        }

        fn names(&self) -> Vec<String> {
            self.pair.iter().map(ToString::to_string).collect()
        }

        fn items(&self) -> Result<Vec<String>, serde_json::Error> {
            each(&self.pair)
        }
    }

    #[test]
    fn one_view_has_five_formats() {
        let page = Page { now: Timestamp(0), color: false };
        let text = |format| render(&Two { pair: [1, 2] }, format, &page).unwrap();
        assert_eq!(text(Format::Table), "a b\n");
        assert_eq!(text(Format::Json), "{\n  \"pair\": [\n    1,\n    2\n  ]\n}\n");
        assert_eq!(text(Format::Jsonl), "1\n2\n");
        assert_eq!(text(Format::Yaml), "pair:\n- 1\n- 2\n");
        assert_eq!(text(Format::Name), "1\n2\n");
    }

    #[test]
    fn a_broken_pipe_is_silent() {
        let failure = lost_output(std::io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.exit, crate::exit::report(&failure).as_str()), (Exit::Done, ""));
    }
}
