//! Which predicates an event could satisfy at all. Values are looked up, so cost follows what the event holds and what rules
//! say of it, not how many rules there are.
//!
//! Every predicate is a bit, in as many planes as a predicate may have clauses. A key that the event holds sets the bits of
//! the clauses it is in; where a predicate's bit is set in every plane, it is a candidate. A clause that a predicate does
//! not have counts as satisfied.

use aho_corasick::AhoCorasick;
use rustc_hash::{FxHashMap, FxHashSet};

use super::clause::{Chooser, MAX_CLAUSES, classes};
use super::graph::Graph;
use super::key::{Holds, Key, Place, whole};
use crate::event::{Event, Value};
use crate::literal::{number_of, text_of};
use crate::pattern::fold;
use crate::plan::PredicateId;
use crate::schema::{FieldId, Schema};

const WORD_BITS: usize = u64::BITS as usize;
/// From so many bits on (as a share of the planes' words), joining whole planes beats setting bits one by one.
const DENSE_FROM: usize = 2;
/// Classes of events are few, but what they are told by comes from events: past this many they are forgotten.
const MAX_CLASSES: usize = 256;

#[derive(Debug)]
pub(super) struct Index {
    /// By field number: the place in `fields` plus one, or 0.
    watched: Vec<u32>,
    /// The fields that sort events into classes. Most rules name several of them, so their keys set most of the bits, and
    /// for most events the same bits as for those before.
    classes: FxHashSet<FieldId>,
    fields: Vec<FieldIndex>,
    /// By key.
    effects: Vec<Effect>,
    /// The planes before any value has been looked at.
    base: Box<[u64]>,
}

/// The keys about one field.
#[derive(Debug, Default)]
struct FieldIndex {
    is_class: bool,
    something: Option<KeyId>,
    texts: FxHashMap<Box<str>, KeyId>,
    /// A bit per length of the texts, those of 64 and more as their remainder: what has another length need not be hashed.
    lengths: u64,
    numbers: FxHashMap<i64, KeyId>,
    parts: Option<Parts>,
}

/// Literals of patterns, found in one pass.
#[derive(Debug)]
struct Parts {
    search: AhoCorasick,
    /// By pattern of the search.
    keys: Vec<Vec<(Place, KeyId)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct KeyId(u32);

/// Which bits a key sets.
#[derive(Debug)]
enum Effect {
    Bits(Box<[u32]>),
    Planes(Box<[u64]>),
}

impl Index {
    pub(super) fn new(graph: &Graph, asked: impl Iterator<Item = PredicateId>, schema: &Schema) -> Self {
        let asked: Vec<PredicateId> = asked.collect();
        let n_words = graph.predicates().div_ceil(WORD_BITS) * MAX_CLAUSES;
        let mut base = vec![0; n_words].into_boxed_slice();
        let mut bits: FxHashMap<Key, Vec<u32>> = FxHashMap::default();
        let chooser = Chooser::new(graph, &asked, schema);
        for predicate in asked {
            let clauses = chooser.clauses(predicate);
            for (plane, clause) in clauses.iter().enumerate() {
                for key in &clause.keys {
                    bits.entry(key.clone()).or_default().push(bit(predicate, plane));
                }
            }
            (clauses.len()..MAX_CLAUSES).for_each(|plane| set(&mut base, bit(predicate, plane)));
        }
        let mut index = Self {
            watched: vec![0; schema.len()],
            classes: classes(schema),
            fields: Vec::new(),
            effects: Vec::new(),
            base,
        };
        index.fill(bits);
        index
    }

    fn fill(&mut self, bits: FxHashMap<Key, Vec<u32>>) {
        let mut parts: FxHashMap<FieldId, Vec<(Box<str>, Place, KeyId)>> = FxHashMap::default();
        for (Key { field, holds }, bits) in bits {
            let key = KeyId(u32::try_from(self.effects.len()).expect("fewer keys than numbers"));
            self.effects.push(Effect::new(bits, self.base.len()));
            let index = self.field(field);
            match holds {
                Holds::Something => index.something = Some(key),
                Holds::Text(text) => {
                    index.lengths |= length_bit(&text);
                    index.texts.insert(text, key);
                }
                Holds::Number(number) => drop(index.numbers.insert(number, key)),
                Holds::Part(place, text) => parts.entry(field).or_default().push((text, place, key)),
            }
        }
        for (field, parts) in parts {
            self.field(field).parts = Some(Parts::new(parts));
        }
    }

    fn field(&mut self, field: FieldId) -> &mut FieldIndex {
        let place = &mut self.watched[field.index()];
        if *place == 0 {
            self.fields.push(FieldIndex { is_class: self.classes.contains(&field), ..FieldIndex::default() });
            *place = u32::try_from(self.fields.len()).expect("fewer tables than fields");
        }
        &mut self.fields[*place as usize - 1]
    }

    /// Fills the planes with what the event's values say.
    pub(super) fn look_up(&self, event: &Event, planes: &mut Planes) {
        let Planes { words, class, classes } = planes;
        class.clear();
        self.look_up_fields(event, true, &mut |key| class.push(key));
        class.sort_unstable();
        class.dedup();
        words.clear();
        match classes.get(&**class) {
            Some(known) => words.extend_from_slice(known),
            None => {
                words.extend_from_slice(&self.base);
                class.iter().for_each(|key| self.apply(*key, words));
                if classes.len() >= MAX_CLASSES {
                    classes.clear();
                }
                classes.insert(class.as_slice().into(), words.as_slice().into());
            }
        }
        self.look_up_fields(event, false, &mut |key| self.apply(key, words));
    }

    fn apply(&self, key: KeyId, words: &mut [u64]) {
        self.effects[key.0 as usize].apply(words);
    }

    fn look_up_fields(&self, event: &Event, is_class: bool, found: &mut impl FnMut(KeyId)) {
        for (field, value) in event.fields() {
            // A field that was added after the rules were compiled is watched by none of them.
            match self.watched.get(field.index()) {
                None | Some(0) => {}
                Some(place) => {
                    let index = &self.fields[*place as usize - 1];
                    if index.is_class == is_class {
                        index.look_up(value, found);
                    }
                }
            }
        }
    }
}

impl FieldIndex {
    fn look_up(&self, value: &Value, apply: &mut impl FnMut(KeyId)) {
        self.something.into_iter().for_each(&mut *apply);
        for scalar in value.scalars() {
            if !self.numbers.is_empty() {
                let number = number_of(scalar).and_then(whole);
                number
                    .and_then(|number| self.numbers.get(&number))
                    .copied()
                    .into_iter()
                    .for_each(&mut *apply);
            }
            if self.texts.is_empty() && self.parts.is_none() {
                continue;
            }
            let text = text_of(scalar);
            let text = fold(&text);
            if self.lengths & length_bit(&text) != 0 {
                self.texts.get(text.as_ref()).copied().into_iter().for_each(&mut *apply);
            }
            if let Some(parts) = &self.parts {
                parts.look_up(&text, apply);
            }
        }
    }
}

fn length_bit(text: &str) -> u64 {
    1 << (text.len() % WORD_BITS)
}

impl Parts {
    fn new(mut parts: Vec<(Box<str>, Place, KeyId)>) -> Self {
        parts.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        let mut texts: Vec<Box<str>> = Vec::new();
        let mut keys: Vec<Vec<(Place, KeyId)>> = Vec::new();
        for (text, place, key) in parts {
            match keys.last_mut() {
                Some(held) if texts.last() == Some(&text) => held.push((place, key)),
                _ => {
                    texts.push(text);
                    keys.push(vec![(place, key)]);
                }
            }
        }
        let search = AhoCorasick::new(texts.iter().map(|text| text.as_bytes()))
            .expect("literals of loaded rules fit a search");
        Self { search, keys }
    }

    fn look_up(&self, text: &str, apply: &mut impl FnMut(KeyId)) {
        for found in self.search.find_overlapping_iter(text) {
            for (place, key) in &self.keys[found.pattern().as_usize()] {
                let is_in_place = match place {
                    Place::Start => found.start() == 0,
                    Place::End => found.end() == text.len(),
                    Place::Anywhere => true,
                };
                if is_in_place {
                    apply(*key);
                }
            }
        }
    }
}

impl Effect {
    fn new(bits: Vec<u32>, n_words: usize) -> Self {
        if bits.len() * DENSE_FROM < n_words {
            return Self::Bits(bits.into());
        }
        let mut planes = vec![0; n_words].into_boxed_slice();
        bits.into_iter().for_each(|bit| set(&mut planes, bit));
        Self::Planes(planes)
    }

    fn apply(&self, planes: &mut [u64]) {
        match self {
            Self::Bits(bits) => bits.iter().for_each(|bit| set(planes, *bit)),
            Self::Planes(more) => planes.iter_mut().zip(more).for_each(|(word, more)| *word |= more),
        }
    }
}

/// The planes for one event. Words of one run of predicates stand together, plane by plane.
#[derive(Debug, Default)]
pub(super) struct Planes {
    words: Vec<u64>,
    /// The keys of the event's class.
    class: Vec<KeyId>,
    /// By the keys of a class: the planes with what they say, of one program.
    classes: FxHashMap<Box<[KeyId]>, Box<[u64]>>,
}

impl Planes {
    /// The predicates whose every clause is satisfied, among those of the mask.
    pub(super) fn candidates(&self, mask: &[u64]) -> impl Iterator<Item = PredicateId> {
        let runs = self.words.chunks_exact(MAX_CLAUSES).zip(mask).zip(0u32..);
        runs.flat_map(|((planes, mask), run)| {
            let mut rest = planes.iter().fold(*mask, |all, plane| all & plane);
            std::iter::from_fn(move || {
                let lowest = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(PredicateId(run * u64::BITS + lowest))
            })
        })
    }
}

/// The place of a predicate's bit in a plane.
fn bit(predicate: PredicateId, plane: usize) -> u32 {
    let (run, bit) = (predicate.0 / u64::BITS, predicate.0 % u64::BITS);
    let word = run as usize * MAX_CLAUSES + plane;
    u32::try_from(word).expect("fewer words than numbers") * u64::BITS + bit
}

fn set(words: &mut [u64], bit: u32) {
    words[(bit / u64::BITS) as usize] |= 1 << (bit % u64::BITS);
}

/// A mask over predicates.
pub(super) fn mask(n_predicates: usize, is_in: impl Fn(usize) -> bool) -> Box<[u64]> {
    let mut words = vec![0; n_predicates.div_ceil(WORD_BITS)];
    (0..n_predicates)
        .filter(|idx| is_in(*idx))
        .for_each(|idx| words[idx / WORD_BITS] |= 1 << (idx % WORD_BITS));
    words.into()
}
