//! What may be given where a function of another process takes a parameter.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Message, Writer, foreign};

/// `Self`, given as an argument, arrives as `P`.
///
/// Every message arrives as itself. A handle may be given by reference and arrives as a handle of the same object; a `&str`
/// arrives as a `String`, a slice as a `Vec`, a `&Path` as a `PathBuf`.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` cannot be given to a function that takes a `{P}`",
    label = "arrives as no `{P}`",
    note = "a function of another process takes its parameters by value: a handle, not a reference to one; `String`, not `&str`; `Vec<T>`, not `&[T]`"
)]
pub trait Arg<P> {
    /// Writes the argument as a `P` is written.
    #[doc(hidden)]
    fn put(&self, to: &mut Writer<'_>);
}

impl<T: Message> Arg<T> for T {
    fn put(&self, to: &mut Writer<'_>) {
        self.write(to);
    }
}

impl Arg<String> for &str {
    fn put(&self, to: &mut Writer<'_>) {
        foreign::text(self, to);
    }
}

impl Arg<String> for &String {
    fn put(&self, to: &mut Writer<'_>) {
        foreign::text(self, to);
    }
}

impl Arg<PathBuf> for &Path {
    fn put(&self, to: &mut Writer<'_>) {
        foreign::slice(self.as_os_str().as_bytes(), to);
    }
}

impl Arg<PathBuf> for &PathBuf {
    fn put(&self, to: &mut Writer<'_>) {
        self.as_path().put(to);
    }
}

impl<T: Message> Arg<Vec<T>> for &[T] {
    fn put(&self, to: &mut Writer<'_>) {
        foreign::slice(self, to);
    }
}

impl<T: Message> Arg<Vec<T>> for &Vec<T> {
    fn put(&self, to: &mut Writer<'_>) {
        foreign::slice(self, to);
    }
}
