//! Every form of both headers, and lists of them compared with what they were made of.

use http::HeaderMap;
use proptest::prelude::*;

use super::*;

fn read(by: ForwardedBy, lines: &[impl AsRef<[u8]>]) -> Vec<Option<IpAddr>> {
    let name = match by {
        ForwardedBy::XForwardedFor => "x-forwarded-for",
        ForwardedBy::Standard => "forwarded",
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line.as_ref()).unwrap());
    }
    by.addresses(&headers).collect()
}

/// Checks rows of a line and its addresses from the last one to the first, where `-` is none.
fn check(by: ForwardedBy, rows: &[(&str, &str)]) {
    for (line, expected) in rows {
        let found = read(by, &[line]).into_iter().map(|ip| ip.map_or("-".to_owned(), |ip| ip.to_string()));
        assert_eq!(found.collect::<Vec<_>>().join(" "), *expected, "{line}");
    }
}

#[test]
fn every_form_of_forwarded_is_read() {
    check(
        ForwardedBy::Standard,
        &[
            // Those of RFC 7239.
            (r#"for="_gazonk""#, "-"),
            (r#"For="[2001:db8:cafe::17]:4711""#, "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17 192.0.2.43"),
            (r#"for=192.0.2.43, for="[2001:db8:cafe::17]""#, "2001:db8:cafe::17 192.0.2.43"),
            ("for=_hidden, for=_SEVKISEK", "- -"),
            ("for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown", "- 2001:db8:cafe::17 192.0.2.43"),
            (r#"for="192.0.2.43:47011""#, "192.0.2.43"),
            // Names in any case, and other pairs.
            ("FOR=192.0.2.1", "192.0.2.1"),
            ("by=10.0.0.1;host=\"a,b;c\";fOr=192.0.2.1;proto=https", "192.0.2.1"),
            ("proto=https;by=10.0.0.1", "-"),
            ("before=192.0.2.1", "-"),
            // Quoted, with escapes.
            (r#"for="\1\9\2.0.2.1""#, "192.0.2.1"),
            (r#"for="a\",b", for=192.0.2.1"#, "192.0.2.1 -"),
            (r#"for=192.0.2.2;x="\\", for=192.0.2.1"#, "192.0.2.1 192.0.2.2"),
            (r#"for="""#, "-"),
            // Ports.
            (r#"for="192.0.2.1:_http.x-1""#, "192.0.2.1"),
            (r#"for="192.0.2.1:""#, "-"),
            (r#"for="192.0.2.1:123456""#, "-"),
            (r#"for="192.0.2.1:_""#, "-"),
            (r#"for="[::1]:80x""#, "-"),
            (r#"for="[::1]80""#, "-"),
            // Accepted, though they should be quoted, or have no whitespace.
            ("for=192.0.2.1:80", "192.0.2.1"),
            ("for=[2001:db8::1]:80", "2001:db8::1"),
            ("for=192.0.2.1 ; proto=http", "192.0.2.1"),
            // Empty elements and pairs.
            ("", ""),
            (" , ,, ", ""),
            (";, for=192.0.2.1", "192.0.2.1 -"),
            (",for=192.0.2.1,,\t,for=192.0.2.2 ,", "192.0.2.2 192.0.2.1"),
            (";for=192.0.2.1;;", "192.0.2.1"),
            // Not addresses.
            ("for=2001:db8::1", "-"),
            (r#"for="[192.0.2.1]""#, "-"),
            (r#"for="[::1""#, "-"),
            ("for=192.0.2.256", "-"),
            ("for=192.0.2", "-"),
            ("for=unknown", "-"),
            ("for=", "-"),
            ("for", "-"),
            ("=192.0.2.1", "-"),
            ("for =192.0.2.1", "-"),
            ("for= 192.0.2.1", "-"),
            ("192.0.2.1", "-"),
            ("for=192.0.2.1 x", "-"),
            ("for=192.0.2.1;for=192.0.2.2", "-"),
            (r#"for="192.0.2.1""x""#, "-"),
            // An address of version 4 in one of version 6.
            (r#"for="[::ffff:192.0.2.1]""#, "192.0.2.1"),
            // What a client wrote does not change what a proxy appended.
            (r#"for="192.0.2.9, for=192.0.2.1"#, "192.0.2.1 -"),
            (r#"for=192.0.2.9;x=", for="[2001:db8::1]:80""#, "2001:db8::1 -"),
            (r#"x="\, for="192.0.2.1""#, "192.0.2.1 -"),
            (r#"x\", for=192.0.2.1"#, "192.0.2.1 -"),
        ],
    );
}

#[test]
fn every_form_of_x_forwarded_for_is_read() {
    check(
        ForwardedBy::XForwardedFor,
        &[
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1, 192.0.2.2,192.0.2.3\t,", "192.0.2.3 192.0.2.2 192.0.2.1"),
            ("192.0.2.1, , ,192.0.2.2", "192.0.2.2 192.0.2.1"),
            ("", ""),
            (",", ""),
            ("unknown, _hidden, a.example, 192.0.2.1", "192.0.2.1 - - -"),
            ("\"192.0.2.1, 192.0.2.2", "192.0.2.2 -"),
            ("192.0.2.1 192.0.2.2", "-"),
            ("for=192.0.2.1", "-"),
            ("fe80::1%eth0", "-"),
        ],
    );
    let long = format!("{}, 192.0.2.1, {}", "1".repeat(100_000), "[".repeat(100_000));
    assert_eq!(read(ForwardedBy::XForwardedFor, &[long]), [None, Some([192, 0, 2, 1].into()), None]);
}

#[test]
fn lines_are_read_from_the_last_one() {
    let lines = ["192.0.2.1, 192.0.2.2", "", "192.0.2.3"];
    let expected = [3, 2, 1].map(|last| Some([192, 0, 2, last].into()));
    assert_eq!(read(ForwardedBy::XForwardedFor, &lines), expected);
    let lines = ["for=192.0.2.1, for=\"192.0.2.2", "for=192.0.2.3;proto=http"];
    let expected = [Some([192, 0, 2, 3].into()), None];
    assert_eq!(read(ForwardedBy::Standard, &lines), expected, "a line does not continue in the next one");
}

/// An element of `Forwarded`, and its address.
fn elements() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let address = prop_oneof![
        any::<Ipv4Addr>().prop_map(|ip| (ip.to_string(), Some(ip.into()))),
        any::<Ipv6Addr>().prop_map(|ip| (format!("[{ip}]"), Some(IpAddr::from(ip).to_canonical()))),
        "unknown|_[a-z.]{1,80}".prop_map(|name| (name, None)),
    ];
    let port = prop_oneof![Just(String::new()), any::<u16>().prop_map(|port| format!(":{port}"))];
    let name = prop_oneof![Just("for"), Just("For"), Just("FOR")];
    let other = prop_oneof![Just(""), Just("proto=https"), Just(r#"host="a,\";b""#), Just(r#"by="\\""#)];
    let escapes = prop::collection::vec(prop::bool::weighted(0.1), 40);
    (address, port, name, other, any::<bool>(), escapes).prop_map(|((text, ip), port, name, other, first, escapes)| {
        let node: String = format!("{text}{port}")
            .char_indices()
            .map(|(at, char)| if escapes.get(at) == Some(&true) { format!("\\{char}") } else { char.into() })
            .collect();
        let pair = format!("{name}=\"{node}\"");
        (if first { format!("{other};{pair}") } else { format!("{pair};{other}") }, ip)
    })
}

proptest! {
    #[test]
    fn list_is_read_as_it_was_made(all in prop::collection::vec((elements(), ",|, |,, ,|\n"), 0..8)) {
        let texts = all.iter().flat_map(|((element, _), separator)| [element, separator]);
        let text: String = texts.map(String::as_str).collect();
        let lines: Vec<_> = text.split('\n').collect();
        let expected: Vec<_> = all.iter().rev().map(|((_, ip), _)| *ip).collect();
        prop_assert_eq!(read(ForwardedBy::Standard, &lines), expected, "{}", text);
    }

    #[test]
    fn what_a_client_wrote_does_not_change_what_a_proxy_appends(
        before in prop_oneof!["[ -~]{0,40}", r#"[\\",;=for.1 ]{0,40}"#],
        (element, ip) in elements(),
    ) {
        let line = format!("{before}, {element}");
        prop_assert_eq!(read(ForwardedBy::Standard, &[line])[0], ip);
    }

    #[test]
    fn nothing_panics(line in prop::collection::vec(32_u8..=255, 0..60)) {
        let line: Vec<_> = line.into_iter().filter(|&byte| byte != 127).collect();
        for by in [ForwardedBy::Standard, ForwardedBy::XForwardedFor] {
            let elements = line.split(|&byte| byte == b',').count();
            prop_assert!(read(by, &[&line]).len() <= elements);
        }
    }
}
