//! What can be seen from inside only; the rest is in the workspace's tests, across processes.

use super::*;

#[test]
fn a_slice_may_go_round_the_end() {
    let queue = Queue::<u32>::new(5).unwrap();
    for start in 0..20 {
        queue.send_slice(&[0, 1, 2]).unwrap();
        let mut items = [9; 5];
        assert_eq!(queue.recv_into(&mut items), Ok(3));
        queue.send_slice(&[start, start + 1, start + 2, start + 3, start + 4]).unwrap();
        assert!(queue.is_full());
        assert_eq!(queue.recv_into(&mut items), Ok(5));
        assert_eq!(items, [start, start + 1, start + 2, start + 3, start + 4]);
    }
}

#[test]
fn iter_passes_over_what_is_no_value() {
    let bytes = Queue::<u8>::new(8).unwrap();
    bytes.send_slice(&[1, 7, 0]).unwrap();
    bytes.close();
    // The same ring, looked at as another type, as only a hostile peer could.
    let flags = Queue::<bool> { segment: bytes.segment.clone(), ring: bytes.ring, of: PhantomData };
    assert_eq!(flags.iter().collect::<Vec<_>>(), [true, false]);
}
