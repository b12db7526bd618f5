//! Declaring routes: path, who may call, handler; and listing them.

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use http::Method;

use crate::auth::admit;
use crate::body::BodyLimit;
use crate::{Auth, Authenticated, Sessions};

/// Prefixes of paths that are also served under another name, which clients from before `v3` use.
const RESPELLED: [(&str, &str); 2] = [
    ("/_matrix/client/v3/", "/_matrix/client/r0/"),
    ("/_matrix/media/v3/", "/_matrix/media/r0/"),
];

/// The routes of an API, each with who may call it.
///
/// A path below `/_matrix/client/v3/` or `/_matrix/media/v3/` is served under `r0` too. `HEAD` works where `GET` does.
pub struct Routes<S> {
    routes: Vec<Route<S>>,
}

struct Route<S> {
    info: RouteInfo,
    handler: MethodRouter<S>,
}

/// One route of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: String,
    /// Other spellings of the path.
    pub also: Vec<String>,
    /// Who may call.
    pub auth: Auth,
}

impl<S: Sessions> Routes<S> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// `GET`, and with it `HEAD`.
    #[must_use]
    pub fn get<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route(
            Method::GET,
            path,
            auth,
            on(MethodFilter::GET, Guarded { auth, handler }),
        )
    }

    /// `POST`
    #[must_use]
    pub fn post<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route(
            Method::POST,
            path,
            auth,
            on(MethodFilter::POST, Guarded { auth, handler }),
        )
    }

    /// `PUT`
    #[must_use]
    pub fn put<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route(
            Method::PUT,
            path,
            auth,
            on(MethodFilter::PUT, Guarded { auth, handler }),
        )
    }

    /// `DELETE`
    #[must_use]
    pub fn delete<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route(
            Method::DELETE,
            path,
            auth,
            on(MethodFilter::DELETE, Guarded { auth, handler }),
        )
    }

    fn route(mut self, method: Method, path: &str, auth: Auth, handler: MethodRouter<S>) -> Self {
        let respelled = |(prefix, other): &(&str, &str)| {
            path.strip_prefix(prefix)
                .map(|rest| format!("{other}{rest}"))
        };
        let also = RESPELLED.iter().filter_map(respelled).collect();
        let info = RouteInfo {
            method,
            path: path.to_owned(),
            also,
            auth,
        };
        self.routes.push(Route { info, handler });
        self
    }

    /// Serves the last route under this path too, such as its unstable spelling.
    #[must_use]
    pub fn also(mut self, path: &str) -> Self {
        if let Some(route) = self.routes.last_mut() {
            route.info.also.push(path.to_owned());
        }
        self
    }

    /// Lets the last route take bodies up to this many bytes, instead of 4 MiB.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        if let Some(Route { info, handler }) = self.routes.pop() {
            let handler = handler.layer(Extension(BodyLimit(bytes)));
            self.routes.push(Route { info, handler });
        }
        self
    }

    /// These routes and others.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self
    }

    /// The table of routes, in the order of their declaration.
    pub fn table(&self) -> impl Iterator<Item = &RouteInfo> {
        self.routes.iter().map(|route| &route.info)
    }

    /// The router of these routes.
    ///
    /// # Panics
    /// When two routes have the same method and path, or a path is malformed: a mistake in the program.
    pub fn into_router(self, state: S) -> Router {
        let mut router = Router::new();
        for Route { info, handler } in self.routes {
            for path in info.also.iter().chain([&info.path]) {
                router = router.route(path, handler.clone());
            }
        }
        router.with_state(state)
    }
}

impl<S: Sessions> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// A handler that is reached only by whom its route lets in.
#[derive(Clone)]
struct Guarded<H> {
    auth: Auth,
    handler: H,
}

impl<H: Handler<T, S>, T: Send + 'static, S: Sessions> Handler<T, S> for Guarded<H> {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match admit(self.auth, &parts, &state).await {
                Ok(None) => {}
                Ok(Some(session)) => drop(parts.extensions.insert(Authenticated(session))),
                Err(error) => return error.into_response(),
            }
            self.handler
                .call(Request::from_parts(parts, body), state)
                .await
        })
    }
}
