//! The client's side: what a request that goes out carries, and what its receiver is told. [`Outbound`] is used by the
//! tower layer and the reqwest middleware, and serves any other client that has a header map.

use std::fmt;

use http::{Extensions, HeaderMap, Uri};

use crate::policy::{Disclose, Policy, Sample};
use crate::tags::{InvalidTags, TagRules, Tags};
use crate::trace_context::TraceContext;
use crate::trail::Trail;

/// How requests that go out carry a [`Trail`].
///
/// The trail of a request is, in this order: the one in its extensions; the [current](Trail::current) one; that of the
/// active span, where OpenTelemetry is bridged; the trace that its own headers name, if they are valid, with the tags
/// of its tag header; a new one. Its tags are those of the trail, unless the request has [`RequestTags`].
///
/// Each request gets a new parent-id, each attempt of a retry too. Headers of ours that were on the request are
/// replaced, and removed where the receiver is not to be told: a proxy that copies headers cannot undo what an
/// `InboundLayer` decided, as long as it sends while its trail is current, or with the trail in
/// the request's extensions. A request that is copied into a task of its own without either has nothing but its
/// headers, and goes on with the trace they name: give such a task its trail by [`Trail::scope`].
///
/// A trail's tags are sent as they are; those of one request are held against this client's [`TagRules`].
///
/// ```
/// use http::{Extensions, HeaderMap, Uri};
/// use tagtrail::{Disclose, Outbound, Tags, Trail};
///
/// let outbound = Outbound::new(Disclose::All);
/// let trail = Trail::start(true).with_tags(Tags::new([("project", "blog")])?);
///
/// // What the layer and the middleware do, for a client that has neither.
/// let mut headers = HeaderMap::new();
/// trail.enter(|| outbound.apply(&Uri::from_static("http://users.example/"), &mut headers, &Extensions::new()))?;
/// assert_eq!(headers["x-fauna-tags"], "project=blog");
/// assert!(headers["traceparent"].to_str().unwrap().contains(&trail.trace_id().to_string()));
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Outbound {
    disclose: Policy<Uri, Disclose>,
    start: Option<Sample>,
    rules: TagRules,
    /// The operation that is active in another tracing system of the same program.
    pub(crate) active: Option<fn() -> Option<TraceContext>>,
}

impl Outbound {
    /// Tells receivers so much: a [`Disclose`], [`Targets`](crate::Targets), or a function of the request's URL.
    pub fn new(disclose: impl Into<Policy<Uri, Disclose>>) -> Self {
        Self { disclose: disclose.into(), start: Some(Sample::Always), rules: TagRules::default(), active: None }
    }

    /// Which of the traces that start with a request of this client are sampled. By default all are.
    pub fn sample(self, sample: Sample) -> Self {
        Self { start: Some(sample), ..self }
    }

    /// Starts no traces: a request without a trail is sent without one, where the default is to start one.
    pub fn without_new_traces(self) -> Self {
        Self { start: None, ..self }
    }

    /// The name and the limits of the tag header.
    pub fn tag_rules(self, rules: TagRules) -> Self {
        Self { rules, ..self }
    }

    /// Sets and removes the headers of one request, which is about to be sent to `uri`.
    ///
    /// # Errors
    ///
    /// If the caller set bad tags for this request: as [`RequestTags`], or, where the request has no trail but the one
    /// its headers name, in its tag header. The headers are unchanged then, and the request is not to be sent.
    #[inline]
    pub fn apply(&self, uri: &Uri, headers: &mut HeaderMap, extensions: &Extensions) -> Result<(), InvalidTags> {
        self.apply_told(self.disclose.choose(uri), headers, extensions)?;
        Ok(())
    }

    /// As [`apply`](Self::apply), for a client whose URLs are no [`Uri`]. A trail that is made for the request is left
    /// in its extensions, for its further attempts and hops.
    #[cfg(feature = "reqwest")]
    pub(crate) fn apply_to_url(
        &self,
        url: &str,
        headers: &mut HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<(), InvalidTags> {
        if let Some(made) = self.apply_told(self.told_url(url), headers, extensions)? {
            extensions.insert(made);
        }
        Ok(())
    }

    /// What the receiver at a URL is told. The URL is made a [`Uri`] only where that is asked for; whose URL cannot be
    /// one is told nothing.
    #[cfg(feature = "reqwest")]
    pub(crate) fn told_url(&self, url: &str) -> Disclose {
        let by_url = || url.parse().map_or(Disclose::Nothing, |uri| self.disclose.choose(&uri));
        self.disclose.fixed().unwrap_or_else(by_url)
    }

    /// Returns the trail, where it was made for this request.
    fn apply_told(
        &self,
        told: Disclose,
        headers: &mut HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Trail>, InvalidTags> {
        let request_tags = extensions.get::<RequestTags>().map(|tags| tags.check(&self.rules)).transpose()?;
        let active = self.active.and_then(|active| active());
        let current;
        let mut made = (None, None);
        let (trail, tags) = if let Some(trail) = extensions.get::<Trail>() {
            (Some(trail), Some(trail.tags()))
        } else if let Some(trail) = Trail::current() {
            current = trail;
            (Some(&current), Some(current.tags()))
        } else {
            made = self.make(active.as_ref(), headers)?;
            (made.0.as_ref(), made.1.as_ref())
        };
        match (told, trail) {
            (Disclose::All | Disclose::TraceOnly, Some(trail)) => {
                trail.next_traceparent(active.as_ref().map(TraceContext::traceparent)).insert_into(headers);
                trail.tracestate().insert_into(headers);
            }
            _ => TraceContext::remove_from(headers),
        }
        match (told, request_tags.or(tags)) {
            (Disclose::All, Some(tags)) => self.rules.insert_into(tags, headers),
            _ => self.rules.remove_from(headers),
        }
        Ok(made.0)
    }

    /// The trail and the tags of a request that has none: neither in its extensions nor a current one.
    fn make(
        &self,
        active: Option<&TraceContext>,
        headers: &HeaderMap,
    ) -> Result<(Option<Trail>, Option<Tags>), InvalidTags> {
        let tags = self.rules.from_headers(headers)?;
        let named = active.cloned().or_else(|| TraceContext::from_headers(headers).ok().flatten());
        let trail = named.map(Trail::continued).or_else(|| self.start.map(Trail::sampled_by));
        let trail = match (trail, &tags) {
            (Some(trail), Some(tags)) => Some(trail.with_tags(tags.clone())),
            (trail, _) => trail,
        };
        Ok((trail, tags))
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("disclose", &self.disclose)
            .field("start", &self.start)
            .field("tag_rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Anything that decides what receivers are told is an [`Outbound`] with the other settings as they are by default.
impl<D: Into<Policy<Uri, Disclose>>> From<D> for Outbound {
    fn from(disclose: D) -> Self {
        Self::new(disclose)
    }
}

/// The tags of one request, in place of those of its trail: put into the request's extensions.
///
/// Bad tags are kept as they are, and are the error of sending the request; so there is one place for it.
///
/// ```
/// use tagtrail::RequestTags;
///
/// let request = http::Request::builder()
///     .uri("http://users.example/")
///     .extension(RequestTags::new([("project", "blog"), ("job", "nightly")]))
///     .body(())
///     .unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTags(Result<Tags, InvalidTags>);

impl RequestTags {
    /// The tags with these names and values, by the default [`TagRules`]. For others, convert what
    /// [`TagRules::tags`] returns, an error too: `RequestTags::from(rules.tags(pairs))`.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        Self(Tags::new(pairs))
    }

    fn check(&self, rules: &TagRules) -> Result<&Tags, InvalidTags> {
        let tags = self.0.as_ref().map_err(InvalidTags::clone)?;
        rules.recheck(tags)?;
        Ok(tags)
    }
}

impl From<Tags> for RequestTags {
    fn from(tags: Tags) -> Self {
        Self(Ok(tags))
    }
}

impl From<Result<Tags, InvalidTags>> for RequestTags {
    fn from(tags: Result<Tags, InvalidTags>) -> Self {
        Self(tags)
    }
}

#[cfg(all(test, feature = "reqwest"))]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_asked_for_where_the_choice_depends_on_it_alone() {
        let longer_than_a_uri = format!("http://users.example/{}", "x".repeat(70_000));
        for (told, expected) in [
            (Outbound::new(Disclose::TraceOnly), [Disclose::TraceOnly; 2]),
            (Outbound::new(|_: &Uri| Disclose::All), [Disclose::All, Disclose::Nothing]),
        ] {
            assert_eq!(["http://users.example/7", &longer_than_a_uri].map(|url| told.told_url(url)), expected);
        }
    }
}
