//! A service with a query log: sends a few requests, and shows the log.
//!
//! `cargo run -p tagtrail-querylog --example logged_service`

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use tagtrail::Admit;
use tagtrail_querylog::{Entry, LogFiles, LogReader, QueryLogLayer, RecordHandle};
use tokio::net::TcpListener;

async fn post(Path(id): Path<u32>, record: RecordHandle) -> String {
    record.update(|notes| {
        notes.caller.user_id = Some("ada".into());
        notes.add("rows", 1);
    });
    format!("post {id}")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;

    // The query log, in three lines.
    let log = LogFiles::new(folder.path()).open()?;
    let layers = QueryLogLayer::new(log.clone()).with_inbound(Admit::Restart);
    let app = Router::new().route("/posts/{id}", get(post)).layer(layers);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server =
        tokio::spawn(
            async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await },
        );

    let client = reqwest::Client::new();
    for (path, tags) in [("posts/7", "project=blog,env=prod"), ("posts/8", ""), ("posts/9", "no tag"), ("nowhere", "")]
    {
        let request = client.get(format!("http://{address}/{path}")).header("x-fauna-tags", tags);
        let response = request.send().await?;
        println!("GET /{path} with tags {tags:?}: {}", response.status());
        response.bytes().await?;
    }
    server.abort();
    log.close(Duration::from_secs(5)).await?;

    println!("\nThe log on disk:\n");
    for file in std::fs::read_dir(folder.path())? {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            print!("{}", std::fs::read_to_string(path)?);
        }
    }
    println!("\nThe same, read back:\n");
    for entry in LogReader::open(folder.path())? {
        if let Entry::Record(record) = entry? {
            let (request, tags) = (&record.request, record.tags.to_string());
            let route = request.route.as_deref().unwrap_or("no route");
            println!("{} {} {} ({route}) [{tags}]", record.trace_id, request.method, request.path);
        }
    }
    let counters = log.stats();
    assert_eq!((counters.written, counters.shed, counters.failed), (4, 0, 0));
    Ok(())
}
