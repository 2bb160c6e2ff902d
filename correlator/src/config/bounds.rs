//! `[rules.limits]`: how large what is written in a rule may be.

use rules::bounds::{ALL, Bounds, Named};

use super::reader::{Context, Table};
use super::show::size;

pub(super) fn read(rules: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Bounds {
    let mut bounds = Bounds::default();
    let mut table = rules.table("limits", ctx);
    for named in &ALL {
        if table.is_absent(named.name) {
            table.ask(named.name);
            continue;
        }
        let (low, high) = (*named.range.start(), *named.range.end());
        match named.is_size {
            true => {
                let Some(value) = table.size(named.name, ctx) else { continue };
                if !named.range.contains(&value) {
                    let message = format!("\"{}\" is out of bounds", named.name);
                    let help = format!("write a size from \"{}\" to \"{}\"", size(low), size(high));
                    ctx.fault(table.span(), message, help);
                }
                *(named.of)(&mut bounds) = value;
            }
            false => {
                let end = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                let number = table.integer(named.name, end(low)..end(high + 1), ctx);
                if let Some(number) = number {
                    *(named.of)(&mut bounds) = u64::from(number);
                }
            }
        }
    }
    table.finish(ctx);
    bounds
}

/// The table as it is written.
pub(super) fn write(mut bounds: Bounds) -> String {
    let line = |named: &Named| {
        let value = *(named.of)(&mut bounds);
        match named.is_size {
            true => format!("{} = \"{}\"\n", named.name, size(value)),
            false => format!("{} = {value}\n", named.name),
        }
    };
    let lines: String = ALL.iter().map(line).collect();
    format!("\n[rules.limits]\n{lines}")
}
