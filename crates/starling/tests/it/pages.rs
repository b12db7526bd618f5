//! The pages for people.

use crate::program::Folder;

#[test]
fn the_front_page_says_what_runs_here() {
    let folder = Folder::with("");
    let server = folder.serve();
    let page = server.http(0, "GET", "/", "", "");
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'"),
        "{page:?}"
    );
    assert!(page.body.contains("<code>:localhost</code>"), "{page:?}");
    assert!(page.body.contains("curl -X POST"), "{page:?}");
    assert_eq!(
        server.http(0, "GET", "/_starling/style.css", "", "").status,
        200
    );
    // There is no link outside of the development profile.
    assert_eq!(
        server
            .http(0, "GET", "/_starling/setup?token=", "", "")
            .status,
        403
    );
}

#[test]
fn the_link_of_the_first_start_makes_one_administrator() {
    let folder = Folder::new();
    let server = folder.serve_for_development();
    let line = server.line_with("Create the administrator");
    let (_, url) = line.split_once("http://").unwrap();
    let (_, path) = url.split_once('/').unwrap();
    let (path, token) = (format!("/{path}"), path.split_once('=').unwrap().1);
    assert!(line.contains("24 hours"), "{line}");

    let wrong = server.http(0, "GET", "/_starling/setup?token=nonsense", "", "");
    assert_eq!(wrong.status, 403);
    assert!(
        wrong.body.contains("starling user create NAME --admin"),
        "{wrong:?}"
    );
    let refused = server.line_with("the setup link was refused");
    assert!(
        refused.contains("WARN") && !refused.contains(token),
        "{refused}"
    );
    let form = server.http(0, "GET", &path, "", "");
    assert!(form.body.contains("<form"), "{form:?}");
    let send = |name: &str, password: &str| {
        let body = format!("token={token}&name={name}&password={password}");
        server.http(0, "POST", "/_starling/setup", "", &body)
    };
    let empty = send("ann", "");
    assert_eq!(empty.status, 400);
    assert!(empty.body.contains("the password is empty"), "{empty:?}");
    let done = send("ann", "a+secret%21");
    assert!(done.body.contains("@ann:localhost"), "{done:?}");
    let made = server.line_with("made with the setup link");
    assert!(
        made.contains("@ann:localhost") && !made.contains(token),
        "{made}"
    );
    assert_eq!(send("bob", "secret").status, 403);
    assert_eq!(server.http(0, "GET", &path, "", "").status, 403);
    assert!(server.login("ann", "a secret!").is_some());
    assert_eq!(
        folder.run(&["user", "list"]).ok(),
        "@ann:localhost\tadmin\tactive"
    );

    assert_eq!(server.stop(), Some(0));
    let again = folder.serve_for_development();
    assert_eq!(again.http(0, "GET", &path, "", "").status, 403);
    let printed = again.stop_and_read();
    assert!(!printed.is_empty());
    assert!(
        !printed.iter().any(|line| line.contains("Create")),
        "{printed:?}"
    );
}
