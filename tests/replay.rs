//! Each recorded trace, replayed on a virtual clock by the real program, comes to the same final alerts byte for byte.
//!
//! `cargo xtask bless` makes what comes out now the expectation; read that diff as you would a change of behaviour.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use std::fs;

use harness::trace::{self, Order};

/// Compares with the golden file, or rewrites it.
fn expect(trace: &trace::Trace, alerts: &str) {
    let path = trace.expected();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, alerts).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|err| panic!("{}: {err}; cargo xtask bless", path.display()));
    assert!(expected == alerts, "{} differs from {}:\n{alerts}", trace.name, path.display());
}

#[test]
fn every_trace_comes_to_its_alerts() {
    let traces = trace::all();
    assert!(traces.len() >= 5, "the five systems each have a trace, {} are there", traces.len());
    for trace in &traces {
        assert!(trace.n_events() > 0, "{} holds no events", trace.name);
        let alerts = trace.alerts(Order::AsRecorded);
        assert!(!alerts.is_empty(), "{} raises nothing", trace.name);
        expect(trace, &alerts);
    }
}

#[test]
fn order_and_repetition_change_nothing() {
    for trace in trace::all() {
        let expected = trace.alerts(Order::AsRecorded);
        for seed in 1..=3 {
            for order in [Order::Shuffled(seed), Order::Doubled(seed)] {
                let alerts = trace.alerts(order);
                assert!(
                    alerts == expected,
                    "{} {order:?} ends differently:\n{alerts}\ninstead of\n{expected}",
                    trace.name
                );
            }
        }
    }
}

#[test]
fn a_trace_replayed_twice_is_byte_equal() {
    for trace in trace::all() {
        assert_eq!(trace.alerts(Order::AsRecorded), trace.alerts(Order::AsRecorded), "{}", trace.name);
    }
}
