//! Calls of a real tonic client to a real tonic server.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, stream};
use http::uri::PathAndQuery;
use http::{Request, Response};
use tagtrail::Admit;
use tagtrail_querylog::{Outcome, QueryLogLayer, Record};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::server::UnaryService;
use tonic::server::{ClientStreamingService, Grpc as Server, NamedService, ServerStreamingService, StreamingService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::support::common::{Logged, wait_for};

/// A message of one string, as in generated code.
type Text = ProstCodec<String, String>;
type Called<T> = BoxFuture<'static, Result<tonic::Response<T>, Status>>;
type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// Stands in for the generated server of a service. What it responds with is in the requests: each message is a
/// response, but for `fail`, which is an error, and `wait`, after which nothing comes.
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
                "/test.Echo/Unary" => server.unary(Self, request).await,
                "/test.Echo/ServerStream" => server.server_streaming(Self, request).await,
                "/test.Echo/ClientStream" => server.client_streaming(Self, request).await,
                "/test.Echo/Both" => server.streaming(Self, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

fn respond(text: String) -> Result<String, Status> {
    if text == "fail" { Err(Status::unavailable("the café is closed")) } else { Ok(text) }
}

impl UnaryService<String> for Echo {
    type Response = String;
    type Future = Called<String>;

    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        Box::pin(async { respond(request.into_inner()).map(tonic::Response::new) })
    }
}

impl ServerStreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Called<Texts>;

    /// The words of the message. If the first is `reject`, there is no stream.
    fn call(&mut self, request: tonic::Request<String>) -> Self::Future {
        let text = request.into_inner();
        Box::pin(async move {
            if text.starts_with("reject") {
                return Err(Status::not_found("no such table"));
            }
            let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            let words = stream::iter(words).then(|word| async {
                if word == "wait" {
                    std::future::pending::<()>().await;
                }
                respond(word)
            });
            Ok(tonic::Response::new(Box::pin(words) as Texts))
        })
    }
}

impl ClientStreamingService<String> for Echo {
    type Response = String;
    type Future = Called<String>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        Box::pin(async {
            let mut texts = request.into_inner();
            let mut all = String::new();
            while let Some(text) = texts.message().await? {
                all += &respond(text)?;
            }
            Ok(tonic::Response::new(all))
        })
    }
}

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Called<Texts>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        let texts = request.into_inner().map(|text| text.and_then(respond));
        Box::pin(async { Ok(tonic::Response::new(Box::pin(texts) as Texts)) })
    }
}

/// A server with a log, and a client.
struct Served {
    logged: Logged,
    client: Client<Channel>,
}

impl Served {
    async fn new() -> Self {
        let logged = Logged::new();
        let layers = QueryLogLayer::new(logged.log.clone()).with_inbound(Admit::Continue);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().layer(layers).add_service(Echo);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let mut client = Client::new(channel);
        client.ready().await.unwrap();
        Self { logged, client }
    }

    /// The record of the only call.
    fn record(self) -> Record {
        wait_for("the end of the call", || self.logged.log.stats().open == 0);
        let mut records = self.logged.records();
        assert_eq!(records.len(), 1);
        records.remove(0)
    }
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}

/// Checks the record of a call whose response had a status of gRPC.
fn check(record: &Record, status: Code, error: Option<&str>, case: &str) {
    let response = &record.response;
    assert_eq!((response.status, response.outcome), (Some(200), Some(Outcome::Complete)), "{case}");
    assert_eq!(response.grpc_status.map(i32::from), Some(status as i32), "{case}");
    assert_eq!(response.error.as_deref(), error, "{case}");
    assert_eq!(record.has_failed(), status == Code::Unavailable || status == Code::Unimplemented, "{case}");
}

const CLOSED: Option<&str> = Some("the café is closed");

#[tokio::test(flavor = "multi_thread")]
async fn single_call_is_recorded_with_its_status() {
    for (method, text, status, error) in [
        ("/test.Echo/Unary", "hello", Code::Ok, None),
        ("/test.Echo/Unary", "fail", Code::Unavailable, CLOSED),
        ("/test.Echo/None", "hello", Code::Unimplemented, Some("no such method")),
    ] {
        let mut served = Served::new().await;
        let request = tonic::Request::new(text.to_owned());
        let response = served.client.unary::<_, String, _>(request, path(method), Text::default()).await;
        assert_eq!(response.map_or_else(|status| status.code(), |_| Code::Ok), status);
        check(&served.record(), status, error, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_stream_is_recorded_with_the_status_at_its_end() {
    for (texts, count, status, error) in [
        ("a b c", 3, Code::Ok, None),
        ("reject", 0, Code::NotFound, Some("no such table")),
        ("fail", 0, Code::Unavailable, CLOSED),
        ("a b fail", 2, Code::Unavailable, CLOSED),
    ] {
        let mut served = Served::new().await;
        let request = tonic::Request::new(texts.to_owned());
        let method = path("/test.Echo/ServerStream");
        let response = served.client.server_streaming::<_, String, _>(request, method, Text::default()).await;
        let received = match response {
            Ok(response) => response.into_inner().filter(|text| std::future::ready(text.is_ok())).count().await,
            Err(_) => 0,
        };
        assert_eq!(received, count, "{texts}");
        let record = served.record();
        check(&record, status, error, texts);
        assert_eq!(record.response.body_bytes > 0, count > 0, "{texts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_stream_is_recorded_with_its_status() {
    for (texts, status, error) in
        [(vec!["a", "b"], Code::Ok, None), (vec!["a", "fail"], Code::Unavailable, CLOSED), (vec![], Code::Ok, None)]
    {
        let mut served = Served::new().await;
        let case = format!("{texts:?}");
        let texts = tonic::Request::new(stream::iter(texts.into_iter().map(str::to_owned)));
        let method = path("/test.Echo/ClientStream");
        let response = served.client.client_streaming::<_, _, String, _>(texts, method, Text::default()).await;
        assert_eq!(response.map_or_else(|status| status.code(), |_| Code::Ok), status);
        check(&served.record(), status, error, &case);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_in_both_directions_is_recorded_with_the_status_at_its_end() {
    for (texts, count, status, error) in [
        (vec!["a", "b"], 2, Code::Ok, None),
        (vec!["fail"], 0, Code::Unavailable, CLOSED),
        (vec!["a", "fail"], 1, Code::Unavailable, CLOSED),
    ] {
        let mut served = Served::new().await;
        let case = format!("{texts:?}");
        let texts = tonic::Request::new(stream::iter(texts.into_iter().map(str::to_owned)));
        let method = path("/test.Echo/Both");
        let responses = served.client.streaming::<_, _, String, _>(texts, method, Text::default()).await.unwrap();
        let received = responses.into_inner().filter(|text| std::future::ready(text.is_ok())).count().await;
        assert_eq!(received, count, "{case}");
        let record = served.record();
        check(&record, status, error, &case);
        assert_eq!(record.request.body_bytes > 0, !record.request.path.is_empty(), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_is_rejected_for_its_tags_has_a_status() {
    let mut served = Served::new().await;
    let mut request = tonic::Request::new("hello".to_owned());
    request.metadata_mut().insert("x-fauna-tags", "a=b=c".parse().unwrap());
    let response = served.client.unary::<_, String, _>(request, path("/test.Echo/Unary"), Text::default()).await;
    assert_eq!(response.unwrap_err().code(), Code::InvalidArgument);
    let record = served.record();
    assert_eq!((record.response.outcome, record.response.grpc_status), (Some(Outcome::Refused), Some(3)));
    assert!(record.response.error.unwrap().contains("x-fauna-tags"));
}

#[tokio::test(flavor = "multi_thread")]
async fn call_that_the_client_cancels_is_aborted() {
    let mut served = Served::new().await;
    let request = tonic::Request::new("a b wait".to_owned());
    let method = path("/test.Echo/ServerStream");
    let response = served.client.server_streaming::<_, String, _>(request, method, Text::default()).await.unwrap();
    let mut texts = response.into_inner();
    assert_eq!(texts.message().await.unwrap().as_deref(), Some("a"));
    drop(texts);
    let record = served.record();
    assert_eq!((record.response.status, record.response.outcome), (Some(200), Some(Outcome::Aborted)));
    assert_eq!((record.response.grpc_status, record.has_failed()), (None, false));
}
