//! Declaring routes: path, who may call, how often, handler; and listing them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use futures_util::future::BoxFuture;
use http::Method;

use crate::body::BodyLimit;
use crate::limits::{ANONYMOUS_BODY_BYTES, BODY_BYTES};
use crate::{Admits, Auth, Limited};

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
    /// Puts the handler behind what the route declares, once all of it is known.
    guard: Box<dyn FnOnce(Arc<RouteInfo>) -> MethodRouter<S> + Send>,
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
    /// What a call counts as.
    pub limit: Limited,
    /// Whether it is closed to suspended users.
    pub refuses_suspended: bool,
    /// The largest body that it takes, in bytes.
    pub body_bytes: usize,
}

impl<S: Admits> Routes<S> {
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
        self.route((Method::GET, MethodFilter::GET), path, auth, handler)
    }

    /// `POST`
    #[must_use]
    pub fn post<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route((Method::POST, MethodFilter::POST), path, auth, handler)
    }

    /// `PUT`
    #[must_use]
    pub fn put<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route((Method::PUT, MethodFilter::PUT), path, auth, handler)
    }

    /// `DELETE`
    #[must_use]
    pub fn delete<H: Handler<T, S>, T: Send + 'static>(
        self,
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        self.route((Method::DELETE, MethodFilter::DELETE), path, auth, handler)
    }

    fn route<H: Handler<T, S>, T: Send + 'static>(
        mut self,
        (method, filter): (Method, MethodFilter),
        path: &str,
        auth: Auth,
        handler: H,
    ) -> Self {
        let respelled = |(prefix, other): &(&str, &str)| {
            path.strip_prefix(prefix)
                .map(|rest| format!("{other}{rest}"))
        };
        let also = RESPELLED.iter().filter_map(respelled).collect();
        let body_bytes = match auth {
            Auth::None | Auth::Optional => ANONYMOUS_BODY_BYTES,
            _ => BODY_BYTES,
        };
        let info = RouteInfo {
            method,
            path: path.to_owned(),
            also,
            auth,
            limit: match auth {
                Auth::Server => Limited::Server,
                _ => Limited::Other,
            },
            refuses_suspended: false,
            body_bytes,
        };
        let guard = Box::new(move |route| on(filter, Guarded { route, handler }));
        self.routes.push(Route { info, guard });
        self
    }

    fn last(mut self, declare: impl FnOnce(&mut RouteInfo)) -> Self {
        if let Some(route) = self.routes.last_mut() {
            declare(&mut route.info);
        }
        self
    }

    /// Serves the last route under this path too, such as its unstable spelling.
    #[must_use]
    pub fn also(self, path: &str) -> Self {
        self.last(|route| route.also.push(path.to_owned()))
    }

    /// Lets the last route take bodies up to this many bytes, instead of 4 MiB (64 KiB where anybody may call).
    #[must_use]
    pub fn body_limit(self, bytes: usize) -> Self {
        self.last(|route| route.body_bytes = bytes)
    }

    /// Counts calls of the last route as this kind of action, instead of as one of the many others.
    #[must_use]
    pub fn limit(self, kind: Limited) -> Self {
        self.last(|route| route.limit = kind)
    }

    /// Closes the last route to suspended users.
    #[must_use]
    pub fn refuse_suspended(self) -> Self {
        self.last(|route| route.refuses_suspended = true)
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
        for Route { info, guard } in self.routes {
            let info = Arc::new(info);
            let handler = guard(info.clone());
            for path in info.also.iter().chain([&info.path]) {
                router = router.route(path, handler.clone());
            }
        }
        router.with_state(state)
    }
}

impl<S: Admits> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// A handler that is reached only by whom its route lets in.
#[derive(Clone)]
struct Guarded<H> {
    route: Arc<RouteInfo>,
    handler: H,
}

impl<H: Handler<T, S>, T: Send + 'static, S: Admits> Handler<T, S> for Guarded<H> {
    type Future = BoxFuture<'static, Response>;

    fn call(self, mut request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let limit = BodyLimit(self.route.body_bytes);
            request.extensions_mut().insert(limit);
            match state.admit(&self.route, request).await {
                Ok(request) => self.handler.call(request, state).await,
                Err(error) => error.into_response(),
            }
        })
    }
}
