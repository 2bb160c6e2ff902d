//! How far a source is known, by our clock.
//!
//! What a source has not said yet is no silence: it may stand in its queue while we write to a slow disk, or in its file
//! while the queue is full. So the time that counts for quiet is not the time of day. It passes with what the source
//! sends, by when it was sent; it is now when the source says that it has nothing more, and when its queue has been empty
//! for a while under our eyes; and it stands still while either of us is held up, however long.

use rules::event::{EventTime, Span};

use super::Pace;
use super::inlet::Sent;
use crate::source::SourceItem;

#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// All that the source had to say until then was taken.
    to: EventTime,
    /// The same, when something was last taken.
    heard: EventTime,
    /// It says that it has nothing more.
    is_idle: bool,
    /// When it last sent something, or was last known to have had nothing.
    sent: EventTime,
    /// It stood before a full queue since then.
    has_waited: bool,
    /// Looks that found its queue empty: the first and the last of those that followed closely on each other.
    empty: Option<(EventTime, EventTime)>,
    /// Silence of so long makes a clock quiet.
    idle_after: Span,
}

impl Known {
    pub(super) fn new(now: EventTime, pace: Pace) -> Self {
        let idle_after = match pace {
            Pace::Live { idle_after } => idle_after,
            Pace::Replay => Span(i64::MAX),
        };
        Self { to: now, heard: now, is_idle: false, sent: now, has_waited: false, empty: None, idle_after }
    }

    pub(super) fn to(&self) -> EventTime {
        self.to
    }

    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Whether it has said nothing for so long that its events hold nobody up.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_idle || self.is_quiet_since(self.heard)
    }

    /// The same of a part of it that was last heard of at that time, by [`Self::to`].
    pub(super) fn is_quiet_since(&self, heard: EventTime) -> bool {
        self.to - heard >= self.idle_after
    }

    pub(super) fn take(&mut self, sent: &Sent) {
        self.is_idle = matches!(sent.item, SourceItem::Idle);
        if self.is_idle {
            self.to = sent.at;
        } else {
            let pause = match self.has_waited {
                true => Span(0),
                false => Span((sent.at - self.sent).0.clamp(0, self.patience().0)),
            };
            // Not ahead of it: our own clock may have been set back.
            self.to = (self.to + pause).min(sent.at);
        }
        (self.heard, self.sent, self.has_waited, self.empty) = (self.to, sent.at, sent.has_waited, None);
    }

    /// A look into its queue found nothing.
    pub(super) fn see_empty(&mut self, now: EventTime) {
        let patience = self.patience();
        let since = match self.empty {
            Some((since, last)) if last <= now && now - last <= patience => since,
            // The first look, or the first after we were held up, and perhaps the source with us.
            _ => now,
        };
        self.empty = Some((since, now));
        if now - since >= patience {
            (self.to, self.sent, self.has_waited) = (now, now, false);
        }
    }

    /// A longer pause may be a machine that was stopped. Under [`Self::idle_after`], so that one of them alone makes nobody
    /// quiet.
    fn patience(&self) -> Span {
        Span(self.idle_after.0 / 2)
    }
}
