//! What a child does when its first thread overflows its stack: it says so, to standard error and to its parent, and dies of the `SIGSEGV` that it
//! got. In a program's own process std does the like, in start code that a child does not run.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use coproc::__private::packets;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use crate::channel::Channel;
use crate::me::Me;
use crate::report::OVERFLOWED;

/// What is ready to be sent and printed: a handler cannot allocate.
struct LastWords {
    channel: &'static Channel,
    packet: Vec<u8>,
    text: String,
}

/// Those of this child. (Of several, the last: a child may be a fork of a child.)
static LAST_WORDS: AtomicPtr<LastWords> = AtomicPtr::new(ptr::null_mut());

/// Room for the handler, beside what the kernel puts there.
const ROOM: usize = 32 << 10;

/// How far from the stack pointer a fault is one of the stack: its frames are touched page by page as they grow.
const NEAR: usize = 64 << 10;

/// Does in the zygote what its children inherit: they have nothing to say before they [`watch`].
pub(crate) fn prepare() {
    if has_other_stack() || take_other_stack().is_some() {
        handle(libc::SIGSEGV);
        handle(libc::SIGBUS);
    }
}

/// Has the calling thread's overflows noticed from now on. Where that cannot be had, they are deaths by `SIGSEGV` without a word.
pub(crate) fn watch(me: &'static Me) {
    let words = LastWords { channel: me.channel, packet: packets::bare(&[OVERFLOWED]), text: last_words(&me.name) };
    // Release: pairs with the Acquire in `say_so`. For good: it may happen at any time.
    LAST_WORDS.store(Box::leak(Box::new(words)), Ordering::Release);
    prepare();
}

/// What is printed when the process of this name, which is the calling one, has overflowed its stack.
pub(crate) fn last_words(name: &str) -> String {
    format!("process '{name}' (pid {}) has overflowed its stack\n", std::process::id())
}

/// Whether the calling thread has a stack for its signal handlers, as a fork of a thread that has one.
fn has_other_stack() -> bool {
    let mut stack = MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: with no new stack, it only writes the current one.
    if unsafe { libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: it was just written.
    unsafe { stack.assume_init() }.ss_flags & libc::SS_DISABLE == 0
}

/// Gives the calling thread a stack for its signal handlers, with a page below it that nobody can touch.
fn take_other_stack() -> Option<()> {
    // SAFETY: `getauxval` reads a table that the kernel made.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let page = rustix::param::page_size();
    let size = (least.max(libc::MINSIGSTKSZ) + ROOM).next_multiple_of(page);
    // SAFETY: maps memory that nobody has.
    let start = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), page + size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    };
    let start = start.ok()?;
    // SAFETY: the first page of what was just mapped.
    unsafe { rustix::mm::mprotect(start, page, MprotectFlags::empty()) }.ok()?;
    let stack = libc::stack_t { ss_sp: start.wrapping_byte_add(page), ss_flags: 0, ss_size: size };
    // SAFETY: the rest of it, `size` bytes, stays mapped for good and is used for nothing else.
    let code = unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    (code == 0).then_some(())
}

/// Sets the handler, unless there is one.
fn handle(signal: c_int) {
    let mut old = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action, it only writes the current one.
    if unsafe { libc::sigaction(signal, ptr::null(), old.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: it was just written.
    let mut action = unsafe { old.assume_init() };
    if action.sa_sigaction == libc::SIG_DFL {
        action.sa_sigaction = fault as extern "C" fn(c_int, *const libc::siginfo_t, *const libc::ucontext_t) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler does only what is safe at any moment.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

extern "C" fn fault(signal: c_int, info: *const libc::siginfo_t, context: *const libc::ucontext_t) {
    // SAFETY: the kernel passes it to a handler of this kind (`SA_SIGINFO`).
    let info = unsafe { &*info };
    // SAFETY: as above.
    let context = unsafe { &*context };
    // SAFETY: sets the default action, which is no function.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // What the kernel itself sends has a positive code.
    if info.si_code <= 0 {
        // Somebody sent it: it shall kill all the same. It comes when this returns.
        // SAFETY: sends a signal, and touches no memory.
        unsafe { libc::raise(signal) };
        return;
    }
    // SAFETY: a signal of a fault has an address.
    let address = unsafe { info.si_addr() }.addr();
    if address.abs_diff(stack_pointer(context)) <= NEAR {
        say_so();
    }
    // The instruction that could not be done is tried again when this returns, and kills.
}

fn say_so() {
    // Acquire: pairs with the Release in `watch`.
    let words = LAST_WORDS.load(Ordering::Acquire);
    // SAFETY: it is null, or leaked.
    let Some(words) = (unsafe { words.as_ref() }) else { return };
    let (text, packet) = (words.text.as_bytes(), &words.packet);
    // SAFETY: `write` and `send` may be called by a handler; both read bytes that stay where they are.
    unsafe { libc::write(2, text.as_ptr().cast::<c_void>(), text.len()) };
    let socket = words.channel.as_fd().as_raw_fd();
    // SAFETY: as above.
    unsafe { libc::send(socket, packet.as_ptr().cast::<c_void>(), packet.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
}

fn stack_pointer(context: &libc::ucontext_t) -> usize {
    #[cfg(target_arch = "x86_64")]
    return context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize;
    #[cfg(target_arch = "aarch64")]
    return context.uc_mcontext.sp as usize;
}
