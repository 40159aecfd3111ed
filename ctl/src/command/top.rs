//! `orchctl top`: the cluster at work, drawn anew every moment.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::Print;
use crossterm::terminal::{
    Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use orch_core::time::Span;
use tokio::sync::mpsc;

use crate::args::{Format, TopArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{self, View as _};
use crate::view::{StatsView, TopView};

use super::{stats, worker};

/// Draws until `q` or Ctrl-C on a terminal; elsewhere, or in another format, prints one look after the other.
pub async fn run(context: &Context, args: &TopArgs) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let format = context.format_or(Format::Table);
    let drawn = format == Format::Table && args.count.is_none() && std::io::stdout().is_terminal();
    let mut screen = drawn.then(Screen::open).transpose().map_err(output::lost_output)?;
    let mut every = tokio::time::interval(args.interval.duration().max(Duration::from_millis(100)));
    let mut before: Option<(StatsView, Instant)> = None;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::select! {
            _ = every.tick() => {}
            () = asked_to_end(screen.as_mut()) => break,
        }
        let now = Instant::now();
        let look = stats::fetch(context, &client).await?;
        let workers = worker::list(&client, String::new()).await?;
        let old = before.as_ref().map(|(stats, at)| (stats, Span::from(now.duration_since(*at))));
        let view = TopView::new(look.clone(), old, workers);
        match &screen {
            Some(screen) => screen.draw(&view.table(&context.page())).map_err(output::lost_output)?,
            None => print(context, &view, format)?,
        }
        before = Some((look, now));
        left -= 1;
    }
    Ok(Exit::Done)
}

fn print(context: &Context, view: &TopView, format: Format) -> Result<(), Failure> {
    // A document after the other could not be told apart: a line each.
    let format = if format == Format::Json { Format::Jsonl } else { format };
    let text = output::render(view, format, &context.page())?;
    output::emit(&match format {
        Format::Table => format!("{text}\n"),
        Format::Yaml => format!("---\n{text}"),
        Format::Json | Format::Jsonl | Format::Name => text,
    })
}

async fn asked_to_end(screen: Option<&mut Screen>) {
    match screen {
        Some(screen) => drop(screen.end.recv().await),
        None => std::future::pending().await,
    }
}

/// The terminal, as long as it is drawn on; as it was when this is dropped.
struct Screen {
    end: mpsc::Receiver<()>,
}

impl Screen {
    fn open() -> std::io::Result<Self> {
        let (asked, end) = mpsc::channel(1);
        // Made first, so that whatever fails is undone.
        let screen = Self { end };
        enable_raw_mode()?;
        execute!(std::io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        // It ends with the process: nobody can take back a read.
        std::thread::spawn(move || {
            for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
                // Ctrl-C is a key like others while the terminal is raw.
                if matches!(key, b'q' | b'Q' | 3 | 4 | 27) {
                    let _ = asked.try_send(());
                }
            }
        });
        Ok(screen)
    }

    /// Draws as much as there is room for.
    fn draw(&self, text: &str) -> std::io::Result<()> {
        let (_, rows) = size()?;
        let mut out = std::io::stdout().lock();
        let lines: Vec<&str> = text.lines().collect();
        let room = usize::from(rows.saturating_sub(1));
        for (row, line) in (0_u16..).zip(lines.iter().take(room)) {
            queue!(out, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        let below = u16::try_from(lines.len().min(room)).unwrap_or(u16::MAX);
        queue!(out, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        let hidden = lines.len().saturating_sub(room);
        let note = if hidden > 0 { format!("q ends it; {hidden} more lines below") } else { "q ends it".to_owned() };
        queue!(out, MoveTo(0, rows.saturating_sub(1)), Print(note))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing undone.
        let _ = execute!(std::io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
