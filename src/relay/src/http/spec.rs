//! `GET /api/spec`: the document of all this, for people and for programs.
//!
//! It is a file that is written by hand. That it names exactly the routes that are served, and that bodies are as it
//! says, are tests.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn spec() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::http::Routes;

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let root = document["servers"][0]["url"].as_str().unwrap();
        let mut written = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                written.insert(format!("{} {root}{path}", method.to_uppercase()));
            }
        }
        let routes = [Routes::open(), Routes::guarded()];
        let served = routes.iter().flat_map(|routes| &routes.known);
        let served: BTreeSet<String> = served.map(|(method, path)| format!("{method} {path}")).collect();
        assert_eq!(served, written);
    }
}
