//! AWS's files: what reading them costs, and what a large one takes in memory.

use serde_json::Value;

use crate::bench::report::{Table, grouped};
use crate::bench::{Report, measurements};
use crate::shell::Failure;

pub(super) fn measure(report: &mut Report) -> Result<(), Failure> {
    let found = measurements("correlator", "feeds", &[])?;
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or(f64::NAN);
    let mut table = Table::new("AWS's files, packed, from disk to events", &["what", "figure", "beside it"]);
    for one in &found {
        match one["name"].as_str().unwrap_or_default() {
            "cloudtrail" => {
                let (ours, theirs) = (number(one, "mib_per_s"), number(one, "zcat_and_parser_mib_per_s"));
                table.row([
                    "CloudTrail, MiB/s of a core".to_owned(),
                    format!("{ours:.0} ({} events/s)", grouped(number(one, "events_per_s"))),
                    format!(
                        "`zcat` and the same JSON parser alone: {theirs:.0}; ours is {:.0} %",
                        100.0 * ours / theirs
                    ),
                ]);
            }
            "flows" => table.row([
                "flow logs, records/s of a core".to_owned(),
                grouped(number(one, "records_per_s")),
                String::new(),
            ]),
            "large" => table.row([
                format!("a CloudTrail file of {} MiB packed, {} records", one["packed_mib"], one["records"]),
                format!("{} MiB", one["gained_mib"]),
                "memory that the process gained".to_owned(),
            ]),
            "lists" => {
                let ns = |key: &str| format!("{:.0}", number(one, key));
                table.row([
                    format!(
                        "{} indicators: memory held, and at most while they are read",
                        grouped(number(one, "entries"))
                    ),
                    format!("{} MiB, {} MiB", one["held_mib"], one["peak_mib"]),
                    String::new(),
                ]);
                table.row([
                    "a look for an address that is not listed, one that is, ns".to_owned(),
                    format!("{}, {}", ns("address_miss_ns"), ns("address_hit_ns")),
                    format!(
                        "the standard library's map of the same addresses, without networks: {}, {}",
                        ns("map_miss_ns"),
                        ns("map_hit_ns")
                    ),
                ]);
                table.row([
                    "the same for a name, ns".to_owned(),
                    format!("{}, {}", ns("domain_miss_ns"), ns("domain_hit_ns")),
                    String::new(),
                ]);
            }
            _ => {}
        }
    }
    table.note(
        "records of seeded generators, the best of three rounds, in time of all processors that reader, merge and `zcat` took",
    );
    report.add(table);
    Ok(())
}
