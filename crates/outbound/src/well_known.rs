//! `/.well-known/matrix/server`: the name that a server delegates to, and how long that is believed.
//! <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>

use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, LOCATION};
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body_util::Full;
use quick_cache::sync::Cache;
use ruma_common::{OwnedServerName, ServerName};
use serde::Deserialize;
use starling_runtime::Clock;

use crate::http_client::HttpClient;
use crate::{Authority, OutboundError};

const PATH: &str = "/.well-known/matrix/server";
/// So many servers' answers are kept.
const SERVERS: usize = 1 << 14;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer holds a name of 255 bytes at most; the rest is what people add to it.
const ANSWER_BYTES: usize = 50 << 10;
/// So many redirects are followed.
const REDIRECTS: usize = 5;

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
/// How long an answer is believed that says nothing of it.
const DEFAULT_MS: i64 = 24 * HOUR_MS;
/// How long at most.
const LONGEST_MS: i64 = 48 * HOUR_MS;
/// How long at least, so that a server which says "don't cache" isn't asked for each request.
const SHORTEST_MS: i64 = 5 * MINUTE_MS;
/// How long a first failure is remembered; twice as long at each further one, up to an hour.
const FIRST_FAILURE_MS: i64 = MINUTE_MS;

/// Knows what servers delegate to.
#[derive(Debug)]
pub(crate) struct WellKnown {
    http: HttpClient,
    clock: Clock,
    known: Cache<OwnedServerName, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    delegate: Option<Authority>,
    until_ms: i64,
    /// How often in a row there was no valid answer.
    failures: u32,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "m.server")]
    server: String,
}

impl WellKnown {
    pub(crate) fn new(http: HttpClient, clock: Clock) -> Self {
        Self {
            http,
            clock,
            known: Cache::new(SERVERS),
        }
    }

    /// The name that the server delegates to, if it does. The server is asked once, however many want to know.
    pub(crate) async fn delegate(&self, server: &ServerName) -> Option<Authority> {
        let now_ms = self.clock.now_ms();
        let known = self.known.get(server);
        let failures = match &known {
            Some(known) if known.until_ms > now_ms => return known.delegate.clone(),
            Some(known) => known.failures,
            None => 0,
        };
        self.known
            .remove_if(server, |known| known.until_ms <= now_ms);
        let fetched = self
            .known
            .get_or_insert_async(server, async {
                Ok::<_, std::convert::Infallible>(self.fetch(server, failures).await)
            })
            .await;
        fetched.ok().and_then(|known| known.delegate)
    }

    async fn fetch(&self, server: &ServerName, failures: u32) -> Known {
        let answer = self.follow(server).await;
        let now_ms = self.clock.now_ms();
        let valid = answer.and_then(|answer| {
            let body: Option<Body> = serde_json::from_slice(answer.body()).ok();
            let delegate = body.and_then(|body| Authority::parse(&body.server));
            let delegate = delegate.ok_or_else(|| {
                OutboundError::Connection("the answer names no server".to_owned())
            })?;
            Ok((delegate, lifetime_ms(answer.headers())))
        });
        match valid {
            Ok((delegate, lifetime_ms)) => Known {
                delegate: Some(delegate),
                until_ms: now_ms + lifetime_ms,
                failures: 0,
            },
            Err(error) => {
                tracing::debug!(%server, %error, "no delegation");
                let pause_ms = FIRST_FAILURE_MS << failures.min(6);
                Known {
                    delegate: None,
                    until_ms: now_ms + pause_ms.min(HOUR_MS),
                    failures: failures.saturating_add(1),
                }
            }
        }
    }

    /// The answer, after redirects.
    async fn follow(&self, server: &ServerName) -> Result<Response<Bytes>, OutboundError> {
        let mut uri = format!("https://{}{PATH}", server.host());
        for _ in 0..=REDIRECTS {
            let request = http::Request::get(&uri)
                .body(Full::default())
                .map_err(|error| OutboundError::Request(error.to_string()))?;
            let answer = self.http.fetch(request, PATIENCE, ANSWER_BYTES).await?;
            if answer.status().is_redirection() {
                uri = redirected(&uri, answer.headers())?;
            } else if answer.status() == StatusCode::OK {
                return Ok(answer);
            } else {
                return Err(OutboundError::Connection(format!("{}", answer.status())));
            }
        }
        Err(OutboundError::Connection("too many redirects".to_owned()))
    }
}

/// Where a redirect leads: to HTTPS only.
fn redirected(from: &str, headers: &HeaderMap) -> Result<String, OutboundError> {
    let bad = || OutboundError::Connection("a redirect to nowhere".to_owned());
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let to: Uri = location.ok_or_else(bad)?.parse().map_err(|_| bad())?;
    if let Some(scheme) = to.scheme_str() {
        return if scheme == "https" {
            Ok(to.to_string())
        } else {
            Err(OutboundError::Connection(
                "a redirect away from HTTPS".to_owned(),
            ))
        };
    }
    let from: Uri = from.parse().map_err(|_| bad())?;
    let authority = from.authority().ok_or_else(bad)?;
    match to.path_and_query() {
        Some(path) if path.as_str().starts_with('/') => Ok(format!("https://{authority}{path}")),
        _ => Err(bad()),
    }
}

/// How long the answer says that it may be kept, within our limits.
fn lifetime_ms(headers: &HeaderMap) -> i64 {
    let stated = cache_control_ms(headers).or_else(|| expires_ms(headers));
    stated.unwrap_or(DEFAULT_MS).clamp(SHORTEST_MS, LONGEST_MS)
}

fn cache_control_ms(headers: &HeaderMap) -> Option<i64> {
    let mut max_age = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().ok()?.split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-store" || directive == "no-cache" {
                return Some(0);
            }
            if let Some(seconds) = directive.strip_prefix("max-age=") {
                max_age = seconds.trim_matches('"').parse::<u32>().ok().or(max_age);
            }
        }
    }
    let age = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.parse::<u32>().ok());
    Some(i64::from(max_age?.saturating_sub(age.unwrap_or(0))) * 1000)
}

fn expires_ms(headers: &HeaderMap) -> Option<i64> {
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let (expires, now) = (date(EXPIRES)?, date(DATE)?);
    let left = expires.duration_since(now).unwrap_or_default();
    i64::try_from(left.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), value.parse().expect("a header")))
            .collect()
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_says_within_limits() {
        assert_eq!(lifetime_ms(&HeaderMap::new()), DEFAULT_MS);
        let lifetime = |value| lifetime_ms(&headers(&[(CACHE_CONTROL, value)]));
        assert_eq!(lifetime("public, max-age=3600"), HOUR_MS);
        assert_eq!(lifetime("max-age=1"), SHORTEST_MS);
        assert_eq!(lifetime("max-age=999999999"), LONGEST_MS);
        assert_eq!(lifetime("no-store, max-age=7200"), SHORTEST_MS);
        assert_eq!(lifetime("max-age=many"), DEFAULT_MS);
        let aged = headers(&[(CACHE_CONTROL, "max-age=7200"), (AGE, "3600")]);
        assert_eq!(lifetime_ms(&aged), HOUR_MS);
        let expires = headers(&[
            (DATE, "Sun, 06 Nov 1994 08:00:00 GMT"),
            (EXPIRES, "Sun, 06 Nov 1994 10:00:00 GMT"),
        ]);
        assert_eq!(lifetime_ms(&expires), 2 * HOUR_MS);
    }

    #[test]
    fn a_redirect_stays_within_https() {
        let to = |location| redirected("https://a.example/x", &headers(&[(LOCATION, location)]));
        assert_eq!(to("/y?z").ok().as_deref(), Some("https://a.example/y?z"));
        assert_eq!(
            to("https://b.example/y").ok().as_deref(),
            Some("https://b.example/y")
        );
        assert!(to("http://a.example/y").is_err());
        assert!(to("y").is_err());
        assert!(redirected("https://a.example/x", &HeaderMap::new()).is_err());
    }
}
