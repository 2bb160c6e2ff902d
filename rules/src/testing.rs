//! Tables for the tests of the rule languages: events written as flat JSON, and the ids a predicate picks.

use serde_json::Value as Json;

use crate::event::{Event, EventTime, Value};
use crate::schema::Schema;

/// One event per line: `{"id": "1", "process.name": "sh", "event.category": ["process"]}`.
pub(crate) fn events(text: &str, schema: &mut Schema) -> Vec<Event> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| event(line, schema)).collect()
}

fn event(line: &str, schema: &mut Schema) -> Event {
    let json: Json = serde_json::from_str(line).unwrap_or_else(|err| panic!("{line}: {err}"));
    let fields = json.as_object().expect("an object");
    let id = fields["id"].as_str().expect("an id");
    let mut event = Event::new(id, EventTime(0), "logs-test-default");
    for (path, value) in fields.iter().filter(|(path, _)| *path != "id") {
        let field = schema.resolve(path).unwrap_or_else(|err| panic!("{err}"));
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            event.push(field, scalar(value));
        }
    }
    event
}

fn scalar(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::str(text.as_str()),
        Json::Bool(bool) => Value::Bool(*bool),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().expect("a number")),
        },
        other => panic!("{other} is no scalar"),
    }
}
