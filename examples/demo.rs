//! Two services and a client on loopback: `cargo run --example demo`.
//!
//! The client calls the gateway, and the gateway calls the backend. For each request the program prints what was sent,
//! what each service received, and what came back. It fails if any of that is wrong.

use std::error::Error;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::{Value, json};
use tagtrail::{Admit, Disclose, Inbound, InboundLayer, OutboundMiddleware, TraceParent, Trail};
use tokio::net::TcpListener;

const OURS: [&str; 3] = ["traceparent", "tracestate", "x-fauna-tags"];
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
/// The gateway continues the traces of callers that send this.
const KEY: (&str, &str) = ("x-gateway-key", "open sesame");

type Headers = &'static [(&'static str, &'static str)];

/// What the client sends, and what must come of it.
struct Case {
    title: &'static str,
    sent: Headers,
    status: u16,
    is_continued: bool,
    tracestate: &'static str,
    tags: &'static str,
}

const CASES: &[Case] = &[
    Case {
        title: "1. No trace headers: the gateway starts a trace, and the response names it.",
        sent: &[],
        status: 200,
        is_continued: false,
        tracestate: "",
        tags: "",
    },
    Case {
        title: "2. A trace with tracestate and tags, from a caller that the gateway trusts: all of it is passed on.",
        sent: &[
            KEY,
            ("traceparent", TRACEPARENT),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("x-fauna-tags", "project=blog,env=prod"),
        ],
        status: 200,
        is_continued: true,
        tracestate: "congo=t61rcWkgMzE",
        tags: "project=blog,env=prod",
    },
    Case {
        title: "3. An invalid traceparent is not an error: a new trace starts, without the tracestate. Tags are kept.",
        sent: &[
            KEY,
            ("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
            ("tracestate", "congo=t61rcWkgMzE"),
            ("x-fauna-tags", "project=blog"),
        ],
        status: 200,
        is_continued: false,
        tracestate: "",
        tags: "project=blog",
    },
    Case {
        title: "4. Invalid tags are rejected before the handler runs: a 400 says what is wrong, and carries the trace.",
        sent: &[KEY, ("traceparent", TRACEPARENT), ("x-fauna-tags", "project=my blog")],
        status: 400,
        is_continued: true,
        tracestate: "",
        tags: "",
    },
    Case {
        title: "5. A trace from a caller that the gateway does not trust is restarted: nobody can write into yours.",
        sent: &[("traceparent", TRACEPARENT), ("tracestate", "congo=t61rcWkgMzE"), ("x-fauna-tags", "project=blog")],
        status: 200,
        is_continued: false,
        tracestate: "",
        tags: "project=blog",
    },
];

/// Returns what a service received, and what it knows about the request.
fn seen(headers: &HeaderMap, trail: &Trail) -> Value {
    let received: Vec<_> = OURS
        .iter()
        .filter_map(|&name| Some(format!("{name}: {}", headers.get(name)?.to_str().unwrap_or("not text"))))
        .collect();
    json!({
        "received": received,
        "trace": trail.trace_id().to_string(),
        "span": trail.span_id().to_string(),
        "parent_span": trail.parent_span_id().map(|id| id.to_string()),
        "tracestate": trail.tracestate().as_str(),
        "tags": trail.tags().as_str(),
    })
}

/// The backend trusts its callers: they are our own services.
fn backend() -> Router {
    let handler = |trail: Trail, headers: HeaderMap| async move { Json(seen(&headers, &trail)) };
    Router::new().route("/", get(handler)).layer(InboundLayer::new(Admit::Continue))
}

#[derive(Clone)]
struct Gateway {
    client: ClientWithMiddleware,
    backend: SocketAddr,
}

impl Gateway {
    fn new(backend: SocketAddr) -> Self {
        let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(Disclose::All)).build();
        Self { client, backend }
    }

    /// The gateway trusts callers that have the key.
    fn into_app(self) -> Router {
        let inbound = Inbound::admit_with(|parts| match parts.headers.get(KEY.0) {
            Some(key) if key == KEY.1 => Admit::Continue,
            _ => Admit::Restart,
        });
        Router::new().route("/", get(call_backend)).with_state(self).layer(InboundLayer::new(inbound))
    }
}

async fn call_backend(State(gateway): State<Gateway>, trail: Trail, headers: HeaderMap) -> Response {
    // Nothing is passed by hand: the middleware finds the trail of the request that is handled here.
    let response = match gateway.client.get(format!("http://{}/", gateway.backend)).send().await {
        Ok(response) => response.json::<Value>().await.map_err(reqwest_middleware::Error::Reqwest),
        Err(error) => Err(error),
    };
    match response {
        Ok(backend) => Json(json!({ "gateway": seen(&headers, &trail), "backend": backend })).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn serve(app: Router) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

fn print_service(name: &str, seen: &Value) {
    for line in seen["received"].as_array().into_iter().flatten() {
        println!("  {name:<8} <- {}", line.as_str().unwrap_or_default());
    }
    let text = |member: &str| seen[member].as_str().filter(|text| !text.is_empty()).unwrap_or("none").to_owned();
    println!("  {name:<8}    trace {}, span {}", text("trace"), text("span"));
    println!("  {:8}    parent span {}, tags {}", "", text("parent_span"), text("tags"));
}

fn check(what: &str, holds: bool) -> Result<(), Box<dyn Error>> {
    if holds { Ok(()) } else { Err(format!("wrong: {what}").into()) }
}

/// Sends one request to the gateway, and prints and checks everything that happens.
async fn run(case: &Case, gateway: SocketAddr) -> Result<(), Box<dyn Error>> {
    println!("\n{}\n", case.title);
    let mut request = reqwest::Client::new().get(format!("http://{gateway}/"));
    for &(name, value) in case.sent {
        println!("  client   -> {name}: {value}");
        request = request.header(name, value);
    }
    if case.sent.is_empty() {
        println!("  client   -> (nothing)");
    }
    let response = request.send().await?;
    let status = response.status();
    let named = TraceParent::from_headers(response.headers())?.ok_or("wrong: the response has no traceparent")?;
    let body: Value = response.json().await?;

    if status == StatusCode::OK {
        print_service("gateway", &body["gateway"]);
        print_service("backend", &body["backend"]);
    }
    println!("  client   <- {status}, traceparent: {named}");
    if status == StatusCode::BAD_REQUEST {
        println!("  client   <- {}", body["error"]["message"].as_str().ok_or("wrong: the 400 has no message")?);
    }

    check("the status", status == case.status)?;
    check("whether the trace is continued", (named.trace_id().to_string() == TRACE_ID) == case.is_continued)?;
    if status != StatusCode::OK {
        return check("the handlers did not run", body.get("gateway").is_none());
    }
    let (gateway, backend) = (&body["gateway"], &body["backend"]);
    for service in [gateway, backend] {
        check("one trace everywhere", service["trace"] == named.trace_id().to_string())?;
        check("the tags", service["tags"] == case.tags)?;
        check("the tracestate", service["tracestate"] == case.tracestate)?;
    }
    check("the response names the gateway's span", gateway["span"] == named.parent_id().to_string())?;
    check("the gateway's call has a separate id", backend["parent_span"] != gateway["span"])?;
    check("the backend knows its parent span", backend["parent_span"].is_string())?;
    check("the parent span of the gateway", gateway["parent_span"].is_string() == case.is_continued)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = serve(backend()).await?;
    let gateway = serve(Gateway::new(backend).into_app()).await?;
    println!("gateway on {gateway}, backend on {backend}");
    for case in CASES {
        run(case, gateway).await?;
    }
    println!("\nEverything is as expected.");
    Ok(())
}
