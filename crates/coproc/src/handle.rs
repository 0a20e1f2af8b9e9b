//! What every handle of a shared object can do.

/// Handles are clones of one mapping, go to other processes as messages, and come from descriptors.
///
/// `$handle` has a field `segment` and a function `from_segment(Segment) -> Result<Self>`.
macro_rules! handle {
    ($handle:ident $(<$t:ident: $bound:path>)?) => {
        impl$(<$t: $bound>)? Clone for $handle$(<$t>)? {
            fn clone(&self) -> Self {
                Self { segment: self.segment.clone(), ..*self }
            }
        }

        /// The descriptor of the segment. It may be sent to a process of the same family, which turns it into a handle with `TryFrom`.
        impl$(<$t: $bound>)? std::os::fd::AsFd for $handle$(<$t>)? {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.segment.file()
            }
        }

        impl$(<$t: $bound>)? TryFrom<std::os::fd::OwnedFd> for $handle$(<$t>)? {
            type Error = crate::Error;

            /// A handle of the object behind a descriptor that a process of the same family gave. What lies there is checked first.
            fn try_from(file: std::os::fd::OwnedFd) -> crate::Result<Self> {
                Self::from_segment(crate::segment::Segment::attach(file)?)
            }
        }

        impl$(<$t: $bound>)? crate::Message for $handle$(<$t>)? {
            fn write(&self, to: &mut crate::message::Writer<'_>) {
                to.segment(&self.segment);
            }

            fn read(from: &mut crate::message::Reader<'_>) -> Option<Self> {
                Self::from_segment(from.segment()?).ok()
            }
        }

        impl$(<$t: $bound>)? crate::Arg<$handle$(<$t>)?> for &$handle$(<$t>)? {
            fn put(&self, to: &mut crate::message::Writer<'_>) {
                crate::Message::write(*self, to);
            }
        }
    };
}

pub(crate) use handle;
