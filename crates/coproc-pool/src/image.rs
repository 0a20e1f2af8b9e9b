//! This executable as it lies in memory: where functions are in it, and what tells it from another one.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use coproc::__private::Layout;
use coproc::Error;

/// A constructor, as the loader calls it.
pub(crate) type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

// SAFETY: the linker defines these three in every image, of these types: a header, and the two ends of an array. Only their addresses are safe to take.
unsafe extern "C" {
    /// The first byte of the image that this crate is linked into. Defined by the linker, hidden.
    static __ehdr_start: libc::Elf64_Ehdr;
    /// The constructors of this image. Defined by the linker, hidden.
    static __init_array_start: [Option<Constructor>; 0];
    static __init_array_end: [Option<Constructor>; 0];
}

fn start() -> usize {
    (&raw const __ehdr_start).addr()
}

fn header() -> libc::Elf64_Ehdr {
    // SAFETY: the linker puts the symbol at the image's own ELF header, which is mapped and never written.
    unsafe { (&raw const __ehdr_start).read() }
}

fn program_headers() -> &'static [libc::Elf64_Phdr] {
    let elf = header();
    let first = (&raw const __ehdr_start).wrapping_byte_add(elf.e_phoff as usize).cast::<libc::Elf64_Phdr>();
    // SAFETY: the ELF header says that as many program headers lie there, in the same read-only segment as itself.
    unsafe { std::slice::from_raw_parts(first, elf.e_phnum.into()) }
}

/// Whether this crate is linked into the main executable, which a child runs again, and not into a library that it has loaded.
fn is_main_executable() -> bool {
    // SAFETY: `getauxval` reads a table that the kernel made.
    let loaded = unsafe { libc::getauxval(libc::AT_PHDR) } as usize;
    loaded == start() + header().e_phoff as usize
}

/// Whether the loader was started by name, with this program as its argument (`ld.so PROGRAM`): then it is the loader that
/// `/proc/self/exe` leads to.
fn is_argument_of_loader() -> bool {
    // SAFETY: `getauxval` reads a table that the kernel made. Zero: the kernel has loaded no loader beside the program.
    let alone = unsafe { libc::getauxval(libc::AT_BASE) == 0 };
    alone && program_headers().iter().any(|header| header.p_type == libc::PT_INTERP)
}

/// Whether the process runs with more rights than who started it (setuid and the like).
pub(crate) fn is_privileged() -> bool {
    // SAFETY: `getauxval` reads a table that the kernel made.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether there is code of this executable at this address.
fn holds_code(address: usize) -> bool {
    let headers = program_headers();
    let Some(first) = headers.iter().find(|header| header.p_type == libc::PT_LOAD && header.p_offset == 0) else { return false };
    let bias = start().wrapping_sub(first.p_vaddr as usize);
    headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0).any(|header| {
        let begin = bias.wrapping_add(header.p_vaddr as usize);
        (begin..begin + header.p_memsz as usize).contains(&address)
    })
}

/// What a function is called by in another process of this executable.
///
/// # Errors
/// If it does not lie in the main executable, or that cannot be executed again.
pub(crate) fn offset_of(function: usize) -> Result<u64, Error> {
    if !(is_main_executable() && holds_code(function)) {
        return Err(Error::other(
            "this function lies in a loaded library, not in the main executable: a child process runs the executable and would not find it",
        ));
    }
    if is_argument_of_loader() {
        return Err(Error::other(
            "the dynamic loader was started by name with this program as its argument, so /proc/self/exe is the loader: a child process cannot be started, unless the program is started by its own name",
        ));
    }
    Ok((function - start()) as u64)
}

/// The address of the function that another process of this executable calls by this offset.
pub(crate) fn address_of(offset: u64) -> Option<usize> {
    let address = start().wrapping_add(offset as usize);
    holds_code(address).then_some(address)
}

/// A number that differs between builds and, in one program, between copies of this crate: `anchor` is an address in the copy.
pub(crate) fn fingerprint(anchor: usize) -> u64 {
    let layout =
        Layout::new(concat!("coproc-pool ", env!("CARGO_PKG_VERSION")), 0, 0).number(anchor.wrapping_sub(start()) as u64);
    let layout = program_headers().iter().fold(layout, |layout, header| {
        layout.number(header.p_vaddr).number(header.p_memsz).number(header.p_filesz).number(header.p_flags.into())
    });
    layout.number(header().e_entry).hash()
}

/// Calls the constructors of this image that come after `this` one, in order.
pub(crate) fn run_constructors_after(this: Constructor, argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    let first = (&raw const __init_array_start).cast::<usize>();
    let end = (&raw const __init_array_end).cast::<usize>();
    let count = (end.addr() - first.addr()) / size_of::<usize>();
    // SAFETY: the linker puts these symbols around the array of constructors, which the loader has relocated and nobody writes.
    let all = unsafe { std::slice::from_raw_parts(first, count) };
    let after = all.iter().skip_while(|&&entry| entry != this as usize).skip(1);
    for &entry in after.filter(|&&entry| entry != 0 && entry != usize::MAX) {
        // SAFETY: an entry that is not one of the two paddings is a constructor; the loader calls it just so.
        let constructor = unsafe { std::mem::transmute::<usize, Constructor>(entry) };
        constructor(argc, argv, envp);
    }
}
