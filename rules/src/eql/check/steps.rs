//! Sequences and samples: keys that agree, limits that are there.

use std::num::NonZeroU32;
use std::ops::Range;

use super::super::ast::{self, Unit};
use super::{CheckedQuery, CheckedStep, Checker};
use crate::constant::Type;
use crate::diagnostic::Code;
use crate::event::Span;
use crate::plan::KeyPart;

/// A resolved join key, with where it stands.
struct Key {
    part: KeyPart,
    ty: Type,
    span: Range<usize>,
}

impl Checker<'_> {
    pub(super) fn sequence(&mut self, sequence: &ast::Sequence) -> Option<CheckedQuery> {
        self.bound_steps(sequence.steps.len(), &sequence.place.span());
        let shared = self.keys(&sequence.by);
        let maxspan = sequence.maxspan.as_ref().map(|maxspan| self.maxspan(maxspan));
        let head = sequence.place.span();
        if self.is_whole {
            self.shape(sequence, &head);
        }
        let all: Vec<&ast::Step> = sequence.steps.iter().chain(&sequence.until).collect();
        let own = self.own_keys(&all);
        let mut steps: Vec<Option<CheckedStep>> =
            all.iter().zip(own).map(|(step, own)| self.step(step, shared.as_deref(), own)).collect();
        let until = sequence.until.as_ref().and_then(|_| steps.pop());
        let maxspan = match maxspan {
            Some(span) => Some(span?),
            None => None,
        };
        Some(CheckedQuery::Sequence {
            steps: steps.into_iter().collect::<Option<_>>()?,
            maxspan,
            until: match until {
                Some(until) => Some(until?),
                None => None,
            },
        })
    }

    pub(super) fn sample(&mut self, sample: &ast::Sample) -> Option<CheckedQuery> {
        let head = sample.place.span();
        self.bound_steps(sample.steps.len(), &head);
        if self.is_whole && sample.steps.len() < 2 {
            self.report(Code::TooFewSteps, &head, "a sample needs two steps or more", "use an event query");
        }
        if sample.by.is_empty() && sample.steps.iter().any(|step| step.by.is_empty()) {
            let help = "name what the events share, as in `sample by host.id`";
            self.report(Code::NoKey, &head, "a sample needs a join key", help);
        }
        for step in &sample.steps {
            if step.is_missing {
                let help = "use `sequence ... with maxspan=...` to say that an event must not happen";
                self.report(Code::Syntax, &step.place.0, "a sample has no missing events", help);
            }
            if let Some(runs) = &step.runs {
                let help = "use `sequence` to count events";
                self.report(Code::BadRuns, &runs.place.0, "a sample has no `with runs`", help);
            }
        }
        let shared = self.keys(&sample.by);
        let all: Vec<&ast::Step> = sample.steps.iter().collect();
        let own = self.own_keys(&all);
        let steps: Vec<Option<CheckedStep>> =
            all.iter().zip(own).map(|(step, own)| self.step(step, shared.as_deref(), own)).collect();
        Some(CheckedQuery::Sample { steps: steps.into_iter().collect::<Option<_>>()? })
    }

    fn bound_steps(&mut self, n_steps: usize, head: &Range<usize>) {
        let max = self.schema.bounds().max_steps;
        if n_steps as u64 > max {
            let message =
                format!("{n_steps} steps are more than the {max} of \"max_steps\" in [rules.limits]");
            self.report(Code::TooLong, head, &message, "split the rule");
        }
    }

    /// What Elasticsearch demands of a sequence as a whole.
    fn shape(&mut self, sequence: &ast::Sequence, head: &Range<usize>) {
        let n_runs: i64 =
            sequence.steps.iter().map(|step| step.runs.as_ref().map_or(1, |runs| runs.count)).sum();
        if n_runs < 2 {
            let help = "use an event query, or repeat the step `with runs=n`";
            self.report(Code::TooFewSteps, head, "a sequence needs two steps or more", help);
        }
        let missing = sequence.steps.iter().find(|step| step.is_missing);
        if let Some(step) = missing {
            if sequence.maxspan.is_none() {
                let help = "say how long to wait: `sequence ... with maxspan=30s`";
                self.report(Code::NeedsMaxspan, &step.place.0, "a missing event needs `maxspan`", help);
            }
            if sequence.steps.iter().all(|step| step.is_missing) {
                let help = "add an event that must happen";
                self.report(Code::OnlyMissingSteps, head, "every step is a missing event", help);
            }
        }
        if let Some(until) = &sequence.until {
            if until.is_missing {
                let help = "leave out the `!`: the event ends the sequence";
                self.report(Code::Syntax, &until.place.0, "`until` takes no missing event", help);
            }
            if let Some(runs) = &until.runs {
                let help = "leave it out: the first such event ends the sequence";
                self.report(Code::BadRuns, &runs.place.0, "`until` takes no `with runs`", help);
            }
        }
    }

    fn step(
        &mut self,
        step: &ast::Step,
        shared: Option<&[Key]>,
        own: Option<Vec<Key>>,
    ) -> Option<CheckedStep> {
        let filter = self.filter(&step.filter);
        let runs = self.runs(step.runs.as_ref());
        let by = shared?.iter().chain(&own?).map(|key| key.part).collect();
        Some(CheckedStep { filter: filter?, by, runs: runs?, is_missing: step.is_missing })
    }

    /// The keys of each step. A step whose keys are wrong has none.
    fn own_keys(&mut self, steps: &[&ast::Step]) -> Vec<Option<Vec<Key>>> {
        let own: Vec<Option<Vec<Key>>> = steps.iter().map(|step| self.keys(&step.by)).collect();
        let Some(first) = steps.first() else { return own };
        for (step, keys) in steps.iter().zip(&own).skip(1) {
            if self.is_whole && step.by.len() != first.by.len() {
                let message = format!(
                    "this step joins by {} of its own fields, the first by {}",
                    step.by.len(),
                    first.by.len()
                );
                let help = "give every step, `until` included, as many fields behind `by`";
                self.report(Code::KeyCount, &step.place.0, &message, help);
                continue;
            }
            let (Some(keys), Some(Some(first))) = (keys, own.first()) else { continue };
            for (key, first) in keys.iter().zip(first) {
                if key.ty != first.ty {
                    let message = format!("{} never equals {}", key.ty.as_str(), first.ty.as_str());
                    self.report(Code::KeyType, &key.span, &message, "join fields of one type");
                }
            }
        }
        own
    }

    fn keys(&mut self, keys: &[ast::Key]) -> Option<Vec<Key>> {
        let resolved: Vec<Option<Key>> = keys
            .iter()
            .map(|key| {
                let field = self.field(&key.path, key.place.span())?;
                let part = KeyPart { field, is_optional: key.is_optional };
                Some(Key { part, ty: self.type_of(field), span: key.place.span() })
            })
            .collect();
        resolved.into_iter().collect()
    }

    fn maxspan(&mut self, maxspan: &ast::Maxspan) -> Option<Span> {
        let nanos = match maxspan.unit {
            Unit::Millis => 1_000_000,
            Unit::Seconds => 1_000_000_000,
            Unit::Minutes => 60 * 1_000_000_000,
            Unit::Hours => 3600 * 1_000_000_000,
            Unit::Days => 86_400 * 1_000_000_000,
        };
        let span = maxspan.amount.checked_mul(nanos).filter(|span| *span > 0);
        if span.is_none() {
            self.report(Code::BadSpan, &maxspan.place.0, "`maxspan` is out of range", "write 1ms to 100000d");
        }
        span.map(Span)
    }

    fn runs(&mut self, runs: Option<&ast::Runs>) -> Option<NonZeroU32> {
        let Some(runs) = runs else { return Some(NonZeroU32::MIN) };
        let max = self.schema.bounds().max_runs;
        let is_within = u64::try_from(runs.count).is_ok_and(|count| count <= max);
        let count = u32::try_from(runs.count).ok().filter(|_| is_within).and_then(NonZeroU32::new);
        if count.is_none() {
            let message =
                format!("`runs` is {}, not 1 to {max}, which is \"max_runs\" in [rules.limits]", runs.count);
            self.report(
                Code::BadRuns,
                &runs.place.0,
                &message,
                "use a rule of type `threshold` to count further",
            );
        }
        count
    }
}
