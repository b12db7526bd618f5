//! Push rules: <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use axum::extract;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use starling_accounts::{PushRulesError, Session};
use starling_http::{
    Auth, Authenticated, Json, JsonBytes, Limited, MatrixError, Path, Query, Routes,
};
use starling_pushrules::{EditError, Kind, Place, Rule, RuleBody, Ruleset};

use crate::State;

const RULE: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
const ENABLED: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled";
const ACTIONS: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions";

/// The largest body, in bytes.
const BODY_BYTES: usize = 64 << 10;

pub(super) fn routes() -> Routes<State> {
    Routes::new()
        .get("/_matrix/client/v3/pushrules/", Auth::User, all)
        .get("/_matrix/client/v3/pushrules/global/", Auth::User, global)
        .get(RULE, Auth::User, rule)
        .put(RULE, Auth::User, put)
        .limit(Limited::AccountChange)
        .body_limit(BODY_BYTES)
        .delete(RULE, Auth::User, delete)
        .limit(Limited::AccountChange)
        .get(ENABLED, Auth::User, enabled)
        .put(ENABLED, Auth::User, set_enabled)
        .limit(Limited::AccountChange)
        .get(ACTIONS, Auth::User, actions)
        .put(ACTIONS, Auth::User, set_actions)
        .limit(Limited::AccountChange)
        .body_limit(BODY_BYTES)
}

async fn all(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<JsonBytes, MatrixError> {
    let rules = state.accounts.push_rules(session.user).await;
    let rules = rules.map_err(MatrixError::internal)?;
    Ok(JsonBytes(rules.to_content(session.user_id.as_str()).into()))
}

async fn global(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
) -> Result<Json<Value>, MatrixError> {
    let rules = state.accounts.push_rules(session.user).await;
    let rules = rules.map_err(MatrixError::internal)?;
    Ok(Json(rules.to_json(session.user_id.as_str())))
}

async fn rule(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, MatrixError> {
    let kind = parse_kind(&kind)?;
    let user_id = session.user_id.clone();
    let show = |rules: &Ruleset| rules.rule_json(kind, &rule_id, user_id.as_str());
    look(&state, &session, show).await.map(Json)
}

async fn enabled(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, MatrixError> {
    let kind = parse_kind(&kind)?;
    let is_enabled = |rules: &Ruleset| rules.rule(kind, &rule_id).map(Rule::is_enabled);
    let enabled = look(&state, &session, is_enabled).await?;
    Ok(Json(json!({ "enabled": enabled })))
}

async fn actions(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<Json<Value>, MatrixError> {
    let kind = parse_kind(&kind)?;
    let actions = |rules: &Ruleset| Some(rules.rule(kind, &rule_id)?.actions().to_vec());
    let actions = look(&state, &session, actions).await?;
    Ok(Json(json!({ "actions": actions })))
}

#[derive(Deserialize)]
struct Position {
    before: Option<String>,
    after: Option<String>,
}

#[derive(Deserialize)]
struct NewRule {
    actions: Option<Vec<Value>>,
    #[serde(default)]
    conditions: Vec<Value>,
    pattern: Option<String>,
}

async fn put(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
    Query(Position { before, after }): Query<Position>,
    Json(new): Json<NewRule>,
) -> Result<JsonBytes, MatrixError> {
    let kind = parse_kind(&kind)?;
    let actions = new.actions.ok_or_else(no_actions)?;
    let body = RuleBody {
        actions,
        conditions: new.conditions,
        pattern: new.pattern,
    };
    let place = Place { before, after };
    let edit = move |rules: &mut Ruleset| rules.put(kind, &rule_id, body.clone(), &place);
    change(&state, &session, edit).await
}

async fn delete(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
) -> Result<JsonBytes, MatrixError> {
    let kind = parse_kind(&kind)?;
    let edit = move |rules: &mut Ruleset| rules.delete(kind, &rule_id);
    change(&state, &session, edit).await
}

#[derive(Deserialize)]
struct Enabled {
    enabled: bool,
}

async fn set_enabled(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
    Json(Enabled { enabled }): Json<Enabled>,
) -> Result<JsonBytes, MatrixError> {
    let kind = parse_kind(&kind)?;
    let edit = move |rules: &mut Ruleset| rules.set_enabled(kind, &rule_id, enabled);
    change(&state, &session, edit).await
}

#[derive(Deserialize)]
struct Actions {
    actions: Option<Vec<Value>>,
}

async fn set_actions(
    extract::State(state): extract::State<State>,
    Authenticated(session): Authenticated<Session>,
    Path((kind, rule_id)): Path<(String, String)>,
    Json(Actions { actions }): Json<Actions>,
) -> Result<JsonBytes, MatrixError> {
    let kind = parse_kind(&kind)?;
    let actions = actions.ok_or_else(no_actions)?;
    let edit = move |rules: &mut Ruleset| rules.set_actions(kind, &rule_id, actions.clone());
    change(&state, &session, edit).await
}

fn parse_kind(kind: &str) -> Result<Kind, MatrixError> {
    Kind::parse(kind)
        .ok_or_else(|| MatrixError::invalid_param("There is no such kind of push rules"))
}

fn no_actions() -> MatrixError {
    MatrixError::missing_param("`actions` is missing")
}

/// What `find` finds in the user's rules.
async fn look<T>(
    state: &State,
    session: &Session,
    find: impl FnOnce(&Ruleset) -> Option<T>,
) -> Result<T, MatrixError> {
    let rules = state.accounts.push_rules(session.user).await;
    let rules = rules.map_err(MatrixError::internal)?;
    find(&rules).ok_or_else(|| MatrixError::not_found("The push rule was not found"))
}

async fn change(
    state: &State,
    session: &Session,
    edit: impl Fn(&mut Ruleset) -> Result<(), EditError> + Send + 'static,
) -> Result<JsonBytes, MatrixError> {
    let user = (session.user, session.user_id.clone());
    match state.accounts.edit_push_rules(user, edit).await {
        Ok(()) => Ok(JsonBytes::empty()),
        Err(PushRulesError::Edit(error)) => Err(refusal(&error)),
        Err(PushRulesError::Database(error)) => Err(MatrixError::internal(error)),
    }
}

fn refusal(error: &EditError) -> MatrixError {
    let message = error.to_string();
    match error {
        EditError::NotFound => MatrixError::not_found(message),
        EditError::ServerDefault | EditError::InvalidId | EditError::Invalid(_) => {
            MatrixError::invalid_param(message)
        }
        // The code of the specification's example.
        EditError::UnknownNeighbour(_) => {
            MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", message)
        }
        EditError::TooMany => MatrixError::new(
            StatusCode::BAD_REQUEST,
            "M_RESOURCE_LIMIT_EXCEEDED",
            message,
        ),
    }
}
