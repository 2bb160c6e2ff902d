//! Time, order and memory: sources, merge, keyed state, alerts, sinks.
#![forbid(unsafe_code)]
