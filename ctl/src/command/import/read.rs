//! From lines to chunks of jobs, on a thread of its own.

use std::io::BufRead;

use orch_core::id::QueueName;
use orch_core::job::JobSpec;
use orch_core::manifest::job_from_json;
use orch_proto::v1;
use tokio::sync::mpsc;

use super::keys::Keys;
use crate::command::input::{ReadLine, read_line};
use crate::exit::Failure;
use crate::view::LineError;

/// The most bytes of payloads in a chunk, well below what one message may have.
const MAX_CHUNK_BYTES: usize = 2 * 1024 * 1024;

/// Jobs that go up together, and the lines before them that are none.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub jobs: Vec<v1::JobSpec>,
    /// The line of each job.
    pub lines: Vec<u64>,
    /// Lines that did not become jobs.
    pub bad: Vec<LineError>,
    /// Bytes of the file that it was made of.
    pub bytes: u64,
    /// Bytes of its payloads.
    pub payload_bytes: usize,
}

/// Reads the file.
pub struct Reader {
    input: Box<dyn BufRead + Send>,
    name: String,
    queue: Option<QueueName>,
    keys: Keys,
    jobs_per_chunk: usize,
}

impl Reader {
    /// Of this input; `tag` goes into the derived keys.
    pub fn new(
        input: Box<dyn BufRead + Send>,
        name: String,
        queue: Option<QueueName>,
        tag: &str,
        jobs_per_chunk: usize,
    ) -> Self {
        Self { input, name, queue, keys: Keys::new(tag), jobs_per_chunk }
    }

    /// Hands out chunks until the file ends or nobody takes them any more.
    ///
    /// # Errors
    /// If the file cannot be read on.
    pub fn run(mut self, out: &mpsc::Sender<Chunk>) -> Result<(), Failure> {
        let (mut text, mut line, mut chunk) = (Vec::new(), 0, Chunk::default());
        loop {
            let read = read_line(&mut *self.input, &mut text);
            let read = read.map_err(|error| {
                Failure::error(format!("cannot read {} behind line {line}", self.name)).because(error)
            })?;
            let bytes = match read {
                ReadLine::Whole(bytes) | ReadLine::Cut(bytes) => bytes,
                ReadLine::End => break,
            };
            line += 1;
            chunk.bytes += bytes as u64;
            if !text.trim_ascii().is_empty() {
                self.add(&mut chunk, line, &text);
            }
            if chunk.is_full(self.jobs_per_chunk) && out.blocking_send(std::mem::take(&mut chunk)).is_err() {
                return Ok(());
            }
        }
        // Nobody there to take the last one: the sender has failed, and says so itself.
        let _ = out.blocking_send(chunk);
        Ok(())
    }

    fn add(&mut self, chunk: &mut Chunk, line: u64, text: &[u8]) {
        match self.job(text) {
            Ok(mut job) => {
                self.keys.complete(&mut job);
                chunk.payload_bytes += job.payload.as_str().len();
                chunk.jobs.push((&job).into());
                chunk.lines.push(line);
            }
            Err(message) => chunk.bad.push(LineError { line, reason: "INVALID_LINE".into(), message }),
        }
    }

    fn job(&self, text: &[u8]) -> Result<JobSpec, String> {
        let job = job_from_json(text, self.queue.as_ref()).map_err(|error| error.to_string())?;
        if job.depends_on.is_empty() {
            return Ok(job);
        }
        // Chunks are submitted one by one: a name in another chunk could not be found.
        Err("depends_on: jobs of an import cannot depend on each other; use `orchctl submit`".into())
    }
}

impl Chunk {
    fn is_full(&self, jobs: usize) -> bool {
        self.jobs.len() >= jobs || self.payload_bytes >= MAX_CHUNK_BYTES || self.bad.len() >= jobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str, jobs_per_chunk: usize) -> Vec<Chunk> {
        let (out, mut chunks) = mpsc::channel(100);
        let queue = Some("q".parse().unwrap());
        Reader::new(Box::new(text.as_bytes()), "f".into(), queue, "", jobs_per_chunk).run(&out).unwrap();
        drop(out);
        let mut found = Vec::new();
        while let Ok(chunk) = chunks.try_recv() {
            found.push(chunk);
        }
        found
    }

    #[test]
    fn lines_become_chunks_and_bad_ones_keep_their_number() {
        let text = "{\"payload\":1}\n\nnot json\n{\"payload\":2}\r\n{\"queue\":\"b d\"}\n{\"payload\":3,\"depends_on\":[\"x\"]}\n{\"payload\":4}";
        let chunks = read(text, 2);
        let lines: Vec<Vec<u64>> = chunks.iter().map(|chunk| chunk.lines.clone()).collect();
        // Two bad lines fill a chunk, too: errors must not pile up.
        assert_eq!(lines, [vec![1, 4], vec![], vec![7]]);
        let bad: Vec<u64> = chunks.iter().flat_map(|chunk| &chunk.bad).map(|error| error.line).collect();
        assert_eq!(bad, [3, 5, 6]);
        assert_eq!(chunks.iter().map(|chunk| chunk.bytes).sum::<u64>(), text.len() as u64);
        assert!(chunks.iter().flat_map(|chunk| &chunk.jobs).all(|job| job.queue == "q"));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        let chunks = read("{\"payload\":1,\"payload\":2}\n{\"priorty\":1}\n", 10);
        let messages: Vec<&str> = chunks[0].bad.iter().map(|error| error.message.as_str()).collect();
        assert!(messages[0].contains("\"payload\" stands twice"), "{messages:?}");
        assert!(messages[1].contains("priorty"), "{messages:?}");
    }
}
