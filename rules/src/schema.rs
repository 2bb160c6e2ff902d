//! The field table: every ECS, CloudTrail and groundtrail field that rules may name, interned.
//!
//! `schema/*.toml` is the source. Nothing here knows the rule languages.

use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

mod table;

use crate::bounds::Bounds;

/// A field of the table, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub(crate) u32);

impl FieldId {
    /// The field's place in [`Schema::iter`], for tables that are indexed by field.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// How a field's values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    Keyword,
    Long,
    Double,
    Boolean,
    Date,
    Ip,
    /// An object whose leaves are keywords of any name, such as `aws.cloudtrail.flattened.request_parameters`.
    Flattened,
}

/// No field's name is longer; what it costs to look one up or to find one like it grows with the square.
const MAX_NAME: usize = 1024;

/// Where a field's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    Ecs,
    CloudTrail,
    GuardDuty,
    VpcFlow,
    /// Extensions of endpoint agents and Linux log shippers that public rules name.
    Endpoint,
    Groundtrail,
    /// Products that no source of ours reads.
    Other,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub path: Arc<str>,
    pub kind: FieldType,
    pub origin: Origin,
}

/// A path that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown field \"{path}\"{}", self.hint())]
pub struct UnknownField {
    pub path: String,
    /// The field that was most likely meant.
    pub suggestion: Option<Arc<str>>,
}

impl UnknownField {
    fn hint(&self) -> String {
        self.suggestion.as_ref().map(|path| format!(", did you mean \"{path}\"?")).unwrap_or_default()
    }
}

/// The fields that rules may name.
///
/// A number stays valid for the life of the schema it came from and for its clones: fields are added, never removed.
#[derive(Debug, Clone)]
pub struct Schema {
    fields: Vec<Field>,
    ids: FxHashMap<Arc<str>, FieldId>,
    /// Names of other vocabularies, with the field that holds the same.
    instead: FxHashMap<Arc<str>, Arc<str>>,
    /// Of what is compiled against the table: whatever compiles has one.
    bounds: Bounds,
}

impl Schema {
    /// The shipped table.
    pub fn builtin() -> Self {
        static BUILTIN: OnceLock<Schema> = OnceLock::new();
        BUILTIN.get_or_init(table::read).clone()
    }

    /// Bounds for what is compiled against the table from here on.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub fn id(&self, path: &str) -> Option<FieldId> {
        self.ids.get(path).copied()
    }

    /// The field of that path. A leaf below a flattened object is added as a keyword when it is first named.
    ///
    /// # Errors
    /// The path is neither in the table nor below a flattened object.
    pub fn resolve(&mut self, path: &str) -> Result<FieldId, UnknownField> {
        if let Some(id) = self.id(path) {
            return Ok(id);
        }
        // Another index of the same texts, for words instead of the whole.
        if let Some(id) = path.strip_suffix(".text").and_then(|path| self.id(path)) {
            return Ok(id);
        }
        if path.len() > MAX_NAME {
            return Err(UnknownField { path: path.into(), suggestion: None });
        }
        match self.flattened_above(path) {
            Some(origin) => Ok(self.add(path, FieldType::Keyword, origin)),
            None => Err(UnknownField { path: path.into(), suggestion: self.suggest(path) }),
        }
    }

    /// Whether such names may stand below an open object, of which nobody knows the leaves.
    pub fn is_open_below(&self, pattern: &str) -> bool {
        let plain = pattern.split('*').next().unwrap_or_default();
        self.flattened_above(&format!("{plain}x")).is_some()
    }

    /// Whether the field is below an open object: its type is not known, and it is read as text.
    pub fn is_open_leaf(&self, id: FieldId) -> bool {
        let field = self.field(id);
        field.kind == FieldType::Keyword && self.flattened_above(&field.path).is_some()
    }

    /// The field of that path, added as a keyword where the table does not have it: for events that nobody mapped.
    pub fn open(&mut self, path: &str) -> FieldId {
        self.id(path).unwrap_or_else(|| self.add(path, FieldType::Keyword, Origin::Endpoint))
    }

    /// A field of somebody's own. One that is there already stays as it is.
    pub fn declare(&mut self, path: &str, kind: FieldType) -> FieldId {
        self.id(path).unwrap_or_else(|| self.add(path, kind, Origin::Other))
    }

    /// # Panics
    /// If the number is of another schema.
    pub fn field(&self, id: FieldId) -> &Field {
        &self.fields[id.index()]
    }

    /// All fields, in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FieldId, &Field)> {
        self.fields.iter().zip(0..).map(|(field, idx)| (FieldId(idx), field))
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The field that an unknown path most likely means: another tool's name for it, a slip of the keyboard, or the
    /// one well-known field that ends the same.
    pub fn suggest(&self, path: &str) -> Option<Arc<str>> {
        self.instead
            .get(path)
            .cloned()
            .or_else(|| self.suggest_spelling(path))
            .or_else(|| self.suggest_leaf(path))
    }

    fn suggest_spelling(&self, path: &str) -> Option<Arc<str>> {
        let folded = path.to_ascii_lowercase();
        let limit = 1 + path.len() / 8;
        self.fields
            .iter()
            // A distance costs the product of the lengths, and a checkout of public rules may name thousands of fields
            // that are not here.
            .filter(|field| {
                field.path.len().abs_diff(folded.len()) <= limit && shares_an_end(&folded, &field.path)
            })
            .map(|field| (strsim::osa_distance(&folded, &field.path.to_ascii_lowercase()), &field.path))
            .filter(|(distance, _)| *distance <= limit)
            .min_by_key(|(distance, path)| (*distance, path.len()))
            .map(|(_, path)| Arc::clone(path))
    }

    fn suggest_leaf(&self, path: &str) -> Option<Arc<str>> {
        let top = path.split_once('.').map(|(top, _)| top);
        let leaf = path.rsplit('.').next().unwrap_or(path);
        self.fields
            .iter()
            .filter(|field| top.is_none_or(|top| field.path.split('.').next() == Some(top)))
            .map(|field| {
                let likeness = strsim::jaro_winkler(leaf, field.path.rsplit('.').next().unwrap_or_default());
                (likeness, &field.path)
            })
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|left, right| left.0.total_cmp(&right.0).then(right.1.len().cmp(&left.1.len())))
            .map(|(_, path)| Arc::clone(path))
    }

    fn flattened_above(&self, path: &str) -> Option<Origin> {
        let is_leaf = !path.ends_with('.') && !path.contains("..") && !path.contains('*');
        path.match_indices('.')
            .filter_map(|(dot, _)| self.id(&path[..dot]))
            .map(|id| self.field(id))
            .find(|field| is_leaf && field.kind == FieldType::Flattened)
            .map(|field| field.origin)
    }

    fn add(&mut self, path: &str, kind: FieldType, origin: Origin) -> FieldId {
        let id = FieldId(u32::try_from(self.fields.len()).expect("fewer fields than numbers"));
        let path: Arc<str> = path.into();
        self.fields.push(Field { path: Arc::clone(&path), kind, origin });
        self.ids.insert(path, id);
        id
    }
}

/// A slip rarely hits both ends of a name.
fn shares_an_end(left: &str, right: &str) -> bool {
    let alike = |left: Option<u8>, right: Option<u8>| {
        left.map(|byte| byte.to_ascii_lowercase()) == right.map(|byte| byte.to_ascii_lowercase())
    };
    alike(left.bytes().next(), right.bytes().next()) || alike(left.bytes().last(), right.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_from_the_table() {
        let schema = Schema::builtin();
        let kind = |path: &str| schema.id(path).map(|id| schema.field(id).kind);
        assert_eq!(kind("process.name"), Some(FieldType::Keyword));
        assert_eq!(kind("process.parent.pid"), Some(FieldType::Long));
        assert_eq!(kind("destination.ip"), Some(FieldType::Ip));
        assert_eq!(kind("@timestamp"), Some(FieldType::Date));
        assert_eq!(kind("process.interactive"), Some(FieldType::Boolean));
        assert_eq!(kind("aws.cloudtrail.request_parameters"), Some(FieldType::Keyword));
        assert_eq!(kind("aws.cloudtrail.flattened.request_parameters"), Some(FieldType::Flattened));
        assert_eq!(kind("groundtrail.link.ssm_command_id"), Some(FieldType::Keyword));
        assert_eq!(kind("aws.guardduty.severity.code"), Some(FieldType::Double));
        assert_eq!(kind("process"), None);
    }

    #[test]
    fn every_field_the_sensor_and_the_sources_emit_is_there() {
        let schema = Schema::builtin();
        let paths = "
            @timestamp message ecs.version event.id event.kind event.category event.type event.action event.outcome event.provider
            event.dataset event.module event.sequence event.created event.ingested event.start event.end event.severity event.reason
            data_stream.type data_stream.dataset data_stream.namespace
            agent.id agent.type agent.version host.id host.name host.hostname host.os.type host.os.kernel host.os.platform
            host.os.version host.os.name host.architecture host.boot.id host.ip
            cloud.provider cloud.instance.id cloud.region cloud.account.id container.id
            process.entity_id process.pid process.name process.executable process.args process.args_count process.command_line
            process.working_directory process.start process.end process.exit_code process.interactive process.title
            process.env_vars process.thread.id process.thread.capabilities.effective process.thread.capabilities.permitted
            process.tty.char_device.major process.tty.char_device.minor process.Ext.ancestry
            process.user.id process.user.name process.group.id process.real_user.id process.real_group.id process.saved_user.id
            process.parent.entity_id process.parent.pid process.parent.name process.parent.executable process.parent.args
            process.parent.args_count process.parent.command_line process.parent.working_directory process.parent.start
            process.parent.user.id process.parent.group.id process.parent.user.name
            process.entry_leader.entity_id process.entry_leader.pid process.entry_leader.name process.entry_leader.executable
            process.entry_leader.args process.entry_leader.start process.entry_leader.entry_meta.type
            process.entry_leader.entry_meta.source.ip process.session_leader.entity_id process.group_leader.entity_id
            user.id user.name user.domain user.email user.effective.id user.target.name user.changes.name user.entity.id
            group.id group.name group.Ext.real.id user.Ext.real.id entity.target.id
            destination.ip destination.port destination.address destination.domain destination.bytes source.ip source.port
            source.address source.bytes source.as.number source.as.organization.name source.geo.country_iso_code
            source.geo.city_name source.geo.country_name
            network.type network.transport network.direction network.bytes network.packets network.protocol
            network.community_id dns.question.name tls.client.server_name tls.version tls.cipher
            file.path file.name file.extension file.directory file.Ext.original.path file.Ext.original.name
            file.Ext.original.extension file.size file.mode file.owner
            user_agent.original user_agent.name user_agent.version user_agent.device.name user_agent.os.name
            related.ip related.user related.hosts rule.id rule.name threat.indicator.ip threat.indicator.type
            threat.indicator.provider threat.enrichments.matched.field threat.enrichments.matched.atomic
            threat.enrichments.matched.type threat.tactic.id threat.technique.id orchestrator.resource.name
            kubernetes.audit.stage kibana.alert.rule.rule_id tags labels
            auditd.data.syscall auditd.data.a2 vulnerability.id url.original http.request.method
        ";
        let missing: Vec<_> = paths.split_whitespace().filter(|path| schema.id(path).is_none()).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    #[test]
    fn a_leaf_below_a_flattened_object_is_added_once() {
        let mut schema = Schema::builtin();
        let before = schema.len();
        let path = "aws.cloudtrail.flattened.request_parameters.ipPermissions.items.cidrIp";
        let id = schema.resolve(path).expect("below a flattened object");
        assert_eq!(schema.resolve(path), Ok(id));
        assert_eq!(schema.len(), before + 1);
        assert_eq!(schema.field(id).kind, FieldType::Keyword);
        assert_eq!(Schema::builtin().id(path), None, "clones do not share what was added");
        assert!(schema.resolve("labels.").is_err());
        assert!(schema.resolve(&format!("labels.{}", "a.".repeat(100_000))).is_err());
    }

    #[test]
    fn unknown_fields_come_with_the_likely_one() {
        fn check(path: &str, expect: Option<&str>) {
            let suggestion = Schema::builtin().resolve(path).expect_err("unknown").suggestion;
            assert_eq!(suggestion.as_deref(), expect, "for {path}");
        }
        check("proces.name", Some("process.name"));
        check("process.comand_line", Some("process.command_line"));
        check("Process.Name", Some("process.name"));
        check("process.cmdline", Some("process.command_line"));
        check("eventName", Some("event.action"));
        check("process.parent.executible", Some("process.parent.executable"));
        check("executable", Some("process.executable"));
        check("aws.cloudtrail.user_identity.access_key", Some("aws.cloudtrail.user_identity.access_key_id"));
        check("zzzz.qqqq", None);
    }

    #[test]
    fn the_error_says_what_to_write_instead() {
        let error = Schema::builtin().resolve("proces.name").expect_err("unknown");
        assert_eq!(error.to_string(), "unknown field \"proces.name\", did you mean \"process.name\"?");
    }
}
