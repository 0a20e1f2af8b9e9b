//! The progress of calls, drawn.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::{Hook, Progress};

/// A hook that draws a bar for each call on standard error; `None` if that is no terminal.
pub(super) fn bars() -> Option<Hook> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let screen = MultiProgress::new();
    let bars: Mutex<HashMap<u64, ProgressBar>> = Mutex::default();
    Some(Hook::new(move |progress: Progress| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.is_over {
            // Of a short call nothing else was told, so nothing is drawn.
            if let Some(bar) = bars.remove(&progress.call) {
                bar.finish_and_clear();
                screen.remove(&bar);
            }
            return;
        }
        let bar = bars.entry(progress.call).or_insert_with(|| screen.add(bar(&progress)));
        bar.set_position(progress.done);
        bar.tick();
    }))
}

fn bar(progress: &Progress) -> ProgressBar {
    let template = match progress.total {
        Some(_) => "{prefix} {wide_bar} {human_pos}/{human_len} {elapsed} eta {eta}",
        None => "{prefix} {spinner} {human_pos} {elapsed} {per_sec}",
    };
    let bar = progress.total.map_or_else(ProgressBar::no_length, ProgressBar::new).with_prefix(progress.name);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
