//! Time, order and memory: sources, merge, keyed state, alerts, sinks.
//!
//! Reading order: [`time`] (event time and watermarks), [`source`] (bytes to records), [`link`] and [`endpoint`] (what
//! a record gains on its way in), [`merge`] (many sources, one stream), [`detect`] (records to hits), [`keyed`] (hits to
//! matches, with [`sequence`], [`window`], [`terms`] and [`correlation`]), `archive` (the events state rests on), [`context`] and [`alert`] (matches to documents), [`store`] (what
//! outlives the process), [`wire`] (what sensors send, over TLS by certificates of [`ca`]), [`pipeline`] (all of it driven), [`why_not`] (a second opinion on what did not fire).
#![forbid(unsafe_code)]

pub mod alert;
mod archive;
#[cfg(feature = "aws")]
mod aws;
mod aws_cli;
mod bundle;
pub mod ca;
mod causes;
pub mod cli;
pub mod config;
pub mod context;
pub mod correlation;
mod describe;
pub mod detect;
pub mod endpoint;
pub mod geo;
pub mod health;
mod hex;
mod history;
mod httpd;
pub mod hunt;
pub mod identity;
pub mod incident;
pub mod indicator;
pub mod keyed;
mod kinds;
pub mod link;
pub mod lists;
pub mod merge;
pub mod metrics;
pub mod notify;
pub mod pipeline;
pub mod render;
pub mod report;
pub mod sample;
pub mod sequence;
pub mod serve;
pub mod sink;
pub mod source;
mod sparing;
pub mod stage;
pub mod stats;
pub mod store;
mod tally;
pub mod terms;
pub mod time;
mod tune;
pub mod untrusted;
pub mod why_not;
pub mod window;
pub mod wire;
