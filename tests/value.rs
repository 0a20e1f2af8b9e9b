//! `SharedValue`: every call, every kind of value, and descriptors that hold something else.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use coproc::{
    AtomicFlag, Code, Error, Event, Flag, FrozenArray, LockError, Maybe, Mutex, Plain, Queue, ReadOnly, Result, Semaphore,
    Shareable, SharedArray, SharedValue, Text, TryLockError, Unfit,
};
use coproc_pool::Process;
use coproc_tests::{LOCK_WORD, Seal, bytes_of, limit_descriptors, memory, peek, until, watchdog};

#[derive(Clone, Copy, Debug, PartialEq, coproc::Code)]
#[repr(u8)]
enum Colour {
    Red = 1,
    Green = 7,
}

#[derive(Clone, Copy, Debug, Plain)]
#[repr(C)]
struct Everything {
    big: u128,
    float: f64,
    maybe: Maybe<u64>,
    rest: u64,
    small: [i16; 3],
    flag: Flag,
    colour: Code<Colour>,
    name: Text<12>,
    _pad: [u8; PAD],
}

/// What fills the last 16 bytes.
const PAD: usize = 64 - 8 - 16 - size_of::<Text<12>>();

#[derive(Debug, Shareable)]
#[repr(C)]
struct State {
    count: AtomicU64,
    last: Mutex<Everything>,
    ready: Event,
    stop: AtomicFlag,
    limit: ReadOnly<u64>,
    slots: Semaphore,
    sums: [Mutex<u64>; 3],
}

#[test]
fn every_call() -> Result<()> {
    let n = SharedValue::new(5_i32)?;
    *n.lock()? += 1;
    assert_eq!(n.get()?, 6);
    n.set(7)?;
    assert_eq!(n.update(|n| n * 2)?, 14);
    *n.try_lock()? += 1;
    *n.lock_timeout(Duration::ZERO)? += 1;
    *n.lock_or_repair(|_, _| unreachable!())? += 1;
    let guard = n.lock_poisoned()?;
    assert_eq!((*guard, guard.poisoned()), (17, None));
    assert_eq!(format!("{guard:?}"), "17");
    drop(guard);
    let other = n.clone();
    other.set(-1)?;
    assert_eq!(n.get()?, -1);
    drop(n);
    assert_eq!(other.get()?, -1);
    assert_eq!(SharedValue::<[u8; 5]>::zeroed()?.get()?, [0; 5]);
    SharedValue::new(())?.set(())?;
    Ok(())
}

#[test]
fn concurrent_data_is_used_in_place() -> Result<()> {
    fn child(state: SharedValue<State>) -> Result<()> {
        state.count.fetch_add(2, SeqCst);
        state.last.lock()?.rest = 3;
        *state.sums[1].lock()? += *state.limit;
        state.stop.store(true, SeqCst);
        state.ready.set();
        state.slots.release(4)?;
        Ok(())
    }
    let _watch = watchdog(30, "a struct of concurrent data");
    let state = SharedValue::<State>::zeroed()?;
    assert!(!state.ready.is_set() && state.slots.available() == 0 && *state.limit == 0);
    Process::spawn(child, (&state,))?.join()?;
    assert!(state.ready.is_set() && state.stop.load(SeqCst));
    assert_eq!((state.count.load(SeqCst), state.last.lock()?.rest, state.slots.available()), (2, 3, 4));
    let made = State {
        count: AtomicU64::new(1),
        last: Mutex::new(state.last.lock().map(|last| *last)?),
        ready: Event::new(),
        stop: AtomicFlag::new(false),
        limit: ReadOnly::new(9),
        slots: Semaphore::new(1),
        sums: [const { Mutex::new(5) }; 3],
    };
    let state = SharedValue::new(made)?;
    Process::spawn(child, (&state,))?.join()?;
    assert_eq!((state.count.load(SeqCst), *state.sums[1].lock()?, state.slots.available()), (3, 14, 5));
    assert!(format!("{state:?}").contains("limit"));
    Ok(())
}

#[test]
fn a_child_and_its_child_change_the_same_value() -> Result<()> {
    fn child(value: SharedValue<Everything>) -> Result<()> {
        value.lock()?.name = Text::new("child")?;
        Process::spawn(grandchild, (&value,))?.join()?;
        Ok(())
    }
    fn grandchild(value: SharedValue<Everything>) -> Result<()> {
        let mut value = value.lock()?;
        assert_eq!(value.name.as_str()?, "child");
        value.big = u128::MAX;
        value.float = -0.5;
        value.small[2] = i16::MIN;
        value.flag.set(true);
        value.colour.set(Colour::Green);
        value.maybe.set(Some(u64::MAX));
        Ok(())
    }
    let _watch = watchdog(30, "a child's child");
    let value = SharedValue::<Everything>::zeroed()?;
    Process::spawn(child, (&value,))?.join()?;
    let seen = value.get()?;
    assert_eq!((seen.big, seen.float, seen.small, seen.flag.get()), (u128::MAX, -0.5, [0, 0, i16::MIN], true));
    assert_eq!((seen.colour.get(), seen.maybe.get(), seen.name.as_str()), (Some(Colour::Green), Some(u64::MAX), Ok("child")));
    assert_eq!(SharedValue::<Everything>::zeroed()?.get()?.colour.get(), None);
    let _ = Colour::Red;
    Ok(())
}

#[test]
fn debug_does_not_wait() -> Result<()> {
    let _watch = watchdog(30, "Debug of a locked value");
    let n = SharedValue::new(41_u8)?;
    assert!(format!("{n:?}").contains("41"));
    let guard = n.lock()?;
    assert!(format!("{n:?}").contains("locked"), "{n:?}");
    std::thread::scope(|scope| {
        let shown = scope.spawn(|| format!("{n:?}")).join().unwrap();
        assert!(shown.contains("locked"), "{shown}");
    });
    drop(guard);
    let panics = || {
        let _guard = n.lock();
        panic!("with the lock held");
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    let shown = format!("{n:?}");
    assert!(shown.contains("41") && shown.contains("poisoned"), "{shown}");
    // And it leaves the poison where it is.
    assert!(matches!(n.lock(), Err(LockError::Poisoned(_))));
    Ok(())
}

fn unfit(file: OwnedFd) -> Unfit {
    match SharedValue::<u32>::try_from(file) {
        Err(Error::Unfit(unfit)) => unfit,
        other => panic!("{other:?}"),
    }
}

fn duplicate(object: &impl AsFd) -> OwnedFd {
    object.as_fd().try_clone_to_owned().unwrap()
}

/// The file of a value of 3, with these bytes changed.
fn changed(at: usize, with: &[u8], seal: Seal) -> OwnedFd {
    let mut bytes = bytes_of(&SharedValue::new(3_u32).unwrap());
    bytes[at..at + with.len()].copy_from_slice(with);
    memory(&bytes, seal)
}

#[test]
fn a_descriptor_becomes_a_handle_of_the_same_object() -> Result<()> {
    let n = SharedValue::new(3_u32)?;
    let same = SharedValue::<u32>::try_from(duplicate(&n))?;
    same.set(4)?;
    assert_eq!(n.get()?, 4);
    let _guard = n.lock()?;
    assert_eq!(same.try_lock().unwrap_err(), TryLockError::Lock(LockError::Deadlock));
    // A copy of the bytes is another object.
    let copy = SharedValue::<u32>::try_from(changed(0, &[], Seal::Length))?;
    assert_eq!(copy.get()?, 3);
    Ok(())
}

#[test]
fn what_is_no_segment_is_refused() -> Result<()> {
    assert_eq!(unfit(memory(&[], Seal::Length)), Unfit::NotASegment);
    assert_eq!(unfit(memory(b"coproc", Seal::Length)), Unfit::NotASegment);
    assert_eq!(unfit(memory(&[0; 4096], Seal::Length)), Unfit::NotASegment);
    assert_eq!(unfit(memory(&[255; 4096], Seal::Length)), Unfit::NotASegment);
    assert_eq!(unfit(std::fs::File::open("/dev/null").unwrap().into()), Unfit::NotASegment);
    assert_eq!(unfit(std::fs::File::open("/proc/self/exe").unwrap().into()), Unfit::NotASegment);
    // The magic is wrong, or the kind is none.
    assert_eq!(unfit(changed(0, b"C", Seal::Length)), Unfit::NotASegment);
    assert_eq!(unfit(changed(12, &[99], Seal::Length)), Unfit::NotASegment);
    // What cannot even be read at an offset is an error of the system.
    let (pipe, _other) = std::io::pipe().unwrap();
    assert!(matches!(SharedValue::<u32>::try_from(OwnedFd::from(pipe)), Err(Error::Os(..) | Error::Unfit(_))));
    let folder = std::fs::File::open("/").unwrap();
    assert!(matches!(SharedValue::<u32>::try_from(OwnedFd::from(folder)), Err(Error::Os(..) | Error::Unfit(_))));
    Ok(())
}

#[test]
fn another_kind_is_refused() -> Result<()> {
    let kind = |found| Unfit::Kind { expected: "SharedValue", found };
    assert_eq!(unfit(duplicate(&SharedArray::from_slice(&[3_u32])?)), kind("SharedArray"));
    assert_eq!(unfit(duplicate(&Queue::<u32>::new(1)?)), kind("Queue"));
    assert_eq!(unfit(duplicate(&FrozenArray::from_slice(&[3_u32])?)), kind("FrozenArray"));
    Ok(())
}

#[test]
fn another_type_is_refused() -> Result<()> {
    #[derive(Clone, Copy, Debug, Plain)]
    #[repr(C)]
    struct One {
        a: u32,
    }
    #[derive(Clone, Copy, Debug, Plain)]
    #[repr(C)]
    struct Same {
        a: u32,
    }
    #[derive(Clone, Copy, Debug, Plain)]
    #[repr(C)]
    struct Other {
        b: u32,
    }
    assert_eq!(unfit(duplicate(&SharedValue::new(3_i32)?)), Unfit::Type { expected: "u32" });
    assert_eq!(unfit(duplicate(&SharedValue::new(3_u64)?)), Unfit::Type { expected: "u32" });
    assert_eq!(unfit(duplicate(&SharedValue::new(Mutex::new(3_u32))?)), Unfit::Type { expected: "u32" });
    assert_eq!(unfit(duplicate(&SharedValue::new([3_u32])?)), Unfit::Type { expected: "u32" });
    // The fields count, not the name.
    let one = SharedValue::new(One { a: 3 })?;
    assert_eq!(SharedValue::<Same>::try_from(duplicate(&one))?.get()?.a, 3);
    assert!(matches!(SharedValue::<Other>::try_from(duplicate(&one)), Err(Error::Unfit(Unfit::Type { .. }))));
    assert_eq!(Other { b: 1 }.b + one.get()?.a, 4);
    Ok(())
}

#[test]
fn a_wrong_length_is_refused() -> Result<()> {
    let whole = bytes_of(&SharedValue::new(3_u32)?);
    let size = whole.len() as u64;
    for cut in 0..128 {
        assert_eq!(unfit(memory(&whole[..cut], Seal::Length)), Unfit::NotASegment, "{cut} bytes");
    }
    for cut in 128..whole.len() {
        assert_eq!(unfit(memory(&whole[..cut], Seal::Length)), Unfit::Length { expected: size, found: cut as u64 });
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(unfit(memory(&longer, Seal::Length)), Unfit::Length { expected: size, found: size + 1 });
    // The header says more elements than there are, or than can be counted.
    assert!(matches!(unfit(changed(56, &2_u64.to_le_bytes(), Seal::Length)), Unfit::Length { .. }));
    assert!(matches!(unfit(changed(56, &0_u64.to_le_bytes(), Seal::Length)), Unfit::Length { .. }));
    assert!(matches!(unfit(changed(56, &u64::MAX.to_le_bytes(), Seal::Length)), Unfit::Length { .. }));
    assert!(matches!(unfit(changed(64, &u64::MAX.to_le_bytes(), Seal::Length)), Unfit::Length { .. }));
    // As many elements as the length has room for, but a value is one.
    let mut two = whole.clone();
    two.extend([0; 4]);
    two[56..64].copy_from_slice(&2_u64.to_le_bytes());
    two[64..72].copy_from_slice(&(size + 4).to_le_bytes());
    assert_eq!(unfit(memory(&two, Seal::Length)), Unfit::NotASegment);
    Ok(())
}

#[test]
fn a_file_that_others_could_cut_is_refused() {
    assert_eq!(unfit(changed(0, &[], Seal::Nothing)), Unfit::Unsealed);
    assert_eq!(unfit(changed(0, &[], Seal::All)), Unfit::ReadOnly);
}

#[test]
fn another_protocol_or_family_is_refused() {
    assert_eq!(unfit(changed(8, &[99, 0, 0, 0], Seal::Length)), Unfit::Protocol { expected: 1, found: 99 });
    assert_eq!(unfit(changed(32, &[0xaa; 16], Seal::Length)), Unfit::Stranger);
}

#[test]
fn no_header_crashes() -> Result<()> {
    let _watch = watchdog(120, "random headers");
    let whole = bytes_of(&SharedValue::new(3_u32)?);
    let mut random = coproc_tests::Random(8);
    let mut accepted = 0;
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next() as u8;
        }
        let seal = [Seal::Nothing, Seal::Length, Seal::All][random.below(3) as usize];
        match SharedValue::<u32>::try_from(memory(&bytes, seal)) {
            Ok(value) => {
                // Only its lock or its data differ, or what nobody reads.
                let _ = value.lock_timeout(Duration::from_millis(1)).map(drop);
                accepted += 1;
            }
            Err(Error::Unfit(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(accepted > 0);
    Ok(())
}

#[test]
fn the_length_of_a_segment_is_sealed() -> Result<()> {
    let n = SharedValue::new(3_u32)?;
    let file = coproc_tests::file_of(&n);
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
    assert_eq!(n.get()?, 3);
    Ok(())
}

#[test]
fn no_descriptor_is_an_error_that_names_the_limit() -> Result<()> {
    fn run() -> Result<usize> {
        let first = SharedValue::new(1_u8)?;
        limit_descriptors(40);
        let mut all = Vec::new();
        let error = loop {
            match SharedValue::new(2_u8) {
                Ok(value) => all.push(value),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::TooManyDescriptors { limit: 40 }), "{error:?}");
        assert!(error.to_string().contains("RLIMIT_NOFILE is 40"));
        assert!(matches!(SharedArray::<u8>::zeroed(1), Err(Error::TooManyDescriptors { .. })));
        assert!(matches!(Queue::<u8>::new(1), Err(Error::TooManyDescriptors { .. })));
        assert!(matches!(FrozenArray::from_slice(&[1_u8]), Err(Error::TooManyDescriptors { .. })));
        // What there is goes on, and there is room again when something goes.
        assert_eq!(first.update(|n| n + 1)?, 2);
        all.pop();
        all.push(SharedValue::new(3)?);
        Ok(all.len())
    }
    let _watch = watchdog(30, "no descriptor");
    assert!(Process::spawn(run, ())?.join()? > 10);
    Ok(())
}

#[test]
fn a_value_of_many_pages() -> Result<()> {
    let n = SharedValue::<[u64; 4096]>::zeroed()?;
    n.lock()?[4095] = 7;
    let sum = Process::spawn(|n: SharedValue<[u64; 4096]>| n.lock().map(|n| n.iter().sum::<u64>()), (&n,))?;
    assert_eq!(sum.join()?, 7);
    Ok(())
}

#[test]
fn an_alignment_is_kept() -> Result<()> {
    #[derive(Clone, Copy, Debug, Plain)]
    #[repr(C, align(512))]
    struct Aligned {
        words: [u64; 64],
    }
    let n = SharedValue::new(Aligned { words: [3; 64] })?;
    let guard = n.lock()?;
    assert_eq!((&raw const *guard).addr() % 512, 0);
    assert_eq!(guard.words[63], 3);
    Ok(())
}

#[test]
fn the_lock_lies_where_these_tests_write_it() -> Result<()> {
    let n = SharedValue::new(3_u32)?;
    assert_eq!(peek(&n, LOCK_WORD), 0);
    let _guard = n.lock()?;
    assert_eq!(peek(&n, LOCK_WORD) & ((1 << 22) - 1), u64::from(coproc_tests::thread_id()));
    Ok(())
}

#[test]
fn drop_frees_the_memory_at_once() -> Result<()> {
    fn run() -> Result<bool> {
        let before = coproc_tests::descriptors().len();
        for n in 0..200_u64 {
            let value = SharedValue::new([n; 100])?;
            let clone = value.clone();
            drop(value);
            assert_eq!(clone.get()?, [n; 100]);
        }
        // The registry is opened by the first object.
        let after = coproc_tests::descriptors().len();
        Ok(after <= before + 2 && !std::fs::read_to_string("/proc/self/maps").unwrap().contains("/memfd:coproc "))
    }
    let _watch = watchdog(30, "dropped values");
    assert!(Process::spawn(run, ())?.join()?);
    Ok(())
}

#[test]
fn many_threads_attach_and_drop_one_object() -> Result<()> {
    let _watch = watchdog(120, "attaching in threads");
    let n = SharedValue::new(0_u64)?;
    let file = duplicate(&n);
    drop(n);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let handle = SharedValue::<u64>::try_from(file.try_clone().unwrap()).unwrap();
                    *handle.lock().unwrap() += 1;
                }
            });
        }
        scope.spawn(|| {
            until("all are counted", || {
                let handle = SharedValue::<u64>::try_from(file.try_clone().unwrap()).unwrap();
                handle.get().unwrap() == 2000
            });
            stop.store(true, SeqCst);
        });
        Ok(())
    })?;
    assert!(stop.load(SeqCst));
    Ok(())
}
