use proptest::prelude::*;

use super::*;

const LARGE: u64 = 1 << 30;

fn open(dir: &Path, max_bytes: u64) -> Spool {
    Spool::open(&dir.join("spool/spool.db"), Owner { host: "web-1", boot: "b-1" }, max_bytes).expect("opened")
}

fn numbers(spool: &Spool) -> Option<(u64, u64)> {
    let chunk = spool.oldest(u64::MAX >> 1, usize::MAX).expect("readable");
    chunk.map(|chunk| (chunk.first, chunk.last()))
}

#[test]
fn what_was_appended_is_there_after_a_restart_under_the_same_numbers() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), LARGE);
    let stream = spool.stream().to_owned();
    for body in [&b"one"[..], b"two", b"three"] {
        spool.append(body, 2, None).expect("room");
    }
    spool.acknowledge(1).expect("written");
    drop(spool);
    let mut spool = open(dir.path(), LARGE);
    assert_eq!(spool.stream(), stream);
    let chunk = spool.oldest(10, 100).expect("readable").expect("two are left");
    assert_eq!((chunk.first, chunk.last(), &*chunk.body), (2, 3, &b"twothree"[..]));
    assert_eq!((spool.held().batches, spool.held().events), (2, 4));
    // Numbers are not used again, even when the spool was empty in between.
    spool.acknowledge(3).expect("written");
    drop(spool);
    let mut spool = open(dir.path(), LARGE);
    assert_eq!(spool.held(), Held::default());
    spool.append(b"four", 1, None).expect("room");
    assert_eq!(numbers(&spool), Some((4, 4)));
}

#[test]
fn chunks_are_bounded_and_hold_one_batch_at_least() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), LARGE);
    for _ in 0..5 {
        spool.append(&[0; 100], 1, None).expect("room");
    }
    let lasts =
        |max_rows, max_bytes| spool.oldest(max_rows, max_bytes).expect("readable").map(|chunk| chunk.last());
    assert_eq!(lasts(2, 1000), Some(2));
    assert_eq!(lasts(10, 350), Some(3));
    assert_eq!(lasts(10, 1), Some(1));
}

#[test]
fn the_oldest_go_when_there_is_no_room_and_that_is_kept_until_it_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), 3 * (100 + ROW_BYTES));
    for _ in 0..5 {
        spool.append(&[0; 100], 7, None).expect("room");
    }
    assert_eq!(numbers(&spool), Some((3, 5)));
    assert_eq!(spool.given_up(), GivenUp { evicted: 14, ..GivenUp::default() });
    drop(spool);
    let mut spool = open(dir.path(), 3 * (100 + ROW_BYTES));
    assert_eq!((spool.given_up().evicted, spool.told().evicted), (14, 0), "a restart forgets no loss");
    let told = spool.given_up();
    spool.append(b"the loss event", 1, Some(told)).expect("room");
    drop(spool);
    let spool = open(dir.path(), LARGE);
    assert_eq!(spool.told().evicted, 14);
    // One that is larger than everything is kept all the same.
    let mut spool = spool;
    spool.max_bytes = 10;
    spool.append(&[0; 1000], 1, None).expect("room");
    assert_eq!(spool.held().batches, 1);
}

#[test]
fn what_is_refused_is_counted_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), LARGE);
    for n in 1..4 {
        spool.append(b"x", n, None).expect("room");
    }
    spool.refuse(1).expect("written");
    assert_eq!((spool.given_up().refused, numbers(&spool)), (1, Some((2, 3))));
    spool.acknowledge(3).expect("written");
    assert_eq!((spool.given_up().refused, spool.held()), (1, Held::default()));
}

#[test]
fn one_sensor_one_spool() {
    let dir = tempfile::tempdir().expect("a directory");
    let _spool = open(dir.path(), LARGE);
    let err = Spool::open(&dir.path().join("spool/spool.db"), Owner { host: "web-1", boot: "b-1" }, LARGE)
        .expect_err("in use");
    assert!(matches!(err, SpoolError::InUse(_)), "{err}");
}

#[test]
fn a_spool_of_another_host_is_given_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), LARGE);
    let stream = spool.stream().to_owned();
    spool.append(b"x", 3, None).expect("room");
    drop(spool);
    let spool = Spool::open(&dir.path().join("spool/spool.db"), Owner { host: "web-2", boot: "b-1" }, LARGE)
        .expect("opened");
    assert_ne!(spool.stream(), stream);
    assert_eq!((spool.held(), spool.given_up().refused), (Held::default(), 3));
}

#[test]
fn a_damaged_spool_is_put_aside_and_is_the_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool/spool.db");
    drop(open(dir.path(), LARGE));
    fs::write(&path, b"no database at all, but long enough to be taken for one".repeat(100))
        .expect("written");
    let mut spool = open(dir.path(), LARGE);
    spool.append(b"x", 1, None).expect("room");
    assert!(dir.path().join("spool/spool.db.damaged").exists());
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o077;
    assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0, 0));
}

#[test]
fn a_file_that_holds_nothing_any_more_is_replaced_and_its_losses_are_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), LARGE);
    for body in [b"one", b"two"] {
        spool.append(body, 1, None).expect("room");
    }
    spool.refuse(1).expect("written");
    // As if there had been no room to delete it.
    spool.undeleted_through = 2;
    assert_eq!(numbers(&spool), None, "what was acknowledged is not sent again");
    let stream = spool.stream().to_owned();
    spool.discard().expect("removed");
    assert_eq!((numbers(&spool), spool.held()), (None, Held::default()));
    spool.append(b"three", 1, None).expect("room");
    assert_ne!(spool.stream(), stream, "its numbers begin anew, and so does their name");
    drop(spool);
    let spool = open(dir.path(), LARGE);
    assert_eq!((spool.given_up().refused, numbers(&spool)), (1, Some((1, 1))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is appended, acknowledged and evicted, restarts in between: appended = acknowledged + held + given up.
    #[test]
    fn every_event_is_accounted_for(steps in proptest::collection::vec((0..5_u8, 1..400_usize), 1..60)) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut spool = open(dir.path(), 2_000);
        let (mut appended, mut acknowledged) = (0, 0);
        for (what, n) in steps {
            match what {
                0 | 1 => {
                    spool.append(&vec![1; n], n as u64, None).expect("room");
                    appended += n as u64;
                }
                2 => {
                    if let Some(chunk) = spool.oldest(n as u64 % 4 + 1, 1_000).expect("readable") {
                        let before = spool.held().events;
                        spool.acknowledge(chunk.last()).expect("written");
                        acknowledged += before - spool.held().events;
                    }
                }
                3 => {
                    if let Some((first, _)) = numbers(&spool) {
                        spool.refuse(first).expect("written");
                    }
                }
                _ => {
                    drop(spool);
                    spool = open(dir.path(), 2_000);
                }
            }
            prop_assert!(spool.held().bytes <= 2_000);
            prop_assert_eq!(appended, acknowledged + spool.held().events + spool.given_up().all());
        }
    }
}

#[test]
fn a_disk_that_was_put_back_does_not_use_its_numbers_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("spool/spool.db");
    let mut spool = open(dir.path(), LARGE);
    let stream = spool.stream().to_owned();
    for _ in 0..3 {
        spool.append(b"x", 1, None).expect("room");
    }
    spool.acknowledge(2).expect("written");
    drop(spool);
    let copy = dir.path().join("copy");
    fs::copy(&path, &copy).expect("copied");
    let again = |boot| Spool::open(&path, Owner { host: "web-1", boot }, LARGE).expect("opened");
    let mut spool = again("b-1");
    assert_eq!(spool.stream(), stream, "a restart is no boot");
    spool.append(b"sent under number 4", 1, None).expect("room");
    drop(spool);
    fs::copy(&copy, &path).expect("put back");
    let mut spool = again("b-2");
    spool.append(b"another under number 4", 1, None).expect("room");
    assert_ne!(spool.stream(), stream);
    assert_eq!(numbers(&spool), Some((3, 4)), "what was not acknowledged is still there");
}

#[test]
fn a_spool_that_is_damaged_while_it_is_open_is_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), LARGE);
    spool.append(&[7; 4096], 5, None).expect("room");
    let stream = spool.stream().to_owned();
    spool.mend().expect("another file");
    assert_eq!((spool.held(), spool.given_up().unwritten), (Held::default(), 5));
    assert_ne!(spool.stream(), stream, "numbers begin anew");
    spool.append(b"x", 1, None).expect("room");
    drop(spool);
    let spool = open(dir.path(), LARGE);
    assert_eq!((spool.held().events, spool.given_up().unwritten), (1, 5));
    assert!(dir.path().join("spool/spool.db.damaged").exists());
}

#[test]
fn what_was_delivered_is_not_told_as_given_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut spool = open(dir.path(), 3 * (100 + ROW_BYTES));
    for _ in 0..3 {
        spool.append(&[0; 100], 7, None).expect("room");
    }
    // Acknowledged on a full disk, which could not write that down.
    spool.undeleted_through = 2;
    for _ in 0..3 {
        spool.append(&[0; 100], 7, None).expect("room");
    }
    assert_eq!(spool.given_up().evicted, 7);
}
