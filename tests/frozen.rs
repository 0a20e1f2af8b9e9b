//! `FrozenArray`: nobody changes it, not even who made it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use coproc::{Error, FrozenArray, Plain, Result, SharedArray, Unfit};
use coproc_pool::Process;
use coproc_tests::{Seal, bytes_of, file_of, memory, watchdog};

fn duplicate(object: &impl AsFd) -> OwnedFd {
    object.as_fd().try_clone_to_owned().unwrap()
}

fn unfit(file: OwnedFd) -> Unfit {
    match FrozenArray::<u32>::try_from(file) {
        Err(Error::Unfit(unfit)) => unfit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_call() -> Result<()> {
    let frozen = FrozenArray::from_slice(&[2, 3, 5, 7])?;
    assert_eq!((frozen.len(), frozen[2], frozen.iter().sum::<i32>()), (4, 5, 17));
    assert_eq!(*frozen.clone(), [2, 3, 5, 7]);
    assert_eq!(format!("{frozen:?}"), "FrozenArray([2, 3, 5, 7])");
    assert_eq!(*FrozenArray::from_slice(&[(), ()])?, [(), ()]);
    Ok(())
}

#[test]
fn of_no_elements() {
    assert!(matches!(FrozenArray::<u8>::from_slice(&[]), Err(Error::Empty)));
}

#[test]
fn a_frozen_copy_does_not_follow_its_array() -> Result<()> {
    let a = SharedArray::from_slice(&[1, 2])?;
    let frozen = a.freeze()?;
    a.set(0, 9)?;
    assert_eq!((*frozen).to_vec(), [1, 2]);
    drop(a);
    assert_eq!((*frozen).to_vec(), [1, 2]);
    Ok(())
}

#[test]
fn the_kernel_refuses_every_change() -> Result<()> {
    let frozen = FrozenArray::from_slice(&[1_u8; 100])?;
    let file = file_of(&frozen);
    assert!(file.write_all_at(&[7], 130).is_err());
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
    let again = std::fs::File::options().write(true).open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    assert!(again.is_err() || again.unwrap().write_all_at(&[7], 130).is_err());
    assert_eq!(*frozen, [1; 100]);
    Ok(())
}

#[test]
fn children_and_their_children_read_it() -> Result<()> {
    fn child(frozen: FrozenArray<u64>) -> Result<u64> {
        Ok(Process::spawn(|frozen: FrozenArray<u64>| frozen.iter().sum::<u64>(), (&frozen,))?.join()? + frozen[0])
    }
    let _watch = watchdog(30, "readers");
    let frozen = FrozenArray::from_slice(&(1..=10_000).collect::<Vec<u64>>())?;
    let all = (0..4).map(|_| Process::spawn(child, (&frozen,))).collect::<Result<Vec<_>>>()?;
    drop(frozen);
    for process in all {
        assert_eq!(process.join()?, 50_005_001);
    }
    Ok(())
}

#[test]
fn a_child_returns_one() -> Result<()> {
    let _watch = watchdog(30, "a frozen result");
    let frozen = Process::spawn(|| FrozenArray::from_slice(&[1.5_f32, 2.5]), ())?.join()?;
    assert_eq!(*frozen, [1.5, 2.5]);
    Ok(())
}

#[test]
fn an_alignment_is_kept() -> Result<()> {
    #[derive(Clone, Copy, Debug, Plain)]
    #[repr(C, align(1024))]
    struct Aligned {
        words: [u64; 128],
    }
    let frozen = FrozenArray::from_slice(&[Aligned { words: [3; 128] }; 2])?;
    assert_eq!((&raw const frozen[1]).addr() % 1024, 0);
    assert_eq!(FrozenArray::<Aligned>::try_from(duplicate(&frozen))?[1].words[127], 3);
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let frozen = FrozenArray::from_slice(&[1_u32, 2, 3])?;
    assert_eq!(*FrozenArray::<u32>::try_from(duplicate(&frozen))?, [1, 2, 3]);
    let array = SharedArray::from_slice(&[1_u32])?;
    assert_eq!(unfit(duplicate(&array)), Unfit::Kind { expected: "FrozenArray", found: "SharedArray" });
    assert_eq!(unfit(duplicate(&FrozenArray::from_slice(&[1_i32])?)), Unfit::Type { expected: "u32" });
    let whole = bytes_of(&frozen);
    assert_eq!(*FrozenArray::<u32>::try_from(memory(&whole, Seal::All))?, [1, 2, 3]);
    // What somebody could still write is not frozen, whatever it says.
    assert_eq!(unfit(memory(&whole, Seal::Length)), Unfit::Unsealed);
    assert_eq!(unfit(memory(&whole, Seal::Nothing)), Unfit::Unsealed);
    let size = whole.len() as u64;
    assert_eq!(unfit(memory(&whole[..whole.len() - 1], Seal::All)), Unfit::Length { expected: size, found: size - 1 });
    for len in [0_u64, 2, 4, (1 << 62) + 3, u64::MAX] {
        let mut bytes = whole.clone();
        bytes[56..64].copy_from_slice(&len.to_le_bytes());
        assert!(matches!(unfit(memory(&bytes, Seal::All)), Unfit::Length { .. }), "{len} elements");
    }
    // As an array that is to be written, it is read-only.
    let mut bytes = bytes_of(&SharedArray::from_slice(&[1_u32])?);
    assert!(matches!(SharedArray::<u32>::try_from(memory(&bytes, Seal::All)), Err(Error::Unfit(Unfit::ReadOnly))));
    bytes[32] ^= 1;
    assert!(matches!(SharedArray::<u32>::try_from(memory(&bytes, Seal::All)), Err(Error::Unfit(Unfit::Stranger))));
    Ok(())
}
