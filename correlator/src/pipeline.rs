//! Drives events through the core: deduplicate, drop, detect, join, tell.
//!
//! [`Engine`] is the whole of it without clock or I/O; [`replay`] runs it over a given set of events, [`run`] over
//! sources that live. Where events come from and alerts go is the caller's.

#[cfg(test)]
mod account;
#[cfg(test)]
mod any_order;
#[cfg(test)]
mod bad_input_tests;
pub(crate) mod dedup;
mod engine;
mod faults;
mod feedback;
#[cfg(test)]
mod kinds;
mod meter;
#[cfg(test)]
mod older_tests;
#[cfg(test)]
mod over_alerts_tests;
mod reload;
mod replay;
mod restore;
mod run;
mod seed;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torn;

pub(crate) use engine::MAX_IDENTITIES;
#[cfg(test)]
pub(crate) use engine::single;
pub use engine::{Engine, Mode};
pub use reload::{Reload, Staged};
pub use replay::{Replayed, finish, finish_with_signals, replay, sort_finals};
pub use run::{DEFAULT_RETENTION, Delivery, RunError, Runner, StoredPositions};
pub use seed::{Learned, Seeder};
