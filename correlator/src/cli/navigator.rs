//! A layer for MITRE's ATT&CK Navigator: what the rules cover, and what of it can fire with the sources at hand.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// The release of ATT&CK that the catalogue's identifiers are of.
const ATTACK_VERSION: &str = "18";
const LAYER_VERSION: &str = "4.5";
const NAVIGATOR_VERSION: &str = "5.1.0";

/// One cell of the matrix.
#[derive(Debug, Default)]
pub(super) struct Cell<'r> {
    pub(super) can_fire: Vec<&'r str>,
    /// Rules that nothing here feeds, and what they need.
    pub(super) cannot_fire: Vec<(&'r str, String)>,
}

/// A technique under a tactic, both by identifier and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At<'r> {
    pub(super) tactic: &'r str,
    pub(super) technique_id: &'r str,
}

#[derive(Debug, Serialize)]
struct Technique<'r> {
    #[serde(rename = "techniqueID")]
    id: &'r str,
    tactic: String,
    score: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'static str>,
    comment: String,
    enabled: bool,
    #[serde(rename = "showSubtechniques")]
    shows_subtechniques: bool,
}

/// The layer as JSON. A cell's score is the number of rules that can fire; a grey one has rules and lacks the events.
pub(super) fn layer(cells: &BTreeMap<At<'_>, Cell<'_>>) -> Value {
    let techniques: Vec<_> = cells.iter().map(|(at, cell)| technique(*at, cell)).collect();
    let highest = techniques.iter().map(|technique| technique.score).max().unwrap_or(0).max(1);
    json!({
        "name": "groundtrail",
        "versions": {"attack": ATTACK_VERSION, "navigator": NAVIGATOR_VERSION, "layer": LAYER_VERSION},
        "domain": "enterprise-attack",
        "description": "What groundtrail's rules cover. The score is the number of rules that can fire with the sources given; grey: there are rules, and no source for them.",
        "filters": {"platforms": ["Linux", "IaaS", "Containers", "Identity Provider"]},
        "techniques": techniques,
        "gradient": {"colors": ["#ffffff", "#66b1ff"], "minValue": 0, "maxValue": highest},
        "legendItems": [{"label": "no source for any rule", "color": GREY}],
        "hideDisabled": false,
    })
}

const GREY: &str = "#c8c8c8";

fn technique<'r>(at: At<'r>, cell: &Cell<'_>) -> Technique<'r> {
    let mut lines: Vec<String> = cell.can_fire.iter().map(|&name| name.to_owned()).collect();
    lines.extend(
        cell.cannot_fire.iter().map(|(name, needs)| format!("{name} (cannot fire here: needs {needs})")),
    );
    Technique {
        id: at.technique_id,
        // The matrix names a tactic in lower case with dashes.
        tactic: at.tactic.to_lowercase().replace(' ', "-"),
        score: cell.can_fire.len(),
        color: cell.can_fire.is_empty().then_some(GREY),
        comment: lines.join("\n"),
        enabled: true,
        shows_subtechniques: at.technique_id.contains('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_counts_what_can_fire_and_names_the_rest() {
        let at = |technique_id| At { tactic: "Credential Access", technique_id };
        let cells = BTreeMap::from([
            (
                at("T1552.005"),
                Cell {
                    can_fire: vec!["one", "two"],
                    cannot_fire: vec![("three", "--guardduty DIR".to_owned())],
                },
            ),
            (at("T1528"), Cell { can_fire: vec![], cannot_fire: vec![("four", "--sensor -".to_owned())] }),
        ]);
        let layer = layer(&cells);
        assert_eq!(layer["gradient"]["maxValue"], 2);
        let of = |id: &str| {
            layer["techniques"]
                .as_array()
                .unwrap()
                .iter()
                .find(|cell| cell["techniqueID"] == id)
                .unwrap()
                .clone()
        };
        let fed = of("T1552.005");
        assert_eq!((&fed["score"], &fed["tactic"]), (&json!(2), &json!("credential-access")));
        assert_eq!(fed["comment"], "one\ntwo\nthree (cannot fire here: needs --guardduty DIR)");
        assert_eq!(fed.get("color"), None);
        let starved = of("T1528");
        assert_eq!((&starved["score"], &starved["color"]), (&json!(0), &json!(GREY)));
    }
}
