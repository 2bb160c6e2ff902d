//! `cargo xtask bless`: makes what the code says now the expectation of the golden files.

use crate::shell::{self, Failure};
use crate::test::FEATURES;

pub(crate) fn run() -> Result<(), Failure> {
    shell::say("rewriting golden files; read the diff before you commit it");
    // expect-test and the traces' own comparison read the same variable.
    shell::succeed(
        shell::cargo(&["test", "--workspace", "--features", FEATURES])
            .env("UPDATE_EXPECT", "1")
            .env("GROUNDTRAIL_BINS_ARE_BUILT", "1"),
    )
}
