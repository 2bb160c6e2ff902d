//! `[[source]]` of type "sensors": where sensors deliver batches, and what each of them may send.

use std::net::SocketAddr;

use super::reader::{Context, Table};
use crate::wire::listen::{Place, Settings};
use crate::wire::quota::Rates;
use crate::wire::tls::TlsFiles;

/// The keys of this type, for a source whose type is missing.
pub(super) const KEYS: [&str; 11] = [
    "listen",
    "certificate",
    "key",
    "ca",
    "crl",
    "unix",
    "users",
    "events_per_second",
    "bytes_per_second",
    "max_batch",
    "max_connections",
];

const MIB: u64 = 1 << 20;
/// A sensor that cannot send its smallest batch is stuck.
const MIN_BATCH: u64 = 2 * MIB;
const MAX_BATCH: u64 = 32 * MIB;
/// The user that packages make for the sensor.
const SENSOR_USER: &str = "groundtrail-sensor";

impl Default for Settings {
    fn default() -> Self {
        Self {
            place: Place::Unix {
                path: "/run/groundtrail/sensor.sock".into(),
                users: vec![SENSOR_USER.to_owned()],
            },
            rates: Rates::default(),
            max_batch_bytes: 4 * MIB,
            max_connections: 4096,
        }
    }
}

pub(super) fn read(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Settings> {
    let defaults = Settings::default();
    let events = table.integer("events_per_second", 1..10_000_001, ctx);
    let bytes = table.size("bytes_per_second", ctx);
    let max_batch_bytes = table.size("max_batch", ctx).unwrap_or(defaults.max_batch_bytes);
    if !(MIN_BATCH..=MAX_BATCH).contains(&max_batch_bytes) {
        let help = "write a size from \"2MiB\", which is as much as a sensor packs into one, to \"32MiB\"";
        ctx.fault(table.span(), "\"max_batch\" is out of bounds", help);
    }
    let max_connections = table.integer("max_connections", 1..1_000_001, ctx);
    let place = place(table, ctx)?;
    Some(Settings {
        place,
        rates: Rates {
            events: events.unwrap_or(defaults.rates.events),
            bytes: bytes.unwrap_or(defaults.rates.bytes),
        },
        max_batch_bytes,
        max_connections: max_connections.unwrap_or(defaults.max_connections),
    })
}

fn place(table: &mut Table<'_, '_>, ctx: &mut Context<'_>) -> Option<Place> {
    let listen = table.str("listen", ctx);
    let unix = table.path("unix", ctx);
    let has_users = !table.is_absent("users");
    let users: Vec<String> = table.strings("users", ctx).into_iter().map(|user| user.value).collect();
    let [certificate, key, ca, crl] = ["certificate", "key", "ca", "crl"].map(|key| table.path(key, ctx));
    match (listen, unix) {
        (Some(listen), None) => {
            let address = listen.value.parse::<SocketAddr>().ok();
            if address.is_none() {
                let message = format!("\"{}\" is not an address with a port", listen.value);
                ctx.fault(listen.span, message, "write \"0.0.0.0:7443\" or \"[::]:7443\"");
            }
            if has_users {
                ctx.fault(
                    table.span(),
                    "\"users\" is for a Unix socket",
                    "leave it out: certificates say who a sensor is",
                );
            }
            let (Some(certificate), Some(key), Some(ca)) = (certificate, key, ca) else {
                ctx.fault(
                    table.span(),
                    "sensors on other machines are known by their certificates",
                    "add certificate, key and ca; `groundtrail ca` makes them",
                );
                return None;
            };
            Some(Place::Tls { listen: address?, files: TlsFiles { certificate, key, ca, crl } })
        }
        (None, Some(path)) => {
            if certificate.or(key).or(ca).or(crl).is_some() {
                ctx.fault(
                    table.span(),
                    "a Unix socket has no certificates",
                    "leave certificate, key, ca and crl out",
                );
            }
            let users = if has_users { users } else { vec![SENSOR_USER.to_owned()] };
            Some(Place::Unix { path, users })
        }
        _ => {
            let help = "give listen (an address, with certificate, key and ca) or unix (a path)";
            ctx.fault(table.span(), "a source of sensors needs one place to listen", help);
            None
        }
    }
}
