//! gRPC with tonic, over a socket: server and client, single calls and streams in both directions.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use tagtrail::{
    Admit, Disclose, InboundLayer, InvalidTags, OutboundLayer, OutboundService, RequestTags, Sample, Tags, Targets,
    TraceParent, Trail,
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

use crate::support::CALLER;

/// A message of one string, as generated code would have it.
type Text = ProstCodec<String, String>;

/// What the generated server of a service would be. It responds with the current trace and tags.
#[derive(Clone)]
struct EchoService;

impl NamedService for EchoService {
    const NAME: &'static str = "test.EchoService";
}

impl Service<Request<Body>> for EchoService {
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
                "/test.EchoService/Once" => server.unary(Self, request).await,
                _ => server.streaming(Self, request).await,
            })
        })
    }
}

fn current() -> String {
    Trail::current().map_or("none".to_owned(), |trail| format!("{} {}", trail.trace_id(), trail.tags()))
}

impl UnaryService<String> for EchoService {
    type Response = String;
    type Future = BoxFuture<'static, Result<tonic::Response<String>, Status>>;

    fn call(&mut self, _: tonic::Request<String>) -> Self::Future {
        Box::pin(async { Ok(tonic::Response::new(current())) })
    }
}

impl StreamingService<String> for EchoService {
    type Response = String;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        let responses = request.into_inner().map(|message| message.map(|message| format!("{message} {}", current())));
        Box::pin(async { Ok(tonic::Response::new(Box::pin(responses) as Self::ResponseStream)) })
    }
}

async fn channel() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().layer(InboundLayer::new(Admit::Continue)).add_service(EchoService);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn client() -> Client<OutboundService<Channel>> {
    Client::new(OutboundLayer::new(Disclose::All).layer(channel().await))
}

async fn once<S>(client: &mut Client<S>, request: tonic::Request<String>) -> Result<String, Status>
where
    S: GrpcService<Body>,
    S::Error: Into<tower::BoxError>,
    S::ResponseBody: http_body::Body + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<tower::BoxError>,
{
    client.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/test.EchoService/Once");
    Ok(client.unary(request, path, Text::default()).await?.into_inner())
}

fn trail() -> Trail {
    Trail::start(Sample::Always).with_tags(Tags::from_pairs([("project", "blog")]).unwrap())
}

fn expected(trail: &Trail) -> String {
    format!("{} {}", trail.trace_id(), trail.tags())
}

#[tokio::test]
async fn call_carries_trail() {
    let (mut client, trail) = (client().await, trail());
    let response = trail.scope(once(&mut client, tonic::Request::new(String::new()))).await;
    assert_eq!(response.unwrap(), expected(&trail));

    // Also with the trail in the request's extensions.
    let mut request = tonic::Request::new(String::new());
    request.extensions_mut().insert(trail.clone());
    assert_eq!(once(&mut client, request).await.unwrap(), expected(&trail));
}

#[tokio::test]
async fn response_names_trace() {
    let (mut client, trail) = (client().await, trail());
    let path = http::uri::PathAndQuery::from_static("/test.EchoService/Once");
    let call = async {
        client.ready().await.unwrap();
        client.unary::<String, String, _>(tonic::Request::new(String::new()), path, Text::default()).await.unwrap()
    };
    let response = trail.scope(call).await;
    let named: TraceParent = response.metadata().get("traceparent").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(named.trace_id(), trail.trace_id());
}

#[tokio::test]
async fn invalid_tags_are_invalid_argument() {
    let mut client = Client::new(channel().await);
    for (name, value) in [("x-fauna-tags", "a=b=c"), ("x-fauna-tags", "a b=1")] {
        let mut request = tonic::Request::new(String::new());
        request.metadata_mut().insert("traceparent", CALLER.parse().unwrap());
        request.metadata_mut().insert(name, value.parse().unwrap());
        let status = once(&mut client, request).await.unwrap_err();
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
    let status = once(&mut client, request).await.unwrap_err();
    assert!(status.source().unwrap().is::<InvalidTags>(), "{status:?}");
}

#[tokio::test]
async fn streams_in_both_directions_keep_trail() {
    let (mut client, trail) = (client().await, trail());
    let (messages, received) = tokio::sync::mpsc::channel::<String>(1);
    let path = http::uri::PathAndQuery::from_static("/test.EchoService/Stream");
    let open = async {
        client.ready().await.unwrap();
        let received = tokio_stream::wrappers::ReceiverStream::new(received);
        client.streaming::<_, _, String, _>(tonic::Request::new(received), path, Text::default()).await.unwrap()
    };
    let mut responses = trail.scope(open).await.into_inner();
    // The handler has returned long ago.
    for message in 0..3 {
        messages.send(message.to_string()).await.unwrap();
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!(response, format!("{message} {}", expected(&trail)));
    }
    drop(messages);
    assert_eq!(responses.message().await.unwrap(), None);
}

#[tokio::test]
async fn two_streams_on_one_connection_stay_separate() {
    let client = client().await;
    let open = |trail: Trail| {
        let mut client = client.clone();
        let path = http::uri::PathAndQuery::from_static("/test.EchoService/Stream");
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

/// tonic's channel adds the host below the layer: without an origin the layer only sees a path, which no entry matches.
#[tokio::test]
async fn targets_need_origin() {
    let targets = Targets::with_default(Disclose::Nothing).host("127.0.0.1", Disclose::All).unwrap();
    let layered = OutboundLayer::new(targets).layer(channel().await);
    let trail = trail();
    let mut by_path = Client::new(layered.clone());
    let response = trail.scope(once(&mut by_path, tonic::Request::new(String::new()))).await.unwrap();
    assert_ne!(response, expected(&trail));

    let mut by_origin = Client::with_origin(layered, "http://127.0.0.1".parse().unwrap());
    let response = trail.scope(once(&mut by_origin, tonic::Request::new(String::new()))).await.unwrap();
    assert_eq!(response, expected(&trail));
}
