//! Reads `schema/*.toml` into the table. The files are part of the program, so a fault in them is a bug.
use crate::bounds::Bounds;
use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::{FieldType, Origin, Schema};

const FILES: &[(&str, &str)] = &[
    ("event", include_str!("../../schema/event.toml")),
    ("process", include_str!("../../schema/process.toml")),
    ("file", include_str!("../../schema/file.toml")),
    ("network", include_str!("../../schema/network.toml")),
    ("host", include_str!("../../schema/host.toml")),
    ("cloud", include_str!("../../schema/cloud.toml")),
    ("user", include_str!("../../schema/user.toml")),
    ("threat", include_str!("../../schema/threat.toml")),
    ("common", include_str!("../../schema/common.toml")),
    ("endpoint", include_str!("../../schema/endpoint.toml")),
    ("cloudtrail", include_str!("../../schema/cloudtrail.toml")),
    ("guardduty", include_str!("../../schema/guardduty.toml")),
    ("vpcflow", include_str!("../../schema/vpcflow.toml")),
    ("groundtrail", include_str!("../../schema/groundtrail.toml")),
    ("other", include_str!("../../schema/other.toml")),
];

/// One file of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    origin: FileOrigin,
    group: Vec<Group>,
    #[serde(default)]
    instead: FxHashMap<String, String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum FileOrigin {
    Ecs,
    CloudTrail,
    GuardDuty,
    VpcFlow,
    Endpoint,
    Groundtrail,
    Other,
}

/// Leaves that occur below each of several objects. No object: the top of the document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Group {
    at: Vec<String>,
    keyword: Vec<String>,
    long: Vec<String>,
    double: Vec<String>,
    boolean: Vec<String>,
    date: Vec<String>,
    ip: Vec<String>,
    flattened: Vec<String>,
}

impl Default for Group {
    fn default() -> Self {
        let none = Vec::new;
        Self {
            at: vec![String::new()],
            keyword: none(),
            long: none(),
            double: none(),
            boolean: none(),
            date: none(),
            ip: none(),
            flattened: none(),
        }
    }
}

impl Group {
    fn leaves(&self) -> impl Iterator<Item = (FieldType, &String)> {
        [
            (FieldType::Keyword, &self.keyword),
            (FieldType::Long, &self.long),
            (FieldType::Double, &self.double),
            (FieldType::Boolean, &self.boolean),
            (FieldType::Date, &self.date),
            (FieldType::Ip, &self.ip),
            (FieldType::Flattened, &self.flattened),
        ]
        .into_iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| (kind, name)))
    }
}

impl From<FileOrigin> for Origin {
    fn from(origin: FileOrigin) -> Self {
        match origin {
            FileOrigin::Ecs => Self::Ecs,
            FileOrigin::CloudTrail => Self::CloudTrail,
            FileOrigin::GuardDuty => Self::GuardDuty,
            FileOrigin::VpcFlow => Self::VpcFlow,
            FileOrigin::Endpoint => Self::Endpoint,
            FileOrigin::Groundtrail => Self::Groundtrail,
            FileOrigin::Other => Self::Other,
        }
    }
}

pub(super) fn read() -> Schema {
    let mut schema = Schema {
        fields: Vec::new(),
        ids: FxHashMap::default(),
        instead: FxHashMap::default(),
        bounds: Bounds::default(),
    };
    for (name, text) in FILES {
        let file: File = toml::from_str(text).unwrap_or_else(|err| panic!("schema/{name}.toml: {err}"));
        for group in &file.group {
            add_group(&mut schema, group, file.origin.into(), name);
        }
        schema.instead.extend(file.instead.into_iter().map(|(other, field)| (other.into(), field.into())));
    }
    schema
}

fn add_group(schema: &mut Schema, group: &Group, origin: Origin, name: &str) {
    for object in &group.at {
        for (kind, leaf) in group.leaves() {
            let path = if object.is_empty() { leaf.clone() } else { format!("{object}.{leaf}") };
            assert!(schema.id(&path).is_none(), "schema/{name}.toml: \"{path}\" is there twice");
            schema.add(&path, kind, origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suggested_name_is_a_field() {
        let schema = read();
        for (other, field) in &schema.instead {
            assert!(schema.id(field).is_some(), "{other} points at {field}");
        }
    }

    #[test]
    fn every_file_of_the_folder_is_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schema");
        let mut on_disk: Vec<_> = std::fs::read_dir(folder)
            .expect("the schema folder")
            .map(|entry| {
                entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
            })
            .collect();
        on_disk.sort();
        let mut read: Vec<_> = FILES.iter().map(|(name, _)| name.to_string()).collect();
        read.sort();
        assert_eq!(on_disk, read);
    }
}
