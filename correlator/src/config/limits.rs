//! `[limits]` and `store.max_size`: what memory, processors and disk a run may take.

use std::fmt::Write;

use super::reader::{Context, Table};
use super::show::size;
use super::{Limits, MIB};

/// Below these a run would forget what single rules need.
const LEAST_MEMORY: u64 = 64 * MIB;
const LEAST_STORE: u64 = 64 * MIB;
const MOST: u32 = 100_000_000;
const MOST_THREADS: u32 = 64;

/// One count of the table: its key, its least, and where it is kept.
struct Count {
    key: &'static str,
    least: u32,
    place: fn(&mut Limits) -> &mut usize,
}

const COUNTS: [Count; 7] = [
    Count { key: "keys", least: 1_000, place: |limits| &mut limits.max_keys },
    Count { key: "keys_per_rule", least: 100, place: |limits| &mut limits.max_keys_per_rule },
    Count { key: "events", least: 1_000, place: |limits| &mut limits.max_open_hits },
    Count { key: "events_per_key", least: 64, place: |limits| &mut limits.max_open_hits_per_key },
    Count { key: "events_per_window", least: 16, place: |limits| &mut limits.max_hits_per_key },
    Count { key: "context_events", least: 1_000, place: |limits| &mut limits.max_context_total },
    Count { key: "context_events_per_value", least: 16, place: |limits| &mut limits.max_context_per_link },
];

pub(super) fn read(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Limits {
    let mut limits = Limits::default();
    if let Some(bytes) = table.size_at("memory", ctx) {
        limits.max_bytes = bytes.value;
        if bytes.value < LEAST_MEMORY {
            ctx.fault(bytes.span, "\"memory\" is too little for a run", "write \"64MiB\" or more");
        }
    }
    for Count { key, least, place } in COUNTS {
        if let Some(number) = table.integer(key, least..MOST + 1, ctx) {
            *place(&mut limits) = number as usize;
        }
    }
    limits
}

pub(super) fn threads(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> u32 {
    table.integer("threads", 1..MOST_THREADS + 1, ctx).unwrap_or(1)
}

pub(super) fn max_store(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<u64> {
    let bytes = table.size_at("max_size", ctx)?;
    if bytes.value < LEAST_STORE {
        ctx.fault(bytes.span, "\"max_size\" is too little for a store", "write \"64MiB\" or more");
    }
    Some(bytes.value)
}

pub(super) fn write(mut limits: Limits, n_threads: u32, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n[limits]\nthreads = {n_threads}\nmemory = \"{}\"", size(limits.max_bytes))?;
    COUNTS.iter().try_for_each(|Count { key, place, .. }| writeln!(out, "{key} = {}", place(&mut limits)))
}
