//! The push rules that every account starts with.
//! <https://spec.matrix.org/v1.19/client-server-api/#predefined-rules>
//!
//! They are data: `default_rules.json`, in the order of the specification, with `@user:server` where a rule names the
//! user.

/// The rules, one in each line.
const RULES: &str = include_str!("default_rules.json");

/// What stands in [`RULES`] for the user, quotes included: a user id goes in as a JSON string of its own.
const PLACEHOLDER: &str = "\"@user:server\"";

/// The rules that the server gives to `user_id`, as the JSON text of a whole ruleset: the answer to `GET /pushrules/`,
/// and the content of `m.push_rules`.
#[must_use]
pub fn default_ruleset(user_id: &str) -> String {
    let user_id = serde_json::Value::from(user_id).to_string();
    RULES.trim_end().replace(PLACEHOLDER, &user_id)
}
