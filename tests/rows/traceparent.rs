// Values of `traceparent`, and what is sent on or the text of the error.

pub(crate) const ROWS: &[(&str, Result<&str, &str>)] = &[
    // Version 00.
    (V, Ok(V)),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
        Ok("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ),
    (
        "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01",
        Ok("00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-01"),
    ),
    (
        "00-00000000000000000000000000000001-0000000000000001-01",
        Ok("00-00000000000000000000000000000001-0000000000000001-01"),
    ),
    (
        "00-80000000000000000000000000000000-8000000000000000-01",
        Ok("00-80000000000000000000000000000000-8000000000000000-01"),
    ),
    // HTTP allows spaces and tabs around the value.
    (" \t00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\t ", Ok(V)),
    // Flags are bits; those without a meaning are sent on as 0.
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02",
        Ok("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
        Ok("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff",
        Ok("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fc",
        Ok("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ),
    // Later versions: the first 55 characters count, and only a dash may follow.
    ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Ok(V)),
    ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Ok(V)),
    ("fe-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", Ok(V)),
    ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-will-be-like", Ok(V)),
    (
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what-the-future-will-be-like",
        Err("expected '-' at character 56"),
    ),
    ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-010", Err("expected '-' at character 56")),
    ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", Err("expected at least 55 characters, found 54")),
    // Version 00 ends after the flags.
    ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", Err("expected 55 characters in version 00, found 56")),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what",
        Err("expected 55 characters in version 00, found 60"),
    ),
    ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.", Err("expected 55 characters in version 00, found 56")),
    // Version ff.
    ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Err("version ff is forbidden")),
    ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", Err("version ff is forbidden")),
    // Lengths.
    ("", Err("expected at least 55 characters, found 0")),
    (" \t ", Err("expected at least 55 characters, found 0")),
    ("00", Err("expected at least 55 characters, found 2")),
    ("00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", Err("expected at least 55 characters, found 54")),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001",
        Err("expected a lowercase hexadecimal digit at character 52"),
    ),
    (
        "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-001",
        Err("expected a lowercase hexadecimal digit at character 2"),
    ),
    // Zero ids.
    ("00-00000000000000000000000000000000-b7ad6b7169203331-01", Err("the trace-id is all zero")),
    ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", Err("the parent-id is all zero")),
    // Each field's digits.
    (
        "0G-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 2"),
    ),
    (
        "A0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 1"),
    ),
    (
        "FF-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 1"),
    ),
    (
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 5"),
    ),
    (
        ".0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 1"),
    ),
    (
        "00-.af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319.-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 35"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-B7AD6B7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 37"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333.-01",
        Err("expected a lowercase hexadecimal digit at character 52"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-.0",
        Err("expected a lowercase hexadecimal digit at character 54"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0.",
        Err("expected a lowercase hexadecimal digit at character 55"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0A",
        Err("expected a lowercase hexadecimal digit at character 55"),
    ),
    // What a parser of numbers would accept.
    (
        "+0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 1"),
    ),
    (
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 37"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1",
        Err("expected a lowercase hexadecimal digit at character 54"),
    ),
    (
        "00--af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331--1",
        Err("expected a lowercase hexadecimal digit at character 54"),
    ),
    (
        "00- af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-0af7651916cd43dd 448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 20"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c- 7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 37"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1\t1",
        Err("expected a lowercase hexadecimal digit at character 55"),
    ),
    (
        "00-0x0af7651916cd43dd8448eb211c803c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 5"),
    ),
    (
        "00-_af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-\u{0}af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\u{0}",
        Err("expected a lowercase hexadecimal digit at character 55"),
    ),
    (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
        Err("expected 55 characters in version 00, found 56"),
    ),
    (
        "\n00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 1"),
    ),
    // Digits of other scripts: Arabic-Indic and full-width.
    (
        "00-\u{660}\u{660}f7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    (
        "00-\u{ff10}7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    // Empty fields, and dashes in other places.
    ("00--b7ad6b7169203331-01", Err("expected at least 55 characters, found 23")),
    ("-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Err("expected at least 55 characters, found 53")),
    ("00-0af7651916cd43dd8448eb211c80319c--01", Err("expected at least 55 characters, found 39")),
    ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", Err("expected at least 55 characters, found 52")),
    ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-", Err("expected at least 55 characters, found 53")),
    (
        "00--0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        Err("expected a lowercase hexadecimal digit at character 4"),
    ),
    ("000-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Err("expected '-' at character 3")),
    ("00-0af7651916cd43dd8448eb211c80319c0b7ad6b7169203331-01", Err("expected '-' at character 36")),
    ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331001", Err("expected '-' at character 53")),
    ("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Err("expected '-' at character 3")),
];

const V: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
