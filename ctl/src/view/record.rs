//! A record of the ledger in one line for people.

use serde_json::Value;

/// An event's name, and its fields as `key=value`. Jobs and specs are left out where they are known or too long.
pub fn summary(event: &Value, known_job: bool) -> (String, String) {
    let Some((name, fields)) = event.as_object().and_then(|object| object.iter().next()) else {
        return (event.to_string(), String::new());
    };
    let shown = |(key, value): (&String, &Value)| match (key.as_str(), value) {
        ("job", _) if known_job => None,
        ("spec", Value::Object(spec)) if known_job => Some(format!("queue={}", text(spec.get("queue")?))),
        (_, value) => Some(format!("{key}={}", text(value))),
    };
    let fields = fields.as_object().map(|map| map.iter().filter_map(shown).collect::<Vec<_>>().join(" "));
    (name.clone(), fields.unwrap_or_default())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
