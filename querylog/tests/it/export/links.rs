//! URLs of files, which the server signs.

use std::time::Duration;

use crate::support::export::{Server, TestClock, at, range, record};
use serde_json::Value;
use tagtrail_querylog::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests a path as it is: clients resolve `..` themselves.
async fn raw(server: &str, path: &str) -> (u16, Value) {
    let address = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn a_url_opens_its_file_and_no_other_until_it_runs_out() {
    let clock = TestClock::default();
    let of_server = clock.clone();
    let server = Server::with(|builder| builder.arrival(Duration::ZERO).clock(move || of_server.now())).await;
    let records: Vec<_> = (0..500).map(|number| record(number, at(number), "us-std")).collect();
    server.log.put_requests(&records).await.unwrap();
    let one = server.export("us", &range("us-std", 0, 300)).await;
    let other = server.export("us", &range("us-std", 300, 500)).await;
    let url = one["presigned_url"].as_str().unwrap();
    let client = reqwest::Client::new();
    let whole = client.get(url).send().await.unwrap();
    assert_eq!(
        (whole.status().as_u16(), &whole.headers()["content-type"]),
        (200, &"application/gzip".parse().unwrap())
    );
    let tag = whole.headers()["etag"].clone();
    let whole = whole.bytes().await.unwrap();

    // A part of it, by any range that HTTP has.
    let size = whole.len();
    for (asked, part) in [
        ("bytes=0-0", Some(0..1)),
        ("bytes=10-", Some(10..size)),
        ("bytes=10-19", Some(10..20)),
        ("bytes=10-99999999", Some(10..size)),
        ("bytes=-5", Some(size - 5..size)),
        ("bytes=5-3", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=+1-2", None),
    ] {
        let response = client.get(url).header("range", asked).send().await.unwrap();
        let expected = part.clone().unwrap_or(0..size);
        assert_eq!(response.status().as_u16(), if part.is_some() { 206 } else { 200 }, "{asked}");
        if part.is_some() {
            let header = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(response.headers()["content-range"].to_str().unwrap(), header);
        }
        assert_eq!(response.bytes().await.unwrap(), whole[expected], "{asked}");
    }
    for asked in [format!("bytes={size}-"), format!("bytes={size}-{size}"), "bytes=-0".to_owned()] {
        let beyond = client.get(url).header("range", &asked).send().await.unwrap();
        let header = beyond.headers()["content-range"].to_str().unwrap();
        assert_eq!((beyond.status().as_u16(), header), (416, &*format!("bytes */{size}")), "{asked}");
        let head = client.head(url).header("range", &asked).send().await.unwrap();
        assert_eq!(head.status(), 200, "{asked}: a HEAD has no range");
    }
    let other_tag = client.get(url).header("range", "bytes=1-").header("if-range", "\"x\"").send().await.unwrap();
    assert_eq!(other_tag.status(), 200, "another file than the download started with");
    let same_tag = client.get(url).header("range", "bytes=1-").header("if-range", tag).send().await.unwrap();
    assert_eq!(same_tag.status(), 206);
    let head = client.head(url).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, &*size.to_string()));

    // Changed in any way, it does not open a file.
    let (path, query) = url.split_once('?').unwrap();
    let (folder, name) = path.rsplit_once('/').unwrap();
    let (other_path, other_query) = other["presigned_url"].as_str().unwrap().split_once('?').unwrap();
    let mut changed_urls = vec![
        path.to_owned(),
        format!("{path}?"),
        format!("{path}?{other_query}"),
        format!("{other_path}?{query}"),
        format!("{path}?{}", query.replace("expires=", "expires=9")),
        format!("{path}?{}", query.replace("expires=", "expires=-")),
        format!("{path}?{}", query.replace("expires=", "expires=0")),
        format!("{path}?{query}&expires=9999999999999999"),
        format!("{path}?{query}A"),
        format!("{path}?{}", &query[..query.len() - 1]),
        format!("{path}?{}", query.replace("&signature=", "&signature=&signature=")),
        format!("{folder}/{}?{query}", name.replace(".1.", ".2.")),
        format!("{folder}/{}?{query}", name.to_uppercase()),
        format!("{folder}/%2e%2e/audit.db?{query}"),
        format!("{folder}/..%2faudit.db?{query}"),
        format!("{folder}/..%5caudit.db?{query}"),
        format!("{folder}//{name}?{query}"),
        format!("{folder}/x/../{name}x?{query}"),
        format!("{folder}/?{query}"),
        format!("{folder}/{name}%00?{query}"),
    ];
    for place in (0..query.len()).step_by(3) {
        let mut changed = query.to_owned().into_bytes();
        changed[place] = if changed[place] == b'7' { b'8' } else { b'7' };
        changed_urls.push(format!("{path}?{}", String::from_utf8(changed).unwrap()));
    }
    for url in changed_urls {
        let (status, body) = raw(&server.url, url.strip_prefix(&server.url).unwrap()).await;
        assert_eq!((status, body["code"].as_str()), (403, Some("permission_denied")), "{url}: {body}");
    }

    // It runs out, and the export gets another, without being extracted again.
    clock.set_ahead(3_600);
    let over = client.get(url).send().await.unwrap();
    assert_eq!(over.status(), 403);
    let id = one["request_id"].as_str().unwrap();
    let asked = server.get("us", id).await.json;
    assert_eq!((asked["state"].as_str(), &asked["presigned_url"]), (Some("CreatingNewUrl"), &Value::Null));
    let renewed = server.wait("us", id).await;
    assert_ne!(renewed["presigned_url"], one["presigned_url"]);
    assert_eq!(renewed["presigned_url"].as_str().unwrap().split_once('?').unwrap().0, path, "the same file");
    assert_eq!(server.lines(&renewed).await.len(), 300);
    let until: Timestamp = renewed["presigned_url_expiration_time"].as_str().unwrap().parse().unwrap();
    assert!(until > clock.now() && until <= clock.now().saturating_add(Duration::from_secs(3_600)));
}
