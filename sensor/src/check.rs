//! Can the sensor start here? Loads and attaches, then lets go.

use std::path::Path;

use crate::config::Config;
use crate::host::HostFacts;
use crate::loader::{Kernel, LoadOptions};
use crate::pipeline::RunError;

/// One sentence on what will be seen.
///
/// # Errors
/// What keeps the sensor from starting.
pub fn check(config: &Config, load: &LoadOptions) -> Result<String, RunError> {
    let facts = HostFacts::gather(Path::new("/"), &config.host)?;
    let kernel = Kernel::load(load)?;
    let coverage = kernel.coverage();
    let refused: Vec<String> =
        coverage.refused().map(|(probe, reason)| format!("{} ({reason})", probe.sees)).collect();
    let n_attached = coverage.probes.len() - refused.len();
    let blind =
        if refused.is_empty() { String::new() } else { format!("; not seen: {}", refused.join(", ")) };
    let warnings: String = coverage.warnings.iter().map(|warning| format!("; {warning}")).collect();
    Ok(format!(
        "ready: host \"{}\", kernel {}, {n_attached} of {} programs attached{blind}{warnings}",
        facts.id,
        coverage.kernel,
        coverage.probes.len()
    ))
}
