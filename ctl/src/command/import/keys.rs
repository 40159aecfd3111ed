//! Keys that make an import safe to repeat.
//!
//! A line without idempotency key gets one made of its job (so that another spelling of the same job is the same) and
//! of how often that job stood in the file before (so that a file may hold a job twice). The line's number is not part
//! of it: a file that was extended, or sorted anew, imports only what is new.

use std::collections::HashMap;

use orch_core::digest::Digest;
use orch_core::job::JobSpec;

/// Derives keys, line by line.
#[derive(Debug)]
pub struct Keys {
    tag: String,
    /// How often each job was seen. The map keeps 64 bits of the digest: should two jobs share them, one of them gets
    /// a higher count than it needs, which harms nothing.
    seen: HashMap<u64, u32>,
}

impl Keys {
    /// For an import with this tag; the empty one is the plain one.
    pub fn new(tag: &str) -> Self {
        Self { tag: tag.to_owned(), seen: HashMap::new() }
    }

    /// Gives the job a key, unless it has one.
    pub fn complete(&mut self, job: &mut JobSpec) {
        if job.idempotency_key.is_some() {
            return;
        }
        let digest = Digest::of_parts(&[self.tag.as_bytes(), b"\0", &job.digest().0]).truncated();
        let count = self.seen.entry((digest >> 64) as u64).or_insert(0);
        *count += 1;
        job.idempotency_key = Some(match *count {
            1 => format!("import:{digest:032x}"),
            n => format!("import:{digest:032x}#{n}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use orch_core::manifest::job_from_json;

    use super::*;

    fn keys(tag: &str, lines: &[&str]) -> Vec<String> {
        let mut keys = Keys::new(tag);
        let key = |line: &&str| {
            let mut job = job_from_json(line.as_bytes(), None).unwrap();
            keys.complete(&mut job);
            job.idempotency_key.unwrap()
        };
        lines.iter().map(key).collect()
    }

    #[test]
    fn the_same_file_has_the_same_keys_and_another_spelling_too() {
        let first = keys("", &[r#"{"queue":"q","payload":{"a":1,"b":2}}"#, r#"{"queue":"q","payload":2}"#]);
        let again = keys("", &[r#"{"payload": {"b": 2.0, "a": 1}, "queue": "q"}"#, r#"{"queue":"q","payload":2}"#]);
        assert_eq!(first, again);
        assert_ne!(first[0], first[1]);
    }

    #[test]
    fn a_job_that_stands_twice_is_two_jobs() {
        let line = r#"{"queue":"q","payload":1}"#;
        let found = keys("", &[line, line, line]);
        assert_eq!(found[1], format!("{}#2", found[0]));
        assert_eq!(found[2], format!("{}#3", found[0]));
    }

    #[test]
    fn a_tag_makes_new_keys_and_own_keys_stay() {
        let line = r#"{"queue":"q","payload":1}"#;
        assert_ne!(keys("", &[line]), keys("second", &[line]));
        assert_eq!(keys("second", &[r#"{"queue":"q","idempotency_key":"mine"}"#]), ["mine"]);
    }
}
