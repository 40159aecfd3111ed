//! A Parquet file holds what the JSON lines hold.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use parquet::basic::Type as Physical;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Value, json};
use support::{Book, zeros};

fn compactor(data: &Path, out: &Path, more: &[&str]) -> String {
    let mut command = Command::cargo_bin("compactor").unwrap();
    let output = command.arg(data).arg(out).args(more).args(["-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rows as JSON objects, without the fields that are null.
fn rows(path: &Path) -> Vec<Value> {
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let fields = row.get_column_iter().filter_map(|(name, field)| Some((name.clone(), value(field)?)));
        Value::Object(fields.collect())
    });
    rows.collect()
}

fn value(field: &Field) -> Option<Value> {
    match field {
        Field::Null => None,
        Field::Bool(value) => Some(json!(value)),
        Field::Long(value) => Some(json!(value)),
        Field::Double(value) => Some(json!(value)),
        Field::Str(value) => Some(json!(value)),
        other => panic!("{other:?} is of no type that is written"),
    }
}

/// A line as its row should be: objects spread out, arrays as text.
fn spread(line: &str) -> Value {
    fn walk(prefix: &str, value: &Value, row: &mut Map<String, Value>) {
        match value {
            Value::Null => {}
            Value::Object(object) => {
                for (key, value) in object {
                    walk(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, value, row);
                }
            }
            Value::Array(_) => {
                row.insert(prefix.to_owned(), value.to_string().into());
            }
            // The column `x` holds doubles; the row below comes back as one.
            Value::Number(number) if prefix == "t" || prefix == "x" => {
                row.insert(prefix.to_owned(), json!(number.as_f64()));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                row.insert(prefix.to_owned(), value.clone());
            }
        }
    }
    let mut row = Map::new();
    walk("", &serde_json::from_str(line).unwrap(), &mut row);
    Value::Object(row)
}

fn ledger(data: &Path) -> PathBuf {
    let mut book = Book::with_segments(data, 1 << 20);
    let contract = book.contract(zeros("zeros", 1));
    let origin = book.leased("w1");
    let texts: Vec<String> = (0..500)
        .map(|n| {
            let t = f64::from(n * 7919 % 500) + 0.5;
            let mut line = json!({"t": t, "n": n, "exact": n % 2 == 0, "meta": {"method": "secant", "iters": n % 9}});
            if n % 3 == 0 {
                line["list"] = json!([n, {"a": null}]);
            }
            if n % 5 == 0 {
                line["meta"]["note"] = json!("snow \u{2603}");
            }
            if n % 7 == 0 {
                line["meta"] = Value::Null;
            }
            // Whole numbers among others.
            line["x"] = if n % 2 == 0 { json!(n) } else { json!(f64::from(n) + 0.25) };
            line.to_string()
        })
        .collect();
    book.submit(origin, &contract, &texts);
    book.complete(origin);
    let import = book.import(&contract);
    book.submit(import, &contract, &["{\"t\":1000.5,\"x\":0.5}".into()]);
    book.close()
}

#[test]
fn every_field_of_every_line_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = ledger(&dir.path().join("data"));
    for more in [&[][..], &["--provenance"]] {
        let (lines, table) = (dir.path().join("out.jsonl"), dir.path().join("out.parquet"));
        compactor(&data, &lines, more);
        let counts: Value =
            serde_json::from_str(&compactor(&data, &table, &[more, &["--format", "parquet"]].concat())).unwrap();
        assert_eq!(counts["written"], 501);
        assert_eq!(counts["bytes"], fs::metadata(&table).unwrap().len());
        let expected: Vec<Value> = fs::read_to_string(&lines).unwrap().lines().map(spread).collect();
        assert_eq!(rows(&table), expected);
    }
}

#[test]
fn columns_have_types_and_the_file_says_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    let data = ledger(&dir.path().join("data"));
    let table = dir.path().join("out.parquet");
    let counts: Value =
        serde_json::from_str(&compactor(&data, &table, &["--format", "parquet", "--provenance"])).unwrap();
    let reader = SerializedFileReader::new(File::open(&table).unwrap()).unwrap();
    let file = reader.metadata().file_metadata();
    let columns: Vec<_> = file
        .schema_descr()
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), column.physical_type(), column.self_type().is_optional()))
        .collect();
    let expected = [
        ("_orch.attempt", Physical::INT64, true),
        ("_orch.digest", Physical::BYTE_ARRAY, false),
        ("_orch.import", Physical::INT64, true),
        ("_orch.job", Physical::INT64, true),
        ("_orch.seq", Physical::INT64, false),
        ("_orch.worker", Physical::BYTE_ARRAY, true),
        ("exact", Physical::BOOLEAN, true),
        ("list", Physical::BYTE_ARRAY, true),
        ("meta.iters", Physical::INT64, true),
        ("meta.method", Physical::BYTE_ARRAY, true),
        ("meta.note", Physical::BYTE_ARRAY, true),
        ("n", Physical::INT64, true),
        ("t", Physical::DOUBLE, false),
        ("x", Physical::DOUBLE, false),
    ];
    assert_eq!(columns, expected.map(|(name, physical, optional)| (name.to_owned(), physical, optional)));
    let metadata = file.key_value_metadata().unwrap();
    let said = |key: &str| metadata.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.clone()).unwrap();
    assert_eq!(
        (said("orch.ledger"), said("orch.chain")),
        (support::ID.to_owned(), counts["chain"].as_str().unwrap().to_owned())
    );
    assert_eq!(said("orch.seq"), counts["seq"].to_string());
}

#[test]
fn the_same_ledger_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = ledger(&dir.path().join("data"));
    let bytes = |more: &[&str]| {
        let table = dir.path().join("out.parquet");
        compactor(&data, &table, &[&["--format", "parquet"], more].concat());
        fs::read(table).unwrap()
    };
    let first = bytes(&[]);
    assert_eq!(bytes(&[]), first);
    assert_eq!(bytes(&["--memory", "4MiB", "--tmp", dir.path().to_str().unwrap()]), first);
}

#[test]
fn an_empty_data_set_is_a_table_without_rows() {
    let dir = tempfile::tempdir().unwrap();
    let data = Book::new(&dir.path().join("data")).close();
    let table = dir.path().join("out.parquet");
    compactor(&data, &table, &["--format", "parquet"]);
    assert_eq!(rows(&table), Vec::<Value>::new());
}
