//! What the process table holds, weighed. Shared values count once, for as long as anybody holds them.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bytes that a value takes, its own place included.
pub trait Weigh {
    fn n_bytes(&self) -> usize;
}

/// Bookkeeping of an `Arc` and of the allocator, per value.
const HEAP_BYTES: usize = 64;

/// The sum over all values that are held through it.
#[derive(Debug, Clone, Default)]
pub struct Scale(Arc<AtomicUsize>);

/// A value on a scale.
#[derive(Debug)]
pub struct Held<T> {
    value: T,
    n_bytes: usize,
    scale: Scale,
    /// What [`Held::shorter`] gave, while somebody has it.
    shorter: Mutex<Weak<Self>>,
}

impl Scale {
    pub fn hold<T: Weigh>(&self, value: T) -> Arc<Held<T>> {
        let n_bytes = value.n_bytes() + HEAP_BYTES;
        self.0.fetch_add(n_bytes, Ordering::Relaxed);
        Arc::new(Held { value, n_bytes, scale: self.clone(), shorter: Mutex::default() })
    }

    pub fn n_bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<T: Weigh> Held<T> {
    /// A smaller form of the value: the same one for all who share the value.
    pub fn shorter(&self, make: impl FnOnce(&T) -> T) -> Arc<Self> {
        let mut memo = self.shorter.lock().unwrap_or_else(PoisonError::into_inner);
        memo.upgrade().unwrap_or_else(|| {
            let made = self.scale.hold(make(&self.value));
            *memo = Arc::downgrade(&made);
            made
        })
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.scale.0.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

/// What some texts take on the heap.
pub fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text.len() + size_of::<String>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for String {
        fn n_bytes(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn a_shared_value_counts_once_and_until_its_last_holder() {
        let scale = Scale::default();
        let one = scale.hold("x".repeat(100));
        let two = Arc::clone(&one);
        assert_eq!(scale.n_bytes(), 100 + HEAP_BYTES);
        let cut = |text: &String| text[..10].to_owned();
        let (short, same) = (one.shorter(cut), two.shorter(cut));
        assert!(Arc::ptr_eq(&short, &same));
        assert_eq!(scale.n_bytes(), 110 + 2 * HEAP_BYTES);
        drop((one, two));
        assert_eq!(scale.n_bytes(), 10 + HEAP_BYTES);
        drop((short, same));
        assert_eq!(scale.n_bytes(), 0);
    }
}
