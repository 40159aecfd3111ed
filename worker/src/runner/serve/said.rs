//! What a serve process may say, one JSON object a line. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

/// One line of a serve process.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// It waits for jobs.
    Ready,
    /// As the process wrote it.
    Candidate(&'a RawValue),
    Progress {
        /// Between 0 and 1, negative if only the note is of interest.
        fraction: f64,
        note: String,
    },
    Log(String),
    /// The job is complete.
    Done,
    /// The job failed.
    Error {
        message: String,
        permanent: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow, default)]
    candidate: Option<&'a RawValue>,
    progress: Option<f64>,
    note: Option<String>,
    log: Option<String>,
    done: Option<bool>,
    error: Option<String>,
    class: Option<Class>,
    ready: Option<bool>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Class {
    Error,
    Permanent,
}

/// Understands a line, or says what is wrong with it.
pub(super) fn parse(line: &[u8]) -> Result<Said<'_>, String> {
    let Fields { candidate, progress, note, log, done, error, class, ready } =
        serde_json::from_slice(line).map_err(|error| fault(line, &error.to_string()))?;
    let of_no_use = done == Some(false) || ready == Some(false) || (class.is_some() && error.is_none());
    let progress = (progress.is_some() || note.is_some())
        .then(|| Said::Progress { fraction: progress.unwrap_or(-1.0), note: note.unwrap_or_default() });
    let permanent = match class {
        Some(Class::Permanent) => true,
        Some(Class::Error) | None => false,
    };
    let all = [
        candidate.map(Said::Candidate),
        progress,
        log.map(Said::Log),
        done.map(|_| Said::Done),
        error.map(|message| Said::Error { message, permanent }),
        ready.map(|_| Said::Ready),
    ];
    let mut said = all.into_iter().flatten();
    match (said.next(), said.next()) {
        (Some(said), None) if !of_no_use => Ok(said),
        (Some(_) | None, Some(_) | None) => {
            Err(fault(line, "exactly one of candidate, progress, log, done, error or ready must be said"))
        }
    }
}

fn fault(line: &[u8], what: &str) -> String {
    let text: String = String::from_utf8_lossy(line).chars().take(120).collect();
    format!("the runner wrote a line that is not of the protocol: {what}: {text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_protocol_is_understood() {
        assert!(matches!(parse(br#"{"ready":true}"#), Ok(Said::Ready)));
        assert!(
            matches!(parse(br#"{"candidate":{"a": 1.50}}"#), Ok(Said::Candidate(raw)) if raw.get() == r#"{"a": 1.50}"#)
        );
        assert!(
            matches!(parse(br#"{"progress":0.5,"note":"half"}"#), Ok(Said::Progress { fraction: 0.5, note }) if note == "half")
        );
        assert!(matches!(parse(br#"{"note":"on"}"#), Ok(Said::Progress { fraction: -1.0, .. })));
        assert!(matches!(parse(br#"{"log":"text"}"#), Ok(Said::Log(text)) if text == "text"));
        assert!(matches!(parse(br#"{"done":true}"#), Ok(Said::Done)));
        assert!(matches!(parse(br#"{"error":"no"}"#), Ok(Said::Error { permanent: false, .. })));
        assert!(matches!(parse(br#"{"error":"no","class":"permanent"}"#), Ok(Said::Error { permanent: true, .. })));
    }

    #[test]
    fn anything_else_is_named() {
        for line in [
            "",
            "text",
            "[]",
            "{}",
            r#"{"done":false}"#,
            r#"{"done":false,"candidate":1}"#,
            r#"{"ready":false,"log":"x"}"#,
            r#"{"done":true,"candidate":1}"#,
            r#"{"x":1}"#,
            r#"{"class":"error"}"#,
            "\u{ff}",
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.starts_with("the runner wrote a line that is not of the protocol: "), "{error}");
        }
        let error = parse(b"print left in").unwrap_err();
        assert!(error.ends_with("\"print left in\""), "{error}");
    }
}
