//! The host agent: kernel records in, ECS events out.

pub mod btf;
pub mod loader;
pub mod offsets;
pub mod probes;
pub mod ring;
