//! A ring buffer of the kernel's, mapped and read.
//!
//! Its data is mapped once. Libraries map it twice in a row, so that a record that goes over the end lies in one piece;
//! the kernel counts each page as often as it is mapped, and 8 MiB of a ring were 16 MiB of the sensor. Here such a record
//! is copied together instead: one in thousands.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use aya::maps::{Map, MapData, MapError};

/// Before each record: its length, with two bits on top, and a word for the kernel (`include/uapi/linux/bpf.h`).
const HEADER_BYTES: usize = 8;
/// Reserved and not yet filled.
const BUSY: u32 = 1 << 31;
/// Filled, and given up.
const DISCARDED: u32 = 1 << 30;

/// The reading end of one ring.
pub(crate) struct Mapped {
    view: View,
    map: MapData,
    _pages: [Pages; 2],
}

impl Mapped {
    pub(crate) fn new(map: Map) -> Result<Self, MapError> {
        let Map::RingBuf(map) = map else { return Err(MapError::InvalidMapType { map_type: 0 }) };
        let size = map.info()?.max_entries() as usize;
        let fail = |io_error| MapError::SyscallError(aya::sys::SyscallError { call: "mmap", io_error });
        let fd = map.fd().as_fd();
        let consumer = Pages::map(fd, 0, page_bytes(), libc::PROT_READ | libc::PROT_WRITE).map_err(fail)?;
        let producer = Pages::map(fd, page_bytes(), page_bytes() + size, libc::PROT_READ).map_err(fail)?;
        let view = View {
            consumed: consumer.start.cast(),
            produced: producer.start.cast(),
            // SAFETY: the data begins a page after the producer's position, inside the same mapping.
            data: unsafe { producer.start.add(page_bytes()) },
            size,
            position: 0,
            joined: Vec::new(),
        };
        Ok(Self { view, map, _pages: [consumer, producer] })
    }

    /// The oldest record that is ready; the same one until [`Mapped::advance`].
    pub(crate) fn peek(&mut self) -> Option<&[u8]> {
        self.view.peek()
    }

    /// Gives its room back to the kernel.
    pub(crate) fn advance(&mut self) {
        self.view.advance();
    }
}

impl AsFd for Mapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }
}

/// Where things are in memory.
struct View {
    consumed: NonNull<AtomicUsize>,
    produced: NonNull<AtomicUsize>,
    data: NonNull<u8>,
    /// Bytes of data, a power of two.
    size: usize,
    /// How far this reader came; what is `consumed` for the kernel.
    position: usize,
    /// A record that goes over the end.
    joined: Vec<u8>,
}

// SAFETY: nobody else has these addresses but the kernel, which does not mind what thread reads.
unsafe impl Send for View {}

impl View {
    fn peek(&mut self) -> Option<&[u8]> {
        let len = loop {
            let header = self.header()?;
            if header & BUSY != 0 {
                return None;
            }
            let len = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                break len;
            }
            self.pass(len);
        };
        // It begins behind its header, which never goes over the end: both are multiples of eight bytes.
        let start = (self.position + HEADER_BYTES) & (self.size - 1);
        let first = len.min(self.size - start);
        // SAFETY: within the data; the kernel leaves a record that is ready alone until it was consumed.
        let head = unsafe { std::slice::from_raw_parts(self.data.add(start).as_ptr(), first) };
        if first == len {
            return Some(head);
        }
        // SAFETY: as above; no record is longer than the ring.
        let tail = unsafe { std::slice::from_raw_parts(self.data.as_ptr(), (len - first).min(self.size)) };
        self.joined.clear();
        self.joined.extend_from_slice(head);
        self.joined.extend_from_slice(tail);
        Some(&self.joined)
    }

    fn advance(&mut self) {
        if let Some(header) = self.header().filter(|header| header & BUSY == 0) {
            self.pass((header & !DISCARDED) as usize);
        }
    }

    /// The first word of what is next, if anything is.
    fn header(&self) -> Option<u32> {
        // SAFETY: mapped for as long as this is. The kernel writes it after the record's room was taken.
        let produced = unsafe { self.produced.as_ref() }.load(Ordering::Acquire);
        if produced == self.position {
            return None;
        }
        // SAFETY: within the data, and aligned: records are multiples of eight bytes.
        let header = unsafe { self.data.add(self.position & (self.size - 1)).cast::<AtomicU32>().as_ref() };
        // Pairs with the kernel's exchange when it is done with the record.
        Some(header.load(Ordering::Acquire))
    }

    fn pass(&mut self, len: usize) {
        self.position = self.position.wrapping_add((HEADER_BYTES + len).next_multiple_of(8));
        // SAFETY: mapped for as long as this is. The kernel reads it before it uses the room again.
        unsafe { self.consumed.as_ref() }.store(self.position, Ordering::Release);
    }
}

/// Pages of the ring, until this goes.
struct Pages {
    start: NonNull<u8>,
    n_bytes: usize,
}

// SAFETY: an address and a length, and unmapping is not bound to a thread.
unsafe impl Send for Pages {}

impl Pages {
    fn map(fd: BorrowedFd<'_>, at: usize, n_bytes: usize, protection: i32) -> io::Result<Self> {
        let at = libc::off_t::try_from(at).map_err(io::Error::other)?;
        // SAFETY: a mapping where the kernel finds room for it touches nothing that is there.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), n_bytes, protection, libc::MAP_SHARED, fd.as_raw_fd(), at)
        };
        match NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED) {
            Some(start) => Ok(Self { start, n_bytes }),
            None => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing points there any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.n_bytes) };
    }
}

fn page_bytes() -> usize {
    rustix::param::page_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of 64 bytes in ordinary memory, written as the kernel does.
    struct Kernel {
        consumed: Box<AtomicUsize>,
        produced: Box<AtomicUsize>,
        data: Box<[u64; 8]>,
    }

    impl Kernel {
        fn new() -> Self {
            Self { consumed: Box::default(), produced: Box::default(), data: Box::default() }
        }

        fn view(&mut self) -> View {
            View {
                consumed: NonNull::from(&mut *self.consumed),
                produced: NonNull::from(&mut *self.produced),
                data: NonNull::from(&mut *self.data).cast(),
                size: 64,
                position: 0,
                joined: Vec::new(),
            }
        }

        fn put(&self, view: &View, bits: u32, record: &[u8]) {
            let at = self.produced.load(Ordering::Relaxed);
            let put = |at: usize, byte: u8| {
                // SAFETY: within the data.
                unsafe { view.data.add(at & 63).write(byte) };
            };
            let header = (record.len() as u32 | bits).to_ne_bytes();
            header.iter().enumerate().for_each(|(idx, byte)| put(at + idx, *byte));
            record.iter().enumerate().for_each(|(idx, byte)| put(at + HEADER_BYTES + idx, *byte));
            self.produced.store(at + (HEADER_BYTES + record.len()).next_multiple_of(8), Ordering::Relaxed);
        }
    }

    fn take(view: &mut View) -> Option<Vec<u8>> {
        let taken = view.peek().map(<[u8]>::to_vec);
        view.advance();
        taken
    }

    #[test]
    fn records_are_taken_in_order_and_their_room_is_given_back() {
        let mut kernel = Kernel::new();
        let mut view = kernel.view();
        assert_eq!(take(&mut view), None);
        kernel.put(&view, 0, b"one");
        kernel.put(&view, DISCARDED, b"given up");
        kernel.put(&view, 0, b"two");
        assert_eq!((view.peek(), kernel.consumed.load(Ordering::Relaxed)), (Some(&b"one"[..]), 0));
        assert_eq!(take(&mut view).as_deref(), Some(&b"one"[..]));
        assert_eq!(take(&mut view).as_deref(), Some(&b"two"[..]));
        assert_eq!((take(&mut view), kernel.consumed.load(Ordering::Relaxed)), (None, 48));
    }

    #[test]
    fn a_record_that_goes_over_the_end_is_whole() {
        let mut kernel = Kernel::new();
        let mut view = kernel.view();
        for nth in 0..40_u8 {
            let record: Vec<u8> = (0..nth % 41).map(|idx| nth ^ idx).collect();
            kernel.put(&view, 0, &record);
            assert_eq!(take(&mut view), Some(record), "{nth}");
        }
    }

    #[test]
    fn what_is_still_being_written_holds_back_what_is_behind_it() {
        let mut kernel = Kernel::new();
        let mut view = kernel.view();
        kernel.put(&view, BUSY, b"later");
        kernel.put(&view, 0, b"ready");
        assert_eq!(take(&mut view), None);
        kernel.produced.store(0, Ordering::Relaxed);
        kernel.put(&view, 0, b"later");
        kernel.produced.store(32, Ordering::Relaxed);
        assert_eq!(take(&mut view).as_deref(), Some(&b"later"[..]));
        assert_eq!(take(&mut view).as_deref(), Some(&b"ready"[..]));
    }
}
