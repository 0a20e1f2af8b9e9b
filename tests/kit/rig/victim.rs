//! A process that is traced: stepped, run to a breakpoint, killed, and the way that it goes.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use super::system::child_comes_within;
use super::{Check, Progress};
use crate::{kill, state_of, wait_for};

/// How long a victim may run before it is looked at whether it sleeps.
const STEP: Duration = Duration::from_micros(300);

/// What has no end.
const MOST_INSTRUCTIONS: u64 = 2_000_000;

/// How much of a segment is compared after each step, in bytes.
const LOOKED_AT: usize = 4096;

/// What is put in place of an instruction to stop there.
const BREAK: &[u8] = if cfg!(target_arch = "x86_64") { &[0xcc] } else { &[0x00, 0x00, 0x20, 0xd4] };

/// What came of a step.
pub(super) enum Stop {
    Stepped,
    Marked,
    Asleep,
    /// Another signal, or the end.
    Else(libc::c_int),
}

/// A process that is stepped. Killed when it is dropped.
pub(super) struct Victim {
    pub(super) pid: u32,
    /// Instructions done.
    pub(super) steps: u64,
    pub(super) finished: bool,
    pub(super) asleep: bool,
}

impl Victim {
    pub(super) fn request(&self, request: libc::c_uint, data: libc::c_int) -> io::Result<()> {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: these requests (step, set options) take numbers, and touch no memory of this process.
        let done = unsafe { libc::ptrace(request, self.pid.cast_signed(), none, libc::c_long::from(data)) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until it stops; or tells that it sleeps.
    pub(super) fn stop(&self) -> Stop {
        loop {
            let mut status = 0;
            // SAFETY: writes the status, and looks at a child.
            let got = unsafe { libc::waitpid(self.pid.cast_signed(), &raw mut status, libc::WNOHANG | libc::__WALL) };
            match (got, libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))) {
                (0, _) if child_comes_within(STEP) => {}
                (0, _) if state_of(self.pid) == Some('S') => return Stop::Asleep,
                (0, _) => {}
                (1.., Some(libc::SIGTRAP)) => return Stop::Stepped,
                (1.., Some(libc::SIGSTOP)) => return Stop::Marked,
                _ => return Stop::Else(status),
            }
        }
    }

    /// Lets it go on to the next stop. `act` is called while it sleeps, unless it is to be left asleep.
    fn go(&mut self, request: libc::c_uint, leave_asleep: bool, act: &mut dyn FnMut()) -> Check {
        self.request(request, 0)?;
        loop {
            match self.stop() {
                Stop::Stepped => return Ok(()),
                Stop::Marked => {
                    self.finished = true;
                    return Ok(());
                }
                Stop::Asleep if leave_asleep => {
                    self.asleep = true;
                    return Ok(());
                }
                Stop::Asleep => act(),
                Stop::Else(status) => {
                    if !libc::WIFSTOPPED(status) {
                        self.pid = 0;
                    }
                    return Err(format!("the victim ended by itself: status {status:#x}").into());
                }
            }
        }
    }

    /// Steps once.
    fn step(&mut self, leave_asleep: bool, act: &mut dyn FnMut()) -> Check {
        self.go(libc::PTRACE_SINGLESTEP, leave_asleep, act)?;
        self.steps += u64::from(!self.finished);
        Ok(())
    }

    /// Runs until it comes to this instruction for the time after so many, or to the second mark.
    fn run_to(&mut self, at: u64, times: u64, act: &mut dyn FnMut()) -> Check {
        let memory = File::options().read(true).write(true).open(format!("/proc/{}/mem", self.pid))?;
        let mut instruction = vec![0; BREAK.len()];
        memory.read_exact_at(&mut instruction, at)?;
        for left in (0..=times).rev() {
            memory.write_all_at(BREAK, at)?;
            self.go(libc::PTRACE_CONT, false, act)?;
            memory.write_all_at(&instruction, at)?;
            if self.finished {
                break;
            }
            self.stand_at(at)?;
            if left > 0 {
                self.go(libc::PTRACE_SINGLESTEP, false, act)?;
            }
        }
        Ok(())
    }

    /// Behind a breakpoint: the instruction in whose place it was is the next.
    fn stand_at(&self, at: u64) -> io::Result<()> {
        let mut registers = self.registers()?;
        #[cfg(target_arch = "x86_64")]
        let position = &mut registers.rip;
        #[cfg(not(target_arch = "x86_64"))]
        let position = &mut registers.pc;
        *position = at;
        self.exchange_registers(libc::PTRACE_SETREGSET, &raw mut registers)
    }

    /// Address of the next instruction.
    pub(super) fn position(&self) -> Option<u64> {
        let registers = self.registers().ok()?;
        #[cfg(target_arch = "x86_64")]
        return Some(registers.rip);
        #[cfg(not(target_arch = "x86_64"))]
        return Some(registers.pc);
    }

    fn registers(&self) -> io::Result<libc::user_regs_struct> {
        let mut registers = MaybeUninit::uninit();
        self.exchange_registers(libc::PTRACE_GETREGSET, registers.as_mut_ptr())?;
        // SAFETY: they were just written.
        Ok(unsafe { registers.assume_init() })
    }

    fn exchange_registers(&self, request: libc::c_uint, registers: *mut libc::user_regs_struct) -> io::Result<()> {
        let mut buffer = libc::iovec { iov_base: registers.cast(), iov_len: size_of::<libc::user_regs_struct>() };
        let which = ptr::without_provenance_mut::<libc::c_void>(libc::NT_PRSTATUS as usize);
        // SAFETY: reads or writes the general registers, which are as large as the buffer.
        let done = unsafe { libc::ptrace(request, self.pid.cast_signed(), which, &raw mut buffer) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Kills it; when this returns, the kernel has dropped all that it had.
    pub(super) fn kill(&mut self) {
        if self.pid != 0 {
            kill(self.pid);
            wait_for(self.pid);
            self.pid = 0;
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What is seen on the one victim that is stepped to the end.
#[derive(Default)]
pub(super) struct Survey {
    /// Address of each instruction, and how often it had been there before.
    pub(super) way: Vec<(u64, u64)>,
    /// Numbers of instructions that changed a shared byte, or were system calls.
    pub(super) visible: BTreeSet<u64>,
}

impl Survey {
    pub(super) fn instructions(&self) -> u64 {
        self.way.len() as u64
    }

    /// Steps to the end, and notes what is seen.
    pub(super) fn follow(&mut self, victim: &mut Victim, memory: &File, act: &mut dyn FnMut(), progress: &Progress) -> Check {
        let mut regions = Regions::of(memory, progress.place());
        let mut been = HashMap::new();
        while !victim.finished {
            let at = victim.position().ok_or("no registers")?;
            let is_call = is_system_call(memory, at);
            victim.step(false, act)?;
            let times: &mut u64 = been.entry(at).or_default();
            self.way.push((at, *times));
            *times += 1;
            if regions.have_changed(memory) || is_call {
                self.visible.insert(self.instructions());
            }
            if self.instructions() > MOST_INSTRUCTIONS {
                return Err("the operation has no end".into());
            }
            progress.beat();
        }
        Ok(())
    }

    /// Goes the same way, up to this point; all of it in steps, if it has threads that a breakpoint would catch too.
    pub(super) fn repeat(&self, victim: &mut Victim, point: u64, has_threads: bool, act: &mut dyn FnMut()) -> Check {
        if let Some((from, at, times)) = self.place_before(point).filter(|_| !has_threads) {
            victim.run_to(at, times, act)?;
            victim.steps = from;
        }
        while victim.steps < point && !victim.finished {
            victim.step(victim.steps + 1 == point, act)?;
        }
        Ok(())
    }

    /// The best place to run to, for a victim that is to be stepped to this point at last: after how many instructions, where, and how
    /// often it comes there before.
    fn place_before(&self, point: u64) -> Option<(u64, u64, u64)> {
        let last = point.min(self.instructions()).checked_sub(1)?;
        let stepped = |from: u64| last - from;
        let candidates = (1..=last).rev().map_while(|from| {
            let (at, times) = self.way[from as usize];
            (stepped(from) < 200).then_some((4 + 4 * times + stepped(from), from, at, times))
        });
        let (cost, from, at, times) = candidates.min()?;
        (cost < last).then_some((from, at, times))
    }
}

/// The beginnings of this process's mapped segments, to see when the victim changes a byte of them.
struct Regions {
    places: Vec<u64>,
    bytes: Vec<u8>,
}

impl Regions {
    /// All but that with this byte, which changes all the time.
    fn of(memory: &File, but: u64) -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let segments = maps.lines().filter(|line| line.contains("/memfd:coproc "));
        let starts = segments.filter_map(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
        let mut regions = Self {
            places: starts.filter(|start| !(*start..start + LOOKED_AT as u64).contains(&but)).collect(),
            bytes: Vec::new(),
        };
        regions.have_changed(memory);
        regions
    }

    /// Whether they are others than at the last call.
    fn have_changed(&mut self, memory: &File) -> bool {
        let mut bytes = vec![0; self.places.len() * LOOKED_AT];
        for (page, &start) in bytes.chunks_exact_mut(LOOKED_AT).zip(&self.places) {
            // A segment may be unmapped meanwhile, and is then all zero.
            let _ = memory.read_exact_at(page, start);
        }
        let changed = self.bytes != bytes;
        self.bytes = bytes;
        changed
    }
}

/// Whether the instruction there is a system call. The code of the victim is that of this process.
fn is_system_call(memory: &File, at: u64) -> bool {
    let call: &[u8] = if cfg!(target_arch = "x86_64") { &[0x0f, 0x05] } else { &[0x01, 0x00, 0x00, 0xd4] };
    let mut code = vec![0; call.len()];
    memory.read_exact_at(&mut code, at).is_ok() && code == call
}

/// The address as one of a file, with the function, if there is a tool that knows.
pub(super) fn place(at: u64) -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut base = (String::new(), 0);
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().and_then(|range| range.split_once('-'));
        let Some((Ok(start), Ok(end))) = range.map(|(start, end)| (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)))
        else {
            continue;
        };
        let file = fields.nth(4).unwrap_or("memory");
        if base.0 != file {
            base = (file.to_owned(), start);
        }
        if (start..end).contains(&at) {
            let offset = format!("{:#x}", at - base.1);
            let tool = Command::new("addr2line").args(["-Cfpe", file, &offset]).output();
            let name = tool.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
            return format!("{offset} of {file}: {name}");
        }
    }
    format!("{at:#x}")
}
