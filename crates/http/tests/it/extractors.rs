//! Bodies, queries and paths: what is taken, and what error the rest is.

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use starling_http::{Auth, Json, OptionalJson, Path, Query, RawBody, Routes};

use crate::fixture::{app, call, send};

#[derive(Debug, Default, Deserialize, Serialize)]
struct Message {
    body: String,
    #[serde(default)]
    deep: Value,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Page {
    from: Option<String>,
    limit: u32,
}

#[tokio::test]
async fn json_bodies() {
    let app = app(Routes::new()
        .post("/json", Auth::None, async |Json(message): Json<Message>| {
            Json(message)
        })
        .post(
            "/raw",
            Auth::None,
            async |Json(raw): Json<Box<RawValue>>| Json(raw),
        ));
    let answer = call(
        &app,
        "POST",
        "/json",
        " {\"body\":\"h\u{e9}\", \"more\": 1}\n",
    )
    .await;
    assert_eq!(answer.json(), json!({"body": "h\u{e9}", "deep": null}));
    let kept = "{\"b\":1.0,\n \"a\":\"\\u0000\"}";
    assert_eq!(call(&app, "POST", "/raw", kept).await.body, kept);
    for (body, errcode) in [
        (&b""[..], "M_NOT_JSON"),
        (b"body=x", "M_NOT_JSON"),
        (b"{\"body\":\"x\"", "M_NOT_JSON"),
        (b"{\"body\":\"x\"} x", "M_NOT_JSON"),
        (b"{\"body\":\"\xff\"}", "M_NOT_JSON"),
        (b"{\"body\":\"x\",\"ignored\":\"\xff\"}", "M_NOT_JSON"),
        (b"{\"body\":1, x}", "M_NOT_JSON"),
        (b"{\"body\":1}", "M_BAD_JSON"),
        (b"{}", "M_BAD_JSON"),
        (b"[\"x\"]", "M_BAD_JSON"),
        (b"\"x\"", "M_BAD_JSON"),
        (b"null", "M_BAD_JSON"),
    ] {
        let answer = call(&app, "POST", "/json", body).await;
        assert_eq!(
            answer.error(),
            (400, errcode.to_owned()),
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(
        call(&app, "POST", "/raw", "[1]").await.error(),
        (400, "M_BAD_JSON".to_owned())
    );
    let answer = call(&app, "POST", "/json", "{}").await;
    assert_eq!(answer.json()["error"], "`body` is missing");
    for body in ["[\"x\"]", " [1]", "[]", "null"] {
        let answer = call(&app, "POST", "/json", body).await;
        assert_eq!(
            answer.json()["error"],
            "The body must be a JSON object",
            "{body}"
        );
    }
    let deep = format!(
        "{{\"body\":\"x\",\"deep\":{}{}}}",
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let answer = call(&app, "POST", "/json", deep).await;
    assert_eq!(answer.error(), (400, "M_BAD_JSON".to_owned()));
    assert_eq!(answer.json()["error"], "The content is nested too deep");
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let app = app(
        Routes::new().post("/json", Auth::None, async |Json(message): Json<Message>| {
            Json(message)
        }),
    );
    for content_type in [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
    ] {
        let request = Request::post("/json").header("content-type", content_type);
        let answer = send(&app, request.body(Body::from("{\"body\":\"x\"}")).unwrap()).await;
        assert_eq!(answer.json()["body"], "x", "{content_type}");
    }
}

#[tokio::test]
async fn an_optional_body_may_be_empty() {
    let app = app(Routes::new().post(
        "/x",
        Auth::None,
        async |OptionalJson(page): OptionalJson<Page>| Json(page),
    ));
    assert_eq!(
        call(&app, "POST", "/x", "").await.json(),
        json!({"from": null, "limit": 0})
    );
    assert_eq!(
        call(&app, "POST", "/x", "{\"limit\":3}").await.json()["limit"],
        3
    );
    assert_eq!(
        call(&app, "POST", "/x", "x").await.error(),
        (400, "M_NOT_JSON".to_owned())
    );
}

#[tokio::test]
async fn bodies_are_bounded() {
    let length = async |RawBody(bytes): RawBody| Json(json!({"length": bytes.len()}));
    let app = app(Routes::new()
        .post("/small", Auth::None, length)
        .body_limit(10)
        .post("/open", Auth::None, length)
        .post("/usual", Auth::User, length)
        .post("/large", Auth::None, length)
        .body_limit(5 << 20));
    let post = async |path: &str, length: usize| {
        call(&app, "POST", path, Bytes::from(vec![b'x'; length])).await
    };
    assert_eq!(post("/small", 10).await.json()["length"], 10);
    assert_eq!(
        post("/small", 11).await.error(),
        (413, "M_TOO_LARGE".to_owned())
    );
    // What a stranger sends is read only when it is small.
    for (path, most) in [("/open", 64 << 10), ("/usual?access_token=alice", 4 << 20)] {
        assert_eq!(post(path, most).await.json()["length"], most);
        assert_eq!(
            post(path, most + 1).await.error(),
            (413, "M_TOO_LARGE".to_owned())
        );
    }
    assert_eq!(post("/large", 5 << 20).await.json()["length"], 5 << 20);
    // A length that is announced is refused before a byte of the body is read.
    let request = Request::post("/small")
        .header("content-length", "11")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        send(&app, request).await.error(),
        (413, "M_TOO_LARGE".to_owned())
    );
}

#[derive(Debug, Deserialize, Serialize)]
struct Asked {
    room: String,
    #[serde(default)]
    via: Vec<String>,
    #[serde(default)]
    limit: Option<u16>,
    #[serde(default)]
    full_state: bool,
}

#[tokio::test]
async fn queries() {
    let app = app(
        Routes::new().get("/x", Auth::None, async |Query(asked): Query<Asked>| {
            Json(asked)
        }),
    );
    let get = async |query: &str| call(&app, "GET", &format!("/x{query}"), Body::empty()).await;
    assert_eq!(
        get("?via=a.example&room=%21r%3Aa&via=b+c&limit=7&full_state=true&other=1")
            .await
            .json(),
        json!({"room": "!r:a", "via": ["a.example", "b c"], "limit": 7, "full_state": true})
    );
    assert_eq!(
        get("?room=a").await.json(),
        json!({"room": "a", "via": [], "limit": null, "full_state": false})
    );
    assert_eq!(get("").await.error(), (400, "M_MISSING_PARAM".to_owned()));
    assert_eq!(
        get("?limit=7").await.error(),
        (400, "M_MISSING_PARAM".to_owned())
    );
    assert_eq!(get("").await.json()["error"], "`room` is missing");
    for (query, message) in [
        ("?room=a&limit=many", "`limit` must be a whole number"),
        ("?room=a&limit=70000", "`limit` is too large a number"),
        ("?room=a&limit=-1", "`limit` must be a whole number"),
        (
            "?room=a&limit=1&limit=2",
            "`limit` must be one value, not several",
        ),
        (
            "?room=a&full_state=maybe",
            "`full_state` must be true or false",
        ),
        ("?room=a&room=b", "`room` must be one value, not several"),
    ] {
        let answer = get(query).await;
        assert_eq!(
            answer.error(),
            (400, "M_INVALID_PARAM".to_owned()),
            "{query}"
        );
        assert_eq!(answer.json()["error"], message, "{query}");
    }
}

#[tokio::test]
async fn paths() {
    let app = app(Routes::new()
        .get(
            "/rooms/{room}/{count}",
            Auth::None,
            async |Path((room, count)): Path<(String, u8)>| {
                Json(json!({"room": room, "count": count}))
            },
        )
        .get(
            "/wrong/{one}",
            Auth::None,
            async |Path((a, b)): Path<(String, String)>| Json(vec![a, b]),
        ));
    let get = async |path: &str| call(&app, "GET", path, Body::empty()).await;
    assert_eq!(
        get("/rooms/%21a%2Fb%3Aex+ample/7").await.json(),
        json!({"room": "!a/b:ex+ample", "count": 7})
    );
    assert_eq!(
        get("/rooms/%ff/7").await.error(),
        (400, "M_INVALID_PARAM".to_owned())
    );
    let answer = get("/rooms/%ff/7").await;
    assert_eq!(answer.json()["error"], "`room` in the path is not UTF-8");
    assert_eq!(
        get("/rooms/a/seven").await.error(),
        (400, "M_INVALID_PARAM".to_owned())
    );
    assert_eq!(get("/wrong/x").await.error(), (500, "M_UNKNOWN".to_owned()));
}
