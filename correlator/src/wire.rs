//! The wire from sensors: who speaks.

pub mod name;
pub mod people;
