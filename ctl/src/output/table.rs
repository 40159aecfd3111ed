//! Tables without lines: columns two blanks apart, never wrapped, so that `awk` and `grep` work on them.

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement};

use super::Page;

/// What a cell means, which is what colours it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tint {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Worth a look.
    Warn,
    /// Broken.
    Bad,
    /// Of little interest.
    Dim,
}

/// Which side a column's cells stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    /// A cell with a meaning.
    pub fn tinted(text: impl ToString, tint: Tint) -> Self {
        Self { text: one_line(&text.to_string()), tint }
    }

    /// A number that is bad unless it is 0.
    pub fn bad_unless_zero(n: u64) -> Self {
        Self::tinted(n, if n == 0 { Tint::Plain } else { Tint::Bad })
    }

    /// A text, `-` if there is none.
    pub fn maybe<T: ToString>(value: Option<&T>) -> Self {
        value.map_or_else(|| Self::tinted("-", Tint::Dim), |value| Self::tinted(value.to_string(), Tint::Plain))
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(value: T) -> Self {
        Self::tinted(value, Tint::Plain)
    }
}

/// A table.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns. A name that starts with `>` is of a column of numbers.
    pub fn new(columns: &[&'static str]) -> Self {
        let column = |name: &&'static str| match name.strip_prefix('>') {
            Some(name) => (name, Align::Right),
            None => (*name, Align::Left),
        };
        Self { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row, a cell per column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text; `empty` if it has no rows.
    pub fn text(&self, page: &Page, empty: &str) -> String {
        if self.rows.is_empty() {
            return empty.to_owned();
        }
        let mut table = layout(page);
        let header = |(name, _): &(&str, Align)| {
            let cell = comfy_table::Cell::new(name);
            if page.color { cell.add_attribute(Attribute::Bold) } else { cell }
        };
        table.set_header(self.columns.iter().map(header));
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| paint(cell, page)));
        }
        finish(&mut table, &self.columns.iter().map(|(_, align)| *align).collect::<Vec<_>>())
    }
}

/// A record: a name and a value a line; an empty name goes on with the line above.
pub fn key_values(page: &Page, pairs: &[(&str, Cell)]) -> String {
    let mut table = layout(page);
    for (name, value) in pairs {
        // A line without a name goes on with what stands above it.
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        table.add_row([paint(&Cell::tinted(name, Tint::Dim), page), paint(value, page)]);
    }
    finish(&mut table, &[Align::Left, Align::Left])
}

fn layout(page: &Page) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.force_no_tty();
    if page.color {
        table.enforce_styling();
    }
    table
}

fn finish(table: &mut comfy_table::Table, aligns: &[Align]) -> String {
    for (column, align) in table.column_iter_mut().zip(aligns) {
        column.set_padding((0, 2));
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
    }
    table.trim_fmt()
}

fn paint(cell: &Cell, page: &Page) -> comfy_table::Cell {
    let painted = comfy_table::Cell::new(&cell.text);
    if !page.color {
        return painted;
    }
    match cell.tint {
        Tint::Plain => painted,
        Tint::Good => painted.fg(Color::Green),
        Tint::Busy => painted.fg(Color::Cyan),
        Tint::Warn => painted.fg(Color::Yellow),
        Tint::Bad => painted.fg(Color::Red),
        Tint::Dim => painted.add_attribute(Attribute::Dim),
    }
}

/// Texts of users and workers may hold line breaks and escape codes: neither belongs into a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use orch_core::time::Timestamp;

    use super::*;

    const PLAIN: Page = Page { now: Timestamp(0), color: false };

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let mut table = Table::new(&["QUEUE", ">READY"]);
        table.row(vec!["zeta".into(), 7.into()]);
        table.row(vec!["a-longer-name".into(), Cell::bad_unless_zero(12345)]);
        assert_eq!(table.text(&PLAIN, ""), "QUEUE          READY\nzeta               7\na-longer-name  12345");
        assert_eq!(Table::new(&["A"]).text(&PLAIN, "nothing"), "nothing");
    }

    #[test]
    fn colour_only_when_asked_for_and_nothing_foreign_reaches_the_terminal() {
        let mut table = Table::new(&["STATE"]);
        table.row(vec![Cell::tinted("bad\n\u{1b}[31m", Tint::Bad)]);
        assert_eq!(table.text(&PLAIN, ""), "STATE\nbad  [31m");
        let colored = table.text(&Page { color: true, ..PLAIN }, "");
        assert!(colored.contains("\u{1b}[38;5;9m") || colored.contains("\u{1b}[31m"), "{colored:?}");
    }
}
