use proptest::prelude::*;

use super::*;

/// Builds a table by hand: types in order of their ids, names interned on the way.
#[derive(Default)]
struct Table {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Table {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.types.extend_from_slice(&word.to_ne_bytes()));
    }

    fn ty(mut self, kind: u32, name: &str, size_or_type: u32) -> Self {
        let name = self.name(name);
        self.words(&[name, kind << 24, size_or_type]);
        if kind == 1 {
            self.words(&[32]);
        }
        self
    }

    /// Members are (name, type, offset in bits).
    fn composite(mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) -> Self {
        let name = self.name(name);
        self.words(&[name, kind << 24 | members.len() as u32, 64]);
        for &(member, ty, bits) in members {
            let member = self.name(member);
            self.words(&[member, ty, bits]);
        }
        self
    }

    fn proto(mut self, n_params: u32) -> Self {
        self.words(&[0, 13 << 24 | n_params, 0]);
        (0..n_params).for_each(|_| self.words(&[0, 1]));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        let types = self.types.len() as u32;
        for word in [24, 0, types, types, self.strings.len() as u32] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// 1 int, 2 a union without a name, 3 `sock_common` around it, 4 const of it, 5 `sock`.
fn sockets() -> Table {
    Table::new()
        .ty(1, "int", 4)
        .composite(5, "", &[("skc_hash", 1, 0), ("skc_u16", 1, 0)])
        .composite(4, "sock_common", &[("skc_daddr", 1, 0), ("", 2, 64), ("skc_family", 1, 128)])
        .ty(10, "", 3)
        .composite(4, "sock", &[("__sk_common", 4, 32), ("sk_protocol", 1, 512)])
}

fn check(table: &Table, path: &str, expect: Result<u32, BtfError>) {
    let bytes = table.bytes();
    assert_eq!(Btf::parse(&bytes).unwrap().offset(path), expect, "{path}");
}

#[test]
fn nested_and_anonymous_fields_add_up() {
    check(&sockets(), "sock.sk_protocol", Ok(64));
    check(&sockets(), "sock_common.skc_hash", Ok(8));
    check(&sockets(), "sock.__sk_common.skc_u16", Ok(12));
    check(&sockets(), "sock.__sk_common.skc_family", Ok(20));
}

#[test]
fn what_is_missing_is_named() {
    let absent = |name: &str, field: &str| Err(BtfError::NoField(name.to_owned(), field.to_owned()));
    check(&sockets(), "sock.sk_cookie", absent("sock", "sk_cookie"));
    check(&sockets(), "sock.sk_protocol.inner", absent("sock", "sk_protocol.inner"));
    check(&sockets(), "sock", absent("sock", ""));
    check(&sockets(), "socket.sk", Err(BtfError::NoStruct("socket".to_owned())));
}

#[test]
fn structs_of_one_name_must_agree() {
    let twice = sockets().composite(4, "sock", &[("sk_protocol", 1, 512)]);
    check(&twice, "sock.sk_protocol", Ok(64));
    check(&twice, "sock.__sk_common", Err(BtfError::Disagree("sock".to_owned(), "__sk_common".to_owned())));
    let moved = sockets().composite(4, "sock", &[("sk_protocol", 1, 520)]);
    check(&moved, "sock.sk_protocol", Err(BtfError::Disagree("sock".to_owned(), "sk_protocol".to_owned())));
}

#[test]
fn a_bit_field_has_no_byte_offset() {
    let mut table = Table::new().ty(1, "int", 4);
    let (name, member) = (table.name("flags"), table.name("dumpable"));
    table.words(&[name, 1 << 31 | 4 << 24 | 1, 8, member, 1, 2 << 24 | 8]);
    check(&table, "flags.dumpable", Err(BtfError::NoField("flags".to_owned(), "dumpable".to_owned())));
}

#[test]
fn a_struct_inside_itself_ends() {
    let table = Table::new().composite(4, "ring", &[("", 1, 8)]);
    check(&table, "ring.field", Err(BtfError::NoField("ring".to_owned(), "field".to_owned())));
}

#[test]
fn tracepoint_arguments_are_counted_without_the_private_one() {
    let table = Table::new().ty(1, "int", 4).proto(3).ty(2, "", 2).ty(8, "btf_trace_sched_process_exit", 3);
    let bytes = table.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.n_tracepoint_args("sched_process_exit"), Ok(2));
    assert!(btf.n_tracepoint_args("sched_process_exec").is_err());
}

#[test]
fn a_skeleton_keeps_ids_and_wanted_names() {
    let table = sockets().ty(8, "btf_trace_a", 1).ty(8, "btf_trace_b", 1);
    let bytes = table.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let skeleton = btf.skeleton(&["btf_trace_b".to_owned()], &[]);
    let small = Btf::parse(&skeleton).unwrap();
    assert_eq!(small.n_types(), btf.n_types());
    assert_eq!(small.named("btf_trace_b", Kind::Typedef).unwrap().0, 7);
    assert!(small.named("btf_trace_a", Kind::Typedef).is_none());
}

#[test]
fn cut_bytes_are_an_error_and_never_a_panic() {
    let whole = sockets().bytes();
    for len in 0..whole.len() {
        assert!(Btf::parse(&whole[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn an_unknown_kind_is_named() {
    let bytes = Table::new().ty(60, "", 0).bytes();
    assert_eq!(Btf::parse(&bytes).err(), Some(BtfError::UnknownKind { id: 1, kind: 60 }));
}

/// Every answer over whatever was parsed; only panics and endless loops can fail it.
fn ask(bytes: &[u8]) {
    if let Ok(btf) = Btf::parse(bytes) {
        for path in ["sock.sk_protocol", "sock.__sk_common.skc_u16", "sock", "", ".", "a.b.c"] {
            let _ = btf.offset(path);
        }
        let _ = (btf.size("sock"), btf.n_tracepoint_args("x"), btf.skeleton(&["int".to_owned()], &["int"]));
    }
}

proptest! {
    #[test]
    fn junk_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        ask(&bytes);
    }

    #[test]
    fn damaged_tables_never_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
        let mut bytes = sockets().bytes();
        let n = bytes.len();
        bytes[at % n] = byte;
        ask(&bytes);
        bytes.truncate(cut);
        ask(&bytes);
    }
}

#[test]
fn the_running_kernel_answers() {
    let Ok(bytes) = std::fs::read(KERNEL_BTF) else {
        println!("skipped: this kernel shows no {KERNEL_BTF}");
        return;
    };
    let btf = Btf::parse(&bytes).unwrap();
    assert!(btf.n_types() > 1000);
    let tgid = btf.offset("task_struct.tgid").unwrap();
    assert_eq!(tgid, btf.offset("task_struct.pid").unwrap() + 4);
    assert_eq!(btf.n_tracepoint_args("sched_process_fork"), Ok(2));
}
