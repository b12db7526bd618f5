//! Interactive authentication, for every endpoint that wants it.
//! <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use starling_accounts::{
    DoneStages, HashError, InteractiveSession, LoginError, Operation, Session, ShownToken, Stage,
};
use starling_http::{Caller, Json, Limited, MatrixError};

use crate::State;
use crate::identifier::{Identifier, claimed_user};
use crate::session::busy;

/// Stages in the order in which they must be done.
pub(crate) type Flow = &'static [Stage];

/// Who is logged in confirms it with the password.
pub(crate) const BY_PASSWORD: &[Flow] = &[&[Stage::Password]];

/// The key `auth` of a request.
#[derive(Deserialize)]
pub(crate) struct AuthData {
    #[serde(rename = "type")]
    stage: Option<String>,
    session: Option<String>,
    identifier: Option<Identifier>,
    /// Deprecated, and still sent.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// Why a request isn't done: it asks for (further) authentication, or is wrong in itself.
pub(crate) enum Refusal {
    /// 401, with what is to be done.
    Challenge(Box<Challenge>),
    /// An error.
    Error(MatrixError),
}

impl From<MatrixError> for Refusal {
    fn from(error: MatrixError) -> Self {
        Self::Error(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Challenge(challenge) => {
                (StatusCode::UNAUTHORIZED, Json(challenge)).into_response()
            }
            Self::Error(error) => error.into_response(),
        }
    }
}

/// What is to be done before the request is.
#[derive(Serialize)]
pub(crate) struct Challenge {
    flows: Vec<FlowAnswer>,
    params: Map<String, Value>,
    session: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    completed: Vec<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

#[derive(Serialize)]
struct FlowAnswer {
    stages: Vec<&'static str>,
}

/// Why a stage is not done; the client may try again.
#[derive(Serialize)]
struct Problem {
    errcode: &'static str,
    error: &'static str,
}

const UNKNOWN_SESSION: Problem = Problem {
    errcode: "M_UNKNOWN",
    error: "The session is unknown or too old; begin anew",
};
const UNKNOWN_STAGE: Problem = Problem {
    errcode: "M_UNRECOGNIZED",
    error: "There is no such stage in this flow, or it is not its turn",
};
const WRONG_PASSWORD: Problem = Problem {
    errcode: "M_FORBIDDEN",
    error: "Wrong password",
};
const WRONG_TOKEN: Problem = Problem {
    // As other servers answer it.
    errcode: "M_UNAUTHORIZED",
    error: "The registration token is not good",
};

/// An operation that asks for interactive authentication.
#[derive(Clone, Copy)]
pub(crate) struct Guarded<'a> {
    /// Method and path; the authentication of one is not good for another.
    ///
    /// The rest of the request is not compared: clients ask for the flows with parameters that they change later.
    pub(crate) what: &'a str,
    /// Who wants to do it; `None` before there is an account.
    pub(crate) session: Option<&'a Session>,
    /// The ways to authenticate.
    pub(crate) flows: &'a [Flow],
}

/// What an authentication that is complete has shown.
pub(crate) struct Proof {
    /// The registration token.
    pub(crate) token: Option<ShownToken>,
}

/// Whether all stages of a flow are done, with what `auth` adds.
pub(crate) async fn authorize(
    api: &State,
    guarded: Guarded<'_>,
    auth: Option<AuthData>,
) -> Result<Proof, Refusal> {
    let operation = Operation {
        user: guarded.session.map(|session| session.user),
        what: guarded.what,
    };
    let begin = || api.accounts.begin_interactive(operation);
    let Some(auth) = auth else {
        let nothing = DoneStages::default();
        return Err(challenge(guarded.flows, &begin(), nothing, None));
    };
    // Many clients do a single stage at once, without a session.
    let named = auth.session.as_deref().filter(|id| !id.is_empty());
    let known = named.and_then(|id| api.accounts.interactive_session(id));
    let known = known.filter(|session| session.is_for(operation));
    let (session, mut done) = match (named, known) {
        (_, Some(session)) => {
            let done = api.accounts.done_stages(&session).await;
            (session, done.map_err(MatrixError::internal)?)
        }
        (None, None) => (begin(), DoneStages::default()),
        (Some(_), None) => {
            let (nothing, problem) = (DoneStages::default(), Some(UNKNOWN_SESSION));
            return Err(challenge(guarded.flows, &begin(), nothing, problem));
        }
    };
    let was_shown = done.token.is_some();
    let problem = add_stage(api, guarded, &session, &mut done, auth).await?;
    if is_complete(guarded.flows, &done) {
        let shown_during = was_shown.then_some(session);
        let shown = |token| ShownToken {
            token,
            shown_during,
        };
        let token = done.token.map(shown);
        return Ok(Proof { token });
    }
    Err(challenge(guarded.flows, &session, done, problem))
}

/// Does the stage that `auth` names, unless it is done already. The answer is why it isn't done.
async fn add_stage(
    api: &State,
    guarded: Guarded<'_>,
    session: &InteractiveSession,
    done: &mut DoneStages,
    auth: AuthData,
) -> Result<Option<Problem>, MatrixError> {
    let wanted = auth.stage.as_ref();
    let Some(wanted) = wanted.filter(|wanted| !done.stages.contains(wanted)) else {
        return Ok(None);
    };
    let Some(stage) = next(guarded.flows, done, wanted) else {
        return Ok(Some(UNKNOWN_STAGE));
    };
    let token = match try_stage(api, guarded.session, stage, auth).await? {
        Ok(token) => token,
        Err(problem) => return Ok(Some(problem)),
    };
    done.stages.push(stage.word().to_owned());
    done.token = token.or(done.token.take());
    if !is_complete(guarded.flows, done) {
        let kept = api.accounts.do_stage(session, stage, done.token.clone());
        kept.await.map_err(MatrixError::internal)?;
    }
    Ok(None)
}

/// The answer to who has registered with a token that somebody else has used up meanwhile.
pub(crate) fn token_used_up(api: &State, guarded: Guarded<'_>) -> Refusal {
    let operation = Operation {
        user: None,
        what: guarded.what,
    };
    let begun = api.accounts.begin_interactive(operation);
    let problem = Some(WRONG_TOKEN);
    challenge(guarded.flows, &begun, DoneStages::default(), problem)
}

fn challenge(
    flows: &[Flow],
    session: &InteractiveSession,
    done: DoneStages,
    problem: Option<Problem>,
) -> Refusal {
    let words = |flow: &Flow| flow.iter().map(|stage| stage.word()).collect();
    let flows = flows.iter().map(|flow| FlowAnswer {
        stages: words(flow),
    });
    Refusal::Challenge(Box::new(Challenge {
        flows: flows.collect(),
        params: Map::new(),
        session: session.id().to_owned(),
        completed: done.stages,
        problem,
    }))
}

/// The stage of this name, if it is the next one of a flow.
fn next(flows: &[Flow], done: &DoneStages, wanted: &str) -> Option<Stage> {
    let stage = Stage::parse(wanted)?;
    let mut flows = flows.iter().filter(|flow| begins_with(flow, done));
    let is_next = flows.any(|flow| flow.get(done.stages.len()) == Some(&stage));
    is_next.then_some(stage)
}

fn is_complete(flows: &[Flow], done: &DoneStages) -> bool {
    let mut flows = flows.iter();
    flows.any(|flow| flow.len() == done.stages.len() && begins_with(flow, done))
}

fn begins_with(flow: &Flow, done: &DoneStages) -> bool {
    let mut pairs = flow.iter().zip(&done.stages);
    flow.len() >= done.stages.len() && pairs.all(|(stage, done)| stage.word() == done)
}

/// Tries one stage: what it shows, or why it isn't done.
async fn try_stage(
    api: &State,
    session: Option<&Session>,
    stage: Stage,
    auth: AuthData,
) -> Result<Result<Option<String>, Problem>, MatrixError> {
    match stage {
        Stage::Dummy => Ok(Ok(None)),
        Stage::RegistrationToken => {
            let token = auth.token;
            let token = token.ok_or_else(|| MatrixError::missing_param("token is missing"))?;
            try_token(api, token).await
        }
        Stage::Password => {
            let password = auth.password;
            let password =
                password.ok_or_else(|| MatrixError::missing_param("password is missing"))?;
            let session = session.ok_or_else(|| MatrixError::forbidden("Nobody is logged in"))?;
            // Whoever is named must be who is logged in; some clients name nobody.
            let claimed = match (auth.identifier, auth.user) {
                (None, None) => None,
                (identifier, user) => Some(claimed_user(identifier, user)?),
            };
            let is_own = claimed.is_none_or(|claimed| api.accounts.is_named(session, &claimed));
            if is_own && try_password(api, session, password).await? {
                Ok(Ok(None))
            } else {
                Ok(Err(WRONG_PASSWORD))
            }
        }
    }
}

/// Whether somebody may register with this token.
pub(crate) async fn is_token_good(api: &State, token: String) -> Result<bool, MatrixError> {
    let is_good = api.accounts.is_registration_token_good(token).await;
    is_good.map_err(MatrixError::internal)
}

async fn try_token(
    api: &State,
    token: String,
) -> Result<Result<Option<String>, Problem>, MatrixError> {
    Ok(if is_token_good(api, token.clone()).await? {
        Ok(Some(token))
    } else {
        Err(WRONG_TOKEN)
    })
}

async fn try_password(
    api: &State,
    session: &Session,
    password: String,
) -> Result<bool, MatrixError> {
    // It counts as a failure until it is none, so that many at once are not more tries.
    // Apart from the failures to log in, by which a stranger could keep the owner from locking a thief out.
    let account = Caller::User(session.user.0);
    api.limiter.take(Limited::LoginFailures, account)?;
    let matches = api.accounts.password_matches(session.user, password).await;
    if !matches!(matches, Ok(false)) {
        api.limiter.give_back(Limited::LoginFailures, account);
    }
    matches.map_err(|error| match error {
        LoginError::Hash(HashError::Busy) => busy(),
        error => MatrixError::internal(error),
    })
}
