//! The fields of a schema by the keys that lead to them, so that a document is walked once, key by key, and no path is
//! ever spelt out. What the schema does not name is not entered.

use rules::schema::{FieldId, FieldType, Schema};

use crate::source::Scalar;
use crate::source::json::Json;
use crate::source::sensor::{self, Part};

/// A tree of keys.
#[derive(Debug)]
pub(crate) struct Paths(Vec<Node>);

/// What stands at the end of a path.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) field: Option<(FieldId, FieldType)>,
    /// What it is to the reader of host events, beside being a field.
    pub(crate) part: Option<Part>,
}

#[derive(Debug, Default)]
struct Node {
    place: Place,
    children: Children,
}

/// The nodes below a node. Few keys share length, first and last byte, so these are all that is hashed; a table is at most
/// half full, and what is looked for is found in the first place or the next.
#[derive(Debug, Default)]
struct Children {
    n_held: usize,
    /// A power of two, or none.
    table: Box<[Option<Child>]>,
}

#[derive(Debug, Clone)]
struct Child {
    key: Box<str>,
    node: u32,
}

impl Paths {
    pub(crate) fn new(schema: &Schema) -> Self {
        let mut paths = Self(vec![Node::default()]);
        for (id, field) in schema.iter() {
            let place = paths.place(&field.path);
            place.field = Some((id, field.kind));
            place.part = sensor::part(&field.path);
        }
        for (path, part) in sensor::PARTS {
            paths.place(path).part = Some(*part);
        }
        paths
    }

    fn place(&mut self, path: &str) -> &mut Place {
        let at = path.split('.').fold(0, |at, key| {
            self.0[at].children.get(key).unwrap_or_else(|| {
                let node = self.0.len();
                self.0.push(Node::default());
                let child =
                    Child { key: key.into(), node: u32::try_from(node).expect("fewer nodes than numbers") };
                self.0[at].children.insert(child);
                node
            })
        });
        &mut self.0[at].place
    }

    /// Calls back with every scalar of the document that stands at a place of ours, lists flattened, in the order of the
    /// document. A key with dots is the keys between them.
    pub(crate) fn walk<'j>(&self, json: &Json<'j>, each: &mut impl FnMut(&Place, Scalar<'j>)) {
        self.walk_from(0, json, each);
    }

    /// As [`Self::walk`], of an object that stands at the end of a path.
    pub(crate) fn walk_below<'j>(
        &self,
        path: &str,
        json: &Json<'j>,
        each: &mut impl FnMut(&Place, Scalar<'j>),
    ) {
        if let Some(at) = self.child(0, path) {
            self.walk_from(at, json, each);
        }
    }

    fn walk_from<'j>(&self, at: usize, json: &Json<'j>, each: &mut impl FnMut(&Place, Scalar<'j>)) {
        match json {
            Json::Object(entries) => {
                for (key, value) in *entries {
                    if let Some(child) = self.child(at, key) {
                        self.walk_from(child, value, each);
                    }
                }
            }
            Json::List(items) => items.iter().for_each(|item| self.walk_from(at, item, each)),
            scalar => {
                if let Some(scalar) = scalar.scalar() {
                    each(&self.0[at].place, scalar);
                }
            }
        }
    }

    fn child(&self, at: usize, key: &str) -> Option<usize> {
        match self.0[at].children.get(key) {
            None if key.contains('.') => key.split('.').try_fold(at, |at, key| self.0[at].children.get(key)),
            found => found,
        }
    }
}

impl Children {
    fn get(&self, key: &str) -> Option<usize> {
        let mask = self.table.len().checked_sub(1)?;
        let mut at = hash(key) & mask;
        while let Some(child) = &self.table[at] {
            if *child.key == *key {
                return Some(child.node as usize);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn insert(&mut self, child: Child) {
        self.n_held += 1;
        if self.n_held * 2 > self.table.len() {
            let larger = vec![None; (self.n_held * 2).next_power_of_two()].into();
            let held = std::mem::replace(&mut self.table, larger);
            held.into_iter().flatten().for_each(|child| self.put(child));
        }
        self.put(child);
    }

    fn put(&mut self, child: Child) {
        let mask = self.table.len() - 1;
        let mut at = hash(&child.key) & mask;
        while self.table[at].is_some() {
            at = (at + 1) & mask;
        }
        self.table[at] = Some(child);
    }
}

fn hash(key: &str) -> usize {
    let bytes = key.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return 0 };
    let middle = bytes[bytes.len() / 2];
    bytes.len().wrapping_mul(0x9e5)
        ^ usize::from(*first)
        ^ usize::from(*last).wrapping_mul(0x1f)
        ^ usize::from(middle) << 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::json::Arena;

    fn walked(text: &str) -> Vec<String> {
        let schema = Schema::builtin();
        let paths = Paths::new(&schema);
        let arena = Arena::new();
        let mut seen = Vec::new();
        paths.walk(&Json::parse(text, &arena).unwrap(), &mut |place, scalar| {
            if let Some((field, _)) = place.field {
                seen.push(format!("{}={scalar:?}", schema.field(field).path));
            }
        });
        seen
    }

    #[test]
    fn keys_and_dots_lead_to_the_same_fields_in_the_order_of_the_document() {
        let expect = [
            "process.pid=Int(7)",
            "process.parent.name=Str(\"sh\")",
            "host.ip=Str(\"10.0.0.1\")",
            "host.ip=Str(\"10.0.0.2\")",
        ];
        for text in [
            r#"{"process":{"pid":7,"parent":{"name":"sh","of nobody":{"name":"x"}}},"host":{"ip":["10.0.0.1",["10.0.0.2",null]]}}"#,
            r#"{"process.pid":7,"process":[{"parent.name":"sh"}],"host.ip":["10.0.0.1","10.0.0.2"],"name":1,"process.":2,"":3,".":4}"#,
        ] {
            assert_eq!(walked(text), expect, "{text}");
        }
    }

    #[test]
    fn every_field_is_found_by_its_path() {
        let schema = Schema::builtin();
        for (_, field) in schema.iter() {
            let nested = field
                .path
                .split('.')
                .rev()
                .fold("1".to_owned(), |inner, key| format!("{{\"{key}\":{inner}}}"));
            assert_eq!(walked(&nested), [format!("{}=Int(1)", field.path)]);
        }
    }
}
