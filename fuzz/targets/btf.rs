//! Type information of any kernel: it is read or refused, and so is every question about it.

use sensor::btf::Btf;
use sensor::offsets;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    _ = offsets::resolve(&btf);
    _ = btf.n_tracepoint_args("sched_process_exit");
    _ = btf.size("task_struct");
    btf.skeleton(&["btf_trace_sched_process_exec".to_owned()], &["inet_csk_accept"]);
}
