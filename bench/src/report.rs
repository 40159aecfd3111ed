//! Figures as a table and as JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// What one run measured: names, values and units, in order.
pub type Sample = Vec<(&'static str, f64, &'static str)>;

/// One figure over all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    benchmark: String,
    measure: &'static str,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
    durability: &'static str,
}

/// The figures of the runs of one benchmark.
pub fn figures(benchmark: &str, samples: &[Sample]) -> Vec<Figure> {
    let Some(first) = samples.first() else { return Vec::new() };
    let figure = |(index, (measure, _, unit)): (usize, &(&'static str, f64, &'static str))| {
        let mut values: Vec<f64> = samples.iter().map(|sample| sample[index].1).collect();
        values.sort_by(f64::total_cmp);
        Figure {
            benchmark: benchmark.to_owned(),
            measure,
            unit,
            median: values[values.len() / 2],
            min: values[0],
            max: values[values.len() - 1],
            runs: values.len(),
            durability: "synced",
        }
    };
    first.iter().enumerate().map(figure).collect()
}

/// The figures as people read them.
pub fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "measure", "median", "min", "max", "unit", "acknowledged"]);
    for figure in figures {
        let number = |value: f64| if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        table.add_row([
            figure.benchmark.clone(),
            figure.measure.to_owned(),
            number(figure.median),
            number(figure.min),
            number(figure.max),
            figure.unit.to_owned(),
            figure.durability.to_owned(),
        ]);
    }
    for column in [2, 3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
