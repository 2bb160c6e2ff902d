//! The host agent: kernel records in, ECS events out.
//!
//! Reading order: [`config`], [`decode`] and [`clock`] at the edge; [`process`] and [`container`] for who is who;
//! [`enrich`] where a record becomes an [`event`]; [`output`] and [`pipeline`] for where it goes.

pub mod clock;
pub mod config;
pub mod container;
pub mod decode;
pub mod enrich;
pub mod event;
pub mod host;
pub mod lookup;
pub mod process;
