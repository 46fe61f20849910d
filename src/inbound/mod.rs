//! The server side: what a request that arrives is given, and what its response carries. The tower layer uses
//! [`Inbound`], and so can any other server that has a request's head and a response's headers.

mod decide;
mod echo;
mod rejection;

#[cfg(feature = "tower")]
mod body;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod service;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;

#[cfg(feature = "tower")]
pub use self::body::InboundBody;
use self::decide::decide;
pub use self::echo::Echo;
#[cfg(feature = "tower")]
pub use self::layer::InboundLayer;
pub use self::rejection::{InvalidTagsPolicy, Rejection};
#[cfg(feature = "tower")]
pub use self::service::{InboundFuture, InboundService};
use crate::clock::Instant;
use crate::header::{InvalidTags, TagOptions, Tags, TraceContext};
use crate::policy::{Admit, Choice, Sample};
use crate::trail::{ContextHook, Trail};

/// Server-side settings: how a request is assigned its [`Trail`], and which headers its response carries.
///
/// ```
/// use tagtrail::{Admit, Echo, Inbound, InboundLayer, Sample};
///
/// let inbound = Inbound::new(Admit::Restart)
///     .sample(Sample::ratio(0.01))
///     .echo(Echo::TRACEPARENT | Echo::SERVER_TIMING);
/// let layer = InboundLayer::new(inbound);
/// ```
///
/// Servers that do not use tower can call the two methods that the layer calls:
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use tagtrail::{Admit, Inbound};
///
/// fn respond(inbound: &Inbound, request: Request<()>) -> Response<Bytes> {
///     let (mut parts, _body) = request.into_parts();
///     match inbound.receive(&mut parts) {
///         Ok(trail) => {
///             let mut response = trail.in_scope(|| Response::new(Bytes::from("handled")));
///             inbound.write_response_headers(&trail, response.headers_mut());
///             response
///         }
///         Err(rejection) => rejection.into_response(),
///     }
/// }
///
/// let response = respond(&Inbound::new(Admit::Continue), Request::new(()));
/// assert!(response.headers().contains_key("traceparent"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Inbound {
    admit: Choice<Parts, Admit>,
    sample: Choice<Parts, Sample>,
    tag_options: TagOptions,
    invalid_tags: InvalidTagsPolicy,
    echo: Echo,
    on_rejection: Option<Arc<OnRejection>>,
    context_hook: Option<Arc<dyn ContextHook>>,
}

type OnRejection = dyn Fn(&Parts, &Rejection) + Send + Sync;

impl Inbound {
    /// Creates settings that treat all callers alike. To decide by request, see [`admit_with`](Self::admit_with).
    pub fn new(admit: Admit) -> Self {
        Self::with_choice(Choice::Fixed(admit))
    }

    /// Creates settings that decide for each request whether to continue the caller's trace.
    ///
    /// ```
    /// use tagtrail::{Admit, Inbound};
    ///
    /// let inbound = Inbound::admit_with(|parts| match parts.headers.get("x-trace-secret") {
    ///     // In production, compare in constant time with a configured secret.
    ///     Some(secret) if secret == "letmein" => Admit::Continue,
    ///     _ => Admit::Restart,
    /// });
    /// ```
    pub fn admit_with(admit: impl Fn(&Parts) -> Admit + Send + Sync + 'static) -> Self {
        Self::with_choice(Choice::function(admit))
    }

    fn with_choice(admit: Choice<Parts, Admit>) -> Self {
        Self {
            admit,
            sample: Choice::Fixed(Sample::Always),
            tag_options: TagOptions::default(),
            invalid_tags: InvalidTagsPolicy::default(),
            echo: Echo::default(),
            on_rejection: None,
            context_hook: None,
        }
    }

    /// Sets how traces that start here are sampled. By default all are.
    pub fn sample(self, sample: Sample) -> Self {
        Self { sample: Choice::Fixed(sample), ..self }
    }

    /// Sets a function that decides, for each request that starts a trace, how the trace is sampled.
    ///
    /// ```
    /// use tagtrail::{Admit, Inbound, Sample};
    ///
    /// let inbound = Inbound::new(Admit::Restart).sample_with(|parts| match parts.uri.path() {
    ///     "/health" => Sample::Never,
    ///     _ => Sample::ratio(0.01),
    /// });
    /// ```
    pub fn sample_with(self, sample: impl Fn(&Parts) -> Sample + Send + Sync + 'static) -> Self {
        Self { sample: Choice::function(sample), ..self }
    }

    /// Sets the name and the limits of the tag header.
    pub fn tag_options(self, tag_options: TagOptions) -> Self {
        Self { tag_options, ..self }
    }

    /// Sets what happens to a request with invalid tags. By default it is
    /// [rejected](InvalidTagsPolicy::reject) with a 400.
    pub fn invalid_tags(self, invalid_tags: InvalidTagsPolicy) -> Self {
        Self { invalid_tags, ..self }
    }

    /// Sets which response headers carry the trace. By default `traceparent` does.
    pub fn echo(self, echo: Echo) -> Self {
        Self { echo, ..self }
    }

    /// Registers a callback for each request that is rejected because of its tags, for example to count it: neither the
    /// handler nor the layers inside this one see such a request. Callbacks run in the order they were added, with the
    /// request's trail as the current one, but without the context of a [`ContextHook`].
    pub fn on_rejection(self, callback: impl Fn(&Parts, &Rejection) + Send + Sync + 'static) -> Self {
        let on_rejection: Arc<OnRejection> = match self.on_rejection {
            None => Arc::new(callback),
            Some(earlier) => Arc::new(move |parts, rejection| {
                earlier(parts, rejection);
                callback(parts, rejection);
            }),
        };
        Self { on_rejection: Some(on_rejection), ..self }
    }

    /// Sets the hook that creates the context of another tracing system for each trail. There is one: a second call
    /// replaces the first.
    pub fn context_hook(self, hook: impl ContextHook) -> Self {
        Self { context_hook: Some(Arc::new(hook)), ..self }
    }

    /// Parses the headers of a request, creates its trail, and adds the trail to the request's extensions.
    ///
    /// # Errors
    ///
    /// Returns the rejection of a request with invalid tags. Do not pass the request on to the handler; send
    /// [the response](Rejection::into_response).
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    #[inline]
    pub fn receive(&self, parts: &mut Parts) -> Result<Trail, Rejection> {
        // The time is read only if somebody records rejections.
        let arrived = self.on_rejection.as_ref().map(|_| Instant::now());
        let tags = self.tag_options.from_headers(&parts.headers);
        let context = TraceContext::from_headers(&parts.headers);
        let mut trail = decide(context, || self.admit.choose(parts), || self.sample.choose(parts));
        match tags {
            Ok(Some(tags)) => trail.set_tags(tags, None),
            Ok(None) => {}
            Err(error) if self.invalid_tags.ignores() => trail.set_tags(Tags::empty(), Some(Box::new(error))),
            Err(error) => return Err(self.reject(parts, &trail, error, arrived)),
        }
        if let Some(hook) = &self.context_hook {
            trail = trail.hooked(Arc::clone(hook));
        }
        parts.extensions.insert(trail.clone());
        Ok(trail)
    }

    /// Writes the headers that [`Echo`] selects.
    #[inline]
    pub fn write_response_headers(&self, trail: &Trail, headers: &mut HeaderMap) {
        self.echo.write(trail, &self.tag_options, headers);
    }

    #[cold]
    fn reject(&self, parts: &Parts, trail: &Trail, error: InvalidTags, arrived: Option<Instant>) -> Rejection {
        trail.in_scope(|| {
            let mut response = self.invalid_tags.response(parts, trail, &error);
            self.write_response_headers(trail, response.headers_mut());
            let elapsed = arrived.map_or(Duration::ZERO, |arrived| arrived.elapsed());
            let rejection = Rejection::new(trail.clone(), error, response, elapsed);
            if let Some(on_rejection) = &self.on_rejection {
                on_rejection(parts, &rejection);
            }
            rejection
        })
    }
}

/// Creates settings that treat all callers alike: see [`Inbound::new`].
impl From<Admit> for Inbound {
    fn from(admit: Admit) -> Self {
        Self::new(admit)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("admit", &self.admit)
            .field("sample", &self.sample)
            .field("tag_options", &self.tag_options)
            .field("invalid_tags", &self.invalid_tags)
            .field("echo", &self.echo)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_fixed_choices_and_no_functions() {
        let fixed = format!("{:?}", Inbound::new(Admit::Unsample).sample(Sample::Never));
        assert!(fixed.starts_with("Inbound { admit: Unsample, sample: Never, tag_options: "), "{fixed}");
        let functions = Inbound::admit_with(|_| Admit::Continue).sample_with(|_| Sample::Always);
        assert!(format!("{functions:?}").starts_with("Inbound { admit: function, sample: function, "));
    }
}
