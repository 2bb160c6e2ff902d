//! How far a sequence came: the longest chain of steps under one key, and why the next event was not its next link.

use std::collections::BTreeMap;

use rules::event::Span;
use rules::expr::Expr;
use rules::plan::{KeyPart, Sequence, Step};

use super::fit::{self, fits};
use super::{Answer, Kind, Question, Reason, Seen, in_words, order};
use crate::detect;
use crate::keyed::{EventRef, JoinKey, skew};
use crate::source::Record;

/// One positive step, runs written out.
struct Link<'s> {
    step: usize,
    said: &'s Step<Expr>,
    name: String,
}

/// The events that fit a step, with their keys.
type Hits<'r> = Vec<(&'r Record, Vec<JoinKey>)>;

struct Search<'q, 'a> {
    question: &'q Question<'a>,
    sequence: &'q Sequence<Expr>,
    links: Vec<Link<'q>>,
    /// By step of the rule.
    hits: Vec<Hits<'q>>,
    until: Hits<'q>,
}

/// A chain of events under one key, as far as it goes.
#[derive(Clone)]
struct Chain<'r> {
    key: JoinKey,
    events: Vec<&'r Record>,
    /// The event of `until` that ended it.
    ended: Option<&'r Record>,
}

pub(super) fn answer(question: &Question<'_>, sequence: &Sequence<Expr>) -> Answer {
    let hits_of = |predicate: &Expr, by: &[KeyPart]| -> Hits<'_> {
        let fitting = question.records.iter().filter(|record| fits(question, predicate, record));
        fitting.map(|record| (record, detect::keys(by, &record.event))).collect()
    };
    let mut links = Vec::new();
    for (step, said) in sequence.steps.iter().enumerate().filter(|(_, said)| !said.is_missing) {
        let n_runs = said.runs.get().min(1_000);
        let name = |run: u32| match n_runs {
            1 => format!("step {}", step + 1),
            _ => format!("step {}, run {run}", step + 1),
        };
        links.extend((1..=n_runs).map(|run| Link { step, said, name: name(run) }));
    }
    let search = Search {
        question,
        sequence,
        links,
        hits: sequence.steps.iter().map(|step| hits_of(&step.predicate, &step.by)).collect(),
        until: sequence.until.as_ref().map_or_else(Vec::new, |until| hits_of(&until.predicate, &until.by)),
    };
    search.answer()
}

impl<'q> Search<'q, '_> {
    fn answer(&self) -> Answer {
        if let Some(answer) = self.about_event() {
            return answer;
        }
        let chains = self.chains();
        let Some(best) = chains.iter().max_by_key(|chain| (chain.events.len(), chain.ended.is_none())) else {
            return self.none_began();
        };
        if best.events.len() < self.links.len() {
            return self.broke_off(best);
        }
        let is_whole =
            |chain: &&Chain<'q>| chain.events.len() == self.links.len() && self.spoiler(chain).is_none();
        match chains.iter().find(is_whole) {
            Some(whole) => Answer {
                reached: "all of it".to_owned(),
                is_met: true,
                found: self.seen(whole),
                nearest: None,
                reasons: Vec::new(),
            },
            None => self.spoiled(best),
        }
    }

    /// The event that is asked about, where it fits no step: it cannot be part of anything.
    fn about_event(&self) -> Option<Answer> {
        let id = self.question.event?;
        let is_it = |(record, _): &(&Record, Vec<JoinKey>)| *record.event.id == *id;
        if self.hits.iter().any(|hits| hits.iter().any(is_it)) {
            return None;
        }
        let Some(record) = self.question.asked().next() else {
            return Some(self.question.nothing(vec![Reason::new(Kind::NoEvents, "there is no such event")]));
        };
        let steps = self.sequence.steps.iter().enumerate();
        let (step, miss) = steps
            .map(|(step, said)| (step, fit::miss(self.question, &said.predicate, record)))
            .min_by_key(|(_, miss)| miss.distance)?;
        Some(Answer {
            reached: "the event fits no step".to_owned(),
            is_met: false,
            found: Vec::new(),
            nearest: Some(Seen::new(format!("nearest to step {}", step + 1), record)),
            reasons: miss.reasons,
        })
    }

    /// The chains of every key, each as long as it gets; only those of the asked event's keys, where one is asked about.
    fn chains(&self) -> Vec<Chain<'q>> {
        let mut by_key: BTreeMap<&JoinKey, Vec<(&'q Record, Option<usize>)>> = BTreeMap::new();
        for (step, hits) in
            self.hits.iter().enumerate().filter(|(step, _)| !self.sequence.steps[*step].is_missing)
        {
            for (record, keys) in hits {
                keys.iter().for_each(|key| by_key.entry(key).or_default().push((record, Some(step))));
            }
        }
        for (record, keys) in &self.until {
            keys.iter().for_each(|key| by_key.entry(key).or_default().push((record, None)));
        }
        let mut chains = Vec::new();
        for (key, mut events) in by_key {
            if let Some(id) = self.question.event
                && !events.iter().any(|(record, _)| *record.event.id == *id)
            {
                continue;
            }
            // Of one event's roles the later step comes first, so that no event follows itself; `until` is last.
            events.sort_by(|a, b| order(a.0).cmp(&order(b.0)).then(b.1.cmp(&a.1)));
            chains.extend(self.follow(key, &events));
        }
        chains
    }

    fn follow(&self, key: &JoinKey, events: &[(&'q Record, Option<usize>)]) -> Vec<Chain<'q>> {
        let mut open: Vec<Option<Vec<&'q Record>>> = vec![None; self.links.len()];
        let mut done: Vec<Chain<'q>> = Vec::new();
        for (record, step) in events {
            let Some(step) = step else {
                for chain in open.iter_mut().filter_map(Option::take) {
                    let ids = |events: &[&Record]| -> Vec<_> {
                        events.iter().map(|record| record.event.id.clone()).collect()
                    };
                    let held = done.iter_mut().filter(|held| ids(&held.events) == ids(&chain));
                    held.for_each(|held| held.ended = Some(record));
                }
                continue;
            };
            for link in (0..self.links.len()).rev().filter(|link| self.links[*link].step == *step) {
                let longer = match link.checked_sub(1) {
                    None => Some(vec![*record]),
                    Some(before) => {
                        open[before].clone().filter(|chain| self.continues(chain, record)).map(|mut chain| {
                            chain.push(record);
                            chain
                        })
                    }
                };
                if let Some(longer) = longer {
                    done.push(Chain { key: key.clone(), events: longer.clone(), ended: None });
                    open[link] = Some(longer);
                }
            }
        }
        // The longest say it all.
        let longest = done.iter().map(|chain| chain.events.len()).max().unwrap_or(0);
        done.retain(|chain| chain.events.len() == longest);
        done
    }

    fn continues(&self, chain: &[&Record], next: &Record) -> bool {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else { return true };
        self.is_after(next, last) && self.overrun(first, next) <= Span(0)
    }

    /// Within one clock, order is exact; between two, it is known to the skew.
    fn is_after(&self, later: &Record, earlier: &Record) -> bool {
        match self.skew(later, earlier) {
            Span(0) => order(later) > order(earlier),
            skew => later.event.time + skew >= earlier.event.time,
        }
    }

    fn skew(&self, a: &Record, b: &Record) -> Span {
        skew(&EventRef::of(a), &EventRef::of(b), self.question.limits.between_clocks())
    }

    /// By how much an event comes after the sequence that began with `first` may end.
    fn overrun(&self, first: &Record, last: &Record) -> Span {
        let Some(maxspan) = self.sequence.maxspan else { return Span(0) };
        let tolerance = self.skew(first, last);
        Span((last.event.time - first.event.time).0 - maxspan.0 - tolerance.0)
    }

    fn seen(&self, chain: &Chain<'q>) -> Vec<Seen> {
        self.links.iter().zip(&chain.events).map(|(link, record)| Seen::new(&link.name, record)).collect()
    }

    /// Nothing fits the first step under any key.
    fn none_began(&self) -> Answer {
        let first = &self.links[0];
        let keyless = self.hits[first.step].first();
        if let Some((record, _)) = keyless {
            let mut answer = self.question.nothing(self.key_absent(first, record).into_iter().collect());
            answer.nearest = Some(Seen::new(&first.name, record));
            return answer;
        }
        self.question.miss(&first.said.predicate, "no event", self.question.records.iter())
    }

    /// The chain has no next link: the event that came nearest to being it.
    fn broke_off(&self, chain: &Chain<'q>) -> Answer {
        let (n_found, n_links) = (chain.events.len(), self.links.len());
        let next = &self.links[n_found];
        let (nearest, reasons) = self.next_link(chain, next);
        Answer {
            reached: format!("{} of {n_links} steps; {} did not come", n_found, next.name),
            is_met: false,
            found: self.seen(chain),
            nearest: nearest.map(|record| Seen::new(format!("nearest to {}", next.name), record)),
            reasons,
        }
    }

    fn next_link(&self, chain: &Chain<'q>, next: &Link<'_>) -> (Option<&'q Record>, Vec<Reason>) {
        let (first, last) = (chain.events[0], chain.events[chain.events.len() - 1]);
        let others = || {
            let hits = self.hits[next.step].iter();
            hits.filter(|(record, _)| chain.events.iter().all(|held| held.event.id != record.event.id))
        };
        let away = |record: &Record| (record.event.time - last.event.time).0.unsigned_abs();
        let same_key =
            others().filter(|(_, keys)| keys.contains(&chain.key)).min_by_key(|(record, _)| away(record));
        if let Some((record, _)) = same_key {
            return (Some(record), vec![self.same_key(chain, first, last, record)]);
        }
        let keyed = others().filter(|(_, keys)| !keys.is_empty()).min_by_key(|(record, _)| away(record));
        if let Some((record, keys)) = keyed {
            return (Some(record), self.other_key(next, &chain.key, keys, record));
        }
        if let Some((record, _)) = others().min_by_key(|(record, _)| away(record)) {
            return (Some(record), self.key_absent(next, record).into_iter().collect());
        }
        // Among equally near ones, an event of the same key that could still have counted.
        let candidates = self.question.records.iter().map(|record| {
            let miss = fit::miss(self.question, &next.said.predicate, record);
            let is_elsewhere = !detect::keys(&next.said.by, &record.event).contains(&chain.key);
            let is_outside = !self.is_after(record, last) || self.overrun(first, record) > Span(0);
            (
                miss.distance,
                u8::from(is_elsewhere) + u8::from(is_outside),
                order(record),
                miss.reasons,
                record,
            )
        });
        let nearest = candidates.min_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
        nearest.map_or((None, Vec::new()), |(_, _, _, reasons, record)| (Some(record), reasons))
    }

    fn same_key(&self, chain: &Chain<'q>, first: &Record, last: &Record, record: &Record) -> Reason {
        let over = self.overrun(first, record);
        if !self.is_after(record, last) {
            let early = last.event.time - record.event.time;
            let text = format!("it came {} before the step it should follow", in_words(early));
            return Reason::new(Kind::WrongOrder, text).off_by(early);
        }
        if over > Span(0) {
            let maxspan = self.sequence.maxspan.unwrap_or_default();
            let text = format!("it came {} too late: maxspan is {}", in_words(over), in_words(maxspan));
            return Reason::new(Kind::TooLate, text).off_by(over);
        }
        if let Some(ended) = chain.ended {
            let text = format!(
                "the sequence was over: event {} of its until came at {}",
                ended.event.id,
                crate::time::format(ended.event.time)
            );
            return Reason::new(Kind::Ended, text);
        }
        let text = "it continues an older chain, and a newer one of this key took its place";
        Reason::new(Kind::Condition, text)
    }

    fn other_key(&self, next: &Link<'_>, key: &JoinKey, keys: &[JoinKey], record: &Record) -> Vec<Reason> {
        // The key of the event that differs least.
        let n_equal = |other: &&JoinKey| key.0.iter().zip(&other.0).filter(|(one, two)| one == two).count();
        let Some(other) = keys.iter().max_by_key(n_equal) else { return Vec::new() };
        let word =
            |value: Option<&str>| value.map_or_else(|| "no value".to_owned(), |value| format!("\"{value}\""));
        let reason = |(idx, part): (usize, &KeyPart)| {
            let (wanted, actual) = (key.0.get(idx)?.as_deref(), other.0.get(idx)?.as_deref());
            if wanted == actual {
                return None;
            }
            let (path, wanted, actual) = (self.question.path(part.field), word(wanted), word(actual));
            let id = &record.event.id;
            let text = format!("{path} of event {id} is {actual}, and the chain joins on {wanted}");
            Some(Reason {
                field: Some(path),
                actual: Some(actual),
                wanted: Some(wanted),
                ..Reason::new(Kind::OtherKey, text)
            })
        };
        next.said.by.iter().enumerate().filter_map(reason).collect()
    }

    fn key_absent(&self, link: &Link<'_>, record: &Record) -> Option<Reason> {
        let is_absent = |part: &&KeyPart| !part.is_optional && record.event.get(part.field).is_none();
        let part = link.said.by.iter().find(is_absent)?;
        let path = self.question.path(part.field);
        let text = format!("it has no {path}, which {} joins on", link.name);
        Some(Reason { field: Some(path), ..Reason::new(Kind::KeyAbsent, text) })
    }

    /// An event of a kind that must be missing, where it must be missing.
    fn spoiler(&self, chain: &Chain<'q>) -> Option<(usize, &'q Record)> {
        let missing = self.sequence.steps.iter().enumerate().filter(|(_, said)| said.is_missing);
        for (step, _) in missing {
            let n_before = self.links.iter().filter(|link| link.step < step).count();
            let (from, to) =
                (n_before.checked_sub(1).map(|n| chain.events[n]), chain.events.get(n_before).copied());
            let lies_between = |record: &&Record| {
                let is_begun = match (from, chain.events.last()) {
                    (Some(from), _) => self.is_after(record, from),
                    (None, Some(last)) => self.overrun(record, last) <= Span(0),
                    (None, None) => true,
                };
                let is_over = match to {
                    Some(to) => self.is_after(to, record),
                    None => self.overrun(chain.events[0], record) <= Span(0),
                };
                is_begun && is_over
            };
            let of_key = self.hits[step].iter().filter(|(_, keys)| keys.contains(&chain.key));
            if let Some(record) = of_key.map(|(record, _)| *record).find(lies_between) {
                return Some((step, record));
            }
        }
        None
    }

    fn spoiled(&self, chain: &Chain<'q>) -> Answer {
        let spoiler = self.spoiler(chain);
        let reason = spoiler.map(|(step, record)| {
            let text =
                format!("step {} says that no such event comes, and event {} did", step + 1, record.event.id);
            Reason::new(Kind::Present, text)
        });
        Answer {
            reached: "all steps that must come".to_owned(),
            is_met: false,
            found: self.seen(chain),
            nearest: spoiler.map(|(step, record)| Seen::new(format!("step {}", step + 1), record)),
            reasons: reason.into_iter().collect(),
        }
    }
}
