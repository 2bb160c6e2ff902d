//! The writer and the deliverer against a correlator that is cut off, forgetful or hostile, in virtual time.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::spool::Chunk;
use crate::wire::answer::Answer;
use crate::wire::client::ClientError;

/// What a correlator does with the n-th request, given how long the test has run.
type Mood = Box<dyn FnMut(u64, Duration) -> Reply>;

enum Reply {
    Takes,
    /// It takes the batch, and its answer is lost.
    TakesSilently,
    Unreachable,
    Says(Answer),
}

/// A correlator that keeps what comes by number, as the real one does.
struct Correlator {
    mood: Mood,
    start: Instant,
    n_requests: u64,
    taken: Rc<RefCell<BTreeMap<u64, Vec<u8>>>>,
}

impl Transport for Correlator {
    async fn send(&mut self, stream: &str, chunk: &Chunk) -> Result<Answer, ClientError> {
        assert_eq!(stream.len(), 32);
        self.n_requests += 1;
        let reply = (self.mood)(self.n_requests, self.start.elapsed());
        let lost = || ClientError::NoAnswer { place: "https://c:7443".into() };
        match reply {
            Reply::Unreachable => return Err(lost()),
            Reply::Says(answer) => return Ok(answer),
            Reply::Takes | Reply::TakesSilently => {}
        }
        let mut rest = &chunk.body[..];
        for seq in chunk.first..=chunk.last() {
            let len = zstd::zstd_safe::find_frame_compressed_size(rest).expect("a frame");
            let text = zstd::bulk::decompress(&rest[..len], 1 << 20).expect("a frame");
            rest = &rest[len..];
            // What came before is the same as what comes again.
            let before = self.taken.borrow_mut().insert(seq, text.clone());
            assert!(before.is_none_or(|before| before == text));
        }
        assert!(rest.is_empty());
        match reply {
            Reply::TakesSilently => Err(lost()),
            _ => Ok(Answer { status: 200, acknowledged: Some(chunk.last()), ..Answer::default() }),
        }
    }
}

struct Rig {
    sender: UnboundedSender<Batch>,
    room: Arc<Semaphore>,
    shown: Arc<Shown>,
    gauge: Arc<Gauge>,
    taken: Rc<RefCell<BTreeMap<u64, Vec<u8>>>>,
}

impl Rig {
    fn say(&self, lines: &str) {
        let room = Arc::clone(&self.room).try_acquire_many_owned(1).expect("room");
        self.gauge.taken(lines.as_bytes());
        self.sender.send(Batch { lines: lines.into(), told: None, _room: room }).expect("listened to");
    }

    fn text(&self) -> String {
        self.taken.borrow().values().map(|text| String::from_utf8_lossy(text)).collect()
    }
}

/// Runs a sensor's end against a mood until the script is through and the sensor has closed.
async fn play(dir: &Path, max_bytes: u64, mood: Mood, script: impl AsyncFnOnce(&Rig)) -> Rig {
    let spool =
        Spool::open(&dir.join("spool.db"), Owner { host: "web-1", boot: "b-1" }, max_bytes).expect("opened");
    let (sender, receiver) = unbounded_channel();
    let rig = Rig {
        sender,
        room: Arc::new(Semaphore::new(1 << 20)),
        shown: Arc::default(),
        gauge: Arc::default(),
        taken: Rc::default(),
    };
    let transport = Correlator { mood, start: Instant::now(), n_requests: 0, taken: Rc::clone(&rig.taken) };
    let (gauge, shown) = (Arc::clone(&rig.gauge), Arc::clone(&rig.shown));
    let act = async {
        script(&rig).await;
        let Rig { sender, room, shown, gauge, taken } = rig;
        drop(sender);
        Rig { sender: unbounded_channel().0, room, shown, gauge, taken }
    };
    let ((), rig) = tokio::join!(run(spool, transport, receiver, &gauge, &shown), act);
    rig
}

fn numbers(range: std::ops::Range<u32>) -> String {
    range.map(|n| format!("{n}\n")).collect()
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_a_network_costs_nothing_but_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let cut = Duration::from_secs(3600);
    let tries = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&tries);
    let mood = move |_, passed: Duration| match passed < cut {
        true => {
            *counted.borrow_mut() += 1;
            Reply::Unreachable
        }
        false => Reply::Takes,
    };
    let rig = play(dir.path(), 1 << 30, Box::new(mood), async |rig: &Rig| {
        for n in 0..3600 {
            rig.say(&format!("{n}\n"));
            sleep(Duration::from_secs(1)).await;
        }
        assert!(rig.shown.get().trouble.is_some());
        sleep(Duration::from_secs(120)).await;
        assert_eq!(rig.shown.get().trouble, None);
    })
    .await;
    assert_eq!(rig.text(), numbers(0..3600), "all of it, in order, once");
    assert_eq!(rig.shown.get().held, Held::default());
    assert!((100..300).contains(&*tries.borrow()), "{}", tries.borrow());
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_double_nothing_and_a_restart_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mood = |nth: u64, _| if nth.is_multiple_of(2) { Reply::TakesSilently } else { Reply::Unreachable };
    let first = play(dir.path(), 1 << 30, Box::new(mood), async |rig: &Rig| {
        for n in 0..20 {
            rig.say(&format!("{n}\n"));
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let held = first.shown.get().held;
    assert_eq!(held.events, 20, "nothing was acknowledged, so all is still there");
    // What was taken silently comes again under the same numbers; the correlator of the second run knows none of it.
    let second = play(dir.path(), 1 << 30, Box::new(|_, _| Reply::Takes), async |rig: &Rig| {
        rig.say("20\n");
        sleep(Duration::from_secs(1)).await;
    })
    .await;
    assert_eq!(second.text(), numbers(0..21));
    for (seq, text) in first.taken.borrow().iter() {
        assert_eq!(second.taken.borrow().get(seq), Some(text), "the same number is the same batch");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_gives_up_the_oldest_and_counts_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let mood = |_, passed: Duration| {
        if passed < Duration::from_secs(100) { Reply::Unreachable } else { Reply::Takes }
    };
    let rig = play(dir.path(), 2_000, Box::new(mood), async |rig: &Rig| {
        for n in 0..100 {
            rig.say(&format!("{n}\n"));
            sleep(Duration::from_secs(1)).await;
        }
        sleep(Duration::from_secs(100)).await;
    })
    .await;
    let state = rig.shown.get();
    let n_arrived = rig.text().lines().count() as u64;
    assert!(n_arrived < 100 && rig.text().ends_with("98\n99\n"), "the newest are kept");
    assert_eq!(state.given_up.evicted + n_arrived, 100);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_never_taken_is_given_up_and_the_rest_arrives() {
    let dir = tempfile::tempdir().expect("a directory");
    let mood = |nth: u64, _| match nth {
        1 => Reply::Says(Answer { status: 413, refused: Some(1), ..Answer::default() }),
        _ => Reply::Takes,
    };
    let rig = play(dir.path(), 1 << 30, Box::new(mood), async |rig: &Rig| {
        rig.say("lost\n");
        sleep(Duration::from_secs(5)).await;
        rig.say("next\n");
        sleep(Duration::from_secs(5)).await;
    })
    .await;
    assert_eq!((rig.text(), rig.shown.get().given_up.refused), ("next\n".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_correlator_that_denies_us_is_told_of_and_asked_seldom() {
    let dir = tempfile::tempdir().expect("a directory");
    let n_asked = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&n_asked);
    let mood = move |_, _| {
        *counted.borrow_mut() += 1;
        Reply::Says(Answer { status: 403, text: "another host".into(), ..Answer::default() })
    };
    let rig = play(dir.path(), 1 << 30, Box::new(mood), async |rig: &Rig| {
        rig.say("1\n");
        sleep(Duration::from_secs(3600)).await;
    })
    .await;
    assert_eq!(rig.shown.get().trouble.as_deref(), Some("it answers 403: another host"));
    assert_eq!(rig.shown.get().held.events, 1, "nothing is given up for that");
    assert!((40..120).contains(&*n_asked.borrow()), "{}", n_asked.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_costs_what_comes_meanwhile_and_is_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let rig = {
        let mut spool =
            Spool::open(&dir.path().join("spool.db"), Owner { host: "web-1", boot: "b-1" }, 1 << 30)
                .expect("opened");
        // As a disk of so many pages.
        spool.limit_pages(24);
        let (sender, receiver) = unbounded_channel();
        let (gauge, shown) = (Gauge::default(), Shown::default());
        let room = Arc::new(Semaphore::new(1 << 10));
        let random: Vec<String> = (0..60_u64).map(|n| format!("{n} {}\n", noise(n))).collect();
        let say = async {
            for line in &random {
                let room = Arc::clone(&room).try_acquire_many_owned(1).expect("room");
                gauge.taken(line.as_bytes());
                sender
                    .send(Batch { lines: line.clone().into(), told: None, _room: room })
                    .expect("listened to");
                sleep(Duration::from_secs(5)).await;
            }
            drop(sender);
        };
        let taken = Rc::default();
        let mood: Mood =
            Box::new(
                |_, passed| {
                    if passed < Duration::from_secs(200) { Reply::Unreachable } else { Reply::Takes }
                },
            );
        let transport = Correlator { mood, start: Instant::now(), n_requests: 0, taken: Rc::clone(&taken) };
        tokio::join!(run(spool, transport, receiver, &gauge, &shown), say);
        (taken, shown.get())
    };
    let (taken, state) = rig;
    let n_arrived = taken.borrow().len() as u64;
    assert!(state.given_up.unwritten > 0, "the disk was full");
    assert_eq!(n_arrived + state.given_up.unwritten, 60, "every event arrived or is counted");
    let last = taken.borrow().values().last().map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(last.is_some_and(|last| last.starts_with("59 ")), "it goes on when there is room");
}

/// Text that does not pack.
fn noise(seed: u64) -> String {
    use sha2::Digest;
    (0..60_u64)
        .map(|n| format!("{:x?}", &sha2::Sha256::digest((seed * 1000 + n).to_le_bytes())[..]))
        .collect()
}
