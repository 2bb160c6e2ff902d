//! EQL sequences, with the semantics of Elasticsearch.
//!
//! Per key and stage only the newest partial match lives, and moving on uses it up. Events come here in order; between a
//! host's clock and AWS's the order is only known to [`Limits::skew`], so an event that came a little too early for its partner
//! waits that long.

mod missing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use rules::event::{EventTime, Span};
use rules::plan;
use serde::{Deserialize, Serialize};

use crate::keyed::machine::{Machine, Matches};
use crate::keyed::seldom::{Part, Seldom};
use crate::keyed::{Anchor, EventRef, Evidence, Hit, Limits, Match, Stage, clock_of, skew};
use missing::{Absence, Missing};

/// How many early events of one stage wait for a partner of the other clock.
const MAX_WAITING: usize = 64;

/// A sequence, with runs written out and missing events set apart.
#[derive(Clone)]
pub struct SequenceShape {
    stages: Vec<StageShape>,
    missing: Vec<Missing>,
    maxspan: Option<Span>,
    /// How long anything is kept where there is no `maxspan`.
    open_span: Span,
    /// See [`Limits::between_clocks`].
    skew: Span,
}

impl fmt::Debug for SequenceShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("SequenceShape");
        shape.field("stages", &self.stages).field("missing", &self.missing);
        shape.field("maxspan", &self.maxspan).field("open_span", &self.open_span);
        // Rules are known again by these words, and most were known before there was such a setting.
        if self.skew != Limits::default().between_clocks() {
            shape.field("skew", &self.skew);
        }
        shape.finish()
    }
}

#[derive(Debug, Clone, Copy)]
struct StageShape {
    /// The step of the rule, from 0: the bit in [`Hit::steps`].
    step: u16,
    name: Stage,
}

impl SequenceShape {
    pub fn new(sequence: &plan::Sequence, limits: &Limits) -> Self {
        let mut stages = Vec::new();
        let mut missing = Vec::new();
        for (step, said) in (0_u16..).zip(&sequence.steps) {
            let n_runs = u16::try_from(said.runs.get()).unwrap_or(u16::MAX);
            if said.is_missing {
                missing.push(Missing { step, before: stages.len() });
            } else if n_runs == 1 {
                stages.push(StageShape { step, name: Stage::Step(step + 1) });
            } else {
                stages.extend((1..=n_runs).map(|run| StageShape { step, name: Stage::Run(step + 1, run) }));
            }
        }
        let (open_span, skew) = (limits.open_span, limits.between_clocks());
        Self { stages, missing, maxspan: sequence.maxspan, open_span, skew }
    }

    pub fn span(&self) -> Span {
        Span(self.maxspan.unwrap_or(self.open_span).0.saturating_add(self.skew.0))
    }

    /// Whether the hit is a first step. Without one, the others come to nothing.
    pub(crate) fn begins(&self, hit: &Hit) -> bool {
        self.stages.first().is_none_or(|stage| hit.steps & (1 << stage.step) != 0)
    }

    fn is_within(&self, first: &EventRef, last: &EventRef) -> bool {
        let apart = last.time - first.time;
        self.maxspan
            .is_none_or(|maxspan| apart <= Span(maxspan.0.saturating_add(skew(first, last, self.skew).0)))
    }
}

/// The events of the first stages, one each.
type Partial = Vec<Arc<EventRef>>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SequenceState {
    /// By stage, the newest partial match that ends with it. None ends with the last: that is a match.
    partials: Vec<Option<Partial>>,
    waiting: Seldom<Waiting>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Waiting {
    /// By stage, events that found no partial match to continue. One of the other clock may yet turn out to be earlier.
    early: Vec<VecDeque<Arc<EventRef>>>,
    /// By missing event, where it was seen.
    present: Vec<VecDeque<Arc<EventRef>>>,
    /// Matches that hold as long as nothing is seen in these places.
    absences: Vec<Absence>,
}

impl Machine for SequenceState {
    type Shape = SequenceShape;

    fn new(shape: &SequenceShape) -> Self {
        Self { partials: vec![None; shape.stages.len().saturating_sub(1)], waiting: Seldom::default() }
    }

    fn step(
        &mut self,
        shape: &SequenceShape,
        hit: &Arc<Hit>,
        _limits: &Limits,
        matches: &mut Matches,
    ) -> u64 {
        self.note_presence(shape, hit, matches);
        // From the last stage to the first, so that no event follows itself.
        for stage in (0..shape.stages.len()).rev() {
            if hit.steps & (1 << shape.stages[stage].step) != 0 {
                self.extend(shape, stage, &hit.event, matches);
            }
        }
        if hit.is_until {
            self.end_all(&hit.event);
        }
        0
    }

    fn expire(&mut self, shape: &SequenceShape, before: EventTime) {
        let oldest = before - shape.span();
        for partial in &mut self.partials {
            partial.take_if(|partial| partial[0].time < oldest);
        }
        let Some(waiting) = self.waiting.get_mut() else { return };
        for early in &mut waiting.early {
            early.retain(|held| held.time >= before - shape.skew);
        }
        for present in &mut waiting.present {
            present.retain(|held| held.time >= oldest - shape.skew);
        }
        waiting.absences.retain(|absence| absence.due >= before);
        self.waiting.tidy();
    }

    fn is_empty(&self) -> bool {
        self.partials.iter().all(Option::is_none) && self.waiting.get().is_none_or(Waiting::is_default)
    }
}

impl Part for Waiting {
    fn is_default(&self) -> bool {
        self.early.iter().all(VecDeque::is_empty)
            && self.present.iter().all(VecDeque::is_empty)
            && self.absences.is_empty()
    }
}

/// The queue of that number. Those that nothing was ever put into are not there.
fn queue(queues: &mut Vec<VecDeque<Arc<EventRef>>>, at: usize) -> &mut VecDeque<Arc<EventRef>> {
    if queues.len() <= at {
        queues.resize_with(at + 1, VecDeque::new);
    }
    &mut queues[at]
}

impl SequenceState {
    pub(crate) fn has_begun_nothing(&self) -> bool {
        self.partials.iter().all(Option::is_none)
    }

    /// The event meets the newest partial match of the stage before, or begins one.
    fn extend(&mut self, shape: &SequenceShape, stage: usize, record: &Arc<EventRef>, matches: &mut Matches) {
        if stage == 0 {
            self.place(shape, stage, vec![Arc::clone(record)], matches);
            return;
        }
        let before = &mut self.partials[stage - 1];
        let follows = before.as_ref().is_some_and(|partial| !partial.iter().any(|held| is_one(held, record)));
        // A partial match that is too old is used up all the same: those before it are older still. It is as if time had
        // taken it already, so the event waits as it would then.
        let partial = before.take_if(|_| follows).filter(|partial| shape.is_within(&partial[0], record));
        match partial {
            Some(mut partial) => {
                partial.push(Arc::clone(record));
                self.place(shape, stage, partial, matches);
            }
            None => {
                let early = queue(&mut self.waiting.make().early, stage);
                while early.front().is_some_and(|held| held.time < record.time - shape.skew)
                    || early.len() >= MAX_WAITING
                {
                    early.pop_front();
                }
                early.push_back(Arc::clone(record));
            }
        }
    }

    fn place(&mut self, shape: &SequenceShape, stage: usize, partial: Partial, matches: &mut Matches) {
        if stage + 1 == shape.stages.len() {
            self.complete(shape, partial, matches);
            return;
        }
        match self.take_early(shape, stage + 1, &partial) {
            Some(next) if shape.is_within(&partial[0], &next) => {
                let mut partial = partial;
                partial.push(next);
                self.place(shape, stage + 1, partial, matches);
            }
            _ => self.partials[stage] = Some(partial),
        }
    }

    /// The earliest waiting event that may in truth have come after all of the partial match.
    fn take_early(
        &mut self,
        shape: &SequenceShape,
        stage: usize,
        partial: &Partial,
    ) -> Option<Arc<EventRef>> {
        let early = self.waiting.get_mut()?.early.get_mut(stage)?;
        let at = early
            .iter()
            .position(|held| partial.iter().all(|before| may_follow(before, held, shape.skew)))?;
        early.remove(at)
    }

    fn complete(&mut self, shape: &SequenceShape, events: Partial, matches: &mut Matches) {
        let (first, last) = (&events[0], &events[events.len() - 1]);
        let named = |(stage, record): (&StageShape, &Arc<EventRef>)| Evidence {
            stage: stage.name,
            event: Arc::clone(record),
        };
        let times = events.iter().map(|record| record.time);
        let found = Match {
            anchor: Anchor::Event(last.id.clone()),
            at: Arc::clone(last),
            evidence: shape.stages.iter().zip(&events).map(named).collect(),
            n_events: events.len() as u64,
            start: times.clone().min().unwrap_or(first.time),
            end: times.max().unwrap_or(last.time),
            columns: Vec::new(),
            is_absence: !shape.missing.is_empty(),
        };
        if shape.missing.is_empty() {
            matches.put(found, None);
            return;
        }
        let absence = Absence::new(shape, &events, found.anchor.clone());
        let waiting = self.waiting.make();
        let mut present = waiting.present.iter().enumerate();
        let is_disproved = present.any(|(idx, present)| {
            present.iter().any(|record| absence.is_disproved_by(idx, record, shape.skew))
        });
        if !is_disproved {
            matches.put(found, Some(absence.due));
            waiting.absences.push(absence);
        }
    }

    fn note_presence(&mut self, shape: &SequenceShape, hit: &Arc<Hit>, matches: &mut Matches) {
        for (idx, missing) in shape.missing.iter().enumerate() {
            if hit.steps & (1 << missing.step) == 0 {
                continue;
            }
            let waiting = self.waiting.make();
            waiting.absences.retain(|absence| {
                let holds = !absence.is_disproved_by(idx, &hit.event, shape.skew);
                if !holds {
                    matches.remove(&absence.anchor);
                }
                holds
            });
            let present = queue(&mut waiting.present, idx);
            let oldest = hit.time() - shape.span() - shape.skew;
            while present.front().is_some_and(|held| held.time < oldest) {
                present.pop_front();
            }
            present.push_back(Arc::clone(&hit.event));
        }
    }

    /// `until`: whatever was under way has ended.
    fn end_all(&mut self, until: &Arc<EventRef>) {
        for partial in &mut self.partials {
            // The event that ends the old may begin the new.
            partial.take_if(|held| !held.last().is_some_and(|last| is_one(last, until)));
        }
    }
}

/// Whether the second event may have come after the first, as far as their clocks can tell.
fn may_follow(first: &EventRef, second: &EventRef, skew: Span) -> bool {
    if clock_of(first) == clock_of(second) {
        second.order() > first.order()
    } else {
        second.time + skew >= first.time
    }
}

fn is_one(a: &Arc<EventRef>, b: &Arc<EventRef>) -> bool {
    Arc::ptr_eq(a, b) || a.order() == b.order()
}
