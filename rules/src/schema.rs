//! The field table: every ECS, CloudTrail and groundtrail field that rules may name, interned.
//!
//! `schema/*.toml` is the source. Nothing here knows the rule languages.

/// A field of the table, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub(crate) u32);

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
