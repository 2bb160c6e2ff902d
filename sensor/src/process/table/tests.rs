use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::process::entry::EntryKind;
use crate::process::procfs::ParentSnapshot;

/// A `/proc` of our own making.
#[derive(Default)]
struct FakeProc(HashMap<Tgid, Snapshot>);

impl Lookups for FakeProc {
    fn process(&mut self, tgid: Tgid) -> Option<Snapshot> {
        self.0.get(&tgid).cloned()
    }

    fn user(&mut self, _: u32) -> Option<String> {
        None
    }

    fn group(&mut self, _: u32) -> Option<String> {
        None
    }
}

const TICK: u64 = 10_000_000;

fn kernel(tgid: u32, start: u64) -> KernelKey {
    KernelKey { tgid: Tgid(tgid), start: BootNs(start) }
}

fn seen(process: KernelKey, parent: Option<KernelKey>) -> Sighting {
    Sighting { process, parent, credentials: Credentials::default(), tty: None }
}

fn image(name: &str) -> Image {
    Image { name: name.into(), args: [name].iter().collect(), ..Image::default() }
}

fn snapshot(tgid: u32, ticks: u64, name: &str, parent: Option<(u32, u64)>) -> Snapshot {
    Snapshot {
        tgid: Tgid(tgid),
        start_ticks: ticks,
        parent: parent.map(|(tgid, start_ticks)| ParentSnapshot { tgid: Tgid(tgid), start_ticks }),
        image: image(name),
        credentials: None,
        tty: None,
        cgroup: None,
    }
}

fn table(max: usize) -> Table {
    Table::new(Identity::new("host", "boot"), Caps { max_processes: max, max_bytes: 1 << 30 })
}

fn name(table: &Table, key: Key) -> Option<&str> {
    table.get(key)?.name()
}

#[test]
fn exec_replaces_the_image_and_keeps_the_entity() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    let (shell, child) = (kernel(10, TICK), kernel(11, 2 * TICK + 5));
    table.exec(&seen(shell, None), image("bash"), None, &mut proc);
    let forked = table.fork(&seen(child, Some(shell)), shell, &mut proc);
    let entity = table.get(forked).expect("held").entity_id.clone();
    assert_eq!(name(&table, forked), Some("bash"));
    let executed = table.exec(&seen(child, Some(shell)), image("ls"), None, &mut proc);
    assert_eq!((executed, name(&table, executed)), (forked, Some("ls")));
    assert_eq!(table.get(executed).expect("held").entity_id, entity);
    assert_eq!(table.ancestors(executed).filter_map(Process::name).collect::<Vec<_>>(), ["bash"]);
}

#[test]
fn an_orphan_keeps_its_creator_as_parent() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    let (init, shell, child) = (kernel(1, 0), kernel(10, TICK), kernel(11, 2 * TICK));
    table.exec(&seen(init, None), image("systemd"), None, &mut proc);
    table.exec(&seen(shell, Some(init)), image("bash"), None, &mut proc);
    table.fork(&seen(child, Some(shell)), shell, &mut proc);
    table.exit(&seen(shell, Some(init)), BootNs(3 * TICK), &mut proc);
    let key = table.exec(&seen(child, Some(init)), image("daemon"), None, &mut proc);
    assert_eq!(table.ancestors(key).filter_map(Process::name).collect::<Vec<_>>(), ["bash", "systemd"]);
}

#[test]
fn clone_parent_inherits_from_the_caller_and_descends_from_the_parent() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    let (parent, caller, child) = (kernel(5, TICK), kernel(10, TICK), kernel(11, 2 * TICK));
    table.exec(&seen(parent, None), image("make"), None, &mut proc);
    table.exec(&seen(caller, Some(parent)), image("sh"), None, &mut proc);
    let key = table.fork(&seen(child, Some(parent)), caller, &mut proc);
    assert_eq!(name(&table, key), Some("sh"));
    assert_eq!(table.ancestors(key).next().and_then(Process::name), Some("make"));
}

#[test]
fn proc_and_kernel_meet_on_one_entry() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    table.seed(vec![snapshot(1, 0, "systemd", None), snapshot(10, 7, "sshd", Some((1, 0)))]);
    let key = table.sight(&seen(kernel(10, 7 * TICK + 123), Some(kernel(1, 5))), &mut proc);
    assert_eq!((key, table.stats().n_held), (Key::first(Tgid(10), StartTicks(7)), 2));
    assert_eq!(name(&table, key), Some("sshd"));
}

#[test]
fn same_pid_in_the_same_tick_is_told_apart_by_the_kernel() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    let (one, two) = (kernel(10, 7 * TICK + 1), kernel(10, 7 * TICK + 2));
    let first = table.exec(&seen(one, None), image("one"), None, &mut proc);
    let second = table.exec(&seen(two, None), image("two"), None, &mut proc);
    assert_eq!((first.nth, second.nth), (0, 1));
    assert_ne!(table.get(first).expect("held").entity_id, table.get(second).expect("held").entity_id);
    assert_eq!(table.sight(&seen(one, None), &mut proc), first);
    assert_eq!(table.sight(&seen(two, None), &mut proc), second);
}

#[test]
fn a_missing_parent_is_repaired_only_if_its_start_agrees() {
    let mut proc = FakeProc::default();
    proc.0.insert(Tgid(5), snapshot(5, 50, "sh", Some((4, 40))));
    proc.0.insert(Tgid(4), snapshot(4, 40, "ssm-document-worker", Some((3, 30))));
    proc.0.insert(Tgid(3), snapshot(3, 999, "stranger", None));
    let mut right = table(100);
    let key = right.exec(
        &seen(kernel(9, 60 * TICK), Some(kernel(5, 50 * TICK + 3))),
        image("curl"),
        None,
        &mut proc,
    );
    let lineage: Vec<Option<&str>> = right.ancestors(key).map(Process::name).collect();
    assert_eq!(lineage, [Some("sh"), Some("ssm-document-worker"), None]);
    assert_eq!(
        right.get(key).and_then(|process| process.entry_leader.as_ref()).map(|leader| leader.kind),
        Some(EntryKind::Ssm)
    );
    let mut wrong = table(100);
    let key =
        wrong.exec(&seen(kernel(9, 60 * TICK), Some(kernel(5, 51 * TICK))), image("curl"), None, &mut proc);
    assert_eq!(wrong.ancestors(key).map(Process::name).collect::<Vec<_>>(), [None]);
    assert_eq!((wrong.stats().n_repaired, wrong.stats().n_placeholders), (0, 1));
}

#[test]
fn exit_is_taken_once() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    let process = seen(kernel(10, TICK), None);
    assert!(table.exit(&process, BootNs(2 * TICK), &mut proc).is_some());
    assert!(table.exit(&process, BootNs(2 * TICK), &mut proc).is_none());
}

#[test]
fn the_dead_stay_for_their_grace_and_their_descendants() {
    let (mut table, mut proc) = (table(100), FakeProc::default());
    let (parent, child, loner) = (kernel(1000, TICK), kernel(1001, 2 * TICK), kernel(1002, 2 * TICK));
    table.exec(&seen(parent, None), image("sh"), None, &mut proc);
    let child_key = table.fork(&seen(child, Some(parent)), parent, &mut proc);
    table.fork(&seen(loner, Some(parent)), parent, &mut proc);
    for (process, at) in [(parent, 10), (loner, 10)] {
        table.exit(&seen(process, None), BootNs(at * TICK), &mut proc);
    }
    table.expire(BootNs(11 * TICK));
    assert_eq!(table.stats().n_held, 3);
    table.expire(BootNs(10 * TICK + GRACE_NS));
    assert_eq!(table.stats().n_held, 2);
    assert_eq!(table.ancestors(child_key).count(), 1);
    table.exit(&seen(child, None), BootNs(20 * TICK), &mut proc);
    table.expire(BootNs(20 * TICK + GRACE_NS));
    assert_eq!((table.stats().n_held, table.awaited.len(), table.exited.len()), (0, 0, 0));
}

#[test]
fn the_cap_holds_and_takes_the_dead_first() {
    let (mut table, mut proc) = (table(4), FakeProc::default());
    let root = kernel(1, 1);
    table.exec(&seen(root, None), image("init"), None, &mut proc);
    for tgid in 2..=4 {
        table.fork(&seen(kernel(tgid, 2 * TICK), Some(root)), root, &mut proc);
    }
    table.exit(&seen(kernel(3, 2 * TICK), None), BootNs(3 * TICK), &mut proc);
    table.fork(&seen(kernel(5, 2 * TICK), Some(root)), root, &mut proc);
    assert_eq!(
        (table.stats().n_held, table.stats().n_evicted_early, table.stats().n_evicted_living),
        (4, 1, 0)
    );
    assert!(table.by_tgid(Tgid(3)).is_none());
    table.fork(&seen(kernel(6, 2 * TICK), Some(root)), root, &mut proc);
    assert_eq!((table.stats().n_held, table.stats().n_evicted_living), (4, 1));
    assert!(table.by_tgid(Tgid(1)).is_some());
}

fn long_image(name: &str, n_bytes: usize) -> Image {
    // One byte each, as that is what costs most to keep apart.
    Image { args: std::iter::repeat_n("x", n_bytes / 2).collect(), ..image(name) }
}

fn weighed(max_bytes: usize) -> Table {
    Table::new(Identity::new("host", "boot"), Caps { max_processes: 100_000, max_bytes })
}

#[test]
fn thousands_of_long_command_lines_stay_within_the_budget() {
    let (mut table, mut proc) = (weighed(4 << 20), FakeProc::default());
    let root = kernel(1, 1);
    table.exec(&seen(root, None), image("init"), None, &mut proc);
    for tgid in 2..2014 {
        let process = kernel(tgid, u64::from(tgid) * TICK);
        table.fork(&seen(process, Some(root)), root, &mut proc);
        let key = table.exec(&seen(process, Some(root)), long_image("true", 40_000), None, &mut proc);
        assert_eq!(table.get(key).and_then(Process::image).map(|image| image.args.count()), Some(20_000));
        // All at once, so that none is forgotten for its age.
        table.exit(&seen(process, Some(root)), BootNs(TICK), &mut proc);
        table.expire(BootNs(TICK));
        assert!(table.stats().n_bytes <= 4 << 20);
    }
    let stats = table.stats();
    assert!(stats.n_held < 2013 && stats.n_evicted_early == 2013 - stats.n_held as u64, "{stats:?}");
    assert_eq!((stats.n_evicted_living, stats.n_shortened), (0, 0));
    // A minute later all of it is forgotten.
    table.expire(BootNs(3000 * TICK + GRACE_NS));
    assert_eq!(table.stats().n_held, 1);
    assert!(table.stats().n_bytes < 2 * SLOT_BYTES + 4096, "{:?}", table.stats());
}

#[test]
fn a_storm_of_short_lives_fills_no_more_than_a_part_of_the_table() {
    let (mut table, mut proc) = (weighed(4 << 20), FakeProc::default());
    let root = kernel(1, 1);
    table.exec(&seen(root, None), image("init"), None, &mut proc);
    for tgid in 2..8000 {
        let process = kernel(tgid, u64::from(tgid) * TICK);
        table.fork(&seen(process, Some(root)), root, &mut proc);
        table.exec(&seen(process, Some(root)), image("true"), None, &mut proc);
        table.exit(&seen(process, Some(root)), process.start, &mut proc);
        table.expire(process.start);
        assert!(table.stats().n_bytes < (1 << 20) + 4096, "{:?}", table.stats());
    }
    // The last ones are remembered, and nobody had to go for want of room.
    assert!(table.by_tgid(Tgid(1)).is_some() && table.find(kernel(7900, 7900 * TICK)).is_some());
    assert_eq!((table.stats().n_evicted_early, table.stats().n_evicted_living), (0, 0));
}

#[test]
fn children_share_what_their_parent_runs() {
    let (mut table, mut proc) = (weighed(4 << 20), FakeProc::default());
    let root = kernel(1, 1);
    table.exec(&seen(root, None), long_image("bash", 78_000), None, &mut proc);
    for tgid in 2..2119 {
        table.fork(&seen(kernel(tgid, TICK), Some(root)), root, &mut proc);
    }
    let stats = table.stats();
    assert!(stats.n_bytes < 2118 * SLOT_BYTES + 100_000, "{stats:?}");
    assert_eq!((stats.n_held, stats.n_shortened), (2118, 0));
    // Their ends share the cut form just so.
    for tgid in 2..2119 {
        table.exit(&seen(kernel(tgid, TICK), Some(root)), BootNs(2 * TICK), &mut proc);
        table.expire(BootNs(2 * TICK));
    }
    assert!(table.stats().n_bytes < 2118 * SLOT_BYTES + 100_000, "{:?}", table.stats());
}

#[test]
fn the_living_give_up_arguments_before_one_of_them_goes() {
    let (mut table, mut proc) = (weighed(1 << 20), FakeProc::default());
    let mut parent = None;
    let mut last = None;
    for tgid in 1..=100 {
        let process = kernel(tgid, u64::from(tgid) * TICK);
        last = Some(table.exec(&seen(process, parent), long_image("sh", 32_000), None, &mut proc));
        parent = Some(process);
    }
    let stats = table.stats();
    assert!(stats.n_bytes <= 1 << 20 && stats.n_shortened > 60, "{stats:?}");
    assert_eq!((stats.n_held, stats.n_evicted_living), (100, 0));
    let last = last.expect("a hundred processes");
    assert_eq!(table.ancestors(last).count(), 99);
    let args =
        |key: Key| table.get(key).and_then(Process::image).map(|image| image.args.clone()).expect("held");
    assert_eq!((args(last).n_bytes(), args(last).all().is_cut()), (32_000, false));
    let first = args(Key::first(Tgid(1), StartTicks(1)));
    assert_eq!((first.n_bytes(), first.count(), first.all().is_cut()), (1024, 16_000, true));
}

#[test]
fn an_exit_is_told_with_what_ran_and_kept_with_less() {
    let (mut table, mut proc) = (weighed(1 << 20), FakeProc::default());
    let process = seen(kernel(10, TICK), None);
    table.exec(&process, long_image("sh", 3000), None, &mut proc);
    let key = table.exit(&process, BootNs(2 * TICK), &mut proc).expect("the first exit");
    let n_bytes = |table: &Table| table.get(key).and_then(Process::image).map(|image| image.args.n_bytes());
    assert_eq!(n_bytes(&table), Some(3000));
    table.expire(BootNs(2 * TICK));
    assert_eq!(n_bytes(&table), Some(1024));
}

/// What happens on a machine with very few pids.
#[derive(Debug, Clone)]
enum Step {
    Fork { of: usize, pid: u32, is_lost: bool },
    Exec { of: usize, is_lost: bool },
    Exit { of: usize, is_lost: bool },
    Wait { ns: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<usize>();
    let lost = proptest::bool::weighted(0.2);
    prop_oneof![
        4 => (at, 2_u32..9, lost).prop_map(|(of, pid, is_lost)| Step::Fork { of, pid, is_lost }),
        3 => (at, lost).prop_map(|(of, is_lost)| Step::Exec { of, is_lost }),
        3 => (at, lost).prop_map(|(of, is_lost)| Step::Exit { of, is_lost }),
        1 => (0_u64..2 * GRACE_NS).prop_map(|ns| Step::Wait { ns }),
        2 => (0_u64..TICK).prop_map(|ns| Step::Wait { ns }),
    ]
}

impl Step {
    fn is_lossy(&self) -> bool {
        match self {
            Self::Fork { is_lost, .. } | Self::Exec { is_lost, .. } | Self::Exit { is_lost, .. } => *is_lost,
            Self::Wait { .. } => false,
        }
    }
}

/// The kernel's own view.
#[derive(Debug, Clone, Copy)]
struct Real {
    key: KernelKey,
    /// Who created it, whatever became of him.
    creator: Option<KernelKey>,
    /// Who `getppid` names: pid 1 once the creator is dead.
    parent: Option<KernelKey>,
}

proptest! {
    #[test]
    fn no_child_gets_a_wrong_parent(steps in proptest::collection::vec(step(), 1..200), max in prop_oneof![Just(10_000), 3_usize..40]) {
        let init = Real { key: kernel(1, 0), creator: None, parent: None };
        let (mut alive, mut now) = (vec![init], 1_u64);
        let mut table = table(max);
        table.seed(vec![snapshot(1, 0, "init", None)]);
        let mut ever: HashMap<KernelKey, Real> = HashMap::from([(init.key, init)]);
        for step in steps {
            let mut proc = FakeProc::default();
            for real in &alive {
                let parent = real.parent.map(|parent| (parent.tgid.0, parent.start.ticks().0));
                proc.0.insert(real.key.tgid, snapshot(real.key.tgid.0, real.key.start.ticks().0, "x", parent));
            }
            // A pid that is used twice within a tick is told apart by the kernel's records alone, so none may be lost then.
            now += if step.is_lossy() { TICK } else { 1 };
            let touched = match step.clone() {
                Step::Wait { ns } => {
                    now += ns;
                    table.expire(BootNs(now));
                    None
                }
                Step::Fork { of, pid, is_lost } => {
                    if alive.iter().any(|real| real.key.tgid.0 == pid) {
                        continue;
                    }
                    let creator = alive[of % alive.len()].key;
                    let real = Real { key: kernel(pid, now), creator: Some(creator), parent: Some(creator) };
                    alive.push(real);
                    ever.insert(real.key, real);
                    (!is_lost).then(|| (table.fork(&seen(real.key, real.parent), creator, &mut proc), real))
                }
                Step::Exec { of, is_lost } => {
                    let real = alive[of % alive.len()];
                    (!is_lost).then(|| (table.exec(&seen(real.key, real.parent), image("y"), None, &mut proc), real))
                }
                Step::Exit { of, is_lost } => {
                    let idx = of % alive.len();
                    if idx == 0 {
                        continue;
                    }
                    let real = alive.remove(idx);
                    for orphan in alive.iter_mut().filter(|orphan| orphan.parent == Some(real.key)) {
                        orphan.parent = Some(init.key);
                    }
                    if !is_lost {
                        table.exit(&seen(real.key, real.parent), BootNs(now), &mut proc);
                    }
                    None
                }
            };
            prop_assert!(table.slots.len() <= max);
            if step.is_lossy() {
                now += TICK;
            }
            let Some((key, real)) = touched else { continue };
            let process = table.get(key).expect("just returned");
            prop_assert_eq!(process.start_ns, Some(real.key.start));
            // The creator, or whoever stood in for him when his record was lost; nobody else, ever.
            // An evicted twin is as lost as an unseen one, so the small tables are left to the other claims.
            if let Some(parent) = process.parent.and_then(|parent| table.get(parent)).filter(|_| max == 10_000) {
                // From /proc alone the tick is known and no more.
                let is_creator = real.creator.is_some_and(|creator| match parent.start_ns {
                    Some(start) => creator == KernelKey { tgid: parent.key.tgid, start },
                    None => (creator.tgid, creator.start.ticks()) == (parent.key.tgid, parent.key.start),
                });
                prop_assert!(is_creator || parent.key.tgid.0 == 1, "{:?} is not the parent of {real:?}", parent.key);
            }
            for slot in table.slots.values() {
                let n_children = table.slots.values().filter(|other| other.process.parent == Some(slot.process.key)).count();
                prop_assert_eq!(slot.n_children as usize, n_children);
            }
        }
    }

    #[test]
    fn the_table_never_passes_its_byte_cap(
        steps in proptest::collection::vec((step(), prop_oneof![Just(10_usize), 2000..3000_usize, 30_000..80_000_usize]), 1..200),
        is_roomy in any::<bool>(),
    ) {
        let max_bytes = if is_roomy { 1 << 20 } else { 160 << 10 };
        let init = kernel(1, 0);
        let (mut alive, mut now, mut next) = (vec![init], 1_u64, 2_u32);
        let (mut table, mut proc) = (weighed(max_bytes), FakeProc::default());
        table.seed(vec![snapshot(1, 0, "init", None)]);
        for (step, n_bytes) in steps {
            now += 1;
            match step {
                Step::Wait { ns } => now += ns,
                Step::Fork { of, .. } => {
                    let (parent, child) = (alive[of % alive.len()], kernel(next, now));
                    next += 1;
                    alive.push(child);
                    table.fork(&seen(child, Some(parent)), parent, &mut proc);
                }
                Step::Exec { of, .. } => {
                    let process = alive[of % alive.len()];
                    let key = table.exec(&seen(process, None), long_image("y", n_bytes), None, &mut proc);
                    let image = table.get(key).and_then(Process::image).expect("just executed");
                    prop_assert_eq!((image.args.count(), image.args.all().is_cut()), (n_bytes / 2, false));
                }
                Step::Exit { of, .. } if of % alive.len() > 0 => {
                    let process = alive.remove(of % alive.len());
                    table.exit(&seen(process, None), BootNs(now), &mut proc);
                }
                Step::Exit { .. } => {}
            }
            prop_assert!(table.stats().n_bytes <= max_bytes, "{:?}", table.stats());
            table.expire(BootNs(now));
            prop_assert!(table.stats().n_bytes <= max_bytes, "{:?}", table.stats());
            if is_roomy {
                // There is room for all of the living once their arguments are cut: none goes, nor an ancestor of one.
                prop_assert_eq!(table.stats().n_evicted_living, 0);
                for slot in table.slots.values() {
                    let parent = slot.process.parent;
                    prop_assert!(parent.is_none_or(|parent| table.get(parent).is_some()), "{parent:?} is gone");
                }
            }
        }
    }
}
