//! The server's side: what a request that arrives is given, and what its answer carries. [`Inbound`] is used by the
//! tower layer, and serves any other server that has a request's head and an answer's headers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use crate::clock::Instant;
use crate::echo::Echo;
use crate::policy::{Admit, Policy, Sample};
use crate::reject;
use crate::tags::{InvalidTags, TagRules, Tags};
use crate::trace_context::TraceContext;
use crate::trail::{Companion, Trail};

/// How requests that arrive get their [`Trail`], and answers their trace.
///
/// ```
/// use tagtrail::{Admit, Echo, Inbound, InboundLayer, Sample};
///
/// let inbound = Inbound::new(Admit::Restart).sample(Sample::Ratio(0.01)).echo(Echo::TRACEPARENT | Echo::SERVER_TIMING);
/// let layer = InboundLayer::new(inbound);
/// ```
///
/// A server that is no tower service calls the two methods that the layer calls:
///
/// ```
/// use tagtrail::{Admit, Inbound};
///
/// let inbound = Inbound::new(Admit::Continue);
/// let (mut head, _body) = http::Request::new(()).into_parts();
/// let answer = match inbound.receive(&mut head) {
///     Ok(trail) => {
///         let mut answer = trail.enter(|| http::Response::new("handled"));
///         inbound.answer(&trail, answer.headers_mut());
///         answer.map(bytes::Bytes::from)
///     }
///     Err(refusal) => *refusal,
/// };
/// assert!(answer.headers().contains_key("traceparent"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Inbound {
    admit: Policy<Parts, Admit>,
    sample: Policy<Parts, Sample>,
    rules: TagRules,
    echo: Echo,
    bad_tags: BadTags,
    on_refusal: Option<Arc<OnRefusal>>,
    /// What the trails have beside them.
    pub(crate) companion: Option<Arc<dyn Companion>>,
}

impl Inbound {
    /// Treats the traces of callers so: an [`Admit`], or a function of the request's head.
    ///
    /// ```
    /// use http::request::Parts;
    /// use tagtrail::{Admit, Inbound};
    ///
    /// let ours = Inbound::new(Admit::Continue);
    /// let public = Inbound::new(|head: &Parts| match head.headers.get("x-trace-secret") {
    ///     // In earnest: compared in constant time, with a secret from the service's configuration.
    ///     Some(secret) if secret == "letmein" => Admit::Continue,
    ///     _ => Admit::Restart,
    /// });
    /// ```
    pub fn new(admit: impl Into<Policy<Parts, Admit>>) -> Self {
        Self {
            admit: admit.into(),
            sample: Sample::Always.into(),
            rules: TagRules::default(),
            echo: Echo::default(),
            bad_tags: BadTags::Refuse,
            on_refusal: None,
            companion: None,
        }
    }

    /// Which of the traces that start here are sampled: a [`Sample`], or a function of the request's head that
    /// returns one. By default all are.
    pub fn sample(self, sample: impl Into<Policy<Parts, Sample>>) -> Self {
        Self { sample: sample.into(), ..self }
    }

    /// The name and the limits of the tag header.
    pub fn tag_rules(self, rules: TagRules) -> Self {
        Self { rules, ..self }
    }

    /// Which headers of the answer carry the trace. By default `traceparent` does.
    pub fn echo(self, echo: Echo) -> Self {
        Self { echo, ..self }
    }

    /// Drops bad tags and goes on without tags, where the default is to refuse the request. What was wrong with them
    /// is in [`Trail::dropped_tags`].
    pub fn drop_bad_tags(self) -> Self {
        Self { bad_tags: BadTags::Drop, ..self }
    }

    /// Refuses bad tags with this answer instead of ours. The headers of [`Echo`] are put on it.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::{Response, StatusCode};
    /// use tagtrail::{Admit, Inbound};
    ///
    /// let inbound = Inbound::new(Admit::Restart).refuse_with(|_head, _trail, fault| {
    ///     let mut answer = Response::new(Bytes::from(fault.to_string()));
    ///     *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    ///     answer
    /// });
    /// ```
    pub fn refuse_with(
        self,
        answer: impl Fn(&Parts, &Trail, &InvalidTags) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { bad_tags: BadTags::RefuseWith(Arc::new(answer)), ..self }
    }

    /// Adds a function that is told of each request that is refused for its tags, so that it can be counted or
    /// recorded: the handler, and layers inside of this one, never see it. Several are told in the order they were
    /// added.
    pub fn on_refusal(self, function: impl Fn(&Refusal<'_>) + Send + Sync + 'static) -> Self {
        let on_refusal: Arc<OnRefusal> = match self.on_refusal {
            None => Arc::new(function),
            Some(earlier) => Arc::new(move |refusal| {
                earlier(refusal);
                function(refusal);
            }),
        };
        Self { on_refusal: Some(on_refusal), ..self }
    }

    /// Parses and decides: makes the trail of a request, and puts it into the request's extensions.
    ///
    /// # Errors
    ///
    /// The answer to a request that is refused for its tags, with its trace on it. The handler is not to see the
    /// request.
    #[inline]
    pub fn receive(&self, head: &mut Parts) -> Result<Trail, Box<Response<Bytes>>> {
        // Read for who records refusals alone.
        let begun = self.on_refusal.as_ref().map(|_| Instant::now());
        let (tags, fault) = match self.rules.from_headers(&head.headers) {
            Ok(tags) => (tags.unwrap_or_default(), None),
            Err(fault) => (Tags::empty(), Some(Box::new(fault))),
        };
        let context = TraceContext::from_headers(&head.headers);
        let (admit, sample) = (|| self.admit.choose(head), || self.sample.choose(head));
        match (fault, &self.bad_tags) {
            (Some(fault), BadTags::Refuse | BadTags::RefuseWith(_)) => {
                let trail = Trail::received(context, tags, None, admit, sample);
                Err(Box::new(self.refuse(head, &trail, &fault, begun)))
            }
            (dropped, _) => {
                let trail = Trail::received(context, tags, dropped, admit, sample);
                let trail = match &self.companion {
                    Some(companion) => trail.with_companion(&**companion),
                    None => trail,
                };
                head.extensions.insert(trail.clone());
                Ok(trail)
            }
        }
    }

    /// Writes the trace on an answer.
    #[inline]
    pub fn answer(&self, trail: &Trail, headers: &mut HeaderMap) {
        self.echo.write(trail, &self.rules, headers);
    }

    #[cold]
    fn refuse(&self, head: &Parts, trail: &Trail, fault: &InvalidTags, begun: Option<Instant>) -> Response<Bytes> {
        trail.enter(|| {
            let answer = match &self.bad_tags {
                BadTags::RefuseWith(answer) => answer(head, trail, fault),
                BadTags::Refuse | BadTags::Drop => reject::answer(&head.headers, fault),
            };
            let mut answer = if head.method == Method::HEAD { reject::without_body(answer) } else { answer };
            self.answer(trail, answer.headers_mut());
            if let Some(on_refusal) = &self.on_refusal {
                let elapsed = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
                on_refusal(&Refusal { head, trail, fault, answer: &answer, elapsed });
            }
            answer
        })
    }
}

/// Anything that decides whose trace goes on is an [`Inbound`] with the other settings as they are by default.
impl<A: Into<Policy<Parts, Admit>>> From<A> for Inbound {
    fn from(admit: A) -> Self {
        Self::new(admit)
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("admit", &self.admit)
            .field("sample", &self.sample)
            .field("tag_rules", &self.rules)
            .field("echo", &self.echo)
            .finish_non_exhaustive()
    }
}

type Answer = dyn Fn(&Parts, &Trail, &InvalidTags) -> Response<Bytes> + Send + Sync;
type OnRefusal = dyn Fn(&Refusal<'_>) + Send + Sync;

/// What happens to a request with a bad tag header.
#[derive(Clone)]
enum BadTags {
    Refuse,
    RefuseWith(Arc<Answer>),
    Drop,
}

/// A request that was refused for its tags, and its answer: what [`Inbound::on_refusal`] is told.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// The head of the request.
    pub head: &'a Parts,
    /// Its trail, which has no tags.
    pub trail: &'a Trail,
    /// What is wrong with its tags.
    pub fault: &'a InvalidTags,
    /// The answer as it is sent.
    pub answer: &'a Response<Bytes>,
    /// The time since the request arrived at the layer. Zero on WebAssembly without a system, which has no clock.
    pub elapsed: Duration,
}

/// Without the head, which holds what is not to be logged.
impl fmt::Debug for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("trail", self.trail)
            .field("fault", self.fault)
            .field("status", &self.answer.status())
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}
