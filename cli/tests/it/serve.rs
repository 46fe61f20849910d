//! `tagtrail-log serve`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::program::{Served, program, run};
use crate::support::audit::TOKENS;

#[test]
fn messages_of_the_server_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = r#"{"tokens": [{"token": "secret", "kind": "usr"}]}"#;
    fs::write(folder.path().join("tokens.json"), tokens).unwrap();
    let arguments = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", "127.0.0.1:0"];
    let mut child = program(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    child.kill().unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("tokens[0]: unknown kind"), "{said}");
    assert!(said.contains("every request will be rejected"), "{said}");
    assert!(said.contains("/v1 and http://") && said.contains("/api/v1"), "the URLs of the APIs: {said}");
}

#[test]
fn a_server_serves_if_its_output_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", &free];
    let mut child = program(folder, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    let _served = Served(child);
    let asked = || run(folder, &["query", "--server", &format!("http://{free}/v1")]).status.success();
    let begin = std::time::Instant::now();
    while !asked() {
        assert!(begin.elapsed() < Duration::from_secs(20), "it does not respond");
        std::thread::sleep(Duration::from_millis(50));
    }
}
