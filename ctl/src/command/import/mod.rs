//! `orchctl import`: a file of JSON lines becomes jobs, streamed, repeatable, refused line by line.
//!
//! A thread reads the file into chunks (`read`), each line with an idempotency key (`keys`); chunks go up, with a
//! bounded number unanswered, and are sent again if the connection breaks (`send`).

mod keys;
mod read;
mod send;

use std::time::Instant;

use tokio::sync::mpsc;

use super::input;
use crate::args::ImportArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::Unit;
use crate::view::{ImportView, LineError};

use read::Reader;
use send::Tally;

/// The most line errors that the result lists, and that are printed.
const LISTED_ERRORS: usize = 100;
const PRINTED_ERRORS: usize = 20;

/// Imports the file and prints what became of it.
pub async fn run(context: &Context, args: ImportArgs) -> Result<Exit, Failure> {
    let ImportArgs { file, queue, again, chunk, window } = args;
    let input = input::open(&file)?;
    let client = context.connect().await?;
    let bar = context.bars.start("import", input::length(&file), Unit::Bytes);
    let started = Instant::now();
    let (chunks_out, chunks_in) = mpsc::channel(2);
    let name = input::name(&file);
    let reader = Reader::new(input, name.clone(), queue, again.as_deref().unwrap_or_default(), chunk as usize);
    let reading = tokio::task::spawn_blocking(move || reader.run(&chunks_out));
    let mut tally = Tally::new(LISTED_ERRORS);
    let sent = send::run(&client, chunks_in, window as usize, &mut tally, &bar).await;
    // When sending failed the reader ends by itself, for nobody takes its chunks; its own failure comes first.
    let read = reading.await.unwrap_or_else(|error| Err(Failure::error("reading ended badly").because(error)));
    drop(bar);
    let view = tally.view(name, started.elapsed().as_secs_f64());
    print_errors(context, &view);
    let done = read.and(sent);
    context.print(&view)?;
    done.map_err(|failure| failure.resumable("the jobs counted above are in; import the file again to go on"))?;
    Ok(if view.refused == 0 { Exit::Done } else { Exit::Error })
}

fn print_errors(context: &Context, view: &ImportView) {
    for LineError { line, reason: _, message } in view.errors.iter().take(PRINTED_ERRORS) {
        context.complain(&format!("error: {} line {line}: {message}", view.file));
    }
    let more = view.refused.saturating_sub(PRINTED_ERRORS as u64);
    if more > 0 {
        context
            .complain(&format!("error: {more} more lines of {} were refused; -o json lists the first 100", view.file));
    }
}
