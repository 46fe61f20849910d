// Field lines of `tracestate`, and the parsed members or the text of the error.

type Pairs = &'static [(&'static str, &'static str)];

pub(crate) const ROWS: &[(&[&str], Result<Pairs, &str>)] = &[
    (&["foo=1"], Ok(&[("foo", "1")])),
    (&["foo=1,bar=2"], Ok(&[("foo", "1"), ("bar", "2")])),
    (&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], Ok(&[("rojo", "00f067aa0ba902b7"), ("congo", "t61rcWkgMzE")])),
    // Several lines are one list.
    (&["foo=1", "bar=2"], Ok(&[("foo", "1"), ("bar", "2")])),
    (
        &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
        Ok(&[("foo", "1"), ("bar", "2"), ("rojo", "1"), ("congo", "2"), ("baz", "3")]),
    ),
    (&["foo=1", ""], Ok(&[("foo", "1")])),
    (&["", "foo=1"], Ok(&[("foo", "1")])),
    (
        &["foo=1", "bar"],
        Err("member 2, character 10: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='"),
    ),
    // Empty members, and whitespace around members.
    (&[""], Ok(&[])),
    (&[" \t"], Ok(&[])),
    (&[","], Ok(&[])),
    (&[" , ,\t"], Ok(&[])),
    (&["foo=1,"], Ok(&[("foo", "1")])),
    (&[",foo=1,,bar=2,"], Ok(&[("foo", "1"), ("bar", "2")])),
    (&["foo=1 \t , \t bar=2, \t baz=3"], Ok(&[("foo", "1"), ("bar", "2"), ("baz", "3")])),
    (&[" foo=1", "\tbar=2 "], Ok(&[("foo", "1"), ("bar", "2")])),
    // Duplicates are kept; a lookup returns the first.
    (&["foo=1,foo=1"], Ok(&[("foo", "1"), ("foo", "1")])),
    (&["foo=1,foo=2"], Ok(&[("foo", "1"), ("foo", "2")])),
    (&["foo=1", "foo=2"], Ok(&[("foo", "1"), ("foo", "2")])),
    // Keys.
    (&["0=1"], Ok(&[("0", "1")])),
    (&["z-_*/@0=1"], Ok(&[("z-_*/@0", "1")])),
    (&["foo@=1,foo@@bar=1,foo@bar@baz=1"], Ok(&[("foo@", "1"), ("foo@@bar", "1"), ("foo@bar@baz", "1")])),
    (&["@foo=1,bar=2"], Err("member 1, character 1: a key starts with a-z or 0-9")),
    (&["_foo=1"], Err("member 1, character 1: a key starts with a-z or 0-9")),
    (&["-foo=1"], Err("member 1, character 1: a key starts with a-z or 0-9")),
    (&["=1"], Err("member 1, character 1: a key starts with a-z or 0-9")),
    (&["Foo=1"], Err("member 1, character 1: a key starts with a-z or 0-9")),
    (
        &["fOo=1"],
        Err("member 1, character 2: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='"),
    ),
    (
        &["foo =1"],
        Err("member 1, character 4: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='"),
    ),
    (
        &["foo\t=1"],
        Err("member 1, character 4: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='"),
    ),
    (
        &["foo.bar=1"],
        Err("member 1, character 4: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='"),
    ),
    (&["foo"], Err("member 1, character 4: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='")),
    (
        &["foo=1,bar=2,b az=3"],
        Err("member 3, character 14: a key consists of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='"),
    ),
    // Values.
    (&["foo= 1"], Ok(&[("foo", " 1")])),
    (&["foo=  1  "], Ok(&[("foo", "  1")])),
    (&["foo=a b"], Ok(&[("foo", "a b")])),
    (&["foo=!\"#$%&'()*+-./09:;<>?@AZ[\\]^_`az{|}~"], Ok(&[("foo", "!\"#$%&'()*+-./09:;<>?@AZ[\\]^_`az{|}~")])),
    (&["foo=,bar=3"], Err("member 1, character 5: expected a value")),
    (&["foo="], Err("member 1, character 5: expected a value")),
    (&["foo=  ,bar=3"], Err("member 1, character 5: expected a value")),
    (&["foo=\t,bar=3"], Err("member 1, character 5: expected a value")),
    (&["foo=bar=baz"], Err("member 1, character 8: a value consists of printable ASCII characters except ',' and '='")),
    (&["foo=1\t2"], Err("member 1, character 7: a value consists of printable ASCII characters except ',' and '='")),
    (&["foo=1 \t2"], Err("member 1, character 8: a value consists of printable ASCII characters except ',' and '='")),
    (&["foo=\u{e9}"], Err("member 1, character 5: expected a value")),
    (&["foo=1\u{e9}"], Err("member 1, character 6: a value consists of printable ASCII characters except ',' and '='")),
];
