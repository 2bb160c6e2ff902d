//! The host agent: kernel records in, ECS events out.
//!
//! Reading order: [`config`], [`loader`], [`ring`], [`decode`] and [`clock`] at the edge; [`process`] and [`container`]
//! for who is who; [`enrich`] where a record becomes an [`event`]; [`output`]
//! and [`pipeline`] for where it goes, with [`spool`] and [`wire`] on the way to a correlator; [`record`] for doing all of that again without a kernel.

pub mod assembly;
pub mod btf;
pub mod check;
pub mod clock;
pub mod config;
pub mod container;
pub mod decode;
pub mod doctor;
pub mod enrich;
pub mod event;
pub mod host;
pub mod loader;
pub mod lookup;
pub mod offsets;
pub mod output;
pub mod pipeline;
pub mod private;
pub mod privileges;
pub mod probes;
pub mod process;
pub mod record;
pub mod redact;
pub mod ring;
pub mod selftest;
pub mod spool;
pub mod stats;
pub mod status;
pub mod stop;
pub mod supervisor;
pub mod watch;
pub mod wire;
