//! What happens to a request with invalid tags. The default is a 400 in a JSON form that Fauna's drivers of either
//! generation read, or, for gRPC, the form that its clients read.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::header::InvalidTags;
use crate::trail::Trail;

/// What happens to a request with invalid tags: see [`Inbound::invalid_tags`](crate::Inbound::invalid_tags).
#[derive(Clone)]
#[must_use]
pub struct InvalidTagsPolicy(Kind);

#[derive(Clone)]
enum Kind {
    Reject,
    RejectWith(Arc<RejectWith>),
    Ignore,
}

type RejectWith = dyn Fn(&Parts, &Trail, &InvalidTags) -> Response<Bytes> + Send + Sync;

impl InvalidTagsPolicy {
    /// Rejects the request with a 400 whose JSON body says what is wrong. A request with a content type of
    /// `application/grpc` gets what gRPC clients read instead: status 3, `INVALID_ARGUMENT`. This is the default.
    pub fn reject() -> Self {
        Self(Kind::Reject)
    }

    /// Rejects the request with your own response. The layer adds the headers that [`Echo`](crate::Echo) selects.
    ///
    /// The request's trail is the current one while the function runs, but without the context of a
    /// [`ContextHook`](crate::ContextHook).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, StatusCode};
    /// use tagtrail::{Admit, Inbound, InvalidTagsPolicy};
    ///
    /// let inbound = Inbound::new(Admit::Restart).invalid_tags(InvalidTagsPolicy::reject_with(|_parts, _trail, error| {
    ///     let mut response = Response::new(Bytes::from(error.to_string()));
    ///     *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    ///     response
    /// }));
    /// ```
    pub fn reject_with(
        response: impl Fn(&Parts, &Trail, &InvalidTags) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::RejectWith(Arc::new(response)))
    }

    /// Ignores invalid tags, and handles the request as one without tags. [`Trail::invalid_tags`] says what is wrong.
    pub fn ignore() -> Self {
        Self(Kind::Ignore)
    }

    #[inline]
    pub(super) fn ignores(&self) -> bool {
        matches!(self.0, Kind::Ignore)
    }

    /// Creates the response to a rejected request.
    pub(super) fn response(&self, parts: &Parts, trail: &Trail, error: &InvalidTags) -> Response<Bytes> {
        let response = match &self.0 {
            Kind::RejectWith(response) => response(parts, trail, error),
            Kind::Reject | Kind::Ignore => default_response(&parts.headers, error),
        };
        if parts.method == Method::HEAD { without_body(response) } else { response }
    }
}

/// Rejects the request: see [`reject`](Self::reject).
impl Default for InvalidTagsPolicy {
    fn default() -> Self {
        Self::reject()
    }
}

impl fmt::Debug for InvalidTagsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Reject => "Reject",
            Kind::RejectWith(_) => "RejectWith(function)",
            Kind::Ignore => "Ignore",
        })
    }
}

/// A request that was rejected because of its tags: why, and the response.
///
/// The response carries the reason to outer layers too: its extensions hold the [`InvalidTags`] and the [`Trail`].
///
/// ```
/// use http::Request;
/// use tagtrail::{Admit, Inbound, InvalidTags, InvalidTagsKind};
///
/// let request = Request::builder().header("x-fauna-tags", "a=1,a=2").body(()).unwrap();
/// let (mut parts, ()) = request.into_parts();
/// let rejection = Inbound::new(Admit::Restart).receive(&mut parts).unwrap_err();
/// assert_eq!(rejection.error().kind(), InvalidTagsKind::DuplicateName);
///
/// let response = rejection.into_response();
/// assert_eq!(response.status(), 400);
/// assert_eq!(response.extensions().get::<InvalidTags>().unwrap().kind(), InvalidTagsKind::DuplicateName);
/// ```
#[derive(Clone)]
pub struct Rejection(Box<Inner>);

#[derive(Clone)]
struct Inner {
    trail: Trail,
    error: InvalidTags,
    response: Response<Bytes>,
    elapsed: Duration,
}

impl Rejection {
    pub(super) fn new(trail: Trail, error: InvalidTags, mut response: Response<Bytes>, elapsed: Duration) -> Self {
        response.extensions_mut().insert(error.clone());
        response.extensions_mut().insert(trail.clone());
        Self(Box::new(Inner { trail, error, response, elapsed }))
    }

    /// Returns the trail of the request, which has no tags.
    pub fn trail(&self) -> &Trail {
        &self.0.trail
    }

    /// Returns what is wrong with the tags.
    pub fn error(&self) -> &InvalidTags {
        &self.0.error
    }

    /// Returns the response as it is sent.
    pub fn response(&self) -> &Response<Bytes> {
        &self.0.response
    }

    /// Returns the time since the request arrived at the layer: zero if there is no
    /// [callback](crate::Inbound::on_rejection), and on `wasm32-unknown-unknown`, which has no clock.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// Returns the response, to send it.
    pub fn into_response(self) -> Response<Bytes> {
        self.0.response
    }
}

/// Writes what is wrong with the tags.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request rejected: {}", self.error())
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.error())
    }
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("trail", self.trail())
            .field("error", self.error())
            .field("status", &self.response().status())
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}

fn default_response(request_headers: &HeaderMap, error: &InvalidTags) -> Response<Bytes> {
    match request_headers.get(CONTENT_TYPE).and_then(grpc_content_type) {
        Some(content_type) => grpc(content_type, error),
        None => json(error),
    }
}

/// Returns the content type of the response if that of the request is `application/grpc`: as it is, for the web, with a
/// suffix (`+proto`) or with parameters.
fn grpc_content_type(request: &HeaderValue) -> Option<&'static str> {
    let has_type = |content_type: &str| {
        let parts = request.as_bytes().split_at_checked(content_type.len());
        parts.is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(content_type.as_bytes()) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        })
    };
    ["application/grpc-web-text", "application/grpc-web", "application/grpc"].into_iter().find(|it| has_type(it))
}

/// Creates the response to a `HEAD` request: the length of the body in place of the body.
fn without_body(response: Response<Bytes>) -> Response<Bytes> {
    let (mut parts, body) = response.into_parts();
    parts.headers.entry(CONTENT_LENGTH).or_insert_with(|| body.len().into());
    Response::from_parts(parts, Bytes::new())
}

fn json(error: &InvalidTags) -> Response<Bytes> {
    // The text needs no escaping: it consists of our own words and of characters of a header's name, which include
    // neither quotes nor backslashes nor control characters.
    let first = format!(r#"{{"code":"invalid_request","message":"{error}"}}"#);
    let all = format!(r#"[{{"code":"bad request","description":"{error}"}}]"#);
    let body = format!(r#"{{"error":{first},"errors":{all}}}"#);
    respond(StatusCode::BAD_REQUEST, "application/json", Bytes::from(body))
}

/// Creates a response that has trailers alone, in gRPC's words. Status 3 is `INVALID_ARGUMENT`.
fn grpc(content_type: &'static str, error: &InvalidTags) -> Response<Bytes> {
    let mut response = respond(StatusCode::OK, content_type, Bytes::new());
    response.headers_mut().insert("grpc-status", HeaderValue::from_static("3"));
    // The only character of the text that gRPC percent-encodes: a header's name may contain it.
    let message = HeaderValue::try_from(error.to_string().replace('%', "%25"));
    response.headers_mut().insert("grpc-message", message.expect("the text is visible ASCII and spaces"));
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
