//! `bench feeds`: what comes in, and how fast it can.

mod files;
mod wire;

use super::Report;
use crate::shell::Failure;

pub(super) fn measure() -> Result<Report, Failure> {
    let mut report = Report::begin();
    files::measure(&mut report)?;
    wire::measure(&mut report)?;
    Ok(report)
}
