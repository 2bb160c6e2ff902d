//! Every input of the fuzz corpus, on the stable compiler: what once broke a reader stays mended.

use std::fs;
use std::path::Path;

#[path = "../fuzz/targets/btf.rs"]
mod btf;
#[path = "../fuzz/targets/event_json.rs"]
mod event_json;
#[path = "../fuzz/targets/query_text.rs"]
mod query_text;
#[path = "../fuzz/targets/ring_record.rs"]
mod ring_record;
#[path = "../fuzz/targets/rule_text.rs"]
mod rule_text;
#[path = "../fuzz/targets/sigma_text.rs"]
mod sigma_text;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut n_inputs = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("an entry of the corpus").path();
        // Shown by the test runner when the input below it fails.
        println!("{}", path.display());
        run(&fs::read(&path).expect("an input is readable"));
        n_inputs += 1;
    }
    assert!(n_inputs > 0, "{} holds inputs", folder.display());
}

#[test]
fn rule_files_of_any_text_load_or_are_reported() {
    replay("rule_text", rule_text::run);
}

#[test]
fn sigma_files_of_any_text_load_or_are_reported() {
    replay("sigma_text", sigma_text::run);
}

#[test]
fn queries_of_any_text_compile_or_are_reported_and_what_compiles_ends() {
    replay("query_text", query_text::run);
}

#[test]
fn bytes_of_any_origin_are_events_or_are_refused() {
    replay("event_json", event_json::run);
}

#[test]
fn bytes_of_the_ring_are_records_or_reasons() {
    replay("ring_record", ring_record::run);
}

#[test]
fn type_information_of_any_shape_is_read_or_refused() {
    replay("btf", btf::run);
}
