//! Errors, and their exit codes.

use std::fs;

use crate::program::{STORE, program, run, says, serve, store_of_one};
use crate::support::audit::TOKENS;

#[test]
fn an_error_names_what_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("tokens.json"), "{}").unwrap();
    fs::write(folder.join("good.json"), TOKENS).unwrap();
    fs::write(folder.join("no.db"), "no database at all, as anybody can see").unwrap();
    for (arguments, expected) in [
        (
            ["serve", "--store", "sqlite:a.db", "--tokens", "none.json"],
            "--tokens none.json: invalid tokens file: cannot read the file",
        ),
        (["serve", "--store", "sqlite:a.db", "--tokens", "tokens.json"], "expected a JSON object with a list `tokens`"),
        (
            ["import", "tokens.json", "--store", "oracle:a", "--rejected=x"],
            "--store: expected sqlite:PATH or postgres://",
        ),
        (
            ["import", "tokens.json", "--store", "sqlite:no.db", "--rejected=x"],
            "--store sqlite:no.db: file is not a database",
        ),
        (
            ["import", "tokens.json", "--store", "sqlite:none/a.db", "--rejected=x"],
            "--store sqlite:none/a.db: the folder of the file does not exist; create it first",
        ),
        (
            ["serve", "--store=sqlite:a.db", "--tokens=good.json", "--exports=ftp://h/x", "--listen=127.0.0.1:0"],
            "--exports ftp://h/x: invalid object store: expected a folder, or a URL (s3://bucket/folder",
        ),
        (
            ["import", "tokens.json", "--store=sqlite:a.db", "--payloads", "memory:///"],
            "--payloads: invalid object store: expected a folder, or a URL (s3://bucket/folder",
        ),
    ] {
        let output = run(folder, &arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
    // A question creates no store if there is none.
    let trace = "3ec5539163441bd4957502a294a01b55";
    for question in [&["query", "--exec-env"][..], &["requests"], &["trace", trace]] {
        let output = run(folder, &[question, &["--store", "sqlite:wrong.db", "--exec-env-id", "env1"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("no such file"), "{said}");
        assert!(!folder.join("wrong.db").exists() && !folder.join("wrong.db.payloads").exists());
    }
    // Nor in a file that is there, and empty.
    fs::write(folder.join("empty"), "").unwrap();
    let output = run(folder, &["requests", "--store", "sqlite:empty", "--exec-env-id", "env1"]);
    says(&output, 1, "--store sqlite:empty: there is no audit log in this file yet");
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
    assert!(!folder.join("empty.payloads").exists());
}

#[test]
fn invalid_arguments_exit_with_2_and_say_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    let of_store = |arguments: &[&str]| run(folder, &[arguments, &STORE].concat());
    says(&of_store(&["query"]), 2, "--user is required, or --everyone");
    says(&of_store(&["query", "--exec-env", "--since", "1h", "--until", "2h"]), 2, "--since must be before --until");
    let window = ["query", "--exec-env", "--since", "2024-05-11", "--end-timestamp", "2024-05-10"];
    says(&of_store(&window), 2, "--since must not be after --end-timestamp");
    says(&of_store(&["requests", "--since", "1h", "--until", "2h"]), 2, "--since must be before --until");
    says(&of_store(&["requests", "--tag", "=x"]), 2, "expected NAME=VALUE");
    says(&of_store(&["trace", "3EC5"]), 2, "expected 32 lowercase hexadecimal digits");
    let server = ["query", "--server", "http://127.0.0.1:9/v1"];
    says(&run(folder, &[&server[..], &["--exec-env-id", "env2"]].concat()), 2, "cannot be used with");
    says(&run(folder, &[&server[..], &["--user-email", "x"]].concat()), 2, "cannot be used with");
    says(&run(folder, &["requests", "--store", "sqlite:audit.db", "--exec-env-id", ""]), 2, "a value is required");
    for token in [None, Some("")] {
        let mut asked = program(folder, &server);
        asked.env_remove("TAGTRAIL_TOKEN").envs(token.map(|token| ("TAGTRAIL_TOKEN", token)));
        says(&asked.output().unwrap(), 2, "TAGTRAIL_TOKEN is not set: set it to");
    }
    says(&run(folder, &["query", "--server", "127.0.0.1:9"]), 2, "--server: invalid base URL: expected an HTTP URL");
    let output = program(folder, &server).env("TAGTRAIL_TOKEN", "two\nlines").output().unwrap();
    says(&output, 2, "TAGTRAIL_TOKEN: invalid token: it has characters that a header cannot have");
    says(&run(folder, &["prune", "--store", "sqlite:audit.db", "--before", "365d"]), 2, "only PostgreSQL");
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let serve = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json"];
    for (wrong, expected) in [
        (&["--listen", "8080"][..], "expected an IP address and a port"),
        (&["--exports-at-once", "0"], "0 is not in 1.."),
        (&["--partition-by", "month", "--listen", "127.0.0.1:0"], "SQLite has no partitions"),
    ] {
        says(&run(folder, &[&serve[..], wrong].concat()), 2, expected);
    }
}

#[test]
fn an_error_names_what_failed_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let away = ["query", "--exec-env", "--exec-env-id", "env1", "--store", "postgres://ada:secret@127.0.0.1:9/x"];
    let output = run(folder, &away);
    says(&output, 1, "--store postgres://...: error connecting to server: Connection refused");
    says(&output, 1, "refused");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
    says(&run(folder, &["query", "--server", "http://127.0.0.1:9/v1"]), 1, "refused");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let new_store = ["serve", "--store", "sqlite:new.db", "--tokens", "tokens.json", "--listen", &address];
    says(&run(folder, &new_store), 1, &format!("--listen {address}: Address already in use"));
    assert!(!folder.join("new.db").exists(), "no store is created");

    let (server, _served) = serve(folder);
    let root = server.strip_suffix("/server/v1").unwrap();
    says(&run(folder, &["query", "--server", root]), 1, "expected the URL with the path of the API");
    says(&run(folder, &["query", "--server", &server, "--id", "x"]), 1, "no record in your environment has this id");
}

#[test]
fn a_database_is_not_a_log_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store_of_one(folder);
    for verb in ["tail", "cat", "stats"] {
        let expected = "cannot read audit.db: this is an SQLite database; use `query`, `requests` or `trace`";
        says(&run(folder, &[verb, "audit.db"]), 1, expected);
    }
}
