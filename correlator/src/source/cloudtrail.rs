//! CloudTrail: one record of AWS's into an event.

mod java_text;
pub(crate) mod mapping;
pub mod record;
#[cfg(test)]
mod tests;

pub use java_text::java_text;
