//! Connections that continue as something else than HTTP.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tagtrail::Trail;
use tagtrail_querylog::layer::CountedBody;
use tagtrail_querylog::{Outcome, QueryLog, QueryLogLayer, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, service_fn};

use crate::support::common::{Logged, wait_for};

/// Accepts the upgrade, and returns what comes over the connection, until it is closed.
fn echo(log: QueryLog, mut request: Request<CountedBody<Incoming>>) -> Response<Full<Bytes>> {
    let trail = request.extensions().get::<Trail>().unwrap().clone();
    let connection = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut record = Record::new(&trail, "session");
        let start = std::time::Instant::now();
        let (mut from, mut to) = tokio::io::split(TokioIo::new(connection.await.unwrap()));
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        record.end(start.elapsed(), Outcome::Complete);
        drop(log.append(&record));
    });
    let response = Response::builder();
    let response = if request.method() == Method::CONNECT {
        response
    } else {
        response.status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "upgrade").header("upgrade", "echo")
    };
    response.body(Full::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn record_of_an_upgrade_ends_with_its_handshake() {
    for (request, status) in [
        (Request::get("/echo").header("connection", "upgrade").header("upgrade", "echo"), 101),
        (Request::connect("echo.example:80"), 200),
    ] {
        let logged = Logged::new();
        let log = logged.log.clone();
        let handler = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(echo(log.clone(), request))));
        let layer = QueryLogLayer::new(logged.log.clone()).standalone().hold_response_until_written();
        let service = TowerToHyperService::new(layer.layer(handler));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(TokioIo::new(stream), service).with_upgrades().await.unwrap();
        });

        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        let record = logged.read().remove(0);
        assert_eq!((record.response.status, record.response.outcome), (Some(status), Some(Outcome::Upgraded)));
        assert!(!record.has_failed());

        let mut connection = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        connection.write_all(b"hello").await.unwrap();
        let mut echoed = [0; 5];
        connection.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"hello");
        assert_eq!(logged.log.stats().open, 0, "the session is not an open request");
        drop(connection);
        wait_for("the record of the session", || logged.log.stats().written == 2);
        let session = logged.records().remove(1);
        assert_eq!((session.trace_id, session.request.path.as_str()), (record.trace_id, "session"));
    }
}
