//! The lines of files: their members, and any text in them.

use std::net::Ipv6Addr;
use std::time::Duration;

use proptest::prelude::*;
use tagtrail::{Sample, Tags, Trail};
use tagtrail_querylog::record::export_counters;
use tagtrail_querylog::{LineFormat, Outcome, Record};

use crate::support::common::{Logged, record};

const SOON: Duration = Duration::from_secs(20);

/// Returns a record with a value in every member.
fn full() -> Record {
    let trail = Trail::from_context(tagtrail::TraceContext::new(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap(),
        tagtrail::TraceState::empty(),
    ));
    let mut record = Record::new(&trail.with_tags(Tags::from_pairs([("b", "2"), ("a", "1")]).unwrap()), "/posts/7");
    record.start_time = "2024-05-10T18:05:42.871Z".parse().unwrap();
    record.end(Duration::from_micros(12_345), Outcome::Complete);
    record.request.method = "POST".parse().unwrap();
    record.request.route = Some("/posts/{id}".into());
    record.request.version = Some(http::Version::HTTP_2);
    record.request.headers =
        vec![(http::header::USER_AGENT, "curl/8".into()), ("x-forwarded-for".parse().unwrap(), "1.1.1.1".into())];
    record.request.body_bytes = 10;
    record.response.status = Some(201);
    record.response.body_bytes = 20;
    record.sent = vec!["00f067aa0ba902b7".parse().unwrap()];
    record.client_ip = Some(Ipv6Addr::LOCALHOST.into());
    record.host = Some("web-1".into());
    record.service = Some("blog".into());
    record.request.authority = Some("blog.example:8080".into());
    record.cut = vec!["headers.user-agent".into()];
    record.response.grpc_status = Some(14);
    record.response.error = Some("down".into());
    let notes = &mut record.notes;
    notes.caller.user_id = Some("ada".into());
    notes.caller.user_email = Some("ada@example.com".into());
    notes.caller.exec_env_id = Some("env".into());
    notes.operation.id = Some("op".into());
    notes.operation.name = Some("create".into());
    notes.operation.engine = Some("realtime".into());
    notes.operation.cache = Some(true);
    notes.database = vec!["parent".into(), "child".into()];
    notes.region_group = Some("us-std".into());
    notes.add(export_counters::BYTE_READ_OPS, 3);
    notes.add(export_counters::READ_LIMITS_HIT, 1);
    notes.stdout = Some("out".into());
    notes.stderr = Some(String::new());
    notes.payload = Some("{\"a\":1}".into());
    notes.shared_token = Some("fc_token".into());
    notes.shape = Some("users.all()".into());
    record
}

fn line_of(record: &Record, form: LineFormat) -> String {
    let logged = Logged::with(|settings| settings.format(form));
    logged.log.append(record);
    logged.log.close_blocking(SOON).unwrap();
    logged.text()
}

#[test]
fn line_has_every_member_in_order() {
    let record = full();
    let expected = format!(
        concat!(
            r#"{{"id":"{}","ts":"2024-05-10T18:05:42.871000Z","trace":{{"trace_id":"0af7651916cd43dd8448eb211c80319c","#,
            r#""span_id":"{}","parent_id":"b7ad6b7169203331","flags":"01"}},"sent":["00f067aa0ba902b7"],"#,
            r#""tags":{{"b":"2","a":"1"}},"request":{{"method":"POST","path":"/posts/7","route":"/posts/{{id}}","#,
            r#""http_version":"2","headers":{{"user-agent":"curl/8","x-forwarded-for":"1.1.1.1"}}}},"#,
            r#""response":{{"code":201,"outcome":"complete"}},"stats":{{"query_time":12.345,"query_bytes_in":10,"#,
            r#""query_bytes_out":20,"byte_read_ops":3,"read_limits_hit":1}},"caller":{{"user_id":"ada","#,
            r#""user_email":"ada@example.com","exec_env_id":"env"}},"operation":{{"id":"op","name":"create","#,
            r#""engine":"realtime","cache":true}},"database":["parent","child"],"region_group":"us-std","#,
            r#""client_ip":"::1","host":"web-1","service":"blog","authority":"blog.example:8080","#,
            r#""grpc_status":14,"error":"down","cut":["headers.user-agent"]{}}}"#,
            "\n"
        ),
        record.id, record.span_id, ""
    );
    assert_eq!(line_of(&record, LineFormat::Full), expected);
    let output = concat!(r#","stdout":"out","stderr":"","payload":"{\"a\":1}"}"#, "\n");
    assert_eq!(line_of(&record, LineFormat::WithOutput), expected.replace("}\n", output));
}

#[test]
fn exported_line_has_the_documented_members() {
    let record = full();
    let line = line_of(&record, LineFormat::Exported { api_version: "1".into() });
    let expected = serde_json::json!({
        "API_VERSION": "1", "BYTES_IN": 10, "BYTES_OUT": 20, "BYTE_READ_OPS": 3, "BYTE_WRITE_OPS": 0, "COMPUTE_OPS": 0,
        "DATABASE": ["parent", "child"], "QUERY_TIME_MS": 12, "RATE_LIMITS_HIT": ["read"], "REGION_GROUP": "us-std",
        "REQUEST_HEADERS": r#"{"user_agent":"curl/8","x_forwarded_for":"1.1.1.1"}"#, "REQUEST_METHOD": "POST",
        "RESPONSE_CODE": "201", "SHAPE": "users.all()", "TAGS": {"a": "1", "b": "2"},
        "TRACEPARENT": format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", record.span_id),
        "TS": "2024-05-10 18:05:42.871 Z", "TXN_RETRIES": 0,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), expected);

    let running = Record::new(&Trail::start(Sample::Never), "/");
    let line = line_of(&running, LineFormat::Exported { api_version: "1".into() });
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&value["RESPONSE_CODE"], &value["QUERY_TIME_MS"]), (&"0".into(), &0.into()));
    assert_eq!((&value["DATABASE"], &value["TAGS"]), (&serde_json::json!([]), &serde_json::json!({})));
    assert!(value.get("RATE_LIMITS_HIT").is_none() && value.get("SHAPE").is_none());
}

#[test]
fn audit_record_has_all_fifteen_members() {
    let record = full();
    let expected = serde_json::json!({
        "id": record.id.to_string(), "timestamp": "2024-05-10T18:05:42.871000+00:00", "exec_env_id": "env",
        "user_id": "ada", "user_email": "ada@example.com", "udf_id": "op", "udf_name": "create",
        "execution_engine": "realtime", "execution_time": 0.012_345, "cache": true, "stdout": "out", "stderr": "",
        "udf_data": "{\"a\":1}", "shared_token": "fc_token", "client_ip": "::1",
    });
    assert_eq!(serde_json::to_value(record.audit()).unwrap(), expected);
}

#[test]
fn record_is_read_back_as_it_was_written() {
    let mut record = full();
    let logged = Logged::with(|settings| settings.format(LineFormat::WithOutput));
    logged.log.append(&record);
    let read = logged.records().remove(0);
    // These two are not in a file.
    record.notes.shared_token = None;
    record.notes.shape = None;
    assert_eq!(read, record);
}

#[test]
fn line_without_the_latest_members_is_read() {
    let line = concat!(
        r#"{"id":"01a2009a-affd-75ab-871d-7821996d2840","ts":"2026-11-22T00:14:27.325500Z","trace":{"trace_id":"#,
        r#""3ec5539163441bd4957502a294a01b55","span_id":"64499345c416dd45","parent_id":null,"flags":"03"},"sent":[],"#,
        r#""tags":{"project":"blog"},"request":{"method":"GET","path":"/posts/7","route":null,"http_version":"1.1","#,
        r#""headers":{}},"response":{"code":200,"outcome":"complete"},"stats":{"query_time":0.12,"query_bytes_in":0,"#,
        r#""query_bytes_out":6},"caller":{"user_id":"ada","user_email":null,"exec_env_id":null},"operation":{"#,
        r#""id":null,"name":null,"engine":null,"cache":null},"database":null,"region_group":null,"#,
        r#""client_ip":"127.0.0.1","host":"vm"}"#
    );
    let later = line.replace(r#""host":"vm""#, r#""host":"vm","service":"a","calls":[{"host":"b"}],"threshold":1"#);
    for (line, service) in [(line, None), (&later, Some("a"))] {
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!((record.request.path.as_str(), record.service.as_deref()), ("/posts/7", service));
        assert_eq!((record.request.authority, record.response.grpc_status, record.response.error), (None, None, None));
        assert!(record.cut.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn line_has_no_breaks_or_terminal_escapes_for_any_text(texts in proptest::collection::vec("(?s).{0,40}", 8), controls in "[\\x00-\\x1f\\x7f-\\u{9f}\\u{2028}\\u{202e}\\u{2066}\\u{feff}\"\\\\😀]{0,20}") {
        let mut record = record(&format!("{}{controls}", texts[0]));
        record.request.route = Some(texts[1].clone() + &controls);
        record.request.headers = vec![(http::header::USER_AGENT, texts[2].clone() + &controls)];
        record.notes.caller.user_id = Some(texts[3].clone() + &controls);
        record.notes.operation.name = Some(texts[4].clone() + &controls);
        record.notes.database = vec![texts[5].clone(), controls.clone()];
        record.notes.stdout = Some(texts[6].clone() + &controls);
        record.notes.add(texts[7].clone() + &controls, 1);
        let logged = Logged::with(|settings| settings.format(LineFormat::WithOutput));
        logged.log.append(&record);
        let read = logged.records().remove(0);
        prop_assert_eq!(read, record);
        let text = logged.text();
        prop_assert_eq!(text.matches('\n').count(), 1);
        let obeyed = text.trim_end_matches('\n').chars().find(|char| {
            char.is_control() || matches!(char, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        });
        prop_assert_eq!(obeyed, None);
    }
}

#[test]
fn record_of_a_megabyte_is_one_line() {
    let logged = Logged::with(|settings| settings.format(LineFormat::WithOutput));
    let mut record = record("/");
    record.notes.stdout = Some("\u{9b}31m".repeat(250_000));
    logged.log.append(&record);
    assert_eq!(logged.records(), [record]);
}
