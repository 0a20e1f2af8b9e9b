//! What a program's own subscriber is told of its children.

use std::fmt::Write;
use std::sync::Mutex;

use coproc_pool::{Pool, Process};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps each event as a line: its level, then its fields.
struct Lines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        TOLD.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn starts_ends_and_replacements_are_told() -> coproc_pool::coproc::Result<()> {
    tracing::subscriber::set_global_default(Lines).unwrap();
    let child = Process::builder().name("good").spawn(|| (), ())?;
    let good = child.pid();
    child.join()?;
    let child = Process::builder().name("bad").daemon(true).spawn(|| -> () { std::process::exit(3) }, ())?;
    let bad = child.pid();
    child.join().unwrap_err();
    let pool = Pool::new(1)?;
    let failed = pool.map(|n: u8| if n == 1 { std::process::exit(4) } else { n }, 0..3);
    assert!(failed.is_err());
    let told = std::mem::take(&mut *TOLD.lock().unwrap());
    assert_eq!(
        told[..4],
        [
            format!("DEBUG message=child process started name=\"good\" pid={good} daemon=false"),
            format!("DEBUG message=child process ended name=\"good\" pid={good}"),
            format!("DEBUG message=child process started name=\"bad\" pid={bad} daemon=true"),
            format!(
                "WARN message=child process failed name=\"bad\" pid={bad} cause=exited with code 3 before its function returned"
            ),
        ]
    );
    assert!(told[4..].iter().any(|line| line.starts_with("WARN message=pool worker replaced dead=")), "{told:?}");
    Ok(())
}
