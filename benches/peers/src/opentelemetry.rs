//! OpenTelemetry without `tracing`.

use std::task::{Context, Poll};

use http::Request;
use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context as OtelContext, global};
use opentelemetry_http::HeaderInjector;
use opentelemetry_instrumentation_tower::http::server::LayerBuilder;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tagtrail_benches::case::Case;
use tagtrail_benches::service::Bare;
use tower::{Layer, Service};

use crate::{bare_client, bare_servers, client, server};

/// A client as its users write it: a span of its own for each request, or the current one's.
struct ByHand {
    tracer: Option<SdkTracer>,
}

impl<B> Service<Request<B>> for ByHand {
    type Response = <Bare as Service<Request<B>>>::Response;
    type Error = <Bare as Service<Request<B>>>::Error;
    type Future = <Bare as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<B>>::poll_ready(&mut Bare, cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut context = OtelContext::current();
        if let Some(tracer) = &self.tracer {
            let span = tracer.span_builder("GET").with_kind(SpanKind::Client).start(tracer);
            context = context.with_span(span);
        }
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut HeaderInjector(request.headers_mut()));
        });
        Bare.call(request)
    }
}

/// For the whole process: headers are read and written, every span is recorded, and no processor gets it.
pub fn propagate() -> SdkTracer {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder().build();
    global::set_tracer_provider(provider.clone());
    provider.tracer("bench")
}

pub(crate) fn cases() -> Vec<Case> {
    let tracer = propagate();
    // Requests are sent within a span.
    std::mem::forget(OtelContext::current_with_span(tracer.start("bench")).attach());

    let mut cases: Vec<Case> = bare_servers().collect();
    cases.extend(server!("opentelemetry-instrumentation-tower, without metrics", {
        LayerBuilder::builder().with_metrics(false).build().expect("a layer").layer(Bare)
    }));
    cases.push(bare_client());
    cases.push(client!("opentelemetry by hand, a span for each request", ByHand { tracer: Some(tracer.clone()) }));
    cases.push(client!("(opentelemetry's propagator alone, without a new parent-id)", ByHand { tracer: None }));
    cases
}
