//! Strangers: connections whose certificate has not been seen yet. They have places of their own, and few for each address,
//! so that whoever only knocks takes no sensor's place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Handshakes under way, of everybody and of one address. A fleet behind one address comes back at once after a cut.
const MAX_ALL: usize = 2048;
const MAX_OF_ONE: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Porch(Mutex<HashMap<IpAddr, usize>>);

/// A stranger's place, until this is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    porch: Arc<Porch>,
    address: IpAddr,
}

impl Porch {
    /// None if there are too many, or too many of this address.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Stranger> {
        let mut strangers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n_of_one = strangers.get(&address).copied().unwrap_or(0);
        if n_of_one >= MAX_OF_ONE || strangers.values().sum::<usize>() >= MAX_ALL {
            return None;
        }
        strangers.insert(address, n_of_one + 1);
        Some(Stranger { porch: Arc::clone(self), address })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut strangers = self.porch.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = strangers.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                strangers.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_does_not_take_all_places_and_gives_its_own_back() {
        let porch = Arc::new(Porch::default());
        let of = |last: u8| IpAddr::from([192, 0, 2, last]);
        let held: Vec<Stranger> = (0..MAX_OF_ONE).map(|_| porch.enter(of(1)).unwrap()).collect();
        assert!(porch.enter(of(1)).is_none());
        assert!(porch.enter(of(2)).is_some());
        let more: Vec<Stranger> =
            (0..MAX_ALL - MAX_OF_ONE).map(|n| porch.enter(of(2 + (n / MAX_OF_ONE) as u8)).unwrap()).collect();
        assert!(porch.enter(of(9)).is_none(), "all places are taken");
        drop((held, more));
        let _again = porch.enter(of(1)).unwrap();
        assert_eq!(porch.0.lock().unwrap().len(), 1, "who has gone is forgotten");
    }
}
