//! The account of a run, against what was handed in: every event is in one of its terms, and in the right one.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use rules::catalogue;
use rules::event::{EventTime, Span};
use rules::program::Program;
use rules::schema::Schema;

use super::{Engine, Mode};
use crate::keyed::Limits;
use crate::source::normalize::Normalizer;
use crate::source::{Origin, Rejected, RejectedKind};
use crate::stats::Counts;

const DROPS: &str = r#"
[[drop]]
name = "noise"
query = 'event.action:DescribeNoise'
reason = "a test's"
"#;

/// One thing that a source hands over.
#[derive(Debug, Clone)]
enum Given {
    /// Event `id` of the set; whether it is one for the drop list, and how many hours after the first it happened.
    Event {
        id: u8,
        is_noise: bool,
        hour: u8,
    },
    Garbage,
    /// Time passes up to this hour.
    Watermark(u8),
}

fn given() -> impl Strategy<Value = (bool, Given)> {
    let event = (0..60_u8, any::<bool>(), 0..72_u8).prop_map(|(id, is_noise, hour)| Given::Event {
        id,
        is_noise,
        hour,
    });
    let what = prop_oneof![6 => event, 1 => Just(Given::Garbage), 1 => (0..96_u8).prop_map(Given::Watermark)];
    (any::<bool>(), what)
}

fn at(hour: u8) -> EventTime {
    crate::time::parse("2026-11-02T00:00:00Z").unwrap() + Span::from_secs(i64::from(hour) * 3_600)
}

fn line(id: u8, is_noise: bool, hour: u8) -> String {
    let time = crate::time::format(at(hour)).replace(".000Z", "Z");
    let name = if is_noise { "DescribeNoise" } else { "CreateUser" };
    format!(
        r#"{{"eventID":"e{id}","eventTime":"{time}","eventSource":"ec2.amazonaws.com","eventName":"{name}","userIdentity":{{"type":"IAMUser"}}}}"#
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn received_is_the_sum_of_what_became_of_it(all in proptest::collection::vec(given(), 0..120)) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("drop.toml"), DROPS).unwrap();
        let mut schema = Schema::builtin();
        let loaded = catalogue::load([folder.path()], &mut schema);
        prop_assert_eq!(loaded.drops.len(), 1);
        let program = Arc::new(Program::with_drops(loaded.rules, loaded.drops, &schema));
        let normalizer = Normalizer::new(Arc::new(Schema::builtin()), Arc::default());
        let mut engine = Engine::new(program, &schema, Limits::default(), Mode::Revisions);
        let names: [Arc<str>; 2] = ["one".into(), "two".into()];

        let mut expected = [Counts::default(); 2];
        let (mut seen, mut watermark) = (BTreeSet::new(), None::<u8>);
        for (is_second, given) in all {
            let (source, counts) = (&names[usize::from(is_second)], &mut expected[usize::from(is_second)]);
            match given {
                Given::Watermark(hour) => {
                    // As the merge gives them out: never backwards.
                    let hour = watermark.map_or(hour, |watermark| watermark.max(hour));
                    watermark = Some(hour);
                    engine.advance(at(hour));
                    // Ids are kept by the hour of their event, for a day.
                    let day_ago = hour.saturating_sub(24);
                    seen.retain(|(_, of)| *of >= day_ago);
                }
                Given::Garbage => {
                    counts.received += 1;
                    counts.rejected += 1;
                    let (at, reason) = ("line 1".to_owned(), "no JSON".to_owned());
                    engine.reject(&Rejected { source: Arc::clone(source), at, reason, kind: RejectedKind::Record });
                }
                Given::Event { id, is_noise, hour } => {
                    counts.received += 1;
                    let record = normalizer.read(Origin::CloudTrail, line(id, is_noise, hour)).unwrap();
                    engine.push(source, record);
                    if seen.iter().any(|(held, _)| *held == id) {
                        counts.duplicate += 1;
                        continue;
                    }
                    seen.insert((id, hour));
                    if is_noise {
                        counts.dropped += 1;
                    } else if watermark.is_some_and(|watermark| hour + 24 < watermark) {
                        counts.late += 1;
                    } else {
                        counts.evaluated += 1;
                    }
                }
            }
        }
        for (name, mut expected) in names.iter().zip(expected) {
            let counts = engine.stats().by_source.get(name).copied().unwrap_or_default();
            prop_assert!(counts.is_balanced());
            // Which of two texts under one id came first is another test's.
            expected.conflicting = counts.conflicting;
            prop_assert_eq!(counts, expected);
        }
    }
}
