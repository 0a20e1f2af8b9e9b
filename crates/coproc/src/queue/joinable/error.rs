//! Why not all tasks are done.

use std::error::Error;
use std::fmt;

/// This process has taken no task that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTask;

/// Processes died that had taken tasks, at most this many, and not said that they were done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TasksLost(pub u64);

/// Why [`JoinableQueue::join_timeout`](super::JoinableQueue::join_timeout) has not seen all tasks done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinTimeoutError {
    /// Not all were done in that time.
    Timeout,
    /// As for [`JoinableQueue::join`](super::JoinableQueue::join).
    Lost(TasksLost),
}

impl fmt::Display for NoTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this process has taken no task that is not done: task_done was called once too often")
    }
}

impl fmt::Display for TasksLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks were lost with the processes that had taken them", self.0)
    }
}

impl fmt::Display for JoinTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timed out: not all tasks were done in that time"),
            Self::Lost(lost) => lost.fmt(f),
        }
    }
}

impl Error for NoTask {}
impl Error for TasksLost {}
impl Error for JoinTimeoutError {}
