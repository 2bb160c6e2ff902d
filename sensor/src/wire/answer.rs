//! What an answer of the correlator means for the spool. No I/O, no clock.

use std::time::Duration;

/// What came back, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub acknowledged: Option<u64>,
    pub refused: Option<u64>,
    pub retry_after: Option<Duration>,
    /// Versions that are spoken there, where ours is not.
    pub protocols: Option<String>,
    /// What it says to people.
    pub text: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// All up to here is safe: forget it, and go on.
    Forget { through: u64 },
    /// The oldest batch will never be taken: give it up, and go on.
    GiveUp { seq: u64 },
    /// One in the middle will not: send those before it by themselves.
    SendFewer { n_rows: u64 },
    /// Try again; not before this, where it was said.
    Again { after: Option<Duration>, why: String },
    /// Somebody has to act: go on trying, seldom.
    Stuck { why: String },
}

/// `first` and `n_rows` were sent.
pub fn next(answer: &Answer, first: u64, n_rows: u64) -> Next {
    let said = || match answer.text.trim() {
        "" => format!("it answers {}", answer.status),
        text => format!("it answers {}: {text}", answer.status),
    };
    match answer.status {
        // Not more than was sent: what it was never given it cannot have.
        200 => match answer.acknowledged.filter(|through| *through >= first) {
            Some(through) => Next::Forget { through: through.min(first + n_rows - 1) },
            None => Next::Stuck { why: "it acknowledges nothing: is it a correlator?".to_owned() },
        },
        413 => match answer.refused.filter(|seq| (first..first + n_rows).contains(seq)) {
            Some(seq) if seq == first => Next::GiveUp { seq },
            Some(seq) => Next::SendFewer { n_rows: seq - first },
            None if n_rows > 1 => Next::SendFewer { n_rows: n_rows.div_ceil(2) },
            // Nobody that knows the wire says so: a proxy's limit costs no events.
            None => Next::Stuck { why: said() },
        },
        426 => Next::Stuck {
            why: format!(
                "it speaks version {} of the protocol, and this sensor others: bring the older of the two up to date",
                answer.protocols.as_deref().unwrap_or("(not said)")
            ),
        },
        // The next try starts from the oldest on anyway.
        409 | 408 | 429 | 500..=599 => Next::Again { after: answer.retry_after, why: said() },
        _ => Next::Stuck { why: said() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    #[test]
    fn only_what_was_sent_is_forgotten() {
        let ok = |through| next(&Answer { acknowledged: through, ..answer(200) }, 5, 3);
        assert_eq!(ok(Some(7)), Next::Forget { through: 7 });
        assert_eq!(ok(Some(6)), Next::Forget { through: 6 });
        assert_eq!(
            ok(Some(u64::MAX)),
            Next::Forget { through: 7 },
            "nobody deletes our spool by a large number"
        );
        assert!(matches!(ok(Some(4)), Next::Stuck { .. }));
        assert!(matches!(ok(None), Next::Stuck { .. }));
    }

    #[test]
    fn a_batch_that_is_never_taken_costs_itself() {
        let refused = |seq, n_rows| next(&Answer { refused: seq, ..answer(413) }, 5, n_rows);
        assert_eq!(refused(Some(5), 3), Next::GiveUp { seq: 5 });
        assert_eq!(refused(Some(7), 3), Next::SendFewer { n_rows: 2 });
        assert_eq!(refused(None, 4), Next::SendFewer { n_rows: 2 });
        assert_eq!(refused(None, 3), Next::SendFewer { n_rows: 2 });
        for by_a_proxy in [refused(None, 1), refused(Some(99), 1)] {
            assert!(matches!(by_a_proxy, Next::Stuck { .. }));
        }
    }

    #[test]
    fn trouble_there_is_waited_out_and_trouble_here_is_told() {
        for status in [408, 409, 429, 500, 502, 503] {
            let again = next(&Answer { retry_after: Some(Duration::from_secs(7)), ..answer(status) }, 1, 1);
            assert!(matches!(again, Next::Again { after: Some(_), .. }), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 411, 415, 426] {
            assert!(matches!(next(&answer(status), 1, 1), Next::Stuck { .. }), "{status}");
        }
        let told = next(&Answer { text: "the sensor says host \"a\"\n".into(), ..answer(403) }, 1, 1);
        assert_eq!(told, Next::Stuck { why: "it answers 403: the sensor says host \"a\"".into() });
    }
}
