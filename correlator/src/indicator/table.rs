//! All lists together, small enough for a million entries and quick enough for every event.
//!
//! An entry is 32 bytes; its texts lie in one buffer, each once. Networks are found by one probe for each prefix length that
//! occurs, domains by one for each of their parents.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use rules::event::EventTime;
use rustc_hash::{FxHashMap, FxHasher};

use super::{Indicator, Key};

#[derive(Debug, Clone, Default)]
pub struct Indicators {
    entries: Vec<Entry>,
    providers: Vec<Arc<str>>,
    texts: Texts,
    /// Network → its last entry, for each prefix length, the longest first.
    v4: BTreeMap<Reverse<u8>, FxHashMap<u32, u32>>,
    v6: BTreeMap<Reverse<u8>, FxHashMap<u128, u32>>,
    /// Hash of the name → the last entry of a name with that hash.
    domains: FxHashMap<u64, u32>,
}

/// Numbers are places in the buffer of texts, where there is a text, or among the entries.
#[derive(Debug, Clone)]
struct Entry {
    /// The one of the same key before it, or [`NONE`].
    before: u32,
    description: u32,
    reference: u32,
    labels: u32,
    /// Of a domain: its name.
    domain: u32,
    /// Seconds since 1970; 0 and the largest are no bounds.
    valid_from: u32,
    valid_until: u32,
    provider: u16,
    /// 101: none was said.
    confidence: u8,
}

const NONE: u32 = u32::MAX;
const NO_CONFIDENCE: u8 = 101;
/// Separates labels in their text.
const LABELS: char = '\u{1f}';
/// Of a domain, as DNS has them.
const MAX_NAME: usize = 253;
/// A key that is listed more often is listed often enough: the first stay, and the rest is counted by whoever adds them.
const MAX_OF_A_KEY: usize = 32;

impl Indicators {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is anything that a domain could be.
    pub fn has_domains(&self) -> bool {
        !self.domains.is_empty()
    }

    /// False: the same is listed so often already that this entry is left out.
    pub(super) fn insert(&mut self, indicator: &Indicator) -> bool {
        let last = match &indicator.key {
            Key::Net(IpNet::V4(net)) => {
                self.v4.get(&Reverse(net.prefix_len())).and_then(|nets| nets.get(&net.network().to_bits()))
            }
            Key::Net(IpNet::V6(net)) => {
                self.v6.get(&Reverse(net.prefix_len())).and_then(|nets| nets.get(&net.network().to_bits()))
            }
            Key::Domain(name) => self.domains.get(&hash(name)),
        };
        let before = last.copied().unwrap_or(NONE);
        if self.chain(before).count() >= MAX_OF_A_KEY {
            return false;
        }
        let seconds = |time: EventTime| time.0.div_euclid(1_000_000_000).clamp(0, u32::MAX.into()) as u32;
        let mut text = |text: Option<&str>| text.map_or(0, |text| self.texts.put(text));
        let labels = indicator.labels.join(&LABELS.to_string());
        let entry = Entry {
            before,
            description: text(indicator.description.as_deref()),
            reference: text(indicator.reference.as_deref()),
            labels: text(Some(&*labels).filter(|labels| !labels.is_empty())),
            domain: text(match &indicator.key {
                Key::Domain(name) => Some(name),
                Key::Net(_) => None,
            }),
            valid_from: indicator.valid_from.map_or(0, seconds),
            valid_until: indicator.valid_until.map_or(u32::MAX, seconds),
            provider: self.provider(&indicator.provider),
            confidence: indicator.confidence.unwrap_or(NO_CONFIDENCE),
        };
        let at = self.entries.len() as u32;
        self.entries.push(entry);
        match &indicator.key {
            Key::Net(IpNet::V4(net)) => {
                let nets = self.v4.entry(Reverse(net.prefix_len())).or_default();
                nets.insert(net.network().to_bits(), at);
            }
            Key::Net(IpNet::V6(net)) => {
                let nets = self.v6.entry(Reverse(net.prefix_len())).or_default();
                nets.insert(net.network().to_bits(), at);
            }
            Key::Domain(name) => {
                self.domains.insert(hash(name), at);
            }
        }
        true
    }

    /// Gives back what only loading needs.
    pub(super) fn settle(&mut self) {
        self.texts.seen = FxHashMap::default();
    }

    fn provider(&mut self, name: &Arc<str>) -> u16 {
        let at = self.providers.iter().position(|held| held == name).unwrap_or_else(|| {
            self.providers.push(Arc::clone(name));
            self.providers.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Every entry that covers the address and holds at that time: the narrowest network first, and inside one in the order
    /// loaded.
    pub fn matches(&self, address: IpAddr, time: EventTime) -> Vec<Indicator> {
        let mut found = Vec::new();
        match address.to_canonical() {
            IpAddr::V4(ip) => {
                for (Reverse(len), nets) in &self.v4 {
                    let bits = ip.to_bits() & mask(32, *len) as u32;
                    if let Some(last) = nets.get(&bits) {
                        let net = || {
                            Key::Net(
                                IpNet::new(Ipv4Addr::from_bits(bits).into(), *len)
                                    .expect("a length that occurs"),
                            )
                        };
                        self.collect(*last, time, None, net, &mut found);
                    }
                }
            }
            IpAddr::V6(ip) => {
                for (Reverse(len), nets) in &self.v6 {
                    let bits = ip.to_bits() & mask(128, *len);
                    if let Some(last) = nets.get(&bits) {
                        let net = || {
                            Key::Net(
                                IpNet::new(Ipv6Addr::from_bits(bits).into(), *len)
                                    .expect("a length that occurs"),
                            )
                        };
                        self.collect(*last, time, None, net, &mut found);
                    }
                }
            }
        }
        found
    }

    /// The same for a name: its own entries first, then those of its parents.
    pub fn matches_domain(&self, name: &str, time: EventTime) -> Vec<Indicator> {
        let mut found = Vec::new();
        let name = name.strip_suffix('.').unwrap_or(name);
        // No domain is longer, and each of its ends is looked up.
        if name.len() > MAX_NAME {
            return found;
        }
        let name = match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
        let mut rest = &*name;
        loop {
            if let Some(last) = self.domains.get(&hash(rest)) {
                self.collect(*last, time, Some(rest), || Key::Domain(rest.to_owned()), &mut found);
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return found,
            }
        }
    }

    fn chain(&self, last: u32) -> impl Iterator<Item = &Entry> {
        let entry = |at: u32| self.entries.get(at as usize);
        std::iter::successors(entry(last), move |found| entry(found.before))
    }

    fn collect(
        &self,
        last: u32,
        time: EventTime,
        name: Option<&str>,
        key: impl Fn() -> Key,
        found: &mut Vec<Indicator>,
    ) {
        let seconds = time.0.div_euclid(1_000_000_000);
        let first = found.len();
        let holds = |entry: &&Entry| {
            let until = entry.valid_until;
            i64::from(entry.valid_from) <= seconds && (until == u32::MAX || seconds < i64::from(until))
        };
        // Another name may have the same hash.
        let is_it = |entry: &&Entry| name.is_none_or(|name| self.texts.get(entry.domain) == name);
        found.extend(self.chain(last).filter(is_it).filter(holds).map(|entry| self.indicator(entry, key())));
        found[first..].reverse();
    }

    fn indicator(&self, entry: &Entry, key: Key) -> Indicator {
        let text = |at: u32| (at != 0).then(|| self.texts.get(at).to_owned());
        let time = |seconds: u32| EventTime(i64::from(seconds) * 1_000_000_000);
        Indicator {
            key,
            provider: self.providers.get(usize::from(entry.provider)).cloned().unwrap_or_default(),
            description: text(entry.description),
            reference: text(entry.reference),
            labels: text(entry.labels)
                .map_or_else(Vec::new, |all| all.split(LABELS).map(str::to_owned).collect()),
            confidence: Some(entry.confidence).filter(|confidence| *confidence != NO_CONFIDENCE),
            valid_from: Some(entry.valid_from).filter(|from| *from != 0).map(time),
            valid_until: Some(entry.valid_until).filter(|until| *until != u32::MAX).map(time),
        }
    }
}

/// The first so many of a number's bits.
fn mask(width: u8, len: u8) -> u128 {
    let all = if width == 32 { u128::from(u32::MAX) } else { u128::MAX };
    all & all.checked_shl(u32::from(width - len)).unwrap_or(0)
}

fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Texts, one behind the other, each behind its length. Place 0 is no text.
#[derive(Debug, Clone, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Of those that may come again, while lists are loaded: by hash, their places.
    seen: FxHashMap<u64, u32>,
}

/// Longer ones are cut.
const MAX_TEXT: usize = 1_000;

impl Texts {
    fn put(&mut self, text: &str) -> u32 {
        let text = &text[..text.floor_char_boundary(MAX_TEXT)];
        let hash = hash(text);
        if let Some(at) = self.seen.get(&hash).copied().filter(|at| self.get(*at) == text) {
            return at;
        }
        if self.bytes.is_empty() {
            self.bytes.push(0);
        }
        // Past four gigabytes of texts, entries go without theirs.
        let Ok(at) = u32::try_from(self.bytes.len()) else { return 0 };
        self.bytes.extend((text.len() as u16).to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.seen.insert(hash, at);
        at
    }

    fn get(&self, at: u32) -> &str {
        let at = at as usize;
        let len = self.bytes.get(at..at + 2).map_or(0, |len| u16::from_le_bytes([len[0], len[1]]));
        let text = self.bytes.get(at + 2..at + 2 + usize::from(len)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}
