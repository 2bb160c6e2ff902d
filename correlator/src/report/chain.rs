//! How the credentials came about: who asked for a key, which role session it is, which instance holds it.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::shown;
use crate::alert::view::{list, text};
use crate::identity::account_of_key;

pub(super) fn markup(alerts: &[&Value]) -> Markup {
    let mut keys: BTreeMap<&str, &Value> = BTreeMap::new();
    for key in alerts.iter().flat_map(|alert| list(alert, "groundtrail.alert.keys")) {
        keys.extend(text(key, "id").map(|id| (id, key)));
    }
    html! {
        @for (id, key) in keys {
            ol.chain aria-label="From whoever asked for the key to the key" {
                @if let Some(creator) = text(key, "creator") { li { span.dim { "asked for by" } code { (shown(creator)) } } }
                @if let Some(role) = text(key, "role") { li { span.dim { "role" } code { (shown(role)) } } }
                @if let Some(session) = text(key, "role_session") {
                    li { span.dim { "session" } code { (shown(session)) } }
                }
                li {
                    span.dim { "access key" } code { (shown(id)) }
                    @if let Some(account) = account_of_key(id) { span.dim { "of account " (account) } }
                }
            }
        }
    }
}
