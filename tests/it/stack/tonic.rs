//! gRPC by tonic over a socket: server and client, single calls, and streams in both directions.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use tagtrail::{
    Admit, Disclose, InboundLayer, InvalidTags, OutboundLayer, OutboundService, RequestTags, Targets, TraceParent,
    Trail,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::client::{Grpc as Client, GrpcService};
use tonic::server::{Grpc as Server, NamedService, StreamingService, UnaryService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Layer, Service};

use crate::support::{CALLER, trail};

/// A message of one string, as in generated code.
type Text = ProstCodec<String, String>;

/// Stands in for the generated server of a service. It responds with the current trace and tags.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut server = Server::new(Text::default());
            Ok(match request.uri().path() {
                "/test.Echo/Once" => server.unary(Self, request).await,
                _ => server.streaming(Self, request).await,
            })
        })
    }
}

fn current() -> String {
    Trail::current().map_or("none".to_owned(), |trail| format!("{} {}", trail.trace_id(), trail.tags()))
}

impl UnaryService<String> for Echo {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, _: tonic::Request<String>) -> Self::Future {
        Box::pin(async { Ok(tonic::Response::new(current())) })
    }
}

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        let responses = request.into_inner().map(|message| message.map(|message| format!("{message} {}", current())));
        Box::pin(async { Ok(tonic::Response::new(Box::pin(responses) as Self::ResponseStream)) })
    }
}

/// A connection to a new server.
async fn channel() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().layer(InboundLayer::new(Admit::Continue)).add_service(Echo);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn client() -> Client<OutboundService<Channel>> {
    Client::new(OutboundLayer::new(Disclose::All).layer(channel().await))
}

/// Makes a single call.
async fn call_once<S>(client: &mut Client<S>, request: tonic::Request<String>) -> Result<String, Status>
where
    S: GrpcService<Body>,
    S::Error: Into<tower::BoxError>,
    S::ResponseBody: http_body::Body + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    client.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Once");
    Ok(client.unary(request, path, Text::default()).await?.into_inner())
}

/// What [`Echo`] responds with for this trail.
fn expected(trail: &Trail) -> String {
    format!("{} {}", trail.trace_id(), trail.tags())
}

#[tokio::test]
async fn call_carries_trail() {
    let (mut client, trail) = (client().await, trail());
    let response = trail.scope(call_once(&mut client, tonic::Request::new(String::new()))).await;
    assert_eq!(response.unwrap(), expected(&trail));

    // The trail in the request's extensions works too.
    let mut request = tonic::Request::new(String::new());
    request.extensions_mut().insert(trail.clone());
    assert_eq!(call_once(&mut client, request).await.unwrap(), expected(&trail));
}

#[tokio::test]
async fn response_names_trace() {
    let (mut client, trail) = (client().await, trail());
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Once");
    let call = async {
        client.ready().await.unwrap();
        client.unary::<String, String, _>(tonic::Request::new(String::new()), path, Text::default()).await.unwrap()
    };
    let response = trail.scope(call).await;
    let echoed: TraceParent = response.metadata().get("traceparent").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(echoed.trace_id(), trail.trace_id());
}

#[tokio::test]
async fn invalid_tags_are_rejected_as_invalid_argument() {
    let mut client = Client::new(channel().await);
    for (name, value) in [("x-fauna-tags", "a=b=c"), ("x-fauna-tags", "a b=1")] {
        let mut request = tonic::Request::new(String::new());
        request.metadata_mut().insert("traceparent", CALLER.parse().unwrap());
        request.metadata_mut().insert(name, value.parse().unwrap());
        let status = call_once(&mut client, request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("Invalid header 'x-fauna-tags': invalid tags"), "{status:?}");
        assert!(status.metadata().get("traceparent").unwrap().to_str().unwrap().starts_with(&CALLER[..35]));
    }
}

#[tokio::test]
async fn invalid_request_tags_fail_before_sending() {
    let mut client = client().await;
    let mut request = tonic::Request::new(String::new());
    request.extensions_mut().insert(RequestTags::new([("a b", "1")]));
    let status = call_once(&mut client, request).await.unwrap_err();
    assert!(status.source().unwrap().is::<InvalidTags>(), "{status:?}");
}

#[tokio::test]
async fn bidirectional_stream_keeps_trail() {
    let (mut client, trail) = (client().await, trail());
    let (messages, received) = tokio::sync::mpsc::channel::<String>(1);
    let path = http::uri::PathAndQuery::from_static("/test.Echo/Stream");
    let open = async {
        client.ready().await.unwrap();
        let received = tokio_stream::wrappers::ReceiverStream::new(received);
        client.streaming::<_, _, String, _>(tonic::Request::new(received), path, Text::default()).await.unwrap()
    };
    let mut responses = trail.scope(open).await.into_inner();
    // The handler has already returned.
    for message in 0..3 {
        messages.send(message.to_string()).await.unwrap();
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!(response, format!("{message} {}", expected(&trail)));
    }
    drop(messages);
    assert_eq!(responses.message().await.unwrap(), None);
}

#[tokio::test]
async fn concurrent_streams_keep_trails_apart() {
    let client = client().await;
    let open = |trail: Trail| {
        let mut client = client.clone();
        let path = http::uri::PathAndQuery::from_static("/test.Echo/Stream");
        async move {
            let messages = tonic::Request::new(stream::iter(["1".to_owned(), "2".to_owned()]));
            let call = async {
                client.ready().await.unwrap();
                client.streaming::<_, _, String, _>(messages, path, Text::default()).await.unwrap()
            };
            let responses: Vec<_> = trail.scope(call).await.into_inner().map(Result::unwrap).collect().await;
            assert_eq!(responses, [format!("1 {}", expected(&trail)), format!("2 {}", expected(&trail))]);
        }
    };
    futures_util::future::join_all((0..20).map(|_| open(trail()))).await;
}

/// tonic's channel adds the host below the layer. Without an origin the layer sees only a path, which no entry matches.
#[tokio::test]
async fn targets_match_only_with_origin() {
    let targets = Targets::with_default(Disclose::Nothing).host("127.0.0.1", Disclose::All).unwrap();
    let layered = OutboundLayer::new(targets).layer(channel().await);
    let trail = trail();
    let mut by_path = Client::new(layered.clone());
    let response = trail.scope(call_once(&mut by_path, tonic::Request::new(String::new()))).await.unwrap();
    assert_ne!(response, expected(&trail));

    let mut by_origin = Client::with_origin(layered, "http://127.0.0.1".parse().unwrap());
    let response = trail.scope(call_once(&mut by_origin, tonic::Request::new(String::new()))).await.unwrap();
    assert_eq!(response, expected(&trail));
}
