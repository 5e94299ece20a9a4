//! `/api/tokens/runtime`: making tokens (ours, for the relay's own token only), and their renewal.

use axum::Json;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use relay_runner_protocol::token::NewToken;

use super::call::{Call, Reply};

pub(super) async fn issue(call: Call) -> Reply {
    let parent = call.credential.root()?.clone();
    let body: NewToken = call.body()?;
    let asked = call.asked("");
    let answer = call.run(move |tx| tx.issue_token(&asked, &parent, &body.profile_id, body.lifetime_seconds)).await?;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// By the token itself, for a successor of its own profile. The key counts for this token only.
pub(super) async fn renew(call: Call) -> Reply {
    let (token, record) = call.credential.renewable()?;
    let (token, profile) = (token.clone(), record.profile_id.clone());
    let asked = call.asked(&record.jti);
    let answer = call.run(move |tx| tx.issue_token(&asked, &token, &profile, None)).await?;
    Ok(Json(answer).into_response())
}
