//! The docs, held to the programs: pages that are made from them, commands and settings that pages name, and the tutorial, run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod fences;
mod help;
mod pages;
mod settings;
mod tutorial;
