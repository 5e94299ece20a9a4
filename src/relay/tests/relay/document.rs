//! The document of the API, and what it says of a call and its answer.

use std::collections::BTreeMap;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

const URL: &str = "http://relay.invalid/openapi.json";

/// Which schema goes for which body.
pub(crate) struct Document {
    pub(crate) value: Value,
    schemas: Schemas,
    by_place: BTreeMap<String, SchemaIndex>,
}

/// One operation of the document.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) method: String,
    /// With `{id}`, without `/api`.
    pub(crate) path: String,
    pub(crate) value: Value,
    /// The operation's place in the document, as a JSON pointer.
    place: String,
}

impl Document {
    /// Of the wire as this project knows it: the file that the embedded relay serves.
    pub(crate) fn own() -> Self {
        Self::of(serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap())
    }

    pub(crate) fn of(value: Value) -> Self {
        let mut compiler = Compiler::new();
        compiler.add_resource(URL, value.clone()).unwrap();
        let mut schemas = Schemas::new();
        let mut places = Vec::new();
        pointers_to_schemas(&value["paths"], "/paths", &mut places);
        let by_place = places
            .into_iter()
            .map(|place| {
                let index = compiler.compile(&format!("{URL}#{place}"), &mut schemas);
                (place.clone(), index.unwrap_or_else(|e| panic!("{place}: {e}")))
            })
            .collect();
        Self { value, schemas, by_place }
    }

    pub(crate) fn operations(&self) -> Vec<Operation> {
        let mut all = Vec::new();
        for (path, item) in self.value["paths"].as_object().unwrap() {
            for (method, value) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
                let place = format!("/paths/{}/{method}", escaped(path));
                all.push(Operation { method: method.to_uppercase(), path: path.clone(), value: value.clone(), place });
            }
        }
        all
    }

    /// The operation that a path (without query) and method mean; a path without `{id}` goes first.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<Operation> {
        let path = path.split('?').next().unwrap_or_default();
        let mut fitting: Vec<_> =
            self.operations().into_iter().filter(|o| o.method == method && fits(&o.path, path)).collect();
        fitting.sort_by_key(|o| o.path.contains("{id}"));
        fitting.into_iter().next()
    }

    /// What is wrong with a request's body; none when it is as the document says.
    pub(crate) fn fault_in_request(&self, operation: &Operation, body: &Value) -> Option<String> {
        self.fault(&format!("{}/requestBody/content/application~1json/schema", operation.place), body)
    }

    /// What is wrong with an answer.
    pub(crate) fn fault_in_answer(&self, operation: &Operation, status: u16, body: &Value) -> Option<String> {
        let responses = &operation.value["responses"];
        let key = if responses.get(status.to_string()).is_some() { status.to_string() } else { "default".into() };
        if key == "default" && status < 400 {
            return Some(format!("{status} is no answer of {} {}", operation.method, operation.path));
        }
        let response = &responses[&key];
        if response.get("$ref").is_some() {
            return error_fault(body);
        }
        self.fault(&format!("{}/responses/{key}/content/application~1json/schema", operation.place), body)
    }

    fn fault(&self, place: &str, body: &Value) -> Option<String> {
        let index = self.by_place.get(place)?;
        self.schemas.validate(body, *index).err().map(|e| format!("{e:#}\nin {body}"))
    }
}

fn error_fault(body: &Value) -> Option<String> {
    let said = |key: &str| body["error"][key].as_str().is_some_and(|text| !text.is_empty());
    (!said("code") || !said("message")).then(|| format!("an error has a code and a message: {body}"))
}

fn pointers_to_schemas(value: &Value, place: &str, found: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (key, member) in members {
        let place = format!("{place}/{}", escaped(key));
        match key.as_str() {
            "schema" => found.push(place),
            _ => pointers_to_schemas(member, &place, found),
        }
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(p, part)| p == part || *p == "{id}")
}
