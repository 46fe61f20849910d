//! The service that the W3C's validation suite for Trace Context tests.
//!
//! `cargo run --example w3c_test_service 127.0.0.1:5000` calls through reqwest, with a second argument `hyper` through
//! a hyper client. It takes `POST` on any path, with a JSON array of `{"url": …, "arguments": […]}`, and for each
//! element posts `arguments` to `url` while it handles the request. The suite checks the headers of these calls.

use std::env;
use std::error::Error;

use axum::Router;
use axum::extract::{Json, State};
use axum::http::{Request, StatusCode, header};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::Value;
use tagtrail::{Admit, Disclose, InboundLayer, OutboundLayer, OutboundMiddleware, OutboundService};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, ServiceExt};

#[derive(Clone)]
enum Client {
    Reqwest(ClientWithMiddleware),
    Hyper(Box<OutboundService<HyperClient<HttpConnector, Full<Bytes>>>>),
}

impl Client {
    fn named(name: Option<&str>) -> Result<Self, Box<dyn Error>> {
        match name {
            None | Some("reqwest") => {
                let middleware = OutboundMiddleware::new(Disclose::All);
                Ok(Self::Reqwest(ClientBuilder::new(reqwest::Client::new()).with(middleware).build()))
            }
            Some("hyper") => {
                let client = HyperClient::builder(TokioExecutor::new()).build_http();
                Ok(Self::Hyper(Box::new(OutboundLayer::new(Disclose::All).layer(client))))
            }
            Some(_) => Err("the second argument is the client: `reqwest`, which is the default, or `hyper`".into()),
        }
    }

    async fn post(&self, url: &str, arguments: &Value) -> Result<(), BoxError> {
        let body = arguments.to_string();
        match self {
            Self::Reqwest(client) => {
                client
                    .post(url)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(body)
                    .send()
                    .await?
                    .bytes()
                    .await?;
            }
            Self::Hyper(client) => {
                let request = Request::post(url).header(header::CONTENT_TYPE, "application/json").body(body.into())?;
                client.clone().oneshot(request).await?.into_body().collect().await?;
            }
        }
        Ok(())
    }
}

async fn call_all(State(client): State<Client>, Json(calls): Json<Vec<Value>>) -> Result<(), (StatusCode, String)> {
    for call in calls {
        let url = call["url"].as_str().ok_or((StatusCode::BAD_REQUEST, "a call has no `url`".to_owned()))?;
        let sent = client.post(url, &call["arguments"]).await;
        sent.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("usage: w3c_test_service ADDRESS [reqwest|hyper]")?;
    let client = Client::named(arguments.next().as_deref())?;
    let app =
        Router::new().fallback_service(post(call_all).with_state(client)).layer(InboundLayer::new(Admit::Continue));
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
