//! Where progress is shown: a bar on a terminal; where standard error is a file or a pipe, a line now and then.

use indicatif::{ProgressDrawTarget, TermLike};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Seconds between two lines, where it says nothing else.
const SECONDS: u64 = 30;
/// Names the number of seconds; with 0 there are no lines.
const VARIABLE: &str = "HUMDINGER_PROGRESS";

static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on no progress is shown.
pub fn hide() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Where progress goes, unless it is hidden.
pub fn target() -> ProgressDrawTarget {
    if QUIET.load(Ordering::Relaxed) {
        return ProgressDrawTarget::hidden();
    }
    if io::stderr().is_terminal() {
        return ProgressDrawTarget::stderr();
    }
    let seconds = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    match seconds {
        0 => ProgressDrawTarget::hidden(),
        _ => ProgressDrawTarget::term_like(Box::new(Lines {
            every: Duration::from_secs(seconds),
            line: Mutex::default(),
        })),
    }
}

/// Whether progress goes to something that is no terminal, where a bar would be of no use.
pub fn in_lines() -> bool {
    !io::stderr().is_terminal()
}

/// When the last line was printed, whatever showed its progress in it; at first when the first one began.
static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// Takes what would be drawn on a terminal, and prints it as a line where the last one is some time ago.
#[derive(Debug)]
struct Lines {
    every: Duration,
    line: Mutex<String>,
}

impl Lines {
    fn line(&self) -> std::sync::MutexGuard<'_, String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        120
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.line().push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.line().clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let text = std::mem::take(&mut *self.line());
        let text = text.trim();
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let since = last.get_or_insert_with(Instant::now);
        if !text.is_empty() && since.elapsed() >= self.every {
            *since = Instant::now();
            // Nothing can be done where it fails.
            let _ = writeln!(io::stderr(), "{text}");
        }
        Ok(())
    }
}
