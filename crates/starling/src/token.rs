//! `starling token …`: registration tokens.

use std::time::{Duration, UNIX_EPOCH};

use starling_accounts::{
    Accounts, NewRegistrationToken, RegistrationToken, RegistrationTokenError,
};

use crate::cli::print;
use crate::configuration::Configuration;
use crate::control::{Answer, ListedToken, Request};
use crate::failure::Failure;
use crate::user::database;
use crate::way::Way;

/// Tokens in one page of the list.
const PAGE: u32 = 1_000;

/// About then begins the year 10,000, since 1970.
const YEAR_9999: Duration = Duration::from_hours(8_029 * 8_766);

/// `starling token create`.
pub(crate) fn create(
    configuration: &Configuration,
    token: Option<String>,
    uses: Option<u32>,
    lifetime: Option<Duration>,
) -> Result<(), Failure> {
    let request = Request::CreateToken {
        token,
        uses,
        lifetime_s: lifetime.map(|lifetime| lifetime.as_secs()),
    };
    let way = Way::find(configuration)?;
    let answer = way.ask(request)?;
    way.close();
    match answer {
        Answer::Token { token } => print(token),
        _ => Err(Failure::new("the server gave no answer that fits")),
    }
}

/// `starling token list`.
pub(crate) fn list(configuration: &Configuration) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let mut after = Some(String::new());
    while let Some(from) = after {
        let Answer::Tokens { tokens, next } = way.ask(Request::ListTokens { after: from })? else {
            return Err(Failure::new("the server gave no list"));
        };
        let line = |token: &ListedToken| {
            let ListedToken {
                token,
                used,
                expires,
            } = token;
            format!("{token}\t{used}\t{expires}\n")
        };
        if !tokens.is_empty() {
            print(tokens.iter().map(line).collect::<String>())?;
        }
        after = next;
    }
    way.close();
    Ok(())
}

/// `starling token revoke`.
pub(crate) fn revoke(configuration: &Configuration, token: String) -> Result<(), Failure> {
    let way = Way::find(configuration)?;
    let answer = way.ask(Request::RevokeToken { token })?;
    way.close();
    match answer {
        Answer::Token { token } => print(format!("{token} is revoked")),
        _ => Err(Failure::new("the server gave no answer that fits")),
    }
}

/// How long a text says: a number of seconds, or with `m`, `h`, `d` or `w` of minutes, hours, days or weeks.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let units = [
        ('s', 1),
        ('m', 60),
        ('h', 3_600),
        ('d', 86_400),
        ('w', 604_800),
    ];
    let with_unit = |(letter, seconds)| Some((text.strip_suffix(letter)?, seconds));
    let (number, seconds) = units.into_iter().find_map(with_unit).unwrap_or((text, 1));
    let number: u32 = number.parse().map_err(|_| problem())?;
    if number == 0 {
        return Err(problem());
    }
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn problem() -> String {
    "write a number and s, m, h, d or w, such as 2h or 30d".to_owned()
}

/// Makes a token.
pub(crate) async fn make(
    accounts: &Accounts,
    token: Option<String>,
    uses: Option<u32>,
    lifetime_s: Option<u64>,
) -> Result<Answer, Failure> {
    let new = NewRegistrationToken {
        token,
        uses,
        lifetime: lifetime_s.map(Duration::from_secs),
    };
    match accounts.make_registration_token(new).await {
        Ok(made) => Ok(Answer::Token { token: made.token }),
        Err(RegistrationTokenError::Database(error)) => Err(database(&error)),
        Err(error) => Err(Failure::of("cannot make the token", &error)),
    }
}

/// One page of the tokens.
pub(crate) async fn page(accounts: &Accounts, after: String) -> Result<Answer, Failure> {
    let page = accounts.registration_tokens(after, PAGE).await;
    let page = page.map_err(|error| database(&error))?;
    let is_full = u32::try_from(page.len()).is_ok_and(|length| length == PAGE);
    let next = page.last().filter(|_| is_full);
    Ok(Answer::Tokens {
        next: next.map(|token| token.token.clone()),
        tokens: page.into_iter().map(listed).collect(),
    })
}

/// Ends a token.
pub(crate) async fn end(accounts: &Accounts, token: String) -> Result<Answer, Failure> {
    let revoked = accounts.revoke_registration_token(token.clone()).await;
    if revoked.map_err(|error| database(&error))? {
        Ok(Answer::Token { token })
    } else {
        Err(Failure::new(format!("there is no token {token}")))
    }
}

/// The day and the time, as they are written in HTTP.
pub(crate) fn date(at_ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(at_ms).unwrap_or_default());
    match UNIX_EPOCH.checked_add(since) {
        // It can write no year beyond.
        Some(at) if since < YEAR_9999 => httpdate::fmt_http_date(at),
        _ => "the end of time".to_owned(),
    }
}

fn listed(token: RegistrationToken) -> ListedToken {
    let used = match token.uses_allowed {
        Some(allowed) => format!("{} of {allowed} used", token.uses),
        None => format!("{} used", token.uses),
    };
    let expires = match token.expires_at {
        Some(at) => format!("until {}", date(at)),
        None => "for ever".to_owned(),
    };
    ListedToken {
        token: token.token,
        used,
        expires,
    }
}
