//! Reading push rules: <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>
//!
//! Every user has the predefined rules.

use ruma_common::UserId;
use serde_json::{Value, json};
use starling_accounts::Session;
use starling_http::{Auth, Authenticated, Json, JsonBytes, MatrixError, Path, Routes};

use crate::State;

const KINDS: [&str; 5] = ["override", "underride", "sender", "room", "content"];

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/pushrules/", Auth::User, all)
        .get("/_matrix/client/v3/pushrules/global/", Auth::User, global)
        .get(
            "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
            Auth::User,
            rule,
        )
        .get(
            "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled",
            Auth::User,
            enabled,
        )
        .get(
            "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions",
            Auth::User,
            actions,
        )
}

async fn all(Authenticated(session): Authenticated<Session>) -> JsonBytes {
    JsonBytes(starling_pushrules::default_ruleset(session.user_id.as_str()).into())
}

async fn global(
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<Value>, MatrixError> {
    part(&ruleset(&session.user_id)?, "global").map(Json)
}

async fn rule(
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, MatrixError> {
    Ok(Json(find(&session.user_id, &kind, &rule_id)?))
}

async fn enabled(
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, MatrixError> {
    let rule = find(&session.user_id, &kind, &rule_id)?;
    Ok(Json(json!({ "enabled": part(&rule, "enabled")? })))
}

async fn actions(
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, MatrixError> {
    let rule = find(&session.user_id, &kind, &rule_id)?;
    Ok(Json(json!({ "actions": part(&rule, "actions")? })))
}

fn ruleset(user_id: &UserId) -> Result<Value, MatrixError> {
    serde_json::from_str(&starling_pushrules::default_ruleset(user_id.as_str()))
        .map_err(MatrixError::internal)
}

/// One rule of the user.
fn find(user_id: &UserId, kind: &str, rule_id: &str) -> Result<Value, MatrixError> {
    if !KINDS.contains(&kind) {
        return Err(MatrixError::invalid_param(
            "There is no such kind of push rules",
        ));
    }
    let rules = part(&part(&ruleset(user_id)?, "global")?, kind)?;
    let is_wanted = |rule: &&Value| rule.get("rule_id").is_some_and(|id| id == rule_id);
    let found = rules
        .as_array()
        .and_then(|rules| rules.iter().find(is_wanted));
    found
        .cloned()
        .ok_or_else(|| MatrixError::not_found("The push rule was not found"))
}

/// A part that every ruleset and every rule has.
fn part(whole: &Value, name: &str) -> Result<Value, MatrixError> {
    whole
        .get(name)
        .cloned()
        .ok_or_else(|| MatrixError::internal(format!("the predefined push rules lack {name}")))
}
