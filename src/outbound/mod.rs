//! The client side: what a request that is sent carries, and what it discloses. The tower layer and the reqwest
//! middleware use [`Outbound`], and so can any other client that has a header map.

mod request_tags;

#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod service;

use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Uri};

#[cfg(feature = "tower")]
pub use self::layer::OutboundLayer;
pub use self::request_tags::RequestTags;
#[cfg(feature = "tower")]
pub use self::service::{OutboundFuture, OutboundService};
use crate::header::{InvalidTags, TagOptions, Tags, TraceContext};
use crate::policy::{Choice, Disclose, Sample, Targets};
use crate::trail::Trail;

/// Client-side settings: how a request that is sent carries a [`Trail`].
///
/// The trail of a request is the first that exists of these: the one in its extensions; the
/// [current](Trail::current) one; that of the [parent span](Self::parent_span); the trace that its own headers name, if
/// they are valid, with the tags of its tag header; a new one. Its tags are those of the trail, unless the request has
/// [`RequestTags`].
///
/// Each request gets a new parent-id, and so does each attempt of a retry. Trace and tag headers that are already on the
/// request are replaced, or removed if they must not be disclosed. So a proxy that copies headers cannot undo what an
/// `InboundLayer` decided, as long as it sends while its trail is current, or with the trail in the request's
/// extensions. A request that is copied into a separate task with neither has only its headers, and continues the trace
/// that they name: give such a task its trail with [`Trail::scope`].
///
/// The tags of a trail are sent as they are. Those of a single request are checked against this client's
/// [`TagOptions`].
///
/// ```
/// use http::{Extensions, HeaderMap, Uri};
/// use tagtrail::{Disclose, Outbound, Sample, Tags, Trail};
///
/// let outbound = Outbound::new(Disclose::All);
/// let trail = Trail::start(Sample::Always).with_tags(Tags::from_pairs([("project", "blog")])?);
///
/// // What the layer and the middleware do, for a client that has neither.
/// let mut headers = HeaderMap::new();
/// trail.in_scope(|| outbound.apply(&Uri::from_static("http://users.example/"), &mut headers, &Extensions::new()))?;
/// assert_eq!(headers["x-fauna-tags"], "project=blog");
/// assert!(headers["traceparent"].to_str().unwrap().contains(&trail.trace_id().to_string()));
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Outbound {
    disclose: Choice<Uri, Disclose>,
    new_traces: NewTraces,
    tag_options: TagOptions,
    parent_span: Option<Arc<ParentSpan>>,
}

type ParentSpan = dyn Fn() -> Option<TraceContext> + Send + Sync;

/// Whether a client starts traces: see [`Outbound::new_traces`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewTraces {
    /// Starts a trace for a request without a trail; the [`Sample`] decides whether it is sampled.
    Sampled(Sample),
    /// Starts no traces: a request without a trail is sent without a trace.
    Never,
}

/// Starts traces, all of which are sampled.
impl Default for NewTraces {
    fn default() -> Self {
        Self::Sampled(Sample::Always)
    }
}

impl Outbound {
    /// Creates settings that disclose the same to every receiver. To decide by receiver, see
    /// [`targets`](Self::targets) and [`disclose_with`](Self::disclose_with).
    pub fn new(disclose: Disclose) -> Self {
        Self::with_choice(Choice::Fixed(disclose))
    }

    /// Creates settings that disclose to each receiver what a list of [`Targets`] allows.
    pub fn targets(targets: Targets) -> Self {
        Self::disclose_with(move |uri| targets.for_uri(uri))
    }

    /// Creates settings that decide by URL what a request discloses.
    ///
    /// ```
    /// use tagtrail::{Disclose, Outbound};
    ///
    /// let outbound = Outbound::disclose_with(|uri| match uri.host() {
    ///     Some("users.internal.example") => Disclose::All,
    ///     _ => Disclose::Nothing,
    /// });
    /// ```
    pub fn disclose_with(disclose: impl Fn(&Uri) -> Disclose + Send + Sync + 'static) -> Self {
        Self::with_choice(Choice::function(disclose))
    }

    fn with_choice(disclose: Choice<Uri, Disclose>) -> Self {
        Self { disclose, new_traces: NewTraces::default(), tag_options: TagOptions::default(), parent_span: None }
    }

    /// Sets whether this client starts traces, and how they are sampled. By default it starts one for each request
    /// without a trail, and all are sampled.
    pub fn new_traces(self, new_traces: NewTraces) -> Self {
        Self { new_traces, ..self }
    }

    /// Sets the name and the limits of the tag header.
    pub fn tag_options(self, tag_options: TagOptions) -> Self {
        Self { tag_options, ..self }
    }

    /// Sets a function that returns the active span of another tracing system.
    ///
    /// If that span belongs to the request's trace, its id is sent as the parent-id, and its sampling decision as the
    /// `sampled` flag. A request without a trail continues the trace of the span. Since the id is that of the span, each
    /// attempt of a retry needs its own span to have its own id.
    pub fn parent_span(self, parent_span: impl Fn() -> Option<TraceContext> + Send + Sync + 'static) -> Self {
        Self { parent_span: Some(Arc::new(parent_span)), ..self }
    }

    /// Sets and removes the headers of a request that is about to be sent to `uri`.
    ///
    /// # Errors
    ///
    /// Returns an error if the tags of this request are invalid: its [`RequestTags`], or, if it has no trail but the
    /// one that its headers name, its tag header. The headers are unchanged then; do not send the request.
    ///
    /// # Panics
    ///
    /// If the operating system provides no randomness.
    #[inline]
    pub fn apply(&self, uri: &Uri, headers: &mut HeaderMap, extensions: &Extensions) -> Result<(), InvalidTags> {
        self.apply_as(self.disclose.choose(uri), headers, extensions)?;
        Ok(())
    }

    /// Does what [`apply`](Self::apply) does, for clients that do not use [`Uri`]. A trail that is created for the
    /// request is added to its extensions, for its later attempts and redirects.
    #[cfg(feature = "reqwest")]
    pub(crate) fn apply_to_url(
        &self,
        url: &str,
        headers: &mut HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<(), InvalidTags> {
        if let Some(created) = self.apply_as(self.disclose_to_url(url), headers, extensions)? {
            extensions.insert(created);
        }
        Ok(())
    }

    /// Returns what a request to this URL discloses. The URL is converted only if the decision depends on it; nothing
    /// is disclosed to a URL that is not a valid [`Uri`].
    #[cfg(feature = "reqwest")]
    pub(crate) fn disclose_to_url(&self, url: &str) -> Disclose {
        match &self.disclose {
            Choice::Fixed(disclose) => *disclose,
            Choice::Function(disclose) => url.parse().map_or(Disclose::Nothing, |uri| disclose(&uri)),
        }
    }

    /// Applies a decision. Returns the trail if it was created for this request.
    fn apply_as(
        &self,
        disclose: Disclose,
        headers: &mut HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Trail>, InvalidTags> {
        let request_tags = extensions.get::<RequestTags>().map(|tags| tags.check(&self.tag_options)).transpose()?;
        let span = self.parent_span.as_ref().and_then(|parent_span| parent_span());
        let current;
        let mut created = (None, None);
        let (trail, tags) = if let Some(trail) = extensions.get::<Trail>() {
            (Some(trail), Some(trail.tags()))
        } else if let Some(trail) = Trail::current() {
            current = trail;
            (Some(&current), Some(current.tags()))
        } else {
            created = self.create_trail(span.as_ref(), headers)?;
            (created.0.as_ref(), created.1.as_ref())
        };
        match (disclose, trail) {
            (Disclose::All | Disclose::TraceOnly, Some(trail)) => {
                trail.next_traceparent(span.as_ref().map(TraceContext::traceparent)).insert_into(headers);
                trail.tracestate().insert_into(headers);
            }
            _ => TraceContext::remove_from(headers),
        }
        match (disclose, request_tags.or(tags)) {
            (Disclose::All, Some(tags)) => self.tag_options.insert(headers, tags),
            _ => self.tag_options.remove(headers),
        }
        Ok(created.0)
    }

    /// Creates the trail and the tags of a request that has neither a trail in its extensions nor a current one.
    fn create_trail(
        &self,
        span: Option<&TraceContext>,
        headers: &HeaderMap,
    ) -> Result<(Option<Trail>, Option<Tags>), InvalidTags> {
        let tags = self.tag_options.from_headers(headers)?;
        let named = span.cloned().or_else(|| TraceContext::from_headers(headers).ok().flatten());
        let mut trail = match (named, &self.new_traces) {
            (Some(named), _) => Some(Trail::from_context(named)),
            (None, NewTraces::Sampled(sample)) => Some(Trail::start(sample.clone())),
            (None, NewTraces::Never) => None,
        };
        if let (Some(trail), Some(tags)) = (&mut trail, &tags) {
            trail.set_tags(tags.clone(), None);
        }
        Ok((trail, tags))
    }
}

/// Creates settings that disclose the same to every receiver: see [`Outbound::new`].
impl From<Disclose> for Outbound {
    fn from(disclose: Disclose) -> Self {
        Self::new(disclose)
    }
}

/// Creates settings that decide by receiver: see [`Outbound::targets`].
impl From<Targets> for Outbound {
    fn from(targets: Targets) -> Self {
        Self::targets(targets)
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("disclose", &self.disclose)
            .field("new_traces", &self.new_traces)
            .field("tag_options", &self.tag_options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "reqwest")]
    #[test]
    fn url_is_converted_only_if_the_decision_depends_on_it() {
        let longer_than_a_uri = format!("http://users.example/{}", "x".repeat(70_000));
        for (outbound, expected) in [
            (Outbound::new(Disclose::TraceOnly), [Disclose::TraceOnly; 2]),
            (Outbound::disclose_with(|_| Disclose::All), [Disclose::All, Disclose::Nothing]),
        ] {
            let disclosed = ["http://users.example/7", &longer_than_a_uri].map(|url| outbound.disclose_to_url(url));
            assert_eq!(disclosed, expected);
        }
    }

    #[test]
    fn debug_output_shows_fixed_choices_and_no_functions() {
        let fixed = format!("{:?}", Outbound::new(Disclose::TraceOnly).new_traces(NewTraces::Never));
        assert!(fixed.starts_with("Outbound { disclose: TraceOnly, new_traces: Never, tag_options: "), "{fixed}");
        let function = format!("{:?}", Outbound::disclose_with(|_| Disclose::All));
        assert!(function.starts_with("Outbound { disclose: function, new_traces: Sampled(Always), "), "{function}");
    }
}
