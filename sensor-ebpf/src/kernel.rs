//! Reads of kernel memory: every raw pointer is followed here, so that probes read like plain Rust.

pub(crate) mod path;
pub(crate) mod socket;
pub(crate) mod task;

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use sensor_ebpf::abi::settings::ABSENT;
use sensor_ebpf::abi::text::Text;

/// Address of a kernel object of a type that the running kernel's type information knows.
pub(crate) type Ptr = *const u8;

/// How a field of a kernel object is read.
pub(crate) trait Access {
    /// The field at `offset`, or `None` for a null object, an absent field or a failed read.
    fn load<T: Copy>(object: Ptr, offset: u32) -> Option<T>;
}

/// By a plain load instruction.
///
/// For pointers whose type the verifier knows: a tracepoint's arguments and what was loaded from them. A
/// wrong offset is refused at load, a fault at run time reads as zero, and there is no helper to call.
pub(crate) enum Typed {}

impl Access for Typed {
    #[inline(always)]
    fn load<T: Copy>(object: Ptr, offset: u32) -> Option<T> {
        if object.is_null() || offset == ABSENT {
            return None;
        }
        // SAFETY: the verifier has proved the type of `object`; the kernel handles the fault of a stale one.
        Some(unsafe { core::ptr::read_volatile(object.add(offset as usize).cast::<T>()) })
    }
}

/// By the kernel's copying helper: for addresses that are mere numbers to the verifier.
pub(crate) enum Probed {}

impl Access for Probed {
    #[inline(always)]
    fn load<T: Copy>(object: Ptr, offset: u32) -> Option<T> {
        if offset == ABSENT {
            return None;
        }
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        let source = object.wrapping_add(offset as usize);
        // SAFETY: `value` has room for a `T`; the helper takes any source address and reports a fault.
        let status =
            unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, source.cast()) };
        // SAFETY: the helper filled `value`; callers ask for integers, pointers and arrays of them only.
        (status == 0).then(|| unsafe { value.assume_init() })
    }
}

/// Copies a NUL-terminated kernel string; false if it was cut or could not be read.
#[inline(always)]
pub(crate) fn copy_text<const N: usize>(text: &mut Text<N>, source: Ptr) -> bool {
    text._pad = 0;
    // SAFETY: `bytes` has room for `N`; the helper takes any source address and reports a fault.
    let copied =
        unsafe { bpf_probe_read_kernel_str(text.bytes.as_mut_ptr().cast(), N as u32, source.cast()) };
    text.len = if copied > 0 { copied as u32 - 1 } else { 0 };
    copied > 0 && text.len < N as u32 - 1
}

/// Copies the beginning of a NUL-terminated kernel string; what is behind it stays as it is.
#[inline(always)]
pub(crate) fn copy_name(beginning: &mut [u8; 16], source: Ptr) {
    let len = beginning.len() as u32;
    // SAFETY: `beginning` has room for `len`; the helper takes any source address and reports a fault.
    let _ = unsafe { bpf_probe_read_kernel_str(beginning.as_mut_ptr().cast(), len, source.cast()) };
}

/// Nanoseconds since boot, suspend included.
#[inline(always)]
pub(crate) fn boot_ns() -> u64 {
    // SAFETY: takes nothing, returns a number.
    unsafe { bpf_ktime_get_boot_ns() }
}
