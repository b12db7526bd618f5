//! Interactive authentications of which a stage is done.

use starling_db::{Error, Tx};

starling_db::statements! {
    /// What is done of an interactive authentication.
    INTERACTIVE_FIND = "SELECT stages, token FROM interactive_sessions WHERE session_id = ?1";
    /// What is done of it now.
    INTERACTIVE_UPSERT = "INSERT INTO interactive_sessions (session_id, stages, token, created_at) \
        VALUES (?1, ?2, ?3, ?4) ON CONFLICT (session_id) DO UPDATE SET stages = EXCLUDED.stages, token = EXCLUDED.token";
    /// The end of one.
    INTERACTIVE_DELETE = "DELETE FROM interactive_sessions WHERE session_id = ?1";
    /// The end of old ones.
    INTERACTIVE_DELETE_OLD = "DELETE FROM interactive_sessions WHERE session_id IN \
        (SELECT session_id FROM interactive_sessions WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
}

/// What is done of an interactive authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoneStages {
    /// The names of the stages, in the order in which they were done.
    pub stages: Vec<String>,
    /// The registration token that was shown.
    pub token: Option<String>,
}

/// What is done of the authentication with this id; nothing, when there is no row.
///
/// # Errors
/// When the database cannot be read.
pub fn find(tx: &mut Tx<'_>, session_id: &str) -> Result<DoneStages, Error> {
    let found = tx.query_one(&INTERACTIVE_FIND, &[session_id.into()], |row| {
        let stages = row.text(0)?.split(' ').map(str::to_owned).collect();
        let token = row.opt_text(1)?.map(str::to_owned);
        Ok(DoneStages { stages, token })
    })?;
    Ok(found.unwrap_or_default())
}

/// Keeps what is done of the authentication with this id.
///
/// # Errors
/// When the database fails.
pub fn upsert(
    tx: &mut Tx<'_>,
    session_id: &str,
    done: &DoneStages,
    now_ms: i64,
) -> Result<(), Error> {
    let stages = done.stages.join(" ");
    let params = [
        session_id.into(),
        stages.as_str().into(),
        done.token.as_deref().into(),
        now_ms.into(),
    ];
    tx.execute_one(&INTERACTIVE_UPSERT, &params)
}

/// Deletes what is done of the authentication with this id. False when there is nothing (any longer).
///
/// # Errors
/// When the database fails.
pub fn delete(tx: &mut Tx<'_>, session_id: &str) -> Result<bool, Error> {
    Ok(tx.execute(&INTERACTIVE_DELETE, &[session_id.into()])? == 1)
}

/// Deletes at most `limit` of those that began before `before_ms`; the answer is how many.
///
/// # Errors
/// When the database fails.
pub fn delete_old(tx: &mut Tx<'_>, before_ms: i64, limit: u32) -> Result<u64, Error> {
    tx.execute(
        &INTERACTIVE_DELETE_OLD,
        &[before_ms.into(), i64::from(limit).into()],
    )
}
