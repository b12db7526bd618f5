//! Requests between servers are signed: the `Authorization` header of the scheme `X-Matrix`.
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>

use ruma_common::{OwnedServerName, ServerName};
use thiserror::Error;

use crate::{
    id::parse_server_name,
    json_string,
    keys::{SigningKey, VerifyingKey},
    unpadded_base64,
};

/// The scheme.
const SCHEME: &str = "X-Matrix";
/// Longer headers are not looked at.
const MAX_HEADER_BYTES: usize = 2048;
/// More parameters than this are not either.
const MAX_PARAMETERS: usize = 16;

/// Why a header says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestAuthError {
    /// It is of another scheme.
    #[error("the Authorization header is not of the scheme X-Matrix")]
    Scheme,
    /// It is no list of parameters.
    #[error("the Authorization header is not a list of name=value pairs")]
    Syntax,
    /// A parameter is missing.
    #[error("the Authorization header has no {0}")]
    Missing(&'static str),
    /// A parameter is not what it should be.
    #[error("the Authorization header's {0} is malformed")]
    Malformed(&'static str),
}

/// What a server says of itself in an `Authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAuth {
    /// The server that asks.
    pub origin: OwnedServerName,
    /// The server that it asks; older servers don't say.
    pub destination: Option<OwnedServerName>,
    /// The key that it signed with, such as `ed25519:1`.
    pub key_id: String,
    /// The signature.
    pub signature: [u8; 64],
}

impl RequestAuth {
    /// Reads a header.
    ///
    /// # Errors
    /// [`RequestAuthError`].
    pub fn parse(header: &str) -> Result<Self, RequestAuthError> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(RequestAuthError::Syntax);
        }
        let (scheme, parameters) = header.split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(RequestAuthError::Scheme);
        }
        let parameters = read_parameters(parameters)?;
        let find = |name: &'static str| {
            let found = parameters.iter().find(|(key, _)| key == name);
            found
                .map(|(_, value)| value.as_str())
                .ok_or(RequestAuthError::Missing(name))
        };
        let server = |name: &'static str| {
            parse_server_name(find(name)?).map_err(|_| RequestAuthError::Malformed(name))
        };
        let signature = unpadded_base64::decode_either(find("sig")?)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(RequestAuthError::Malformed("sig"))?;
        Ok(Self {
            origin: server("origin")?,
            destination: find("destination")
                .is_ok()
                .then(|| server("destination"))
                .transpose()?,
            key_id: find("key")?.to_owned(),
            signature,
        })
    }

    /// Whether the signature is one of this request, by this key. Of `content` there are the canonical bytes
    /// ([`canonicalize_request`](crate::canonical_json::canonicalize_request)).
    #[must_use]
    pub fn verifies(
        &self,
        (method, uri, content): (&str, &str, Option<&[u8]>),
        destination: &ServerName,
        key: &VerifyingKey,
    ) -> bool {
        // What older servers don't say, they don't sign.
        let destination = self.destination.as_ref().map(|_| destination);
        let signed = signed_bytes((method, uri, content), (&self.origin, destination));
        key.verifies(&signed, &self.signature)
    }
}

/// The `Authorization` header of a request: method, path with query, and the canonical bytes of its body if it has one;
/// from whom to whom.
#[must_use]
pub fn sign_request(
    request: (&str, &str, Option<&[u8]>),
    (origin, destination): (&ServerName, &ServerName),
    key: &SigningKey,
) -> String {
    let signature = key.sign(&signed_bytes(request, (origin, Some(destination))));
    let key_id = key.key_id();
    format!(
        "{SCHEME} origin=\"{origin}\",destination=\"{destination}\",key=\"{key_id}\",sig=\"{signature}\""
    )
}

/// The canonical JSON that is signed.
fn signed_bytes(
    (method, uri, content): (&str, &str, Option<&[u8]>),
    (origin, destination): (&ServerName, Option<&ServerName>),
) -> Vec<u8> {
    let mut out = vec![b'{'];
    if let Some(content) = content {
        out.extend_from_slice(b"\"content\":");
        out.extend_from_slice(content);
        out.push(b',');
    }
    let texts = [
        ("destination", destination.map(ServerName::as_str)),
        ("method", Some(method)),
        ("origin", Some(origin.as_str())),
        ("uri", Some(uri)),
    ];
    for (name, text) in texts {
        let Some(text) = text else { continue };
        json_string::write(&mut out, name);
        out.push(b':');
        json_string::write(&mut out, text);
        out.push(b',');
    }
    out.pop();
    out.push(b'}');
    out
}

/// Name and value pairs; names in lower case.
fn read_parameters(text: &str) -> Result<Vec<(String, String)>, RequestAuthError> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        if parameters.len() == MAX_PARAMETERS {
            return Err(RequestAuthError::Syntax);
        }
        let (name, after) = rest.split_once('=').ok_or(RequestAuthError::Syntax)?;
        let name = name.trim_matches([' ', '\t']);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(RequestAuthError::Syntax);
        }
        let (value, after) = read_value(after.trim_start_matches([' ', '\t']))?;
        parameters.push((name.to_ascii_lowercase(), value));
        let after = after.trim_start_matches([' ', '\t']);
        if !after.is_empty() && !after.starts_with(',') {
            return Err(RequestAuthError::Syntax);
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Ok(parameters)
}

/// A quoted string or a token, and what follows. Older servers write colons and base64 without quotes.
fn read_value(text: &str) -> Result<(String, &str), RequestAuthError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        let is_value =
            |byte: u8| is_token(byte) || matches!(byte, b':' | b'/' | b'=' | b'[' | b']');
        return if !value.is_empty() && value.bytes().all(is_value) {
            Ok((value.to_owned(), after))
        } else {
            Err(RequestAuthError::Syntax)
        };
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let after = quoted.get(at + 1..).unwrap_or_default();
                return Ok((value, after));
            }
            '\\' => {
                let (_, escaped) = characters.next().ok_or(RequestAuthError::Syntax)?;
                value.push(escaped);
            }
            other => value.push(other),
        }
    }
    Err(RequestAuthError::Syntax)
}

/// <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2>
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
