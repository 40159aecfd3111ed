//! Pieces of manifests.

/// A contract whose candidates are numbers: `{"v": 1.5}`, the same if they are closer than 1e-6.
pub const VALUES: &str = "
contract: values
version: 1
schema:
  type: object
  additionalProperties: false
  required: [v]
  properties: {v: {type: number}}
identity:
  - {field: v, quantum: 1e-6}
";

/// A queue of jobs for one of the programs of `runner.sh`: heartbeats are frequent, and failures are not waited out.
pub fn queue(name: &str, kind: &str, more: &str) -> String {
    let retry = if more.contains("retry:") { "" } else { "retry: {max_attempts: 1}\n" };
    format!(
        "---\nqueue: {name}\ncontract: values@1\nkind: {kind}\nlease: {{ttl: 10s, heartbeat: 200ms}}\n{retry}{more}\n"
    )
}

/// A job of a queue, with the file of its payload.
pub fn job(queue: &str, file: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!("---\njob: {{queue: {queue}, payload: {{file: {file}}}{more}}}\n")
}
