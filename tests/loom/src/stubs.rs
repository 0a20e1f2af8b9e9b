//! What the protocols need of the rest of the library, as small as it goes.

pub(crate) mod plain {
    use crate::layout::Layout;
    use crate::shareable::{Locked, Shareable};

    /// # Safety
    /// As in the library.
    pub(crate) unsafe trait Plain: Shareable<Access = Locked> + Copy {}

    // SAFETY: a number.
    unsafe impl Shareable for u64 {
        type Access = Locked;
        const LAYOUT: u64 = Layout::of::<Self>("u64").hash();
    }
    // SAFETY: a number.
    unsafe impl Plain for u64 {}

    pub(crate) const fn zero<T: Plain>() -> T {
        // SAFETY: every bit pattern of plain data is a valid value.
        unsafe { std::mem::zeroed() }
    }
}

pub(crate) mod error {
    #[derive(Debug)]
    pub enum Error {
        Empty,
        TooLarge { len: usize, size: usize },
        Corrupted,
        Unfit(Unfit),
    }

    #[derive(Debug)]
    pub enum Unfit {
        NotASegment,
    }

    impl From<Unfit> for Error {
        fn from(unfit: Unfit) -> Self {
            Self::Unfit(unfit)
        }
    }

    pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
}

pub(crate) mod handle {
    /// A model shares a queue by an `Arc`, and sends no handles.
    macro_rules! handle {
        ($handle:ident<$t:ident: $bound:path>) => {};
        ($handle:ident) => {
            impl Clone for $handle {
                fn clone(&self) -> Self {
                    Self { segment: self.segment.clone(), ..*self }
                }
            }
        };
    }

    pub(crate) use handle;
}

pub(crate) mod ready {
    use crate::sys::atomic::AtomicU32;

    /// Waiting for several is not modelled.
    #[allow(dead_code)]
    pub trait Waitable {
        fn is_ready(&self) -> bool;
        fn announce(&self) -> (&AtomicU32, u32);
    }
}

pub(crate) mod message {
    use crate::liveness::Socket;
    use crate::segment::Segment;
    use crate::world;

    /// What goes through a queue or a ring: a number whose bytes are watched for races. And the ends of rings.
    pub trait Message: Sized {
        const PLAIN: Option<IsPlain> = None;
        fn write(&self, to: &mut Writer<'_>);
        fn read(from: &mut Reader<'_>) -> Option<Self>;

        fn write_each(values: &[Self], to: &mut Writer<'_>) {
            values.iter().for_each(|value| value.write(to));
        }

        fn read_into(values: &mut [Self], from: &mut Reader<'_>) -> Option<()> {
            values.iter_mut().try_for_each(|value| Self::read(from).map(|read| *value = read))
        }
    }

    pub trait Item: Message {
        const SIZE: usize = 8;
        const LAYOUT: u64 = 0;
    }

    impl Message for u64 {
        fn write(&self, to: &mut Writer<'_>) {
            if let Writer::Slot(at) = to {
                world::Bytes::at(*at).set(*self);
            }
        }

        fn read(from: &mut Reader<'_>) -> Option<Self> {
            if let Reader::Slot(at) = from { Some(world::Bytes::at(*at).get()) } else { None }
        }
    }

    impl Item for u64 {}

    pub struct IsPlain;

    pub(crate) unsafe fn item_at<T: Item, E>(bytes: *const u8, bad: E) -> Result<T, E> {
        T::read(&mut Reader::Slot(bytes.cast_mut())).ok_or(bad)
    }

    /// What an end of a ring leaves of itself.
    #[derive(Default)]
    pub struct Parcel {
        segment: Option<Segment>,
        socket: Option<Socket>,
    }

    impl Parcel {
        pub(crate) fn of(message: &impl Message) -> Self {
            let mut parcel = Self::default();
            message.write(&mut Writer::Parcel(&mut parcel));
            parcel
        }

        pub(crate) fn open<M: Message>(mut self) -> Option<M> {
            M::read(&mut Reader::Parcel(&mut self))
        }
    }

    pub enum Writer<'a> {
        Slot(*mut u8),
        Parcel(&'a mut Parcel),
    }

    pub enum Reader<'a> {
        Slot(*mut u8),
        Parcel(&'a mut Parcel),
    }

    impl Writer<'_> {
        pub(crate) unsafe fn slot(at: *mut u8, _: usize) -> Self {
            Self::Slot(at)
        }

        pub(crate) fn segment(&mut self, segment: &Segment) {
            if let Self::Parcel(parcel) = self {
                parcel.segment = Some(segment.clone());
            }
        }

        pub(crate) fn file(&mut self, socket: Socket) {
            if let Self::Parcel(parcel) = self {
                parcel.socket = Some(socket);
            }
        }
    }

    impl Reader<'_> {
        pub(crate) unsafe fn raw(at: *mut u8, _: usize, _: &[u8]) -> Self {
            Self::Slot(at)
        }

        pub(crate) fn segment(&mut self) -> Option<Segment> {
            if let Self::Parcel(parcel) = self { parcel.segment.take() } else { None }
        }

        pub(crate) fn file(&mut self) -> Option<Socket> {
            if let Self::Parcel(parcel) = self { parcel.socket.take() } else { None }
        }
    }
}

pub(crate) mod segment {
    use std::ptr::NonNull;
    use std::sync::Arc;

    use crate::error::Result;

    pub(crate) const BODY: usize = 128;

    #[derive(Clone, Copy)]
    pub(crate) enum Kind {
        Queue,
        LoanQueue,
        Ring,
    }

    #[allow(dead_code, reason = "as in the library")]
    pub(crate) struct Plan {
        pub(crate) kind: Kind,
        pub(crate) layout: u64,
        pub(crate) len: usize,
        pub(crate) body: usize,
    }

    #[derive(Clone)]
    #[repr(C, align(128))]
    struct Line([u64; 16]);

    /// Zeroed memory.
    #[derive(Clone, Debug)]
    pub(crate) struct Segment(Arc<Memory>);

    #[derive(Debug)]
    struct Memory {
        lines: NonNull<[Line]>,
        len: usize,
        body: usize,
    }

    // SAFETY: it holds words that are reached through the model's atomics and bytes only.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: made by `into_raw` in `create`, once.
            drop(unsafe { Box::from_raw(self.lines.as_ptr()) });
        }
    }

    /// Who has a handle is not modelled: there is always somebody else.
    #[derive(Clone)]
    pub(crate) struct Holder(Segment);

    impl Holder {
        pub(crate) fn of(segment: Segment) -> Self {
            Self(segment)
        }
    }

    impl std::ops::Deref for Holder {
        type Target = Segment;

        fn deref(&self) -> &Segment {
            &self.0
        }
    }

    impl Segment {
        pub(crate) fn is_alone(&self) -> bool {
            false
        }

        pub(crate) fn is_found_alone(&self) -> bool {
            false
        }

        pub(crate) fn create(plan: Plan) -> Result<Self> {
            let lines = vec![Line([0; 16]); plan.body.div_ceil(128)].into_boxed_slice();
            // SAFETY: what `into_raw` gives is not null.
            let lines = unsafe { NonNull::new_unchecked(Box::into_raw(lines)) };
            Ok(Self(Arc::new(Memory { lines, len: plan.len, body: plan.body })))
        }

        pub(crate) fn body(&self) -> NonNull<u8> {
            self.0.lines.cast()
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len
        }

        pub(crate) fn body_size(&self) -> usize {
            unreachable!("a model attaches no segment")
        }

        pub(crate) fn is_same(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }

        pub(crate) fn expect(&self, _: Kind, _: u64, _: &str) -> Result<()> {
            Ok(())
        }

        pub(crate) fn expect_body(&self, body: Option<usize>) -> Result<()> {
            assert_eq!(body, Some(self.0.body));
            Ok(())
        }

        /// All processes of a model are one: whether one has an end twice is not modelled.
        pub(crate) fn take_end(&self, _: usize) -> bool {
            true
        }

        pub(crate) fn leave_end(&self, _: usize) {}
    }
}
