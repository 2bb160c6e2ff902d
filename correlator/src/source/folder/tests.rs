use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::merge::{Merge, Merged, Pace};
use crate::source::feed::tests::{Came, call, collect, gzip};
use crate::source::normalize::tests::normalizer;
use crate::time::{Lateness, VirtualClock};

fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn folder(root: &Path, content: Content) -> Folder {
    Folder { source: "trail".into(), path: root.to_owned(), content, limits: Limits::default() }
}

fn once(folder: &Folder) -> Came {
    collect(|normalizer, outlet| folder.read_once(normalizer, outlet).unwrap())
}

#[test]
fn aws_own_layout_and_flat_files() {
    let dir = tempfile::tempdir().unwrap();
    let base = "prefix/AWSLogs/o-example/111122223333";
    let finding =
        r#"{"id":"f","updatedAt":"2026-11-02T10:00:00Z","type":"T","severity":5,"service":{"count":1}}"#;
    write(
        dir.path(),
        &format!(
            "{base}/CloudTrail/us-east-1/2026/11/02/111122223333_CloudTrail_us-east-1_20261102T1000Z_a.json.gz"
        ),
        gzip(&format!(r#"{{"Records":[{}]}}"#, call("a"))),
    );
    write(
        dir.path(),
        &format!("{base}/CloudTrail-Digest/us-east-1/2026/11/02/d.json.gz"),
        gzip(&call("digest")),
    );
    write(
        dir.path(),
        &format!("{base}/GuardDuty/us-east-1/2026/11/02/g.jsonl.gz"),
        gzip(&format!("{finding}\n")),
    );
    write(
        dir.path(),
        &format!("{base}/vpcflowlogs/us-east-1/2026/11/02/v.log.gz"),
        gzip("srcaddr end\n192.0.2.1 1795219260\n"),
    );
    write(dir.path(), "flat.json", call("flat"));
    write(dir.path(), ".hidden.json", call("hidden"));
    write(dir.path(), "copying.json.part", call("part"));
    write(dir.path(), "empty.json", "");
    let came = once(&folder(dir.path(), Content::CloudTrail));
    assert_eq!(came.ids, ["flat", "a"]);
    assert_eq!(came.rejected, [""; 0]);
    assert_eq!(came.positions.len(), 3);
    let aws = dir.path().join("prefix");
    assert_eq!(once(&folder(&aws, Content::GuardDuty)).ids, ["f@2026-11-02T10:00:00.000Z"]);
    assert_eq!(once(&folder(&aws, Content::VpcFlow)).ids.len(), 1);
}

#[test]
fn a_single_file_in_place_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "any-name", call("a"));
    assert_eq!(once(&folder(&dir.path().join("any-name"), Content::CloudTrail)).ids, ["a"]);
}

#[test]
fn what_cannot_be_read_is_one_line_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let came = once(&folder(&dir.path().join("absent"), Content::CloudTrail));
    assert_eq!(came.rejected.len(), 1);
    assert!(
        came.rejected[0].contains("absent: cannot read this folder: No such file"),
        "{:?}",
        came.rejected
    );
    assert!(!came.rejected[0].contains("tried again"), "nobody does: {:?}", came.rejected);
    write(dir.path(), "a.json", &gzip(&call("a"))[..20]);
    write(dir.path(), "b.json", call("b"));
    let came = once(&folder(dir.path(), Content::CloudTrail));
    assert_eq!(came.ids, ["b"]);
    assert_eq!(came.rejected.len(), 1, "{:?}", came.rejected);
    assert!(came.rejected[0].contains("a.json, byte"), "{:?}", came.rejected);
}

#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, String>>);

impl Positions for Kept {
    fn value(&self, _source: &str, key: &str) -> Option<String> {
        self.0.lock().unwrap().get(key).cloned()
    }
}

/// Follows a folder while `act` changes it, until everything expected came, and a few looks longer.
fn follow(root: &Path, kept: &Kept, n_expected: usize, act: impl FnOnce() + Send) -> Vec<String> {
    let mut merge = Merge::new(64, Pace::Replay, Arc::new(VirtualClock::default()));
    let outlet = merge.add("trail", Lateness::CLOUDTRAIL);
    let stop = Stop::default();
    let poll = Duration::from_millis(15);
    std::thread::scope(|scope| {
        let (folder, stop_too) = (folder(root, Content::CloudTrail), stop.clone());
        scope.spawn(move || folder.follow(poll, &normalizer(), &outlet, kept, &stop_too).unwrap());
        scope.spawn(act);
        let mut ids = Vec::new();
        let mut n_quiet = 0;
        let mut n_rounds = 0;
        loop {
            match merge.next(poll) {
                Some(Merged::Record(_, record)) => ids.push(record.event.id.to_string()),
                Some(Merged::Position(position)) => {
                    kept.0.lock().unwrap().insert(position.key, position.value);
                }
                Some(Merged::Rejected(rejected)) => ids.push(format!("! {}", rejected.at)),
                Some(Merged::End) => return ids,
                Some(Merged::Receipt(_) | Merged::LeftOut(_) | Merged::Watermark(_) | Merged::Doubt(_)) => {}
                None => n_quiet += 1,
            }
            n_rounds += 1;
            if (ids.len() >= n_expected && n_quiet > 8) || n_rounds > 2_000 {
                stop.stop();
            }
        }
    })
}

#[test]
fn files_are_read_once_as_they_come_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::default();
    write(dir.path(), "a.json", call("a"));
    let root = dir.path();
    let came = follow(root, &kept, 2, || {
        std::thread::sleep(Duration::from_millis(60));
        write(root, "b.json", call("b"));
    });
    assert_eq!(came, ["a", "b"]);
    let came = follow(root, &kept, 1, || write(root, "c.json", call("c")));
    assert_eq!(came, ["c"]);
}

#[test]
fn a_file_that_grows_is_read_again_when_it_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let whole = format!(r#"{{"Records":[{},{}]}}"#, call("a"), call("b"));
    let came = follow(root, &Kept::default(), 2, || {
        write(root, "a.json", &whole[..whole.len() / 2]);
        std::thread::sleep(Duration::from_millis(100));
        write(root, "a.json", &whole);
    });
    let ids: BTreeSet<&str> = came.iter().map(String::as_str).filter(|id| !id.starts_with('!')).collect();
    assert_eq!(ids, BTreeSet::from(["a", "b"]), "{came:?}");
}

#[test]
fn a_folder_that_appears_later_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("later");
    let came = follow(&root, &Kept::default(), 2, || {
        std::thread::sleep(Duration::from_millis(60));
        write(&root, "a.json", call("a"));
    });
    assert_eq!(came.len(), 2, "{came:?}");
    assert!(came[0].starts_with('!') && came[1] == "a", "{came:?}");
}

#[test]
fn a_folder_that_stands_still_is_not_listed_again() {
    let dir = tempfile::tempdir().unwrap();
    for day in ["01", "02", "03"] {
        write(dir.path(), &format!("2026/11/{day}/a.json"), call(day));
    }
    let (mut merge, normalizer) =
        (Merge::new(64, Pace::Replay, Arc::new(VirtualClock::default())), normalizer());
    let outlet = merge.add("trail", Lateness::CLOUDTRAIL);
    let folder = folder(dir.path(), Content::CloudTrail);
    let mut walk = Walk::new(&folder, &normalizer, &outlet, &NoPositions, Retry::EachLook);
    assert_eq!(walk.list().unwrap().len(), 3);
    walk.list().unwrap();
    let listed_at = |walk: &Walk<'_>| walk.cached.values().map(|listed| listed.at).max();
    let before = listed_at(&walk);
    assert_eq!(walk.list().unwrap().len(), 3);
    assert_eq!(listed_at(&walk), before, "it is settled after two looks");
    assert!(walk.is_old(&dir.path().join("2026/11/01")) && !walk.is_old(&dir.path().join("2026/11/02")));
    write(dir.path(), "2026/11/01/a.json", "grown in place");
    write(dir.path(), "2026/11/01/b.json", call("b"));
    let look = walk.list().unwrap();
    assert_eq!(look.len(), 4, "a file that comes to an old day is seen");
    assert_eq!(look[&dir.path().join("2026/11/01/a.json")].0, 14, "and so is one that grew");
    fs::remove_dir_all(dir.path().join("2026")).unwrap();
    assert!(walk.list().unwrap().is_empty() && walk.cached.len() == 1);
}

#[test]
fn a_backlog_of_several_accounts_is_read_in_the_order_of_time_and_none_of_it_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for hour in 0..24 {
        for (account, region) in [("111122223333", "eu-west-1"), ("444455556666", "us-east-1")] {
            let id = format!("{account}-{hour:02}");
            let time = format!("2026-11-02T{hour:02}:00:00Z");
            let of = format!(r#""recipientAccountId":"{account}","awsRegion":"{region}","eventID""#);
            let record = call(&id).replace("2026-11-02T10:00:00Z", &time).replace("\"eventID\"", &of);
            let path = format!(
                "AWSLogs/{account}/CloudTrail/{region}/2026/11/02/{account}_CloudTrail_{region}_20261102T{hour:02}05Z_x.json.gz"
            );
            write(dir.path(), &path, gzip(&format!(r#"{{"Records":[{record}]}}"#)));
            expected.push(id);
        }
    }
    assert_eq!(once(&folder(dir.path(), Content::CloudTrail)).ids, expected);

    let now = crate::time::parse("2026-11-05T00:00:00Z").unwrap();
    let schema = rules::schema::Schema::builtin();
    let pace = Pace::Live { idle_after: rules::event::Span::from_secs(2) };
    let mut merge = Merge::new(4, pace, Arc::new(VirtualClock::at(now))).by_clock(&schema);
    let outlet = merge.add_follower("trail", Lateness::CLOUDTRAIL);
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let (folder, stop_too) = (folder(dir.path(), Content::CloudTrail), stop.clone());
        let poll = Duration::from_millis(15);
        scope.spawn(move || folder.follow(poll, &normalizer(), &outlet, &NoPositions, &stop_too).unwrap());
        let mut n_records = 0;
        loop {
            match merge.next(Duration::from_secs(5)) {
                Some(Merged::Record(..)) => n_records += 1,
                Some(Merged::End) => break,
                Some(Merged::Watermark(time)) if n_records == expected.len() && now - time < RECENT => {
                    stop.stop()
                }
                Some(_) | None => {}
            }
        }
    });
    let progress = merge.progress().remove(0);
    assert_eq!((progress.n_records, progress.n_late), (48, 0));
}

/// As far behind the clock as the trail may be.
const RECENT: rules::event::Span = rules::event::Span::from_secs(21 * 60);
